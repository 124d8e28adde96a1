"""How a call ends, or its caller gets something before, on the store and on the model."""

from model.life import LATER, NOT_STARTED, NOW, REJECTED, SUCCEEDED
from msgspec.structs import replace
from store.machine.system import System, kept_size
from store.machine.values import CAME, GAVE, LEFT, RESOLVED_AT_ONCE

from callback_server.domain import ids
from callback_server.domain.call import CallFailure, CallStatus, DeliveryStatus, Outcome
from callback_server.domain.case import CloseReason, Settings
from callback_server.domain.response import Response, ResponseType
from callback_server.store.queries.read import read_call, read_held
from callback_server.store.transitions.claim_call import CaseClosed
from callback_server.store.transitions.finish_call import FinishResult, ResponseReplaced, finish_call
from callback_server.store.transitions.mark_fallback import mark_fallback
from callback_server.store.transitions.resolve_case import ResolvedBatch, ResolveRefusal, resolve_case


class EndSteps(System):
    """Steps that end calls."""

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
        token = max(self._known(call_id).attempts_started, 1) if token is None else token
        wait_ms = {None: None, NOW: 0, LATER: 3_600_000}[due]
        asked = status != NOT_STARTED
        reply = self.do(
            finish_call(
                self.scripts, call_id=call_id, outcome=outcome, version=version, recording=self.recording,
                answer_digest=digest, fencing_token=token, wait_ms=wait_ms, was_asked=asked,
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
            assert reply == FinishResult(None, delivery=DeliveryStatus.PENDING, wait_ms=wait_ms)
            return
        delivery = DeliveryStatus(call.delivery) if call.delivery else None
        ended = FinishResult(call.effect, again=not was_running, delivery=delivery)
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
