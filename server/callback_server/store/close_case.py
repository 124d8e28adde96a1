"""The transition that closes a case."""

from __future__ import annotations

from typing import Final

from callback_server.store import keys
from callback_server.store.retention import Retention
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("close_case")


async def close_case(scripts: Scripts, case_id: str, *, owner: str | None, retention: Retention) -> bool:
    """Closes a case, durably; False if there is no such case of this owner (None: whoever's). Safe to send again.

    Raises:
        StoreError: it is not known whether it was closed.
    """
    reply = await scripts.run(
        SCRIPT,
        keys.partition_of(case_id),
        case_id,
        owner or "",
        retention.calls_per_case,
        retention.bytes_per_case,
    )
    return bool(reply[0] == b"OK")
