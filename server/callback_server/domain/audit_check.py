"""The verification of a chain of the audit: what was altered, removed, inserted or moved since servers stored it."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from callback_server.domain.audit import (
    ENTRY,
    NO_ENTRIES,
    NO_MAC,
    START,
    AuditEntry,
    AuditKey,
    Head,
    StoredEntry,
    decode_entry,
    decode_start,
    digest_of,
)

MAX_PROBLEMS: Final = 100
"""How many problems of a chain are reported."""


class ProblemKind(enum.StrEnum):
    """The kind of a problem."""

    ALTERED = "ALTERED"
    """An entry is not as a server has stored it."""
    MISSING = "MISSING"
    """Entries between others, or before all others, were removed."""
    MOVED = "MOVED"
    """An entry stands where another one was."""
    TRUNCATED = "TRUNCATED"
    """The newest entries are not there any more, or are others."""
    UNKNOWN_KEY = "UNKNOWN_KEY"
    """Entries are protected by a key that is not ours."""
    UNPROTECTED = "UNPROTECTED"
    """Entries have no HMAC."""


UNPROVEN: Final = frozenset({ProblemKind.UNKNOWN_KEY, ProblemKind.UNPROTECTED})
"""Problems that say only that nothing is proven. A newer head that was kept proves it all the same."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong with a chain."""

    kind: ProblemKind
    sequence: int
    """The number of the entry where it was found."""
    text: str


@dataclass(frozen=True, slots=True)
class KnownHead:
    """A head that a chain had earlier."""

    sequence: int
    digest: str
    is_kept: bool
    """Whether it was kept outside of the store. Otherwise a running server has seen it."""


@dataclass(frozen=True, slots=True)
class ChainResult:
    """The result for one chain."""

    chain: int
    entry_count: int
    first_sequence: int
    """The number of the oldest entry. 0: there is none."""
    head: Head | None
    """None: the chain has no entries."""
    problems: tuple[Problem, ...]


class ChainCheck:
    """Verifies one chain, which is passed to it in its order."""

    def __init__(self, chain: int, key: AuditKey, known: Iterable[KnownHead] = ()) -> None:
        self._chain = chain
        self._key = key
        self._known = [*known]
        self._awaited = {each.sequence for each in self._known}
        self._digests: dict[int, str] = {}
        """The digests of the entries that known heads name."""
        self._last = NO_ENTRIES
        """The entry that was checked last, or that the start names."""
        self._is_linked = True
        """Whether the next entry must follow that one: not after one that is wrong itself."""
        self._start = NO_ENTRIES
        self._count = self._first = 0
        self._problems: list[Problem] = []
        self._unproven: list[tuple[ProblemKind, int, int]] = []
        """Kind, first and last entry of what has no HMAC that can be checked, in its order."""

    def begin(self, start: bytes, mac: str) -> None:
        """Take the start of the chain, if it has one."""
        said = decode_start(start)
        if said is None or said.chain != self._chain or (said.key_id == self._key.id and not self._proves(start, mac)):
            self._report(
                ProblemKind.ALTERED, 0, "the record of where the chain begins is not as a server has stored it"
            )
            self._is_linked = False
            return
        self._last = self._start = Head(said.sequence, said.digest, said.place_ms, "")
        if said.key_id != self._key.id or not said.key_id:
            self._add_unproven(said.key_id, said.sequence)

    def _proves(self, start: bytes, mac: str) -> bool:
        return self._key.is_right(START, start, mac)

    def add(self, stored: StoredEntry) -> None:
        """Check the next entry."""
        last, sequence = self._last, stored.place.sequence
        if not self._count:
            self._first = sequence
        self._count += 1
        entry = decode_entry(stored.entry)
        is_next = sequence == last.sequence + 1
        if not self._count_is_known(sequence):
            self._report(ProblemKind.MISSING, sequence, _missing(last.sequence + 1, sequence - 1))
        is_altered = entry is None or not self._is_as_stored(entry, stored)
        if is_altered:
            self._report(ProblemKind.ALTERED, sequence, f"entry {sequence} is not as a server has stored it")
        elif entry is not None and (problem := self._misplaced(entry, stored, is_next=is_next)):
            self._report(ProblemKind.MOVED, sequence, problem)
        head = Head(sequence, digest_of(stored.entry), stored.place.ms, "")
        if sequence in self._awaited:
            self._digests[sequence] = head.digest
        self._last, self._is_linked = head, not is_altered

    def _count_is_known(self, sequence: int) -> bool:
        """Return whether no entry is missing before an entry."""
        if not self._is_linked and not self._last.sequence:
            return True  # the start is wrong: nothing says where the chain begins
        return sequence <= self._last.sequence + 1

    def _is_as_stored(self, entry: AuditEntry, stored: StoredEntry) -> bool:
        """Return whether the HMAC of an entry is right, as far as that can be known."""
        if entry.key_id and entry.key_id == self._key.id:
            return self._key.is_right(ENTRY, stored.entry, stored.mac)
        self._add_unproven(entry.key_id, stored.place.sequence)
        return bool(entry.key_id) or stored.mac == NO_MAC

    def _add_unproven(self, key_id: str, sequence: int) -> None:
        kind = ProblemKind.UNKNOWN_KEY if key_id else ProblemKind.UNPROTECTED
        if self._unproven and self._unproven[-1][0] is kind and self._unproven[-1][2] + 1 >= sequence:
            self._unproven[-1] = (kind, self._unproven[-1][1], sequence)
        else:
            self._unproven.append((kind, sequence, sequence))

    def _misplaced(self, entry: AuditEntry, stored: StoredEntry, *, is_next: bool) -> str:
        """Return why an entry that is itself right does not belong where it stands. Empty: it does."""
        sequence, last = stored.place.sequence, self._last
        if entry.chain != self._chain:
            return f"entry {sequence} belongs to chain {entry.chain}"
        if entry.sequence != sequence or sequence <= last.sequence:
            return f"entry {entry.sequence} stands in the place of entry {sequence}, behind entry {last.sequence}"
        if is_next and self._is_linked and entry.previous != last.digest:
            return f"entry {sequence} does not follow the entry {last.sequence} that stands before it"
        if is_next and self._is_linked and stored.place.ms != max(entry.time_ms, last.place_ms):
            return f"entry {sequence} stands at another time than its own"
        return ""

    def result(self) -> ChainResult:
        """Return the result, once all entries were checked."""
        head = self._last if self._count else None
        if self._start.sequence and head is None:
            self._report(ProblemKind.MISSING, self._start.sequence, "all entries were removed")
        proven = 0
        for known in self._known:
            if problem := self._contradiction(known, head):
                self._report(ProblemKind.TRUNCATED, known.sequence, problem)
            elif known.is_kept and known.sequence >= self._start.sequence:
                proven = max(proven, known.sequence)
        for kind, first, last in self._unproven:
            if last > proven:
                self._report(kind, max(first, proven + 1), _unproven(kind, max(first, proven + 1), last))
        return ChainResult(
            self._chain, self._count, self._first if self._count else 0, head, tuple(self._problems[:MAX_PROBLEMS])
        )

    def _contradiction(self, known: KnownHead, head: Head | None) -> str:
        """Return how the chain contradicts a head that it had. Empty: it does not."""
        seen = "the head that was kept" if known.is_kept else "this server"
        newest = 0 if head is None else head.sequence
        if known.sequence > max(newest, self._start.sequence):
            return f"the newest entry is {newest}, but {seen} has entry {known.sequence}"
        if known.sequence < self._start.sequence:
            return ""  # deleted by retention
        digest = self._start.digest if known.sequence == self._start.sequence else self._digests.get(known.sequence)
        if digest is not None and digest != known.digest:
            return f"entry {known.sequence} is another one than {seen} has"
        return ""  # one that is missing is reported as such

    def _report(self, kind: ProblemKind, sequence: int, text: str) -> None:
        self._problems.append(Problem(kind, sequence, text))


def _entries(first: int, last: int) -> str:
    return f"entry {first}" if first == last else f"entries {first} to {last}"


def _missing(first: int, last: int) -> str:
    return f"{_entries(first, last)} {'is' if first == last else 'are'} not there any more"


def _unproven(kind: ProblemKind, first: int, last: int) -> str:
    if kind is ProblemKind.UNPROTECTED:
        return f"{_entries(first, last)} {'has' if first == last else 'have'} no HMAC: the server had no state_key"
    return f"{_entries(first, last)} {'has' if first == last else 'have'} an HMAC under another key than ours"
