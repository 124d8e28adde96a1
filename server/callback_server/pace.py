"""The limit on an owner's calls in a minute, kept by each process for itself.

The cases of an owner lie in all partitions, so no script can count them. A call is charged once it is claimed, and the
owners that are over by then go with each claim, for whose case it is shows only there. So calls that come at the same
moment can exceed the limit by as many as they are; several processes let through as much each.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

MINUTE_S: Final = 60.0
_ROUNDING_S: Final = 1e-6


class Pace:
    """GCRA: calls may arrive a minute's worth ahead of their even pace."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = MINUTE_S / per_minute
        self._clock = clock
        self._arrivals: dict[str, float] = {}
        """When the next call of each owner is due at an even pace. Without those that are due already."""

    def charge(self, owner: str) -> None:
        """Counts a call of this owner."""
        now = self._clock()
        self._arrivals[owner] = max(self._arrivals.get(owner, now), now) + self._interval_s

    def over(self) -> list[tuple[str, int]]:
        """The owners that may make no call now, and for how many milliseconds."""
        now = self._clock()
        self._arrivals = {owner: arrival for owner, arrival in self._arrivals.items() if arrival > now}
        early = {owner: arrival + self._interval_s - now - MINUTE_S for owner, arrival in self._arrivals.items()}
        return [(owner, math.ceil(wait_s * 1000)) for owner, wait_s in early.items() if wait_s > _ROUNDING_S]
