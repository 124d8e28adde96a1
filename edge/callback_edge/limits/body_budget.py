"""How much of request bodies this process holds: so many bytes, however many connections send them.

What is held of a body is held by its exchange, and by its call: that goes on when the caller hangs up.
"""

from callback_edge import metrics


class Bodies:
    """The room that all bodies share."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._held_bytes = 0

    def take(self, size: int) -> bool:
        """Take so many bytes of the room. Returns False, and takes nothing, where there are not as many left."""
        if self._held_bytes + size > self._most_bytes:
            metrics.limited("max_body_bytes_in_flight").inc()
            return False
        self._held_bytes += size
        metrics.BODY_BYTES_IN_FLIGHT.inc(size)
        return True

    def give_back(self, size: int) -> None:
        """Give so many bytes back."""
        self._held_bytes -= size
        metrics.BODY_BYTES_IN_FLIGHT.dec(size)


class HeldBody:
    """What is held of one request's body. Its maker is the first who holds it."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self._size = 0
        self._holders = 1

    def add(self, size: int) -> bool:
        """Hold so many bytes more. Returns False where there is no room for them."""
        if not self._bodies.take(size):
            return False
        self._size += size
        return True

    def hold(self) -> None:
        """Be one more who holds it."""
        self._holders += 1

    def let_go(self) -> None:
        """Hold it no longer. The last to do so gives its room back."""
        self._holders -= 1
        if self._size and not self._holders:
            self._bodies.give_back(self._size)
