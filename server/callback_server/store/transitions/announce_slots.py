"""The transition that announces the free slots of this replica's workers to other replicas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from callback_server.store import keys
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("announce_slots", is_transient=True)
VALID_MS: Final = 3_000
"""How long an announcement is valid, in milliseconds. A replica announces each second."""

_encode = msgspec.msgpack.Encoder().encode


async def announce_slots(
    scripts: Scripts, replica: str, slots: Mapping[str, int] | None, *, key: str = keys.WORKERS_KEY
) -> None:
    """Announce the number of free slots by activity. None: the replica has no workers.

    With the key SERVING_KEY, announce the number of workers.

    Raises:
        StoreError: It is not known whether the announcement was stored.
    """
    await scripts.run_on(SCRIPT, key, replica=replica, slots=_encode(slots), valid_ms=0 if slots is None else VALID_MS)
