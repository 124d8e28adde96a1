"""Reads of the owners that have cases, also of those that have left the principals file."""

from __future__ import annotations

from callback_server.store import keys
from callback_server.store.scripts import Scripts


async def read_owners(scripts: Scripts) -> frozenset[str]:
    """Return the owners of all cases that are kept.

    Raises:
        StoreError: The store did not answer.
    """
    commands = [("SMEMBERS", keys.key(partition, "owners")) for partition in range(keys.PARTITIONS)]
    found = await scripts.read_together(commands)
    return frozenset(owner.decode() for owners in found for owner in owners)
