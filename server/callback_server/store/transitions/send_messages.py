"""Mail between replicas: each has one mailbox, a list in the store, that it alone empties.

A letter can be lost, with its replica or on its way. Nothing may depend on one: what is waited for has a deadline.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from callback_server.store import keys
from callback_server.store.connection.client import StoreClient, store_errors
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("send_messages")
KEEP_MS: Final = 60_000
"""How long a mailbox is kept after its last letter, in milliseconds."""
MAX_QUEUED_MESSAGES: Final = 20_000
"""How many letters wait in a mailbox; beyond, none is put in."""
WAIT_S: Final = 1
"""How long a reader waits in the store for a letter, in seconds: less than a command may take."""
MESSAGES_PER_READ: Final = 100


async def send_messages(scripts: Scripts, to: str, letters: Sequence[bytes]) -> bool:
    """Puts letters into the mailbox of a replica. Sent again, they may be there twice. False: it is full.

    Raises:
        StoreError: it is not known whether they are there.
    """
    reply = await scripts.run_on(SCRIPT, keys.replica_bus_key(to), KEEP_MS, MAX_QUEUED_MESSAGES, *letters)
    return bool(reply == b"OK")


async def receive_messages(client: StoreClient, replica: str) -> list[bytes]:
    """Takes letters out of the mailbox of a replica, in their order; waits for the first. None come: after a second.

    Raises:
        StoreError: the store did not answer. Letters that it had taken out are lost.
    """
    key = keys.replica_bus_key(replica)
    with store_errors():
        first: Any = await client.blpop([key], timeout=WAIT_S)
        if first is None:
            return []
        more: Any = await client.lpop(key, MESSAGES_PER_READ)
    return [first[1], *(more or [])]
