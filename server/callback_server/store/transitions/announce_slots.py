"""Says to other replicas which places for calls the workers of this one have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from callback_server.store import keys
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("announce_slots")
VALID_MS: Final = 3_000
"""How long what a replica has said holds, in milliseconds: it says it again each second."""

_encode = msgspec.msgpack.Encoder().encode


async def announce_slots(scripts: Scripts, replica: str, places: Mapping[str, int] | None) -> None:
    """Says how many places there are by activity. None: the replica has no workers.

    Raises:
        StoreError: it is not known whether that was heard.
    """
    await scripts.run_on(SCRIPT, keys.WORKERS_KEY, replica, _encode(places), 0 if places is None else VALID_MS)
