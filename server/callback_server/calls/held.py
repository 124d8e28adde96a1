"""Held calls: the caller waits at one process, somebody answers at any, and they meet in the store.

Who answers ends the call, durably; the process of the caller is told by mail, and looks each second in case a letter
was lost. So a held call has one end, whatever comes together: two answers, the deadline, a close, a crash.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from typing import Final

import msgspec

from callback_process.logs import get_logger
from callback_server import errors
from callback_server.domain.call import CallStatus
from callback_server.domain.response import REJECTION, overlay
from callback_server.errors import InvalidRequestError, Violation
from callback_server.handlers.dispatch import HandlerDispatcher
from callback_server.handlers.handler import Decision
from callback_server.replica_bus import ReplicaBus, ReplicaMessage
from callback_server.store.connection.client import StoreError
from callback_server.store.connection.resend import resend_knowing
from callback_server.store.queries.read import HeldCall, read_held
from callback_server.store.retention import Retention
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.finish_call import finish_call
from callback_server.transition_log import log_call_ended

log = get_logger()

LOOK_S: Final = 1.0
"""How often a call that is held is looked at in the store, in seconds: much less than its answer is kept there."""
ANSWER_S: Final = 3.0
"""How long an answer waits for a store that does not answer, in seconds; it can be given again."""


class Answered(ReplicaMessage, frozen=True, array_like=True):
    """Somebody has answered a call that you hold."""

    kind = "call.answered"

    call_id: str


class HeldCalls:
    """Those whose callers wait here; and the way to answer those that are held anywhere."""

    def __init__(
        self, scripts: Scripts, replica_bus: ReplicaBus, dispatcher: HandlerDispatcher, retention: Retention
    ) -> None:
        self._scripts = scripts
        self._replica_bus = replica_bus
        self._dispatcher = dispatcher
        self._retention = retention
        self._waiting: dict[str, asyncio.Event] = {}
        replica_bus.receive(Answered, self._answered)

    @property
    def replica(self) -> str:
        """Who is to be told of the answer to a call that is held here."""
        return self._replica_bus.replica

    async def wait(self, call_id: str, timeout_s: float) -> HeldCall | None:
        """Waits until a call has ended. None: it has not in this time."""
        end = time.monotonic() + timeout_s
        answered = self._waiting[call_id] = asyncio.Event()
        try:
            while (left_s := end - time.monotonic()) > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(left_s, LOOK_S)):
                        await answered.wait()
                answered.clear()
                if held := await self.ended(call_id):
                    return held
        finally:
            del self._waiting[call_id]
        return None

    async def ended(self, call_id: str) -> HeldCall | None:
        """How a held call has ended. None: it has not, or that can not be learned."""
        try:
            held = await read_held(self._scripts, call_id)
        except StoreError as error:
            log.warning("held_call_not_seen", call_id=call_id, error=str(error))
            return None
        return held if held is not None and held.status is not CallStatus.RUNNING else None

    async def answer(self, call_id: str, decision: Decision, *, activity: str) -> None:
        """Answers a held call, wherever its caller waits.

        Raises:
            CallNotHeldError: it is not held.
            CallAnsweredError: it has ended otherwise.
            InvalidRequestError: the answer can not be rendered.
            StoreError: it is not known whether it was answered.
        """
        held = await read_held(self._scripts, call_id)
        if held is None:
            raise errors.CallNotFoundError
        if not held.replica:
            raise errors.CallNotHeldError(has_ended=held.status is not CallStatus.RUNNING)
        digest = hashlib.sha256(
            msgspec.msgpack.encode((decision.accepted, decision.override, decision.keep_open))
        ).hexdigest()
        if held.status is CallStatus.RUNNING and held.response is not None:
            response = overlay(held.response if decision.accepted else REJECTION, decision.override)
            if broken := self._dispatcher.problems(response):
                raise InvalidRequestError([Violation(f"response.{e.field}", e.rule, e.message) for e in broken])
            outcome = self._dispatcher.decided(held.response, decision)
            finished, unsure = await resend_knowing(
                lambda: finish_call(
                    self._scripts, call_id=call_id, outcome=outcome, retention=self._retention, answer_digest=digest
                ),
                unsent_s=ANSWER_S,
                unsure_s=ANSWER_S,
            )
            if finished is not None:
                self._replica_bus.post(held.replica, Answered(call_id))
                if unsure or not finished.again:  # else somebody else said the same, and was first
                    log_call_ended(call_id, activity, outcome, finished.effect)
                return
            held = await read_held(self._scripts, call_id) or held
        if held.answer_digest != digest:
            raise errors.CallAnsweredError(held.status)

    def _answered(self, letter: Answered) -> None:
        if (waiting := self._waiting.get(letter.call_id)) is not None:
            waiting.set()
