"""How calls end: by handlers, by fallbacks, and by the answers of people and programs."""

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from model.life import CLOSED, FAILED, LATER, NOT_STARTED, NOW, REJECTED, RUNNING, SUCCEEDED
from msgspec.structs import replace
from store.machine.system import System, kept_size
from store.machine.values import (
    BRIEFLY_MS,
    CAME,
    DIGESTS,
    EARLY,
    GAVE,
    LATE,
    LEFT,
    PLATFORM_URL,
    RECORDING,
    RESOLVED_AT_ONCE,
    bodies,
    ends,
)

from callback_server.domain import ids
from callback_server.domain.call import CallFailure, CallStatus, DeliveryStatus, Outcome
from callback_server.domain.case import CaseStatus, CloseReason, Settings
from callback_server.domain.response import Response, ResponseType, complete
from callback_server.store import keys
from callback_server.store.queries.read import read_call, read_held
from callback_server.store.transitions.claim_call import CaseClosed
from callback_server.store.transitions.close_case import close_case
from callback_server.store.transitions.finish_call import FinishResult, ResponseReplaced, finish_call
from callback_server.store.transitions.follow_call import CallRuns, FollowResult, follow_call
from callback_server.store.transitions.mark_fallback import mark_fallback
from callback_server.store.transitions.mark_waiting import mark_waiting
from callback_server.store.transitions.resolve_case import ResolvedBatch, ResolveRefusal, resolve_case


class Ends(System):
    """Ends of calls, and what their callers get before."""

    def end_call(
        self, call_id, status, keep_open, body, *, digest="", merged=None, due=None, token=None, no_repeat=False,
        close=False,
    ):  # fmt: skip
        answered = status in (SUCCEEDED, REJECTED)
        outcome = Outcome(
            CallStatus(status),
            response=Response(type=ResponseType.RESPONSE, code=200, headers=GAVE, body=body) if answered else None,
            keep_open=keep_open,
            close=close,
            no_repeat=no_repeat,
            failure=None if answered else CallFailure.HANDLER_ERROR,
            failure_detail="" if answered else "broken",
        )
        was_running = call_id in self.running()
        case_id = ids.case_id_of_call(call_id)
        model = self.model.get(case_id) or self.dropped[case_id]
        version = {None: None, "at the claim": self._known(call_id).version, "now": model.version}[merged]
        of_case = self._known(call_id).response if merged == "at the claim" else model.response
        token = max(self._known(call_id).attempts_started, 1) if token is None else token
        backoff_ms = {None: None, NOW: 0, LATER: 3_600_000}[due]
        asked = status != NOT_STARTED
        reply = self.do(
            finish_call(
                self.scripts, call_id=call_id, outcome=outcome, version=version, recording=self.recording,
                case_body=of_case and of_case.body, answer_digest=digest, fencing_token=token, backoff_ms=backoff_ms,
                was_asked=asked,
            )
        )  # fmt: skip
        answer = self._of_answer(outcome.response) if answered else None
        expected = model.finish(
            call_id, status, keep_open=keep_open, answer=answer, answer_digest=digest, version=version,
            fencing_token=token, due=due, asked=asked, no_repeat=no_repeat, whole=outcome.response,
            size=kept_size(Settings(), outcome.response) if answered else 0, close=close,
        )  # fmt: skip
        call = self._known(call_id)
        if expected == "MERGE":
            assert reply == ResponseReplaced(model.response, model.version)
            return
        if expected == "PENDING":
            assert reply == FinishResult(None, delivery=DeliveryStatus.PENDING, backoff_ms=backoff_ms)
            return
        delivery = DeliveryStatus(call.delivery) if call.delivery else None
        is_open = case_id in self.model and model.status == CaseStatus.OPEN
        ended = FinishResult(call.effect, again=not was_running, delivery=delivery, is_open=is_open)
        assert reply == (ended if expected == "OK" else None)
        if was_running and expected == "OK" and call_id in model.calls:
            if answered:
                outcome = replace(outcome, response=answer)
            if model.calls[call_id].erased:
                outcome = Outcome(outcome.status, keep_open=keep_open, failure=outcome.failure)
            recorded = self.do(read_call(self.scripts, call_id))
            assert recorded.close is close
            assert recorded.outcome == replace(outcome, no_repeat=False, close=False)

    def _of_answer(self, answer):
        if "headers" in self.recording.unrecorded:
            answer = replace(answer, headers=())
        return replace(answer, body=b"") if "body" in self.recording.unrecorded else answer

    def _mark_fallback(self, call_id, *, accepts=True):
        model = self.model.get(ids.case_id_of_call(call_id)) or self.dropped[ids.case_id_of_call(call_id)]
        accepts = accepts and model.answer_mode == "HANDLER"
        is_marked = self.do(
            mark_fallback(self.scripts, call_id=call_id, request=CAME, recording=self.recording, accepts=accepts)
        )
        assert is_marked is model.mark_fallback(call_id, accepts=accepts)

    def _resolve(self, case_id, digest, status, answer, version, up_to, *, owner=None):
        return self.do(
            resolve_case(
                self.scripts, case_id, owner=owner, digest=digest, outcome=Outcome(CallStatus(status), answer),
                version=version, up_to=up_to, recording=self.recording,
            )
        )  # fmt: skip

    def _resolve_and_compare(self, case_id, digest, status, answer, version, up_to):
        model = self.model[case_id]
        reply = self._resolve(case_id, digest, status, answer, version, up_to)
        word, ended = model.resolve(
            digest, status, self._of_answer(answer), whole=answer, size=kept_size(Settings(), answer),
            left=(None, 0) if answer.type is ResponseType.REDIRECT else (LEFT, kept_size(Settings(), LEFT)),
            version=version, up_to=up_to, limit=RESOLVED_AT_ONCE,
        )  # fmt: skip
        if word == "OK":
            left = len(model.held) if model.resolution else 0
            assert isinstance(reply, ResolvedBatch)
            assert (reply.left, [call_id for call_id, _ in reply.ended]) == (left, ended)
            assert {replica for call_id, replica in reply.ended if call_id not in self.adopted} <= {"replica"}
            for call_id in ended:
                assert self.do(read_held(self.scripts, call_id)).answer == self._whole[digest]
        elif word == "MERGE":
            assert reply == ResponseReplaced(model.response, model.version)
        elif word == "CLOSED":
            assert reply == CaseClosed(CloseReason(model.reason))
        else:
            assert reply is ResolveRefusal[word]

    @precondition(lambda self: self.running())
    @rule(data=st.data(), status=ends, keep_open=st.booleans(), close=st.booleans(), body=bodies,
          merged=st.sampled_from([None, "at the claim", "now"]), due=st.sampled_from([None, NOW, LATER]),
          earlier=st.booleans(), again=st.booleans())  # fmt: skip
    def finish(self, data, status, keep_open, close, body, merged, due, earlier, again):
        """Finish a call that runs, or the attempt of its delivery; or the attempt before it, too late."""
        call_id = data.draw(st.sampled_from(self.running()))
        token = max(self._known(call_id).attempts_started - earlier, 1)
        for _ in range(1 + again):
            self.end_call(
                call_id, status, keep_open and not close, body, merged=merged, due=due, token=token, close=close
            )

    @precondition(lambda self: self.granted)
    @rule(data=st.data(), status=ends, keep_open=st.booleans(), body=bodies)
    def finish_late_or_again(self, data, status, keep_open, body):
        self.end_call(data.draw(st.sampled_from(self.granted)), status, keep_open, body)

    @precondition(lambda self: self.running())
    @rule(data=st.data(), status=ends, body=bodies)
    def finish_after_the_response_was_replaced(self, data, status, body):
        """Finish with the response at the claim, and then with the present one."""
        call_id = data.draw(st.sampled_from(self.running()))
        self._set_response(ids.case_id_of_call(call_id), body)
        for merged in ("at the claim", "now"):
            self.end_call(call_id, status, False, body, merged=merged)

    @precondition(lambda self: self._multiple())
    @rule(data=st.data(), status=ends)
    def a_call_that_is_not_the_newest_closes_its_case(self, data, status):
        case_id = data.draw(st.sampled_from(self._multiple()))
        call_id, _ = self._claim_new(case_id), self._claim_new(case_id)
        if call_id in self.running():
            self.end_call(call_id, status, False, b"", close=True)

    @precondition(lambda self: self._held())
    @rule(data=st.data(), status=st.sampled_from([SUCCEEDED, REJECTED]), body=bodies,
          answers=st.lists(st.sampled_from(DIGESTS), min_size=1, max_size=2))  # fmt: skip
    def answer_a_held_call(self, data, status, body, answers):
        """Answer once, or with two answers."""
        call_id = data.draw(st.sampled_from(self._held()))
        ran = self._known(call_id).status == RUNNING
        for digest in answers:
            self.end_call(call_id, status, False, body, digest=digest)
        held = self.do(read_held(self.scripts, call_id))
        assert (held.status, held.answer_digest) == (self._known(call_id).status, self._known(call_id).answer_digest)
        if ran and held.answer_digest and held.answer is not None:
            of_case = self._whole.get(held.answer_digest)  # the case was resolved before this call ended
            assert held.answer == (of_case or Response(type=ResponseType.RESPONSE, code=200, headers=GAVE, body=body))

    @precondition(lambda self: self.granted)
    @rule(data=st.data(), accepts=st.sampled_from([True, True, False]), again=st.booleans())
    def mark_a_fallback(self, data, accepts, again):
        call_id = data.draw(st.sampled_from([*self.granted, *self.running(), *self.running()]))
        for _ in range(1 + again):
            self._mark_fallback(call_id, accepts=accepts)

    @precondition(lambda self: self.granted)
    @rule(data=st.data(), told=st.lists(st.booleans(), min_size=1, max_size=2), status=ends, body=bodies,
          no_repeat=st.booleans(), erases=st.booleans(), trims=st.booleans())  # fmt: skip
    def a_caller_is_told_to_wait(self, data, told, status, body, no_repeat, erases, trims):
        """The caller of a call, or a repeat, waits at its address, and gets the answer there, although the call is no
        longer kept. An answer that must not be given twice is for the first that asks, if the caller waits."""
        call_id = data.draw(st.sampled_from([*self.granted, *self.running(), *self.running()]))
        case_id = ids.case_id_of_call(call_id)
        model = self.model.get(case_id) or self.dropped[case_id]
        call = self._known(call_id)
        for is_own in told:
            wait_hash = call_id.ljust(64, "0")
            kept = self.do(
                mark_waiting(self.scripts, call_id=call_id, wait_hash=wait_hash, method="post", is_own=is_own)
            )
            assert (kept == wait_hash) is model.mark_waiting(call_id, wait_hash, is_own=is_own)
        if not call.wait_hash or case_id not in self.model:
            return
        others = self.do(follow_call(self.scripts, call_id, repeat_id="0", replica="replica", wait_hash="f" * 64))
        assert others is FollowResult.UNKNOWN
        if call.status == RUNNING:
            assert self._at_address(call) == CallRuns(self.new[case_id].owner)
            model.calls[call_id].waiters.add("at its address")
        if call.status != RUNNING or call.delivery:
            return
        if erases:
            self._erase(case_id, None, f"erasure {next(self.numbers)}")
            model.erase()
        self.end_call(call_id, status, False, body, no_repeat=no_repeat)
        if call.status not in (SUCCEEDED, REJECTED):
            return
        if trims:
            self.drop(past=True)
        if call_id in model.kept:
            assert self.do(self.client.pttl(keys.key(keys.partition_of(call_id), "answer", call_id))) > BRIEFLY_MS
        assert self._at_address(call, without_answer=True) is FollowResult.ENDED
        found = self._at_address(call)
        assert (found.status, found.method) == (call.status, "post")
        if call_id in model.kept:  # else it was erased, or is larger than what the case may keep
            assert found.answer == complete(model.kept[call_id][0], platform_url=PLATFORM_URL)
        elif call.no_repeat and not call.caller_waits:
            assert found.answer is None
        assert self._at_address(call) == found
        if call.no_repeat:
            assert self._at_address(call, asker="another").answer is None

    @precondition(lambda self: self.running())
    @rule(data=st.data(), end=st.sampled_from([NOT_STARTED, FAILED, "lost"]),
          then=st.sampled_from([None, "take", "erase", "replay"]))  # fmt: skip
    def an_attempt_after_a_fallback_may_not_end_its_call(self, data, end, then):
        """No handler is asked, it fails, or its server is lost. Then the call is taken, erased or replayed."""
        call_id = data.draw(st.sampled_from(self.running()))
        call = self._known(call_id)
        self._mark_fallback(call_id)
        if end == "lost" and call in self._in_lease():
            self._end_lease(call, EARLY)
            self.sweep()
        elif end != "lost":
            self.end_call(call_id, end, False, b"", due=NOW)
        if then == "take":
            self.take(paused=False)
        elif then == "erase":
            case_id = ids.case_id_of_call(call_id)
            assert self._erase(case_id, None, f"erasure {next(self.numbers)}").calls == self.model[case_id].erase()
        elif then == "replay":
            self._replay(call_id)

    @precondition(lambda self: self.model)
    @rule(
        data=st.data(), digest=st.sampled_from(["c" * 64, "d" * 64]),
        status=st.sampled_from([SUCCEEDED, SUCCEEDED, REJECTED]),
        merged=st.sampled_from(["now", "now", "before"]), late=st.booleans(), foreign=st.booleans(),
        closes=st.sampled_from([False, False, True]), erases=st.booleans(),
        then=st.sampled_from([None, "claim", "again", "sweep", "answer", "expires"]),
    )  # fmt: skip
    def resolve(self, data, digest, status, merged, late, foreign, closes, erases, then):
        """Give a case that holds calls its answer, while or before it holds some. It may be erased afterwards."""
        holding = self._holding()
        still_open = [case_id for case_id in holding if self.model[case_id].status != CLOSED]
        case_id = data.draw(st.sampled_from([*self.model, *holding, *4 * still_open]))
        if late:
            call_id = self._claim_new(case_id)
            if late and call_id in self.running():
                self._end_lease(self._known(call_id), LATE)
        for _ in range(data.draw(st.integers(0, 2))):
            self._claim_new(case_id)
        model = self.model[case_id]
        if closes:
            self.do(close_case(self.scripts, case_id, owner=None, recording=RECORDING))
            model.close()
        answer = Response(type=ResponseType.RESPONSE, code=200, headers=GAVE, body=digest.encode())
        if digest.startswith("d"):
            answer = Response(type=ResponseType.REDIRECT, redirect_url="https://shop.example/paid")
        self._whole[digest] = answer
        version = None if status == REJECTED else model.version - (merged == "before")
        up_to = data.draw(st.sampled_from([model.call_count, model.call_count, model.call_count - 1]))
        if foreign:
            reply = self._resolve(case_id, digest, status, answer, version, up_to, owner="nobody")
            assert reply is ResolveRefusal.UNKNOWN
        self._resolve_and_compare(case_id, digest, status, answer, version, up_to)
        if erases:
            assert self._erase(case_id, None, f"erasure {next(self.numbers)}").calls == self.model[case_id].erase()
        if then == "again":
            self._resolve_and_compare(case_id, digest, status, answer, version, up_to)
        elif then == "sweep":
            self.sweep()
        elif then == "expires" and case_id in self._can_expire():
            self._expire(case_id)
            self.sweep()
        elif then == "answer":
            for call_id in model.running:
                self.end_call(call_id, SUCCEEDED, False, b"", digest=DIGESTS[1])
        elif then == "claim":
            call_id = self._claim_new(case_id)
            if call_id in self.model[case_id].calls or call_id in self.model[case_id].gone:
                reply = self._claim(case_id, call_id)
                profile = self.new[case_id].verification_profile
                self._compare_claim(reply, self.model[case_id].claim(call_id, profile=profile))
