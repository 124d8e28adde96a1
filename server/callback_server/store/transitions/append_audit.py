"""The transition that appends an entry to the audit for what changes nothing else in the store."""

from __future__ import annotations

from typing import Final

from callback_server.store import keys
from callback_server.store.audit_argument import require_head
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("append_audit")


async def append_audit(scripts: Scripts, chain: int, *, audit: bytes) -> None:
    """Append an entry to a chain, durably. Safe to send again.

    Raises:
        HeadMovedError: The entry came late, and was not appended.
        StoreError: It is not known whether it was appended.
    """
    word, *facts = await scripts.run_on(SCRIPT, keys.audit_tag(chain), audit=audit)
    require_head(word, facts)
