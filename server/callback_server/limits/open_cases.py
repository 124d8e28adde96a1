"""The limit on an owner's cases that are not closed, kept by each process for itself.

The cases of an owner lie in all partitions, so no script can count and create in one step. A process therefore counts
now and then, and adds what it has made since.

1. Every case of this process is in its estimate: one that is being stored when a count begins is added to that count,
   whether or not the count saw it. So one process alone does not exceed the limit.
2. A count is used for `COUNT_AGE_S`. Where the limit seems reached it is made again, at most each `RECOUNT_S`: what
   is closed makes room within about a second.
3. Several processes do not know what the others have made since they last counted: together they can exceed the limit
   by that much.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from callback_server.errors import TooManyOpenCasesError

COUNT_AGE_S: Final = 10.0
"""How long a count is good for, in seconds."""
RECOUNT_S: Final = 1.0
"""How often it is counted again while the limit is reached, in seconds."""


class OpenCaseQuota:
    """Gives places for new cases, as long as there are some."""

    def __init__(self, limit: int, count: Callable[[str], Awaitable[int]]) -> None:
        """`count` says how many cases of an owner are not closed."""
        self._limit = limit
        self._count = count
        self._owners: dict[str, _Owner] = {}

    async def take(self, owner: str) -> None:
        """Takes a place for a case of this owner. Whoever took it calls `settle`, whatever became of it.

        Raises:
            TooManyOpenCasesError: there is none.
            StoreError: the cases could not be counted.
        """
        known = self._owners.setdefault(owner, _Owner())
        if known.age_s() > COUNT_AGE_S:
            await self._recount(owner, known, COUNT_AGE_S)
        if known.estimate >= self._limit:
            await self._recount(owner, known, RECOUNT_S)
        if known.estimate >= self._limit:
            raise TooManyOpenCasesError(self._limit)
        known.estimate += 1
        known.unsure += 1

    def settle(self, owner: str, *, made: bool) -> None:
        """Says of a place whether its case is stored, or may be; else it is free again."""
        known = self._owners[owner]
        known.unsure -= 1
        if not made:
            known.estimate -= 1

    async def _recount(self, owner: str, known: _Owner, age_s: float) -> None:
        async with known.counting:
            if known.age_s() <= age_s:
                return  # somebody else has just done it
            began, estimate, unsure = time.monotonic(), known.estimate, known.unsure
            counted = await self._count(owner)
            # What was taken, or given back, since it began stands.
            known.estimate = counted + unsure + known.estimate - estimate
            known.counted_at = began


class _Owner:
    """What is known of an owner's cases that are not closed."""

    def __init__(self) -> None:
        self.estimate = 0
        """How many there are: those of the last count, and those of this process since."""
        self.unsure = 0
        """Of those, how many are being stored."""
        self.counted_at: float | None = None
        """When the last count began, by the monotonic clock; None if there was none."""
        self.counting = asyncio.Lock()

    def age_s(self) -> float:
        return float("inf") if self.counted_at is None else time.monotonic() - self.counted_at
