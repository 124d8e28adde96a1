"""The free slots of the workers of all replicas, as they announced them."""

from __future__ import annotations

from typing import Final

import msgspec

from callback_server.store import keys
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("find_slots")

_decode = msgspec.msgpack.Decoder(dict[str, int]).decode


class ReplicaSlots(msgspec.Struct, frozen=True):
    """The announcement of one replica."""

    replica: str
    valid_ms: int
    """How long the announcement is valid, in milliseconds."""
    by_activity: dict[str, int]


async def find_slots(scripts: Scripts, key: str = keys.WORKERS_KEY) -> list[ReplicaSlots]:
    """Return the last announcement of each replica that has workers: of free slots, or of workers (SERVING_KEY).

    Raises:
        StoreError: The store did not answer.
    """
    flat = await scripts.run_on(SCRIPT, key)
    return [ReplicaSlots(flat[at].decode(), flat[at + 1], _decode(flat[at + 2])) for at in range(0, len(flat), 3)]
