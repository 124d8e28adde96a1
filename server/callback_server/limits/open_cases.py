"""Open-case quota: the limit on an owner's cases that are not closed. Each process enforces it separately.

The cases of an owner are spread over all partitions, so no script can count them and create one in the same step. A
process therefore counts them periodically, and adds the cases that it has created since.

1. Every case of this process is in its estimate. A case that is being stored when a count starts is added to that
   count, whether or not the count saw it. So one process alone does not exceed the limit.
2. A count is used for `COUNT_AGE_S`. When the limit seems reached, the cases are counted again, at most once in
   `RECOUNT_S`, so that a closed case frees quota within about a second.
3. A process does not know which cases the others have created since its last count. Together they can exceed the limit
   by that number.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

COUNT_AGE_S: Final = 10.0
"""How long a count is used, in seconds."""
RECOUNT_S: Final = 1.0
"""Shortest interval between two counts while the limit is reached, in seconds."""


class OpenCaseQuota:
    """Reservations for new cases, up to the limit of each owner."""

    def __init__(self, limit: int, count: Callable[[str], Awaitable[int]]) -> None:
        """Create a quota.

        Args:
            limit: Maximum number of open cases of an owner.
            count: Counts the open cases of an owner in the store.
        """
        self.limit = limit
        """Maximum number of open cases of an owner."""
        self._count = count
        self._owners: dict[str, _OwnerCount] = {}

    async def reserve(self, owner: str, count: int = 1, *, or_none: bool = False) -> int:
        """Reserve quota for cases of an owner. `settle` must follow, whether or not the cases are created.

        Args:
            owner: The owner.
            count: How many cases.
            or_none: Whether to reserve for none of them if there is not quota for all.

        Returns:
            For how many of them there is quota.

        Raises:
            StoreError: The cases could not be counted.
        """
        known = self._owners.setdefault(owner, _OwnerCount())
        if known.age_s() > COUNT_AGE_S:
            await self._recount(owner, known, COUNT_AGE_S)
        if known.estimate + count > self.limit:
            await self._recount(owner, known, RECOUNT_S)
        reserved = max(0, min(count, self.limit - known.estimate))
        if or_none and reserved < count:
            return 0
        known.estimate += reserved
        known.unsettled += reserved
        return reserved

    def settle(self, owner: str, *, reserved: int, created: int) -> None:
        """Settle a reservation: all of these cases but those that are provably not stored are created."""
        known = self._owners[owner]
        known.unsettled -= reserved
        known.estimate += created - reserved

    async def _recount(self, owner: str, known: _OwnerCount, age_s: float) -> None:
        async with known.counting:
            if known.age_s() <= age_s:
                return  # another request has just counted
            began, estimate, unsettled = time.monotonic(), known.estimate, known.unsettled
            counted = await self._count(owner)
            # Changes of the estimate since the start of the count still apply.
            known.estimate = counted + unsettled + known.estimate - estimate
            known.counted_at = began


class _OwnerCount:
    """The estimated number of an owner's cases that are not closed."""

    def __init__(self) -> None:
        self.estimate = 0
        """The last count and the reservations of this process since."""
        self.unsettled = 0
        """The part of the estimate that is being stored."""
        self.counted_at: float | None = None
        """The monotonic time at which the last count started, or None."""
        self.counting = asyncio.Lock()

    def age_s(self) -> float:
        return float("inf") if self.counted_at is None else time.monotonic() - self.counted_at
