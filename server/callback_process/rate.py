"""So many a minute, of each of many: of an owner's calls, of what a caller may try."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

MOST_KNOWN: Final = 65_536
"""How many are known at a time, of whom the oldest are forgotten first; each takes about 200 bytes."""
_MINUTE: Final = 60 * 10**9
"""In nanoseconds: whole numbers, so that what is allowed is allowed to the last one."""


class Rate:
    """All of a minute at once, then one as each comes due (GCRA). Times are in nanoseconds, by whatever clock."""

    def __init__(self, per_minute: int) -> None:
        self._interval = _MINUTE // per_minute
        self._due: OrderedDict[str, int] = OrderedDict()
        """When each will have used up nothing, in the order in which they were charged last."""

    def wait_ns(self, who: str, now: int) -> int:
        """How long until one may have another, in nanoseconds; 0 if now."""
        return max(0, self._due.get(who, now) - now - _MINUTE + self._interval)

    def charge(self, who: str, now: int) -> None:
        """Note that one had another."""
        self._due[who] = max(self._due.pop(who, now), now) + self._interval
        for _ in range(2):  # two go for one that comes, so they become few again
            oldest = next(iter(self._due))
            if self._due[oldest] > now and len(self._due) <= MOST_KNOWN:
                break
            del self._due[oldest]
