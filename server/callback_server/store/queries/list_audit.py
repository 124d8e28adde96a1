"""Pages of the audit, newest entries first, across chains.

The id of an entry in its chain is a time and a number, so (id, chain) is a position in the list. Each chain is
asked for a few of its newest entries from there on, and for more only if all of these are on the page. After a limited
number of reads a page ends, short or empty, with the position that it came to.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from callback_server.domain.audit import AuditEntry, StoredEntry, decode_entry
from callback_server.store import keys
from callback_server.store.scripts import Scripts

MAX_READS: Final = 2 * keys.AUDIT_CHAINS
"""After how many reads of a chain a page ends, whatever it has."""
READ_ENTRIES: Final = 1000
"""How many entries are read at a time, of all chains together."""
_TOKEN: Final = re.compile(r"([0-9]{1,20})_([0-9]{1,2})_([0-9]{1,20})")


class AuditCursor(NamedTuple):
    """A position in the list: between this entry and the next older one."""

    ms: int
    chain: int
    sequence: int

    def token(self) -> str:
        """Return the position as an opaque page token."""
        return "_".join(map(str, self))

    @classmethod
    def from_token(cls, token: str) -> AuditCursor:
        """Return the position that a token names.

        Raises:
            ValueError: The text is not a page token.
        """
        match = _TOKEN.fullmatch(token)
        if match is None:
            raise ValueError("not a page token")
        return cls(*map(int, match.groups()))

    def newest_of(self, chain: int) -> str:
        """Return the newest id that the entries of a chain can have behind this position."""
        if chain == self.chain:
            return f"({self.ms}-{self.sequence}"
        return f"{self.ms}" if chain < self.chain else f"({self.ms}-0"


@dataclass(frozen=True, slots=True)
class ListedEntry:
    """An entry with what is stored beside it."""

    entry: AuditEntry
    stored: StoredEntry


class _Read(NamedTuple):
    """An entry that was read, or how far a chain was read (no entry). The newest sorts first."""

    minus_ms: int
    minus_chain: int
    minus_sequence: int
    is_frontier: bool
    stored: StoredEntry | None

    @property
    def cursor(self) -> AuditCursor:
        return AuditCursor(-self.minus_ms, -self.minus_chain, -self.minus_sequence)


async def list_audit(
    scripts: Scripts,
    chains: Sequence[int],
    keeps: Callable[[AuditEntry], bool],
    *,
    after: AuditCursor | None,
    limit: int,
    from_ms: int = 0,
) -> tuple[list[ListedEntry], AuditCursor | None]:
    """Return the next entries after a position, at most `limit`, newest first.

    Also returns the position to continue from if there may be more.

    Args:
        scripts: The scripts on the store.
        chains: The chains to look at.
        keeps: Whether an entry is listed.
        after: The position. None: the newest.
        limit: The maximum number of entries.
        from_ms: The earliest time, in milliseconds since the epoch.

    Raises:
        StoreError: The store did not answer.
    """
    count = max(4, READ_ENTRIES // len(chains))
    heap: list[_Read] = []
    reads = 0

    async def read(positions: Iterable[tuple[int, AuditCursor | None]]) -> None:
        nonlocal reads
        asked = [*positions]
        reads += len(asked)
        commands = [
            ("XREVRANGE", keys.audit_key(chain), "+" if at is None else at.newest_of(chain), from_ms, "COUNT", count)
            for chain, at in asked
        ]
        for (chain, _), found in zip(asked, await scripts.read_together(commands), strict=True):
            entry_id = None
            for id_, fields in found:
                stored = StoredEntry.parse(id_, fields)
                entry_id = stored.id
                heapq.heappush(heap, _Read(-entry_id.ms, -chain, -entry_id.sequence, False, stored))
            if entry_id is not None and len(found) == count:
                heapq.heappush(heap, _Read(-entry_id.ms, -chain, -entry_id.sequence, True, None))

    await read((chain, after) for chain in chains)
    listed: list[ListedEntry] = []
    at = after
    while heap:
        newest = heapq.heappop(heap)
        if newest.stored is not None:
            entry = decode_entry(newest.stored.entry)
            if entry is not None and keeps(entry):
                if len(listed) == limit:
                    return listed, at
                listed.append(ListedEntry(entry, newest.stored))
            at = newest.cursor
        elif reads >= MAX_READS:
            return listed, newest.cursor
        else:
            await read([(newest.cursor.chain, newest.cursor)])
    return listed, None
