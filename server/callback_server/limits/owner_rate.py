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
from callback_server.limits.quotas import Quotas


class OwnerRateLimit:
    """The calls of each owner, and the owners over their limit."""

    def __init__(self, quotas: Quotas, clock: Callable[[], int] = time.monotonic_ns) -> None:
        """Create a limit by the quotas of owners; `clock` returns nanoseconds."""
        self._quotas = quotas
        self._limiters: dict[int, RateLimiter] = {}
        """By the number of calls in a minute that they allow."""
        self._clock = clock
        self._limited: set[str] = set()
        """The owners that were over their limit when last checked."""

    def charge(self, owner: str) -> None:
        """Count a call of an owner."""
        per_minute = self._quotas.most(owner, "max_calls_per_minute")
        if per_minute is None:
            return
        now = self._clock()
        limiter = self._limiters.get(per_minute)
        if limiter is None:
            limiter = self._limiters[per_minute] = RateLimiter(per_minute)
        limiter.charge(owner, now)
        if limiter.wait_ns(owner, now):
            self._limited.add(owner)

    def limited(self) -> Sequence[tuple[str, int]]:
        """Return the owners over their limit, each with the milliseconds until its next call is allowed."""
        if not self._limited:
            return ()
        now = self._clock()
        waits = {owner: self._wait_ns(owner, now) for owner in self._limited}
        self._limited = {owner for owner, wait_ns in waits.items() if wait_ns}
        return [(owner, -(-waits[owner] // 1_000_000)) for owner in self._limited]

    def _wait_ns(self, owner: str, now: int) -> int:
        limiter = self._limiters.get(self._quotas.most(owner, "max_calls_per_minute") or 0)
        return 0 if limiter is None else limiter.wait_ns(owner, now)
