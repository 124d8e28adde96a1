"""The transition that closes a case."""

from __future__ import annotations

import enum
from typing import Final

from callback_server.store import keys
from callback_server.store.generated_lua import numbers, text
from callback_server.store.retention import Retention
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script(
    "close_case",
    [*text("case_id", "owner"), *numbers("max_recorded_calls", "max_recorded_bytes")],
    applies_timeouts=True,
)


class CloseResult(enum.Enum):
    """What became of it."""

    OK = b"OK"
    """It is closed now."""
    ALREADY = b"ALREADY"
    """It was closed before, and stays as it was."""
    UNKNOWN = b"UNKNOWN"
    """No such case of this owner."""


async def close_case(scripts: Scripts, case_id: str, *, owner: str | None, retention: Retention) -> CloseResult:
    """Closes a case of `owner` (None: whoever's it is), durably. Safe to send again.

    Raises:
        StoreError: it is not known whether it was closed.
    """
    reply = await scripts.run(
        SCRIPT,
        keys.partition_of(case_id),
        case_id=case_id,
        owner=owner or "",
        max_recorded_calls=retention.calls_per_case,
        max_recorded_bytes=retention.bytes_per_case,
    )
    return CloseResult(reply[0])
