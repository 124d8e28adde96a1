"""Which places for calls the workers of all replicas have, as far as they have said."""

from __future__ import annotations

from typing import Final

import msgspec

from callback_server.store import keys
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("find_slots", [], key="workers")

_decode = msgspec.msgpack.Decoder(dict[str, int]).decode


class ReplicaSlots(msgspec.Struct, frozen=True):
    """What one replica has said."""

    replica: str
    valid_ms: int
    """For how long that holds, in milliseconds."""
    by_activity: dict[str, int]


async def find_slots(scripts: Scripts) -> list[ReplicaSlots]:
    """What each replica that has workers has said last.

    Raises:
        StoreError: the store did not answer.
    """
    said = await scripts.run_on(SCRIPT, keys.WORKERS_KEY)
    return [ReplicaSlots(said[at].decode(), said[at + 1], _decode(said[at + 2])) for at in range(0, len(said), 3)]
