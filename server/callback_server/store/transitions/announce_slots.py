"""Says to other replicas which places for calls the workers of this one have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from callback_server.store import keys
from callback_server.store.generated_lua import numbers, text
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("announce_slots", [*text("replica", "slots"), *numbers("valid_ms")], key="workers")
VALID_MS: Final = 3_000
"""How long what a replica has said holds, in milliseconds: it says it again each second."""

_encode = msgspec.msgpack.Encoder().encode


async def announce_slots(scripts: Scripts, replica: str, slots: Mapping[str, int] | None) -> None:
    """Says how many places there are by activity. None: the replica has no workers.

    Raises:
        StoreError: it is not known whether that was heard.
    """
    await scripts.run_on(
        SCRIPT, keys.WORKERS_KEY, replica=replica, slots=_encode(slots), valid_ms=0 if slots is None else VALID_MS
    )
