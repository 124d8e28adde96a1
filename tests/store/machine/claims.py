"""What callers do: requests become calls, repeat earlier ones, or are refused."""

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from model.life import FAILED, HOLD, INTERRUPTED, LATER, NOT_STARTED, REJECTED, RETRYABLE, RUNNING, SINGLE, SUCCEEDED
from store.machine.system import KEYS, System, kept_size, pointer_name
from store.machine.values import CAME, FALLBACK, LATE, LEASES, OVER_MS, PER_MINUTE, PLATFORM_URL, WINDOW_MS, bodies

from callback_server.domain import ids
from callback_server.domain.call import Grant, RequestIdentity
from callback_server.domain.case import CloseReason, GetGuard
from callback_server.domain.guard import RequestIntent
from callback_server.domain.response import complete
from callback_server.domain.verification import Verification
from callback_server.store import keys
from callback_server.store.transitions.claim_call import (
    CaseClosed,
    ClaimRefusal,
    ConfirmationRequired,
    EarlierCallEnded,
    EarlierCallRuns,
    RateLimited,
    VerificationRequired,
    claim_call,
)
from callback_server.store.transitions.follow_call import CallRuns, FallbackSent, follow_call
from callback_server.store.transitions.mark_caller_gone import mark_caller_gone


class Claims(System):
    """Claims of cases, repeats, and claims that must be refused."""

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
                limited_owners=[("nobody", 1, "other", ""), *([(new.owner, OVER_MS, "limit", "")] if over else [])],
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
            assert (reply.ended_at_claim, reply.call_number, reply.effect) == (True, fact.attempt, fact.effect)
        elif word in ("CLAIMED", "ENDED"):
            assert isinstance(reply, Grant), (reply, expected)
            assert reply.resolved is None
            assert (reply.ended_at_claim, reply.call_number) == (word == "ENDED", fact.attempt)
            assert reply.response == fact.response
            assert reply.effect == (fact.effect if reply.ended_at_claim else None)
            assert reply.version == fact.version
            mine = fact.delivery == RUNNING and fact.attempts_started == 1 and fact.at_once and fact.due == LATER
            assert (reply.lease_left_ms > 0) is (mine or not reply.ended_at_claim)
            new = self.new[ids.case_id_of_call(reply.call_id)]
            assert (reply.answer_mode, reply.fallback) == (
                new.answer_mode,
                None if reply.ended_at_claim else new.fallback,
            )
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
            assert 0 < reply.retry_after_ms <= max(OVER_MS, 60_000 / PER_MINUTE)
            assert reply.limit in ("limit", "max_calls_per_minute_per_case", "held_calls")
        elif word == "RUNS":
            assert reply == EarlierCallRuns(fact.id, told_to_wait=bool(fact.wait_hash) and not fact.marked)
        elif word == "REPEATED":
            self._compare_repeat(reply, fact)
        else:
            assert reply is ClaimRefusal[word]

    def _compare_repeat(self, earlier, call):
        """Compare what a repeat of a call got that has ended."""
        assert isinstance(earlier, EarlierCallEnded)
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
        if isinstance(reply, EarlierCallEnded | EarlierCallRuns):  # sent again, it is counted once
            again = self._claim(
                case_id, call_id, profile=profile, limited=limited, intent=intent, message=message, digest=digest
            )
            assert again == reply
        return call_id

    def _new_call_id(self, case_id):
        return f"{case_id}-c{next(self.numbers):015x}"

    def _send_event(self, key, message, number):
        """Send an event, whose call has this number among all ids."""
        return self.do(
            claim_call(
                self.scripts, call_id=f"{pointer_name(key)}-{number}", state_sha256=b"", parameter="", request=CAME,
                leases=LEASES, recording=self.recording, platform_url=PLATFORM_URL, intent=RequestIntent.CONFIRMED,
                sent=RequestIdentity("post", "e" * 64), replica="replica", can_deliver=False,
                verification=Verification("psp", message, WINDOW_MS if message else 0),
                calls_per_minute=None, limited_owners=[], is_event=True,
            )
        )  # fmt: skip

    def _event(self, key, message):
        """Send a new event, and return the id that its call has, if it became one."""
        number = f"c{next(self.numbers):015x}"
        copied, reply = self.copies[key].get(message), self._send_event(key, message, number)
        case_id = ids.case_id_of_call(copied) if copied else self.correlated.get(key)
        if case_id is None:
            assert reply is ClaimRefusal.UNKNOWN
            return None
        new, model = self.new[case_id], self.model[case_id]
        event_id, size = f"{case_id}-{number}", kept_size(new.settings, model.response)
        expected = model.claim(event_id, intent="CONFIRMED", message=message, size=size, is_event=True)
        self._compare_claim(reply, expected)
        if isinstance(reply, Grant):
            assert reply.call_id == event_id
            self.granted.append(event_id)
        elif isinstance(reply, EarlierCallEnded | EarlierCallRuns):  # sent again, it is counted once
            assert self._send_event(key, message, number) == reply
        return event_id

    @rule(
        key=st.sampled_from(KEYS),
        message=st.sampled_from(["", "a" * 64, "b" * 64]),
        between=st.sampled_from([None, SUCCEEDED, SUCCEEDED, REJECTED, NOT_STARTED, INTERRUPTED, "windows"]),
        then=st.sampled_from(["", "", "another"]),
        body=bodies,
    )
    def an_event_comes_twice(self, key, message, between, then, body):
        """Send an event. Its call may end, and its case be closed, and another one have the key. Then its claim is sent
        again, as if its answer were lost, and a copy comes."""
        if key not in self.correlated or then:
            self.correlate(key, "", SINGLE, False, "", True)
        call_id = self._event(key, message)
        if call_id in self.running():
            if between == INTERRUPTED:
                self._end_lease(self._known(call_id), LATE)
            elif between == "windows":
                self._end_windows(ids.case_id_of_call(call_id))
            elif between:
                self.end_call(call_id, between, False, body)
        if then:
            self.correlate(key, "", RETRYABLE, False, "close", True)
        case_id = ids.case_id_of_call(call_id or "")
        if case_id in self.model and call_id in self.granted and between not in ("windows", NOT_STARTED):
            again = self._send_event(key, message, call_id.rpartition("-")[2])
            self._compare_claim(again, self.model[case_id].claim(call_id, is_event=True))
        self._event(key, message)

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
            assert reply == CallRuns(new.owner)
            call.waiters.add(repeat_id)

    def _at_address(self, call, *, asker="at its address", **more):
        """Return what the caller of a call gets at its address now."""
        return self.do(
            follow_call(
                self.scripts, call.id, repeat_id=asker, replica="replica", wait_hash=call.wait_hash, **more
            )
        )  # fmt: skip

    @precondition(lambda self: self.new)
    @rule(data=st.data())
    def claim(self, data):
        self._claim_new(self._any_case(data))

    @precondition(lambda self: self._acknowledged())
    @rule(data=st.data(), can_deliver=st.booleans(), paused=st.booleans(), times=st.integers(1, 3), taken=st.booleans(),
          again=st.booleans())  # fmt: skip
    def claim_and_deliver(self, data, can_deliver, paused, times, taken, again):
        case_id = data.draw(st.sampled_from(self._acknowledged()))
        self._pause(paused=paused)
        for _ in range(times):
            call_id = self._claim_new(case_id, can_deliver=can_deliver)
        if taken:
            self.take(paused=False)
        if again and call_id in self.model[case_id].calls:
            reply = self._claim(case_id, call_id, can_deliver=True)
            profile = self.new[case_id].verification_profile
            self._compare_claim(reply, self.model[case_id].claim(call_id, profile=profile))

    @precondition(lambda self: self.running())
    @rule(data=st.data())
    def others_come_and_go(self, data):
        """Make two more calls while one runs, and end them, if the case allows it."""
        case_id = ids.case_id_of_call(data.draw(st.sampled_from(self.running())))
        for _ in range(2):
            call_id = self._claim_new(case_id)
            if call_id in self.running():
                self.end_call(call_id, SUCCEEDED, False, b"")

    @precondition(lambda self: self.new)
    @rule(
        data=st.data(),
        intent=st.sampled_from(RequestIntent),
        profile=st.sampled_from([None, None, "", "other"]),
        over=st.sampled_from([False, False, False, True]),
    )
    def claim_on_other_terms(self, data, intent, profile, over):
        case_id = self._any_case(data)
        self._claim_new(case_id, intent=intent, profile=profile, over=over)
        is_claimed_again = intent is RequestIntent.FORM or self.new[case_id].settings.prompt is not None
        if is_claimed_again and self.new[case_id].get_guard is GetGuard.CONFIRM:
            self._claim_new(case_id, intent=RequestIntent.CONFIRMED)

    @precondition(lambda self: self.new)
    @rule(
        data=st.data(),
        kind=st.sampled_from(["message", "digest"]),
        value=st.sampled_from(["a" * 64, "b" * 64]),
        between=st.sampled_from(
            [None, SUCCEEDED, REJECTED, FAILED, NOT_STARTED, INTERRUPTED, INTERRUPTED, "windows", "fallback"]
        ),
        terms=st.fixed_dictionaries(
            {}, optional={"intent": st.sampled_from(RequestIntent), "over": st.just(True), "follows": st.just(True)}
        ),
        keep_open=st.booleans(),
        no_repeat=st.sampled_from([False, False, True]),
        body=bodies,
    )
    def a_request_comes_twice(self, data, kind, value, between, terms, keep_open, no_repeat, body):
        """Repeat a request or a message after its call has ended (if it runs), after its window is over, or at once.

        The repeat may wait with the call that runs, and see how it ends.
        """
        case_id = self._any_case(data)
        follows = terms.pop("follows", False)
        self._claim_new(case_id, **{kind: value})
        model = self.model.get(case_id)
        call_id = model.known.get(value) if model else None
        runs = call_id in self.running()
        repeat_id = self._claim_new(case_id, **{kind: value}) if follows else None
        if between == "windows":
            self._end_windows(case_id)
        elif runs and between == "fallback":
            self._mark_fallback(call_id)
        elif runs and between == INTERRUPTED:
            if model.calls[call_id] in self._in_lease():  # otherwise its delivery waits for the next attempt
                self._end_lease(model.calls[call_id], LATE)
        elif runs and between:
            self.end_call(call_id, between, keep_open, body, no_repeat=no_repeat)
        if runs and follows:
            self._follow(call_id, repeat_id)
        self._claim_new(case_id, **{kind: value}, **terms)

    @precondition(lambda self: self._multiple())
    @rule(data=st.data())
    def claim_more_than_a_minute_allows(self, data):
        """Start at an even rate, and make so many calls that the last one exceeds the limit."""
        case_id = data.draw(st.sampled_from(self._multiple()))
        self.do(self.client.hdel(keys.key(keys.partition_of(case_id), "case", case_id), "arrival"))
        model = self.model[case_id]
        model.left = PER_MINUTE
        for _ in range(PER_MINUTE + 1):
            self._claim_new(case_id, limited=True)
        model.left = None

    @precondition(lambda self: self.granted)
    @rule(data=st.data())
    def claim_again(self, data):
        self._claim_again(data.draw(st.sampled_from([*self.granted, *self.running(), *self.running()])))

    @precondition(lambda self: self._recorded())
    @rule(data=st.data(), body=st.sampled_from([None, b"", b"another"]))
    def a_recorded_call_that_was_erased_comes_again(self, data, body):
        """Set another response before (None: keep the response), if the case allows that."""
        call_id = data.draw(st.sampled_from(self._recorded()))
        case_id = ids.case_id_of_call(call_id)
        model = self.model[case_id]
        assert self._erase(case_id, None, f"erasure {next(self.numbers)}").calls == model.erase()
        if body is not None:
            self._set_response(case_id, body)
        self._compare_claim(self._claim(case_id, call_id), model.claim(call_id, profile=model.profile))

    @precondition(lambda self: self.new)
    @rule(data=st.data())
    def claim_in_the_wrong_form(self, data):
        case_id = self._any_case(data)
        wrong = "" if self.new[case_id].state_query_parameter else "state"
        assert self._claim(case_id, self._new_call_id(case_id), parameter=wrong) is ClaimRefusal.UNKNOWN

    @precondition(lambda self: self.new)
    @rule(data=st.data())
    def claim_with_another_state(self, data):
        """Claim with a hash that begins with the case's id and continues differently."""
        case_id = self._any_case(data)
        sha = bytes.fromhex(case_id) + bytes(16)
        assert self._claim(case_id, self._new_call_id(case_id), sha=sha) is ClaimRefusal.UNKNOWN

    @precondition(lambda self: self.granted)
    @rule(data=st.data(), times=st.integers(1, 2))
    def a_caller_is_gone(self, data, times):
        """Mark it once or twice, while its call runs, after its end, or when it is no longer kept."""
        call_id = data.draw(st.sampled_from([*self.granted, *self.running(), *self.running()]))
        model = self.model.get(ids.case_id_of_call(call_id))
        for _ in range(times):
            known = model is not None and model.mark_caller_gone(call_id)
            assert self.do(mark_caller_gone(self.scripts, call_id)) is known
