"""The transition that deletes the oldest entries of a chain of the audit."""

from __future__ import annotations

from typing import Final

from callback_server.domain.audit import EntryId
from callback_server.store import keys
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("trim_audit")


async def trim_audit(scripts: Scripts, chain: int, *, known_start: bytes, start: bytes, first: EntryId) -> bool:
    """Delete the entries of a chain before its entry `first`, durably. Safe to send again.

    Args:
        scripts: The scripts on the store.
        chain: The chain.
        known_start: What says where the chain begins, as it was read. Empty: nothing.
        start: What says so from then on.
        first: The oldest entry to keep.

    Returns:
        Whether it was done. If not, the chain begins elsewhere now.

    Raises:
        StoreError: It is not known whether they were deleted.
    """
    reply = await scripts.run_on(
        SCRIPT, keys.audit_tag(chain), known_start=known_start, start=start, first_id=str(first)
    )
    return bool(reply == b"OK")
