"""Held calls: the call waits in the store, its caller on one process, and any process can answer the call.

The answer ends the call in the store. The caller's process is notified by a message between replicas, and also polls
the store, each second or less often if many calls are held, in case a message was lost. A held call therefore has
exactly one end, even if two answers, the end of its hold time, a close and a crash coincide.

The lease of a held call is the hold time of its case. No process owns it: if the process of the caller dies, the call
waits on, and the first transition after the end of its hold time, on whichever process, ends it as FAILED.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import time
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from callback_process.logs import get_logger
from callback_server import errors
from callback_server.access.audit_log import AuditLog
from callback_server.calls.transition_log import log_call_ended
from callback_server.domain.audit import AuditAction, Change
from callback_server.domain.call import CallStatus, Decision, Outcome
from callback_server.domain.case import AnswerMode, Case
from callback_server.domain.ids import case_id_of_call
from callback_server.domain.rendering import ResponseRenderer
from callback_server.domain.response import REJECTION, Response, overlay
from callback_server.errors import InvalidRequestError, Violation
from callback_server.store import keys
from callback_server.store.connection.errors import StoreError
from callback_server.store.failure_log import log_store_error
from callback_server.store.queries.read import HeldCall, read_held
from callback_server.store.recording import Recording
from callback_server.store.replica_bus import ReplicaBus, ReplicaMessage
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.claim_call import CaseClosed
from callback_server.store.transitions.finish_call import FinishResult, ResponseReplaced, finish_call
from callback_server.store.transitions.resolve_case import ResolvedBatch, ResolveRefusal, resolve_case
from callback_server.store.transitions.sweep_partition import sweep_partition

log = get_logger()

LOOK_INTERVAL_S: Final = 1.0
"""Least interval between two polls of the store for a held call, in seconds."""
MAX_LOOK_INTERVAL_S: Final = 10.0
"""Longest such interval, in seconds: much shorter than the time that an answer is kept there."""
LOOKS_PER_S: Final = 100
"""How many polls there are in a second, about, where that allows the longest interval: each costs time of calls that
run."""

_REFUSALS: Final[Mapping[ResolveRefusal, Callable[[], errors.CallbackError]]] = {
    ResolveRefusal.UNKNOWN: errors.CaseNotFoundError,
    ResolveRefusal.NOT_HELD: errors.CallNotHeldError,
    ResolveRefusal.CONFLICT: errors.CaseResolvedError,
}


class CallAnswered(ReplicaMessage, frozen=True, array_like=True):
    """A call that the receiver holds was answered."""

    kind = "call.answered"

    call_id: str


class HeldCalls:
    """The held calls whose callers wait on this process, and the answers to held calls on any process."""

    def __init__(
        self,
        scripts: Scripts,
        replica_bus: ReplicaBus,
        renderer: ResponseRenderer,
        recording: Recording,
        audit: AuditLog,
    ) -> None:
        self._scripts = scripts
        self._replica_bus = replica_bus
        self._renderer = renderer
        self._recording = recording
        self._audit = audit
        self._waiting: dict[str, asyncio.Event] = {}
        replica_bus.receive(CallAnswered, self._on_answered)

    async def wait(self, call_id: str, *, hold_time_left_s: float) -> HeldCall:
        """Wait until a held call has ended, with an answer or at the end of its hold time.

        Raises:
            OutcomeUnknownError: The store was unreachable for so long that the call is no longer kept.
        """
        hold_end = time.monotonic() + hold_time_left_s
        answered = self._waiting[call_id] = asyncio.Event()
        try:
            while True:
                left_s = hold_end - time.monotonic()
                interval_s = min(max(LOOK_INTERVAL_S, len(self._waiting) / LOOKS_PER_S), MAX_LOOK_INTERVAL_S)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(left_s, interval_s) if left_s > 0 else LOOK_INTERVAL_S):
                        await answered.wait()
                answered.clear()
                try:
                    if time.monotonic() >= hold_end:  # a sweep ends it, and the next one of all may be a second away
                        partition = keys.partition_of(case_id_of_call(call_id))
                        await sweep_partition(self._scripts, partition, recording=self._recording)
                    held = await read_held(self._scripts, call_id)
                except StoreError as error:
                    log_store_error("held_call_not_read", error, call_id=call_id)
                    continue
                if held is None:
                    raise errors.OutcomeUnknownError(call_id)
                if held.status is not CallStatus.RUNNING:
                    return held
        finally:
            del self._waiting[call_id]

    async def answer(self, call_id: str, decision: Decision, case: Case, *, answered_by: str) -> None:
        """Answer a held call of a case, on whichever process its caller waits.

        The answer is the response of the case as it is when the answer is recorded, overlaid by the decision. The
        principal `answered_by` is recorded with it.

        Raises:
            CallNotFoundError: There is no such call.
            CallNotHeldError: The call is not held.
            CallAnsweredError: The call has ended with another answer, or without one.
            InvalidRequestError: The answer cannot be rendered.
            StoreError: It is not known whether the call was answered.
        """
        held = await read_held(self._scripts, call_id)
        if held is None:
            raise errors.CallNotFoundError
        if case.answer_mode is not AnswerMode.HOLD:
            raise errors.CallNotHeldError(has_ended=held.status is not CallStatus.RUNNING)
        digest = _digest(decision)
        if held.status is CallStatus.RUNNING:
            if await self._finish(call_id, decision, digest, case, answered_by):
                self._replica_bus.send(held.replica, CallAnswered(call_id))
                return
            held = await read_held(self._scripts, call_id) or held
        if held.answer_digest != digest:
            raise errors.CallAnsweredError(held.status)

    async def _finish(self, call_id: str, decision: Decision, digest: str, case: Case, answered_by: str) -> bool:
        """Record the answer to a held call, and return whether the call has ended with it."""
        response, version, unsure = case.response, case.version, False
        while True:
            outcome = self._outcome(response, decision)
            finish = functools.partial(
                finish_call,
                self._scripts,
                call_id=call_id,
                outcome=outcome,
                version=version if decision.accepted else None,
                case_body=response.body,
                recording=self._recording,
                answer_digest=digest,
                answered_by=answered_by,
            )
            finished, maybe_done = await self._audit.record_knowing(
                Change.of_case(
                    AuditAction.CALL_ANSWERED, answered_by, case, call_id=call_id, details=_details(decision)
                ),
                finish,
                is_recorded=lambda result: isinstance(result, FinishResult) and not result.again,
            )
            unsure = unsure or maybe_done
            if finished is None:
                return False
            if isinstance(finished, ResponseReplaced):
                response, version = finished.response, finished.version
                continue
            if unsure or not finished.again:  # else another client gave the same answer before
                log_call_ended(call_id, case.activity, outcome, finished.effect, owner=case.owner)
            return True

    async def resolve(self, case: Case, decision: Decision, *, answered_by: str) -> int:
        """Give a case its answer, and end its held calls with it. Return how many calls have ended.

        Args:
            case: The case.
            decision: The answer. It is merged with the response of the case as it is when the answer is recorded.
            answered_by: The principal that gives it, which is recorded with each call.

        Raises:
            CaseNotFoundError: There is no such case any more.
            CallNotHeldError: The case holds no calls.
            CaseResolvedError: The case has another answer.
            CaseClosedError: The case is closed, and no call is held.
            InvalidRequestError: The answer cannot be rendered.
            StoreError: It is not known whether the case has the answer, or whether all calls have ended. They end.
        """
        digest = _digest(decision)
        response, version, count = case.response, case.version, 0
        while True:
            # The answer that the case has already was checked before, and this one is not stored.
            is_known = case.resolved == digest
            outcome = Outcome(CallStatus.REJECTED, response) if is_known else self._outcome(response, decision)
            resolve = functools.partial(
                resolve_case,
                self._scripts,
                case.id,
                owner=case.owner,
                digest=digest,
                answered_by=answered_by,
                outcome=outcome,
                version=version if decision.accepted else None,
                up_to=case.call_count,
                recording=self._recording,
            )
            result = await self._audit.record(
                Change.of_case(AuditAction.CALLBACK_RESOLVED, answered_by, case, details=_details(decision)),
                resolve,
                is_recorded=lambda result: isinstance(result, ResolvedBatch) and not result.again,
            )
            match result:
                case ResponseReplaced():
                    response, version = result.response, result.version
                case CaseClosed():
                    raise errors.CaseClosedError(result.reason)
                case ResolveRefusal():
                    refusal = _REFUSALS[result]
                    raise refusal()
                case ResolvedBatch():
                    for call_id, replica in result.ended:
                        self._replica_bus.send(replica, CallAnswered(call_id))
                    count += len(result.ended)
                    if not result.left:
                        return count

    def _outcome(self, response: Response, decision: Decision) -> Outcome:
        """Return how a call ends with a decision; `response` is the case's. Raises InvalidRequestError."""
        merged = overlay(response if decision.accepted else REJECTION, decision.override)
        if broken := self._renderer.problems(merged):
            raise InvalidRequestError([Violation(f"response.{e.field}", e.rule, e.message) for e in broken])
        return self._renderer.outcome_of_decision(response, decision)

    def _on_answered(self, message: CallAnswered) -> None:
        if (waiting := self._waiting.get(message.call_id)) is not None:
            waiting.set()


def _digest(decision: Decision) -> str:
    """Return the digest by which the same answer is recognized."""
    content = (decision.accepted, decision.override, decision.keep_open, decision.no_repeat)
    # Without `close` it is the digest of the release before, which can have stored the same answer.
    return hashlib.sha256(msgspec.msgpack.encode((*content, True) if decision.close else content)).hexdigest()


def _details(decision: Decision) -> dict[str, str]:
    """Return what the audit says about an answer: not what the caller gets."""
    flags = {"keep_open": decision.keep_open, "close": decision.close, "no_repeat": decision.no_repeat}
    verdict = {"verdict": "ACCEPTED" if decision.accepted else "REJECTED"}
    return verdict | {name: "true" for name, is_set in flags.items() if is_set}
