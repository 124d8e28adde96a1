"""Per-key rate limiter (GCRA): so many events a minute for each key, such as an owner or a caller's address."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

MAX_KEYS: Final = 65_536
"""Number of keys in memory, at most. The oldest are removed first. Each takes about 200 bytes."""
_MINUTE_NS: Final = 60 * 10**9
"""A minute in nanoseconds. Whole numbers make the limit exact."""


class RateLimiter:
    """Allow a burst of one minute's events at once, then one event per interval (GCRA).

    Times are in nanoseconds, from any monotonic clock.
    """

    def __init__(self, per_minute: int) -> None:
        self._interval = _MINUTE_NS // per_minute
        self.due: OrderedDict[str, int] = OrderedDict()
        """Time at which the full burst of each key is available again, ordered by the last charge."""

    def wait_ns(self, key: str, now: int) -> int:
        """Return the time until the next event of a key is allowed, in nanoseconds; 0 if it is allowed now."""
        return max(0, self.due.get(key, now) - now - _MINUTE_NS + self._interval)

    def charge(self, key: str, now: int) -> None:
        """Count one event of a key."""
        self.due[key] = max(self.due.pop(key, now), now) + self._interval
        for _ in range(2):  # two are removed for each one added, so the number shrinks again after a peak
            oldest = next(iter(self.due))
            if self.due[oldest] > now and len(self.due) <= MAX_KEYS:
                break
            del self.due[oldest]
