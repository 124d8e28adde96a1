"""The limit on an owner's calls in a minute, kept by each process for itself.

The cases of an owner lie in all partitions, so no script can count them. A call is charged once it is claimed, and the
owners that are over by then go with each claim, for whose case it is shows only there. So calls that come at the same
moment can exceed the limit by as many as they are; several processes let through as much each.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from callback_process.rate_limiter import RateLimiter


class OwnerRateLimit:
    """How many calls each owner has made."""

    def __init__(self, per_minute: int, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._rate = RateLimiter(per_minute)
        self._clock = clock
        self._limited: set[str] = set()
        """The owners that may make no call, or might not when it was last asked."""

    def charge(self, owner: str) -> None:
        """Counts a call of this owner."""
        now = self._clock()
        self._rate.charge(owner, now)
        if self._rate.wait_ns(owner, now):
            self._limited.add(owner)

    def limited(self) -> Sequence[tuple[str, int]]:
        """The owners that may make no call now, and for how many milliseconds."""
        if not self._limited:
            return ()
        now = self._clock()
        waits = {owner: self._rate.wait_ns(owner, now) for owner in self._limited}
        self._limited = {owner for owner, wait_ns in waits.items() if wait_ns}
        return [(owner, -(-waits[owner] // 1_000_000)) for owner in self._limited]
