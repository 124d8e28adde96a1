"""Correlation keys: how an event at an endpoint finds the case that waits for it.

A pointer is a hash that an HMAC of owner, endpoint, profile in the path and correlation key names, so that the store
has the key only where its case has it. It holds the newest case of the key, and the cases of the `request_id`s that
came with it. The id of a case is chosen so that it lies in the partition of its pointer (see pointers.py), so one
script looks at both, and needs no index over the partitions.

A key is free while the newest case is closed: no close writes the pointer. A case that is deleted takes what the
pointer has of it along, and the last one the pointer.
"""

from __future__ import annotations

import hmac
from typing import Final

import msgspec

_NAME_BYTES: Final = 16


class CorrelationNames:
    """The names of the pointers of correlation keys on one store."""

    def __init__(self) -> None:
        self._naming_key: bytes | None = None

    def use_key(self, naming_key: bytes) -> None:
        """Take the naming key of the store, which is known once the store is reached."""
        self._naming_key = naming_key

    def name(self, *, owner: str, endpoint: str, profile: str, correlation_key: str) -> str:
        """Return the name of a pointer: 32 hexadecimal digits, whose partition is that of a case with this id.

        Args:
            owner: The owner of the endpoint.
            endpoint: The name of the endpoint.
            profile: The profile in its path. Empty: the path has none.
            correlation_key: The correlation key.
        """
        if self._naming_key is None:
            raise RuntimeError("the naming key of the store is not known yet")
        message = msgspec.msgpack.encode(("correlation", owner, endpoint, profile, correlation_key))
        return hmac.digest(self._naming_key, message, "sha256")[:_NAME_BYTES].hex()
