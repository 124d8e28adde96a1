"""Replay of all dead calls of an activity that died for one reason: in the background, with progress."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from callback import (
    AsyncCallbackClient,
    Call,
    CallbackError,
    CallFailure,
    CallFilter,
    CallNotReplayableError,
    NotFoundError,
)
from callback_console.reasons import REJECTED, why_dead

REASONS: Final = (REJECTED, *(f"failure.{each.value}" for each in CallFailure))
"""All reasons why a delivery can be dead: names of texts."""
_PAGE_SIZE: Final = 100
_CONCURRENT: Final = 8
"""How many calls are replayed at once."""


@dataclass(frozen=True, slots=True)
class DeadCalls:
    """Dead calls of one activity, all of them or those that died for one reason."""

    activity: str
    reason: str = ""
    """One of `REASONS`. Empty: any of them."""
    owner: str = ""
    """Their owner. Empty: the person."""
    since: datetime | None = None
    """When the oldest of them came. None: at any time."""

    async def pages(self, client: AsyncCallbackClient) -> AsyncIterator[Sequence[Call]]:
        """Yield the calls, newest first, without their bodies. A page can be empty."""
        token = ""
        while True:
            page = await client.list_owner_calls_page(
                CallFilter.DEAD, owner=self.owner, activity=self.activity, page_size=_PAGE_SIZE, page_token=token
            )
            yield [call for call in page.items if self._has(call)]
            token = page.next_page_token
            if not token:
                return

    def _has(self, call: Call) -> bool:
        is_recent = self.since is None or call.start_time >= self.since
        return is_recent and self.reason in ("", why_dead(call.delivery))


class Replay:
    """One replay, from its start on.

    Args:
        calls: The calls to replay: those that are dead when the replay comes to them.
        expected: How many there are, as far as the person knows.
        client: The client of the person.
    """

    def __init__(self, calls: DeadCalls, expected: int, client: AsyncCallbackClient) -> None:
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
