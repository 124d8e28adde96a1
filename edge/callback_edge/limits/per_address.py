"""How much one caller may ask: so that no one takes all there is, and nobody tries states at will.

Callers are counted by address, as `callers` tells it. Nothing here grows without bound: who is in flight has a
connection, and of rates the oldest are forgotten first.
"""

import contextlib
import math
import time
from collections import Counter
from collections.abc import Iterator
from typing import Final

from callback_edge import metrics, problems
from callback_edge.limits.callers import Caller
from callback_edge.settings import EdgeSettings
from callback_process.rate_limiter import RateLimiter

BUSY_RETRY_S: Final = 1
"""After how long to try again where there are too many at a time."""
_OF_A_SITE: Final = 16
"""How many times what one caller may, all of a /48 may together: else one who has it would be 65,536 callers, and could
have everybody else's rates forgotten."""


class Limits:
    """The limits of the settings. Without `trusted_proxies` none holds: an address may be a proxy's, for everyone."""

    def __init__(self, settings: EdgeSettings) -> None:
        holds = settings.trusted_proxies is not None
        self._most_in_flight = settings.max_requests_in_flight_per_address if holds else 0
        self._in_flight: Counter[str] = Counter()
        misses = settings.unknown_states_per_minute_per_address if holds else 0
        self._misses = RateLimiter(misses) if misses else None
        self._misses_of_sites = RateLimiter(misses * _OF_A_SITE) if misses else None

    @contextlib.contextmanager
    def one_more(self, group: str) -> Iterator[bool]:
        """Count one more request of a caller while it lasts. Gives whether it may be served."""
        if not self._most_in_flight:
            yield True
            return
        if self._in_flight.get(group, 0) >= self._most_in_flight:
            metrics.limited("max_requests_in_flight_per_address").inc()
            yield False
            return
        self._in_flight[group] += 1
        try:
            yield True
        finally:
            self._in_flight[group] -= 1
            if not self._in_flight[group]:
                del self._in_flight[group]

    def may_look_up(self, caller: Caller) -> None:
        """Let a caller ask for a state.

        Raises:
            Refusal: the caller has asked for too many that no case has.
        """
        now = time.monotonic_ns()
        if wait_ns := max((rate.wait_ns(who, now) for rate, who in self._misses_by(caller)), default=0):
            metrics.limited("unknown_states_per_minute_per_address").inc()
            raise problems.Refusal(problems.TOO_MANY_REQUESTS, retry_after_s=math.ceil(wait_ns / 1e9))

    def missed(self, caller: Caller) -> None:
        """Note that no case has the state that a caller asked for."""
        for rate, who in self._misses_by(caller):
            rate.charge(who, time.monotonic_ns())

    def _misses_by(self, caller: Caller) -> Iterator[tuple[RateLimiter, str]]:
        if self._misses:
            yield self._misses, caller.group
        if self._misses_of_sites and caller.site:
            yield self._misses_of_sites, caller.site
