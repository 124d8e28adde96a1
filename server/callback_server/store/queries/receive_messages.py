"""Takes messages out of the queue of a replica, which that replica alone reads (see replica_bus.py)."""

from __future__ import annotations

from typing import Any, Final

from callback_server.store import keys
from callback_server.store.connection.client import StoreClient
from callback_server.store.connection.errors import store_errors

WAIT_S: Final = 1
"""How long to wait in the store for a message, in seconds. Shorter than the timeout of a command."""
MESSAGES_PER_READ: Final = 100


async def receive_messages(client: StoreClient, replica: str) -> list[bytes]:
    """Take messages out of the queue of a replica, in their order. Wait up to a second for the first.

    Raises:
        StoreError: The store did not answer. Messages that it had taken out are lost.
    """
    key = keys.replica_messages_key(replica)
    with store_errors():
        first: Any = await client.blpop([key], timeout=WAIT_S)
        if first is None:
            return []
        more: Any = await client.lpop(key, MESSAGES_PER_READ)
    return [first[1], *(more or [])]
