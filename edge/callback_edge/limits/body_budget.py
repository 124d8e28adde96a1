"""Budget for bodies: the bytes that this process keeps in memory, over all connections and per address.

A request's body counts from its announcement. The exchange has it until it is complete, then its call, which continues
when the caller disconnects. A large answer counts too, until its caller has taken it. It is never refused, because its
call has ended; instead, requests are refused while the answers exceed the budget.
"""

from collections import Counter

from callback_edge import metrics, problems
from callback_edge.limits.per_address import BUSY_RETRY_S
from callback_edge.settings import EdgeSettings


class BodyBudget:
    """Bytes that all bodies share, and the share of each address.

    Without `trusted_proxies` no limit per address applies: one address may be a proxy for all callers.
    """

    def __init__(self, settings: EdgeSettings) -> None:
        applies = settings.trusted_proxies is not None
        self._max_bytes = settings.max_body_bytes_in_flight
        self._max_bytes_per_address = settings.max_body_bytes_in_flight_per_address if applies else 0
        self._reserved_bytes = 0
        self._by_group: Counter[str] = Counter()

    def reserve(self, group: str, size: int) -> None:
        """Reserve some bytes for a caller.

        Raises:
            ProblemError: Fewer bytes are left, of all callers (TOO_MANY_CALLS) or of this one (TOO_MANY_REQUESTS).
                Nothing is reserved.
        """
        if self._max_bytes_per_address and self._by_group.get(group, 0) + size > self._max_bytes_per_address:
            metrics.limited("max_body_bytes_in_flight_per_address").inc()
            raise problems.ProblemError(problems.TOO_MANY_REQUESTS, retry_after_s=BUSY_RETRY_S)
        if self._reserved_bytes + size > self._max_bytes:
            metrics.limited("max_body_bytes_in_flight").inc()
            raise problems.ProblemError(problems.TOO_MANY_CALLS, retry_after_s=BUSY_RETRY_S)
        if size:
            self.count(group, size)

    def count(self, group: str, size: int) -> None:
        """Reserve bytes that are in memory already, or free some if `size` is negative."""
        self._reserved_bytes += size
        metrics.BODY_BYTES_IN_FLIGHT.inc(size)
        if self._max_bytes_per_address:
            self._by_group[group] += size
            if not self._by_group[group]:
                del self._by_group[group]


class BodyReservation:
    """Reserved bytes of one body. The code that drops the body frees them."""

    def __init__(self, budget: BodyBudget, group: str) -> None:
        self._budget = budget
        self._group = group
        self.size = 0
        """How many bytes are reserved."""

    def grow(self, size: int) -> None:
        """Reserve more bytes, up to a size.

        Raises:
            ProblemError: The budget does not have them (TOO_MANY_CALLS or TOO_MANY_REQUESTS).
        """
        more = max(0, size - self.size)
        self._budget.reserve(self._group, more)
        self.size += more

    def count(self, size: int) -> None:
        """Reserve more bytes, which are in memory already."""
        self._budget.count(self._group, size)
        self.size += size

    def free(self) -> None:
        """Free the bytes. A second call does nothing."""
        if self.size:
            self._budget.count(self._group, -self.size)
            self.size = 0
