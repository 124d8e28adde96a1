"""Limit on the bytes of request bodies that this process keeps for its calls: of all owners, and of each.

As with the rate limit of an owner, only the claim shows whose call it is. So the bytes of a call are charged to its
owner after the claim, and later claims include the list of owners that have used their share.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from callback_server import metrics
from callback_server.errors import TooManyCallsError

_RETRY_AFTER_MS: Final = 1000
"""When a caller may try again, in milliseconds."""


class BodyBytes:
    """The bytes of the bodies in flight."""

    def __init__(self, max_bytes: int, max_bytes_per_owner: int) -> None:
        """Create a limit, for all owners together and for each. 0: an owner may use all."""
        self._max_bytes = max_bytes
        self._max_bytes_per_owner = max_bytes_per_owner
        self._reserved = 0
        self._by_owner: Counter[str] = Counter()
        self._limited: dict[str, int] = {}
        metrics.BODY_BYTES_IN_FLIGHT.set_function(lambda: self._reserved)

    def reserve(self, size: int) -> BodyReservation:
        """Reserve the bytes of a body.

        Raises:
            TooManyCallsError: Fewer bytes are left.
        """
        if self._reserved + size > self._max_bytes:
            raise TooManyCallsError("max_body_bytes_in_flight")
        self._reserved += size
        return BodyReservation(self, size)

    def limited(self) -> Sequence[tuple[str, int]]:
        """Return the owners that have used their share, each with the milliseconds until its next call may come."""
        return list(self._limited.items())

    def charge(self, owner: str, size: int) -> None:
        """Charge bytes to an owner, or free some of them if `size` is negative."""
        self._by_owner[owner] += size
        charged = self._by_owner[owner]
        if not charged:
            del self._by_owner[owner]
        if 0 < self._max_bytes_per_owner <= charged:
            self._limited[owner] = _RETRY_AFTER_MS
        else:
            self._limited.pop(owner, None)

    def free(self, size: int) -> None:
        """Free reserved bytes."""
        self._reserved -= size


class BodyReservation:
    """The reserved bytes of one body."""

    def __init__(self, limit: BodyBytes, size: int) -> None:
        self._limit = limit
        self._size = size
        self._owner: str | None = None

    def charge(self, owner: str) -> None:
        """Charge the bytes to the owner of the call."""
        if self._size:
            self._owner = owner
            self._limit.charge(owner, self._size)

    def free(self) -> None:
        """Free the bytes. A second call does nothing."""
        if not self._size:
            return
        if self._owner is not None:
            self._limit.charge(self._owner, -self._size)
            self._owner = None
        self._limit.free(self._size)
        self._size = 0
