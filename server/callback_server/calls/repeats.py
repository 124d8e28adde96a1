"""Repeats: the same request again, or the same message. A repeat is no call. It gets the answer of the call before it.

A caller that was told to wait at the address of its call gets that answer in the same way.

The claim of a repeat finds that call in the store, so it may have come to any server. While the call runs, the repeat
waits on the process where it came. The store reports the end of the call to the process whose transition ended it. That
process tells the ones where repeats wait. Each repeat also asks the store every second: a message can be lost, and a
process can die. So it also stays one of the waiters of the call, whose number is limited.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from typing import Final

from msgspec.structs import replace

from callback_process.logs import get_logger
from callback_server import errors
from callback_server.calls.active_call import NO_ANSWER, ActiveCall, CallAnswer, failed_error
from callback_server.calls.marks import CallerMarks
from callback_server.calls.waiting import BROWSER_AFTER_MS, HELD_AFTER_MS, WAIT_S, first_of, wait_hash, wait_path
from callback_server.domain.call import CallStatus
from callback_server.domain.rendering import ResponseRenderer
from callback_server.domain.reports import AwaitedCallEnded
from callback_server.domain.response import BARE_REJECTION, Response, ResponseType, complete
from callback_server.limits.call_slots import CallSlots
from callback_server.store.connection.errors import StoreError
from callback_server.store.failure_log import log_store_error
from callback_server.store.replica_bus import ReplicaBus, ReplicaMessage
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.claim_call import EarlierCallEnded, EarlierCallRuns
from callback_server.store.transitions.follow_call import CallRuns, FallbackSent, FollowResult, follow_call

log = get_logger()

ASK_INTERVAL_S: Final = 1.0
"""Interval at which a repeat asks the store, in seconds: much shorter than the time that the store keeps a
waiter."""


class RepeatedCallEnded(ReplicaMessage, frozen=True, array_like=True):
    """A call has ended, and repeats wait with it where this message goes."""

    kind = "repeated_call.ended"

    call_id: str


class Repeats:
    """The requests that wait on this process for the answers of calls, which run on any process."""

    def __init__(
        self,
        scripts: Scripts,
        replica_bus: ReplicaBus,
        *,
        renderer: ResponseRenderer,
        marks: CallerMarks,
        waits: CallSlots,
        patience_s: float,
    ) -> None:
        """Create it.

        Args:
            scripts: The scripts on the store.
            replica_bus: Carries the ends of calls.
            renderer: Renders answers.
            marks: Records that callers are told to wait.
            waits: The slots of requests that wait for the answers of calls.
            patience_s: How long a repeat waits for a store that does not reply, in seconds.
        """
        self._scripts = scripts
        self._replica_bus = replica_bus
        self._renderer = renderer
        self._marks = marks
        self._waits = waits
        self._patience_s = patience_s
        self._waiting: dict[str, set[asyncio.Event]] = {}
        replica_bus.receive(RepeatedCallEnded, self._on_ended)

    def send_end(self, ended: AwaitedCallEnded) -> None:
        """Tell the processes where repeats wait with a call that it has ended."""
        for replica in ended.replicas:
            self._replica_bus.send(replica, RepeatedCallEnded(ended.call_id))

    async def answer(self, earlier: EarlierCallRuns | EarlierCallEnded, call: ActiveCall) -> CallAnswer:
        """Return the answer of the call that is repeated, or raise its error. Tell the caller to wait if it runs.

        Raises:
            CallbackError: The call has failed, or it is not known how it ends.
        """
        if isinstance(earlier, EarlierCallEnded):
            return replace(self._answer_of(earlier), repeated_call_id=earlier.call_id)
        waiting = asyncio.create_task(self._follow(earlier.call_id, call.call_id, call))
        try:
            after_ms = BROWSER_AFTER_MS if call.prefers_page else HELD_AFTER_MS
            await first_of(waiting, call.released, 0 if earlier.told_to_wait else after_ms)
            if not waiting.done() and call.is_caller_gone:
                return NO_ANSWER
            if not waiting.done() and (
                path := await self._marks.mark_waiting(earlier.call_id, call, waiting, decides_here=False)
            ):
                return CallAnswer("", Response(), wait_path=path, repeated_call_id=earlier.call_id)
            return replace(self._answer_of(await waiting), repeated_call_id=earlier.call_id)
        finally:
            waiting.cancel()

    async def wait(self, call: ActiveCall, token: str, *, without_answer: bool) -> CallAnswer:
        """Return the answer to a call for a caller that was told to wait at its address, or where to wait again.

        Args:
            call: The request, with the id of the call.
            token: The token in the address.
            without_answer: Whether to wait only for the end of the call, and to return an empty answer.

        Raises:
            CallbackError: The call has no such address, it has failed, or it is not known how it ends.
        """
        waiting = asyncio.create_task(
            self._follow(
                call.call_id, secrets.token_hex(8), call, token_hash=wait_hash(token), without_answer=without_answer
            )
        )
        try:
            await first_of(waiting, call.released, WAIT_S * 1000)
            if not waiting.done():
                return CallAnswer("", Response(), wait_path=wait_path(call.call_id, token))
            return self._answer_of(await waiting)
        except errors.CallFailedError as error:
            error.retry_after_s = None  # the request to make again is another one
            raise
        finally:
            waiting.cancel()

    def _answer_of(self, found: EarlierCallEnded | FallbackSent | None) -> CallAnswer:
        """Return the answer of a call for another request, or raise its error. None: it was not asked for."""
        if found is None:
            return NO_ANSWER
        cookie_host = self._renderer.cookie_host(found.alternative_domain, found.owner)
        if isinstance(found, FallbackSent):
            return CallAnswer("", self._renderer.complete(found.fallback), cookie_host)
        if found.status is CallStatus.INTERRUPTED:
            raise errors.OutcomeUnknownError("")
        if found.status in (CallStatus.FAILED, CallStatus.NOT_STARTED):
            raise failed_error(found.failure, "", is_held=found.is_held, is_open=found.is_open)
        answer = found.answer
        if answer is None:
            if found.code is None:
                raise errors.AnswerNotRepeatedError
            answer = complete(Response(type=ResponseType.RESPONSE, code=found.code), platform_url=None)
        return CallAnswer(
            "",
            answer,
            cookie_host,
            rejected_without_response=found.status is CallStatus.REJECTED and answer == BARE_REJECTION,
            request_method=found.method,
        )

    async def _follow(
        self, call_id: str, repeat_id: str, request: ActiveCall, *, token_hash: str = "", without_answer: bool = False
    ) -> EarlierCallEnded | FallbackSent | None:
        """Wait until a call has ended, or its caller got the fallback.

        Args:
            call_id: The call.
            repeat_id: The repeat, which is one of the waiters of the call.
            request: The request that waits, which gets a slot for that.
            token_hash: SHA-256 of the token in the address of the call. Empty: a repeat waits, not a caller there.
            without_answer: Whether only the end of the call is waited for. The result is then None.

        Raises:
            TooManyCallsError, TooManyRequestsError: The owner has no slot for it.
            CallInProgressError: The repeat is not one of the waiters of the call any more.
            StateUnknownError: The call has no such address.
            OutcomeUnknownError: The store did not reply for too long, or the call is no longer known.
        """
        ended = asyncio.Event()
        waiting = self._waiting.setdefault(call_id, set())
        waiting.add(ended)
        replied_at = time.monotonic()
        has_slot = False
        try:
            while True:
                try:
                    result = await follow_call(
                        self._scripts,
                        call_id,
                        repeat_id=repeat_id,
                        replica=self._replica_bus.replica,
                        wait_hash=token_hash,
                        without_answer=without_answer,
                    )
                except StoreError as error:
                    log_store_error("repeated_call_not_read", error, call_id=call_id)
                    if time.monotonic() - replied_at > self._patience_s:
                        raise errors.OutcomeUnknownError("") from error
                else:
                    replied_at = time.monotonic()
                    if isinstance(result, CallRuns):
                        if not has_slot:
                            request.slot.free()
                            self._waits.check(result.owner)
                            request.wait_at(self._waits.take(result.owner))
                            has_slot = True
                    elif not isinstance(result, FollowResult):
                        return result
                    elif result is FollowResult.ENDED:
                        return None
                    elif result is FollowResult.BUSY:
                        raise errors.CallInProgressError
                    elif result is FollowResult.UNKNOWN:
                        raise errors.StateUnknownError if token_hash else errors.OutcomeUnknownError("")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(ASK_INTERVAL_S):
                        await ended.wait()
                ended.clear()
        finally:
            waiting.discard(ended)
            if not waiting:
                self._waiting.pop(call_id, None)

    def _on_ended(self, message: RepeatedCallEnded) -> None:
        for waiting in self._waiting.get(message.call_id, ()):
            waiting.set()
