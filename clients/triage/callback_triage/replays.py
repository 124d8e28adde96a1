"""Replay of all calls of an activity that died, failed for one reason, or wait: in the background, with progress."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from callback import (
    AsyncCallbackClient,
    Call,
    Callback,
    CallbackError,
    CallFailure,
    CallFilter,
    CallNotReplayableError,
    CallStatus,
    NotFoundError,
)
from callback_triage.reasons import FAILURES, REJECTED, said_by_handler, why_dead, why_failed

REASONS: Final = (REJECTED, *(f"failure.{each.value}" for each in CallFailure))
"""All reasons why a delivery can be dead: names of texts."""
FAILED_REASONS: Final = (*REASONS[1:], "why.FAILED.HOLD", "why.INTERRUPTED")
"""All reasons why a call can have failed: names of texts."""
WITHOUT_HANDLER: Final = frozenset(("record", "form"))
"""Activities whose calls have no handler to run again."""
_PAGE_SIZE: Final = 100
_SEARCHED: Final = 50
"""How many callbacks are on a page of failed calls: the server is asked for the newest call of each."""
_CONCURRENT: Final = 8
"""How many calls are replayed at once."""


@dataclass(frozen=True, slots=True)
class Deliveries:
    """Calls of one activity whose delivery is dead, all of them or those that died for one reason.

    Or those whose delivery waits for its next attempt, for the reason for which the last one failed.
    """

    activity: str
    reason: str = ""
    """One of `REASONS`. Empty: any of them."""
    owner: str = ""
    """Their owner. Empty: the person."""
    since: datetime | None = None
    """When the oldest of them came. None: at any time."""
    said: str | None = None
    """What their handler has said (`said_by_handler`). None: anything."""
    pending: bool = False
    """Whether they are those that wait."""

    async def pages(self, client: AsyncCallbackClient) -> AsyncIterator[Sequence[Call]]:
        """Yield the calls, newest first, without their bodies. A page can be empty."""
        token, chosen = "", CallFilter.PENDING if self.pending else CallFilter.DEAD
        while True:
            page = await client.list_owner_calls_page(
                chosen, owner=self.owner, activity=self.activity, page_size=_PAGE_SIZE, page_token=token
            )
            yield [call for call in page.items if self._has(call)]
            token = page.next_page_token
            if not token:
                return

    def _has(self, call: Call) -> bool:
        is_recent = self.since is None or call.start_time >= self.since
        return is_recent and self.reason in ("", why_dead(call.delivery)) and self.said in (None, said_by_handler(call))


@dataclass(frozen=True, slots=True)
class FailedCalls:
    """Newest calls of callbacks of one activity that failed for one reason, except those that were replayed."""

    activity: str
    status: CallStatus
    """One of `FAILURES`."""
    reason: str
    """One of `FAILED_REASONS`."""
    owner: str = ""
    """Their owner. Empty: the person."""
    said: str | None = None
    """What their handler has said (`said_by_handler`). None: anything."""

    async def pages(self, client: AsyncCallbackClient) -> AsyncIterator[Sequence[Call]]:
        """Yield the calls, those of the newest callbacks first, without their bodies. A page can be empty."""
        token = ""
        while True:
            page = await client.list_callbacks_page(
                last_call_status=self.status,
                owner=self.owner,
                activity=self.activity,
                page_size=_SEARCHED,
                page_token=token,
            )
            found = await newest_failed(client, page.items)
            yield [call for call, callback in found if self._has(call, callback)]
            token = page.next_page_token
            if not token:
                return

    def _has(self, call: Call, callback: Callback) -> bool:
        return why_failed(call, callback) == self.reason and self.said in (None, said_by_handler(call))


async def newest_failed(client: AsyncCallbackClient, callbacks: Sequence[Callback]) -> list[tuple[Call, Callback]]:
    """Return the newest call of each callback, without those that did not fail, were replayed or are erased."""
    calls = await asyncio.gather(*(_newest(client, each.case_id) for each in callbacks))
    return [
        (call, callback)
        for call, callback in zip(calls, callbacks, strict=True)
        if call is not None and call.status in FAILURES and call.delivery is None and not call.erased
    ]


async def _newest(client: AsyncCallbackClient, case_id: str) -> Call | None:
    try:
        return next(iter((await client.list_calls_page(case_id, page_size=1)).items), None)
    except NotFoundError:  # the callback was deleted since
        return None


class Replay:
    """One replay, from its start on.

    Args:
        calls: The calls to replay: those that are dead or failed when the replay comes to them.
        expected: How many there are, as far as the person knows.
        client: The client of the person.
    """

    def __init__(self, calls: Deliveries | FailedCalls, expected: int, client: AsyncCallbackClient) -> None:
        self.expected = expected
        self.replayed = 0
        """How many calls are replayed."""
        self.refused = 0
        """How many calls the server refused to replay: erased, deleted or replayed since."""
        self.error = ""
        """Why it ended early."""
        self._calls = calls
        self._client = client
        self._task = asyncio.create_task(self._run())

    @property
    def is_running(self) -> bool:
        """Whether it continues."""
        return not self._task.done()

    @property
    def is_stopped(self) -> bool:
        """Whether a person stopped it."""
        return self._task.cancelled()

    async def wait(self, timeout_s: float) -> None:
        """Wait until it has ended, at most for a time."""
        await asyncio.wait([self._task], timeout=timeout_s)

    def stop(self) -> None:
        """Stop it. Calls that are replayed already stay so."""
        self._task.cancel()

    async def _run(self) -> None:
        try:
            async for calls in self._calls.pages(self._client):
                for start in range(0, len(calls), _CONCURRENT):
                    await asyncio.gather(*map(self._replay, calls[start : start + _CONCURRENT]))
        except CallbackError as error:
            self.error = str(error)

    async def _replay(self, call: Call) -> None:
        try:
            await self._client.replay_call(call.call_id)
        except (CallNotReplayableError, NotFoundError):
            self.refused += 1
        else:
            self.replayed += 1
