"""The transition that delivers a recorded call to its handler again."""

from __future__ import annotations

import enum
from typing import Final

from callback_server.domain.ids import case_id_of_call
from callback_server.store.audit_argument import require_head
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("replay_call", sends_reports=True)


class ReplayResult(enum.Enum):
    """The result of a replay."""

    OK = b"OK"
    UNKNOWN = b"UNKNOWN"
    """The owner has no such call, or it is no longer kept."""
    RUNNING = b"RUNNING"
    """The call or its delivery runs."""
    INCOMPLETE = b"INCOMPLETE"
    """The request of the call is not kept whole."""
    UNHANDLED = b"UNHANDLED"
    """The activity has no handler."""
    OBSOLETE = b"OBSOLETE"
    """It is a reminder, and its case is closed or resolved."""


async def replay_call(scripts: Scripts, call_id: str, *, owner: str | None, audit: bytes = b"") -> ReplayResult:
    """Make the delivery of a call of `owner` (None: any owner) due now, durably, with an entry of the audit.

    Safe to send again.

    Raises:
        HeadMovedError: The entry came late, and the delivery stays as it was.
        StoreError: It is not known whether it is due now.
    """
    case_id = case_id_of_call(call_id)
    word, *facts = await scripts.run(SCRIPT, case_id=case_id, owner=owner or "", call_id=call_id, audit=audit)
    require_head(word, facts)
    return ReplayResult(word)
