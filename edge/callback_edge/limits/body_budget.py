"""Budget for request bodies: the bytes that this process keeps in memory, over all connections.

The exchange of a request holds its body, and so does its call, which continues when the caller disconnects.
"""

from callback_edge import metrics


class BodyBudget:
    """Bytes that all bodies share."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._reserved_bytes = 0

    def reserve(self, size: int) -> bool:
        """Reserve some bytes. Return False, and reserve nothing, if fewer are left."""
        if self._reserved_bytes + size > self._max_bytes:
            metrics.limited("max_body_bytes_in_flight").inc()
            return False
        self._reserved_bytes += size
        metrics.BODY_BYTES_IN_FLIGHT.inc(size)
        return True

    def free(self, size: int) -> None:
        """Return some reserved bytes to the budget."""
        self._reserved_bytes -= size
        metrics.BODY_BYTES_IN_FLIGHT.dec(size)


class BodyReservation:
    """Reserved bytes of one request's body, with a count of its holders. Its creator is the first holder."""

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self._size = 0
        self._holders = 1

    def add(self, size: int) -> bool:
        """Reserve more bytes. Return False if the budget does not have them."""
        if not self._budget.reserve(size):
            return False
        self._size += size
        return True

    def retain(self) -> None:
        """Add a holder."""
        self._holders += 1

    def release(self) -> None:
        """Remove a holder. The last one frees the bytes."""
        self._holders -= 1
        if self._size and not self._holders:
            self._budget.free(self._size)
