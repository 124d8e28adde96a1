"""The transition that appends messages to the queue of a replica (see replica_bus.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from callback_server.store import keys
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("send_messages", is_transient=True)
EXPIRE_MS: Final = 60_000
"""How long a queue is kept after its last message, in milliseconds."""
MAX_QUEUED_MESSAGES: Final = 20_000
"""How many messages a queue holds. When it is full, it accepts no more."""


async def send_messages(scripts: Scripts, replica: str, messages: Sequence[bytes]) -> bool:
    """Append messages to the queue of a replica. Sent again, they may be there twice.

    Returns:
        Whether the messages were appended. False: the queue is full.

    Raises:
        StoreError: It is not known whether the messages were appended.
    """
    reply = await scripts.run_on(
        SCRIPT,
        keys.replica_messages_key(replica),
        expire_ms=EXPIRE_MS,
        max_messages=MAX_QUEUED_MESSAGES,
        messages=messages,
    )
    return bool(reply == b"OK")
