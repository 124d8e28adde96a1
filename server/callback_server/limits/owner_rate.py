"""Per-owner rate limiter. Each process enforces it separately.

The cases of an owner are spread over all partitions, so no script can count the owner's calls. A call is charged after
its claim, because only the claim shows whose case it is. Later claims include the list of owners that are over their
limit. Calls that arrive at the same moment can therefore exceed the limit by their number, and each process has its own
limit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from callback_process.rate_limiter import RateLimiter


class OwnerRateLimit:
    """The calls of each owner, and the owners over their limit."""

    def __init__(self, per_minute: int, clock: Callable[[], int] = time.monotonic_ns) -> None:
        """Create a limit of `per_minute` calls; `clock` returns nanoseconds."""
        self._rate_limiter = RateLimiter(per_minute)
        self._clock = clock
        self._limited: set[str] = set()
        """The owners that were over their limit when last checked."""

    def charge(self, owner: str) -> None:
        """Count a call of an owner."""
        now = self._clock()
        self._rate_limiter.charge(owner, now)
        if self._rate_limiter.wait_ns(owner, now):
            self._limited.add(owner)

    def limited(self) -> Sequence[tuple[str, int]]:
        """Return the owners over their limit, each with the milliseconds until its next call is allowed."""
        if not self._limited:
            return ()
        now = self._clock()
        waits = {owner: self._rate_limiter.wait_ns(owner, now) for owner in self._limited}
        self._limited = {owner for owner, wait_ns in waits.items() if wait_ns}
        return [(owner, -(-waits[owner] // 1_000_000)) for owner in self._limited]
