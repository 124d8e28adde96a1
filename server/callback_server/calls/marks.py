"""Records on a call what its caller got while it ran: the fallback, an address to wait at, or nothing (it is gone).

The first two are recorded before they are sent, so that no process believes later that the caller still waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from callback_process.logs import get_logger
from callback_process.tasks import TaskSet
from callback_server import errors
from callback_server.calls.active_call import ActiveCall
from callback_server.calls.waiting import WaitTokens, wait_hash, wait_path
from callback_server.domain.call import Grant, Outcome, Request
from callback_server.domain.case import AnswerMode
from callback_server.domain.ids import case_id_of_call
from callback_server.store.connection.errors import StoreError
from callback_server.store.connection.resend import resend
from callback_server.store.failure_log import log_store_error
from callback_server.store.recording import Recording
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.mark_caller_gone import mark_caller_gone
from callback_server.store.transitions.mark_fallback import mark_fallback
from callback_server.store.transitions.mark_waiting import mark_waiting

log = get_logger()

MARK_S: Final = 5.0
"""How long the mark of what a caller gets is sent to a store that does not reply, in seconds, before the call is looked
at again."""
GONE_S: Final = 5.0
"""How long the mark of a caller that is gone waits for a store that does not reply, in seconds."""


class CallerMarks:
    """Records on calls what their callers get."""

    def __init__(self, scripts: Scripts, recording: Recording, wait_tokens: WaitTokens) -> None:
        self._scripts = scripts
        self._recording = recording
        self._wait_tokens = wait_tokens
        self._tasks = TaskSet()
        """The marks of callers that are gone, until the store has them."""

    def start_gone(self, call_id: str) -> None:
        """Start to mark that the caller of a call is gone."""
        self._tasks.start(self._mark(call_id))

    async def wait(self) -> None:
        """Wait until the store has the marks, or their time is over."""
        await self._tasks.wait()

    async def mark_caller_gone(self, call_id: str) -> None:
        """Mark that the caller of a call did not get its answer.

        Raises:
            StoreError: It is not known whether the call was marked.
        """
        if await mark_caller_gone(self._scripts, call_id):
            log.info("caller_gone", call_id=call_id, case_id=case_id_of_call(call_id))

    async def _mark(self, call_id: str) -> None:
        try:
            await resend(lambda: self.mark_caller_gone(call_id), unsent_s=GONE_S, unsure_s=GONE_S)
        except StoreError as error:
            log_store_error("caller_gone_not_marked", error, call_id=call_id)

    async def mark_waiting(self, call_id: str, call: ActiveCall, ends: asyncio.Task[Any], *, decides_here: bool) -> str:
        """Record that a caller waits at the address of a call, and return its path. Empty: the call has ended.

        It is also empty if another caller waits at an address that this server cannot make, because a server with
        another key made it.

        Args:
            call_id: The call that the caller waits for.
            call: The request of the caller.
            ends: Waits for the end of the call.
            decides_here: Whether that is the decision, which keeps a process that stops.

        Raises:
            OutcomeUnknownError: This process or the edge stops, and the store does not reply.
        """
        tokens = self._wait_tokens.tokens(call_id)
        token = ""

        async def mark() -> bool:
            nonlocal token
            kept = await mark_waiting(
                self._scripts,
                call_id=call_id,
                wait_hash=wait_hash(tokens[0]),
                method=call.method,
                is_own=call_id == call.call_id,
            )
            token = next((each for each in tokens if wait_hash(each) == kept), "")
            return token != ""

        if not await self._mark_before_answer(mark, call, ends, decides_here=decides_here):
            return ""
        log.info("caller_told_to_wait", call_id=call_id, case_id=case_id_of_call(call_id))
        return wait_path(call_id, token)

    async def mark_fallback(
        self, grant: Grant, request: Request, call: ActiveCall, ends: asyncio.Task[Outcome], *, decides_here: bool
    ) -> bool:
        """Record that the caller gets the fallback, before it does. Return whether the caller may get it.

        Raises:
            OutcomeUnknownError: As for `mark_waiting`, whose arguments are the same.
        """

        async def mark() -> bool:
            return await mark_fallback(
                self._scripts,
                call_id=grant.call_id,
                request=request,
                recording=self._recording,
                accepts=may_be_delivered(grant),
            )

        return await self._mark_before_answer(mark, call, ends, decides_here=decides_here)

    async def _mark_before_answer(
        self, mark: Callable[[], Awaitable[bool]], call: ActiveCall, ends: asyncio.Task[Any], *, decides_here: bool
    ) -> bool:
        """Record what the caller of a call that runs gets now, before it does. Return whether that was recorded.

        A store that does not reply is asked again until `ends` is done, which waits for the end of the call, or until
        the caller is gone. Only a call whose decision is made here keeps a process that stops.

        Raises:
            OutcomeUnknownError: This process or the edge stops, and the store does not reply.
        """
        while True:
            try:
                return await resend(mark, unsent_s=MARK_S, unsure_s=MARK_S)
            except StoreError as error:
                log_store_error("answer_not_marked", error, call_id=call.call_id)
            if ends.done() or call.is_caller_gone:
                return False
            if call.released.done() and not decides_here:
                raise errors.OutcomeUnknownError(call.call_id if call.is_claimed else "")


def may_be_delivered(grant: Grant) -> bool:
    """Return whether the call has a delivery if its caller gets the fallback."""
    return grant.answer_mode is AnswerMode.HANDLER and grant.fallback is not None and grant.fallback.accepts
