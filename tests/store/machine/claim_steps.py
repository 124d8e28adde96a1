"""How a request becomes a call, or is refused, on the store and on the model."""

from model.life import FAILED, HOLD, LATER, NOT_STARTED, RUNNING
from store.machine.system import System, kept_size
from store.machine.values import CAME, FALLBACK, LEASES, OVER_MS, PER_MINUTE, PLATFORM_URL, WINDOW_MS

from callback_server.domain import ids
from callback_server.domain.call import Grant, RequestIdentity
from callback_server.domain.case import CloseReason
from callback_server.domain.guard import RequestIntent
from callback_server.domain.response import complete
from callback_server.store.transitions.claim_call import (
    CaseClosed,
    ClaimRefusal,
    ConfirmationRequired,
    EarlierCall,
    EarlierCallRuns,
    RateLimited,
    Verification,
    VerificationRequired,
    claim_call,
)
from callback_server.store.transitions.follow_call import FallbackSent, FollowResult, follow_call


class ClaimSteps(System):
    """Steps that claim cases and repeat requests."""

    def _claim(
        self, case_id, call_id, *, parameter=None, intent="CALL", profile=None, message="", digest="", over=False,
        limited=False, can_deliver=False, sha=None,
    ):  # fmt: skip
        """Claim with the profile that the case requires, unless `profile` is given. Each request comes once, unless
        `digest` is given."""
        new = self.new[case_id]
        return self.do(
            claim_call(
                self.scripts, call_id=call_id, state_sha256=sha or new.state_sha256,
                parameter=new.state_query_parameter if parameter is None else parameter,
                request=CAME, leases=LEASES, recording=self.recording,
                platform_url=PLATFORM_URL, intent=RequestIntent(intent),
                sent=RequestIdentity("post", digest or call_id.rpartition("-")[2].rjust(64, "0")),
                verification=Verification(
                    new.verification_profile if profile is None else profile, message, WINDOW_MS if message else 0
                ),
                calls_per_minute=PER_MINUTE if limited else None,
                limited_owners=[("nobody", 1, "other"), *([(new.owner, OVER_MS, "limit")] if over else [])],
                replica="replica", can_deliver=can_deliver,
            )
        )  # fmt: skip

    def _compare_claim(self, reply, expected):
        word, fact = expected
        if word == "RESOLVED":
            assert isinstance(reply, Grant), (reply, expected)
            assert reply.resolved is not None
            (_, _, _, whole, _) = self.model[ids.case_id_of_call(reply.call_id)].resolution
            assert (reply.resolved.status, reply.resolved.response) == (fact.status, whole)
            assert (reply.recorded, reply.attempt, reply.effect) == (True, fact.attempt, fact.effect)
        elif word in ("CLAIMED", "RECORDED"):
            assert isinstance(reply, Grant), (reply, expected)
            assert reply.resolved is None
            assert (reply.recorded, reply.attempt, reply.response) == (word == "RECORDED", fact.attempt, fact.response)
            assert reply.effect == (fact.effect if reply.recorded else None)
            assert reply.version == fact.version
            mine = fact.delivery == RUNNING and fact.attempts_started == 1 and fact.at_once and fact.due == LATER
            assert (reply.lease_left_ms > 0) is (mine or not reply.recorded)
            new = self.new[ids.case_id_of_call(reply.call_id)]
            assert (reply.answer_mode, reply.fallback) == (new.answer_mode, None if reply.recorded else new.fallback)
        elif word == "CLOSED":
            reason, response = fact
            assert isinstance(reply, CaseClosed)
            assert (reply.reason, reply.response) == (CloseReason(reason), response)
        elif word == "VERIFY":
            assert isinstance(reply, VerificationRequired)
            assert reply.profile == fact
        elif word == "CONFIRM":
            assert reply == ConfirmationRequired(fact)
        elif word == "LIMITED":
            assert isinstance(reply, RateLimited)
            assert 0 < reply.wait_ms <= max(OVER_MS, 60_000 / PER_MINUTE)
            assert reply.limit in ("limit", "max_calls_per_minute_per_case", "held_calls")
        elif word == "RUNS":
            assert reply == EarlierCallRuns(fact.id, told_to_wait=bool(fact.wait_hash) and not fact.marked)
        elif word == "REPEATED":
            self._compare_repeat(reply, fact)
        else:
            assert reply is ClaimRefusal[word]

    def _compare_repeat(self, earlier, call):
        """Compare what a repeat of a call got that has ended."""
        assert isinstance(earlier, EarlierCall)
        model = self.model[ids.case_id_of_call(call.id)]
        assert (earlier.call_id, earlier.status, earlier.code) == (call.id, call.status, call.code)
        assert (earlier.failure is not None) is (call.status in (FAILED, NOT_STARTED))
        alternative_domain = self.new[ids.case_id_of_call(call.id)].settings.alternative_domain
        assert (earlier.owner, earlier.alternative_domain) == (model.owner, alternative_domain)
        answer = None
        if call.id in model.kept and not call.no_repeat:
            answer = complete(model.kept[call.id][0], platform_url=PLATFORM_URL)
        if call.id not in self.adopted:
            assert earlier.method == "post"
        if answer is None and (model.answer_mode == HOLD or call.wait_hash) and not call.no_repeat:
            return  # it is still kept for its caller
        assert earlier.answer == answer

    def _claim_new(
        self, case_id, *, intent="CALL", profile=None, message="", digest="", over=False, limited=False,
        can_deliver=False,
    ):  # fmt: skip
        call_id = self._new_call_id(case_id)
        given = {"intent": intent, "message": message, "digest": digest, "over": over}
        reply = self._claim(case_id, call_id, profile=profile, limited=limited, can_deliver=can_deliver, **given)
        given["can_deliver"] = can_deliver and not self.paused
        if case_id not in self.model:
            assert reply is ClaimRefusal.UNKNOWN
            return call_id
        new, model = self.new[case_id], self.model[case_id]
        passed = new.verification_profile if profile is None else profile
        given["digest"] = digest or call_id.rpartition("-")[2].rjust(64, "0")
        given["size"] = kept_size(new.settings, model.response)
        self._compare_claim(reply, model.claim(call_id, profile=passed, **given))
        if isinstance(reply, Grant):
            self.granted.append(call_id)
        if isinstance(reply, EarlierCall | EarlierCallRuns):  # sent again, it is counted once
            again = self._claim(
                case_id, call_id, profile=profile, limited=limited, intent=intent, message=message, digest=digest
            )
            assert again == reply
        return call_id

    def _new_call_id(self, case_id):
        return f"{case_id}-c{next(self.numbers):015x}"

    def _claim_again(self, call_id):
        case_id = ids.case_id_of_call(call_id)
        reply = self._claim(case_id, call_id)
        if case_id in self.model:
            profile = self.new[case_id].verification_profile
            self._compare_claim(reply, self.model[case_id].claim(call_id, profile=profile))
        else:
            assert reply is ClaimRefusal.STALE

    def _follow(self, call_id, repeat_id):
        call, new = self._known(call_id), self.new[ids.case_id_of_call(call_id)]
        if call.status == RUNNING and call.marked and new.fallback is None:
            return
        reply = self.do(follow_call(self.scripts, call_id, repeat_id=repeat_id, replica="replica"))
        if call.status != RUNNING:
            self._compare_repeat(reply, call)
        elif call.marked:
            assert reply == FallbackSent(FALLBACK.response, new.owner, "")
        else:
            assert reply is FollowResult.RUNS
            call.waiters.add(repeat_id)

    def _at_address(self, call, *, asker="at its address", **more):
        """Return what the caller of a call gets at its address now."""
        return self.do(
            follow_call(
                self.scripts, call.id, repeat_id=asker, replica="replica", wait_hash=call.wait_hash, **more
            )
        )  # fmt: skip
