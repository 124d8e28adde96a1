"""Limits per address: requests in flight, and requests for states that no case has.

`callers` says which address a request counts for. Memory is bounded: a caller with a request in flight has a
connection, and the rates discard the oldest callers first.
"""

import math
import time
from collections.abc import Callable, Iterator
from typing import Final

from callback_edge import metrics, problems
from callback_edge.settings import EdgeSettings
from callback_process.http.callers import Caller
from callback_process.rate_limiter import RateLimiter

CLOCK_NS: Callable[[], int] = time.monotonic_ns
"""The clock of the rates. Tests have another one."""
BUSY_RETRY_S: Final = 1
"""Value of `Retry-After`, in seconds, where a limit on concurrency refuses."""
_SITE_FACTOR: Final = 16
"""Limit of a /48 of IPv6, as a multiple of the limit of one caller. Without it the owner of a /48 is 65,536 callers,
and can push the rates of all other callers out of memory."""


class AddressLimits:
    """Limits per address. Without `trusted_proxies` no limit applies: one address may be a proxy for all callers."""

    def __init__(self, settings: EdgeSettings) -> None:
        applies = settings.trusted_proxies is not None
        self._max_in_flight = settings.max_requests_in_flight_per_address if applies else 0
        self._in_flight: dict[str, int] = {}
        unknown_states = settings.unknown_states_per_minute_per_address if applies else 0
        self._unknown_states = RateLimiter(unknown_states) if unknown_states else None
        self._unknown_states_of_sites = RateLimiter(unknown_states * _SITE_FACTOR) if unknown_states else None

    def start_request(self, group: str) -> bool:
        """Count a request of a caller until `end_request`. Return False, and count nothing, if it is one too many."""
        if not self._max_in_flight:
            return True
        others = self._in_flight.get(group, 0)
        if others >= self._max_in_flight:
            metrics.limited("max_requests_in_flight_per_address").inc()
            return False
        self._in_flight[group] = others + 1
        return True

    def end_request(self, group: str) -> None:
        """Count a request of a caller no more."""
        if not self._max_in_flight:
            return
        self._in_flight[group] -= 1
        if not self._in_flight[group]:
            del self._in_flight[group]

    def check_unknown_states(self, caller: Caller) -> None:
        """Check that a caller may look up a state.

        Raises:
            ProblemError: The caller has asked for too many unknown states (TOO_MANY_REQUESTS).
        """
        wait_ns, now = 0, CLOCK_NS()
        for rate, key in self._unknown_state_rates(caller):
            wait_ns = max(wait_ns, rate.wait_ns(key, now))
        if wait_ns:
            metrics.limited("unknown_states_per_minute_per_address").inc()
            raise problems.ProblemError(problems.TOO_MANY_REQUESTS, retry_after_s=math.ceil(wait_ns / 1e9))

    def count_unknown_state(self, caller: Caller) -> None:
        """Count a request for a state that no case has."""
        for rate, key in self._unknown_state_rates(caller):
            rate.charge(key, CLOCK_NS())

    def _unknown_state_rates(self, caller: Caller) -> Iterator[tuple[RateLimiter, str]]:
        if self._unknown_states:
            yield self._unknown_states, caller.group
        if self._unknown_states_of_sites and caller.site:
            yield self._unknown_states_of_sites, caller.site
