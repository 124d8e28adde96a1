"""The transition that sets the time at which a case expires."""

from __future__ import annotations

import enum
from typing import Final

from callback_server.domain.case import CloseReason
from callback_server.store.audit_argument import require_head
from callback_server.store.recording import Recording
from callback_server.store.scripts import Script, Scripts
from callback_server.store.transitions.claim_call import CaseClosed

SCRIPT: Final = Script("extend_case", sends_reports=True)


class ExtendResult(enum.Enum):
    """The result of an extension."""

    OK = b"OK"
    SAME = b"SAME"
    """The case expires then already."""
    UNKNOWN = b"UNKNOWN"
    """The owner has no such case (any more)."""
    PAST = b"PAST"
    """The time is not later than now, by the clock of the store."""
    TOO_LATE = b"TOO_LATE"


async def extend_case(
    scripts: Scripts,
    case_id: str,
    *,
    owner: str | None,
    expires_ms: int,
    max_ms: int,
    recording: Recording,
    audit: bytes = b"",
) -> ExtendResult | CaseClosed:
    """Set the time at which a case of `owner` (None: any owner) expires, durably. Safe to send again.

    Args:
        scripts: The scripts on the store.
        case_id: The case.
        owner: The owner.
        expires_ms: The time, in milliseconds since the epoch.
        max_ms: How long after now that may be, in milliseconds.
        recording: What is recorded of the calls that a timeout ends.
        audit: The entry of the audit (see audit_argument.py).

    Raises:
        HeadMovedError: The entry came late, and the case stays as it was.
        StoreError: It is not known whether the time was set.
    """
    word, *facts = await scripts.run(
        SCRIPT,
        case_id=case_id,
        owner=owner or "",
        expires=expires_ms,
        max_ms=max_ms,
        audit=audit,
        limits=recording.limits,
    )
    require_head(word, facts)
    if word == b"CLOSED":
        return CaseClosed(CloseReason(facts[0].decode()))
    return ExtendResult(word)
