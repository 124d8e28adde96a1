"""The transition that erases what was recorded of calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from callback_server.store.audit_argument import require_head
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("erase_calls", sends_reports=True)
LIMIT: Final = 100
"""How many calls one script erases. It blocks the store meanwhile."""


@dataclass(frozen=True, slots=True)
class EraseResult:
    """The result of an erasure."""

    calls: int
    """How many calls had something recorded."""
    before: int | None
    """The number of the call before which to continue. None: no calls are left."""
    has_entry: bool
    """Whether the audit has the entry. Otherwise there was nothing to erase."""


async def erase_calls(
    scripts: Scripts, case_id: str, *, owner: str | None, erasure: str, before: int | None, audit: bytes = b""
) -> EraseResult | None:
    """Erase what was recorded of the newest `LIMIT` calls of a case whose number is below `before`, durably.

    Safe to send again: with the same name of the `erasure`, it counts the same calls. The entry of the audit is stored
    if there is anything to erase.

    Returns:
        The result, or None if `owner` (None: any owner) has no such case.

    Raises:
        HeadMovedError: The entry came late, and nothing was erased.
        StoreError: It is not known which calls were erased.
    """
    word, *facts = await scripts.run(
        SCRIPT,
        case_id=case_id,
        owner=owner or "",
        erasure=erasure,
        before="+inf" if before is None else before,
        limit=LIMIT,
        audit=audit,
    )
    if word == b"UNKNOWN":
        return None
    require_head(word, facts)
    calls, more, has_entry = facts
    return EraseResult(calls, more or None, has_entry == 1)
