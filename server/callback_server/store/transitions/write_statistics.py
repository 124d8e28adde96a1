"""The transition that stores what this replica has done in a minute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from callback_server.store import keys
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("write_statistics", is_transient=True)
KEEP_MS: Final = 65 * 60 * 1000
"""How long a minute is kept after its last change, in milliseconds: as long as `read_statistics` may read it."""

_encode = msgspec.msgpack.Encoder().encode


async def write_statistics(scripts: Scripts, replica: str, *, minute: int, counts: Mapping[str, int]) -> None:
    """Store what a replica has done in a minute, in place of what it stored for that minute before.

    Args:
        scripts: The scripts on the store.
        replica: The replica.
        minute: The minute since the epoch.
        counts: The counts, by name.

    Raises:
        StoreError: It is not known whether it was stored.
    """
    packed = _encode(counts)
    await scripts.run_on(SCRIPT, keys.STATISTICS_KEY, replica=replica, minute=minute, counts=packed, keep_ms=KEEP_MS)
