"""The query that reads a chain of the audit, oldest entries first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from callback_server.domain.audit import EntryId, StoredEntry
from callback_server.store import keys
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("read_audit")
LIMIT: Final = 500
"""How many entries one script reads. It blocks the store meanwhile."""


@dataclass(frozen=True, slots=True)
class AuditPart:
    """Entries of a chain that follow each other."""

    start: bytes
    """What says where the chain begins, with its HMAC before it and a space between. Empty: with entry 1."""
    entries: list[StoredEntry]
    newest: StoredEntry | None
    """The newest entry of the chain. None: there is none."""
    length: int
    """How many entries the chain has."""


async def read_audit(scripts: Scripts, chain: int, after: EntryId | None, *, limit: int = LIMIT) -> AuditPart:
    """Return the oldest entries of a chain behind one of them, at most `limit`. None: from the oldest of all on.

    Raises:
        StoreError: The store did not answer.
    """
    after_id = "" if after is None else str(after)
    start, items, newest, length = await scripts.run_on(SCRIPT, keys.audit_tag(chain), after=after_id, limit=limit)
    entries = [StoredEntry.parse(*item) for item in items]
    return AuditPart(start, entries, StoredEntry.parse(*newest[0]) if newest else None, length)
