"""The transition that closes a case."""

from __future__ import annotations

import enum
from typing import Final

from callback_server.store.audit_argument import require_head
from callback_server.store.recording import Recording
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("close_case", sends_reports=True)


class CloseResult(enum.Enum):
    """The result of a close."""

    OK = b"OK"
    """The case is closed now."""
    ALREADY = b"ALREADY"
    """The case was closed before, and stays as it is."""
    UNKNOWN = b"UNKNOWN"
    """The owner has no such case."""


async def close_case(
    scripts: Scripts, case_id: str, *, owner: str | None, recording: Recording, audit: bytes = b""
) -> CloseResult:
    """Close a case of `owner` (None: any owner), durably, with an entry of the audit. Safe to send again.

    Raises:
        HeadMovedError: The entry came late, and the case stays as it was.
        StoreError: It is not known whether the case was closed.
    """
    word, *facts = await scripts.run(
        SCRIPT,
        case_id=case_id,
        owner=owner or "",
        audit=audit,
        limits=recording.limits,
    )
    require_head(word, facts)
    return CloseResult(word)
