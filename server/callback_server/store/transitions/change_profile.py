"""The transition that stores or deletes a verification profile of an owner."""

from __future__ import annotations

import enum
import hashlib
from typing import Final

from callback_server.store import keys
from callback_server.store.audit_argument import require_head
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("change_profile")


class ProfileChange(enum.Enum):
    """The result of a change of a profile."""

    OK = b"OK"
    CHANGED = b"CHANGED"
    """Another profile, or none, is stored by now. Nothing was changed."""
    FULL = b"FULL"
    """The owner has as many profiles as it can have. Nothing was changed."""


async def change_profile(
    scripts: Scripts,
    owner: str,
    name: str,
    *,
    known: bytes | None,
    content: bytes | None,
    max_profiles: int,
    audit: bytes = b"",
) -> ProfileChange:
    """Store or delete a profile, durably, with an entry of the audit. Safe to send again.

    Args:
        scripts: The scripts on the store.
        owner: The owner.
        name: The name of the profile.
        known: The stored profile that this change follows. None: there is none.
        content: The profile. None: it is deleted.
        max_profiles: How many profiles the owner can have.
        audit: The entry of the audit (see audit_argument.py).

    Raises:
        HeadMovedError: The entry came late, and nothing was changed.
        StoreError: It is not known whether the change was made.
    """
    word, *facts = await scripts.run(
        SCRIPT,
        keys.partition_of_owner(owner),
        owner=owner,
        name=name,
        known="" if known is None else hashlib.sha1(known, usedforsecurity=False).hexdigest(),
        content=content or b"",
        max_profiles=max_profiles,
        audit=audit,
    )
    require_head(word, facts)
    return ProfileChange(word)
