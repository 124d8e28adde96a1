"""Read of the recorded bytes of all owners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from callback_server.store import keys
from callback_server.store.scripts import Scripts


async def read_recorded_bytes(scripts: Scripts) -> Sequence[Mapping[str, int]]:
    """Return for each partition the bytes of the calls that are kept, by their owners.

    Raises:
        StoreError: The store did not answer.
    """
    commands = [
        ("ZRANGE", keys.key(partition, "recorded_bytes"), 0, -1, "WITHSCORES") for partition in range(keys.PARTITIONS)
    ]
    found = await scripts.read_together(commands)
    return [{owner.decode(): int(float(size)) for owner, size in each} for each in found]
