"""How a script gets the entry of the audit for the change that it makes, and how it refuses an entry that came late.

The argument is explained in lua/includes/audit.lua. Empty: the change has no entry, because no principal makes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from callback_server.domain.audit import Head, StoredEntry


class HeadMovedError(Exception):
    """Another entry was appended to the chain meanwhile. Nothing was changed: make the entry again."""

    def __init__(self, newest: StoredEntry | None) -> None:
        super().__init__("the head of the audit has moved")
        self.newest = newest
        """The newest entry. None: there is none."""


def audit_argument(follows: Head, stored: StoredEntry) -> bytes:
    """Return the argument for an entry that follows a head."""
    return f"{follows.mark} {stored.id} {stored.mac} ".encode() + stored.entry


def require_head(word: bytes, facts: Sequence[Any]) -> None:
    """Check the reply of a script. Raise HeadMovedError if its word is HEAD_MOVED."""
    if word == b"HEAD_MOVED":
        (item,) = facts
        raise HeadMovedError(StoredEntry.parse(*item) if item else None)
