"""The verification of a chain of the audit: what was altered, removed, inserted or moved since servers stored it."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from callback_server.domain.audit import (
    ENTRY,
    MAX_SEQUENCE,
    NO_ENTRIES,
    START,
    AuditEntry,
    AuditKey,
    Head,
    StoredEntry,
    Verdict,
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
    """Entries between others, or before all others, were removed before their retention was over."""
    MOVED = "MOVED"
    """An entry stands where another one was."""
    TRUNCATED = "TRUNCATED"
    """The newest entries are not there any more, or are others."""
    UNKNOWN_KEY = "UNKNOWN_KEY"
    """Entries are protected by a key that is not ours."""
    UNPROTECTED = "UNPROTECTED"
    """Entries have no HMAC."""


_WITHOUT: Final = {
    Verdict.UNKNOWN_KEY: "an HMAC under another key than ours",
    Verdict.UNPROTECTED: "no HMAC",
}
"""What an entry or a start has that is not proven."""


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
    time_ms: int
    """The time in its id, as in `Head`."""
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
        self._start_verdict = key.best
        self._count = self._first = 0
        self._proven = ""
        """What an HMAC has proven last. Behind it everything has one under a key of ours."""
        self._problems: list[Problem] = []
        self._unproven: list[tuple[Verdict, int, int]] = []
        """Verdict, first and last entry of what has no HMAC that can be checked, in its order."""

    def begin(self, start: bytes, mac: str) -> None:
        """Take the start of the chain, if it has one."""
        said = decode_start(start)
        verdict = self._key.judge(START, start, mac, said)
        if said is None or said.chain != self._chain or verdict is Verdict.ALTERED:
            self._report(
                ProblemKind.ALTERED, 0, "the record of where the chain begins is not as a server has stored it"
            )
            self._is_linked = False
            return
        self._last = self._start = Head(said.sequence, said.digest, said.id_ms, "")
        self._start_verdict = verdict
        if verdict is Verdict.PROVEN:
            self._proven = "the record of where the chain begins"
        else:
            said_of = f"the record that the chain begins behind entry {said.sequence} has"
            self._report(ProblemKind(verdict), said.sequence, f"{said_of} {_WITHOUT[verdict]}")

    def add_altered_start(self) -> None:
        """Take that the start is another one than at the beginning, and none that retention has stored since."""
        self._report(ProblemKind.ALTERED, 0, "the record of where the chain begins was changed meanwhile")

    def add(self, stored: StoredEntry) -> None:
        """Check the next entry."""
        self._count += 1
        if not stored.id.is_possible:
            self._report(ProblemKind.ALTERED, self._last.sequence, f"no server has stored an entry at {stored.id}")
            self._is_linked = False
            return
        last, sequence = self._last, stored.id.sequence
        self._first = self._first or sequence
        entry = decode_entry(stored.entry)
        is_next = sequence == last.sequence + 1
        if not self._count_is_known(sequence):
            self._report(ProblemKind.MISSING, sequence, _missing(last.sequence + 1, sequence - 1))
        altered = self._altered(entry, stored)
        if altered:
            self._report(ProblemKind.ALTERED, sequence, altered)
        elif entry is not None and (problem := self._misplaced(entry, stored, is_next=is_next)):
            self._report(ProblemKind.MOVED, sequence, problem)
        head = Head(sequence, digest_of(stored.entry), stored.id.ms, "")
        if sequence in self._awaited:
            self._digests[sequence] = head.digest
        self._last, self._is_linked = head, not altered

    def _count_is_known(self, sequence: int) -> bool:
        """Return whether no entry is missing before an entry."""
        if not self._is_linked and not self._last.sequence:
            return True  # the start is wrong: nothing says where the chain begins
        return sequence <= self._last.sequence + 1

    def _altered(self, entry: AuditEntry | None, stored: StoredEntry) -> str:
        """Return how an entry is not as a server has stored it, as far as that can be known. Empty: it is."""
        sequence = stored.id.sequence
        verdict = self._key.judge(ENTRY, stored.entry, stored.mac, entry)
        if verdict is Verdict.ALTERED:
            return f"entry {sequence} is not as a server has stored it"
        if verdict is Verdict.PROVEN:
            self._proven = f"entry {sequence}"
        elif self._proven:
            return f"entry {sequence} has {_WITHOUT[verdict]}, but stands behind {self._proven}, which is proven"
        else:
            self._add_unproven(verdict, sequence)
        return ""

    def _add_unproven(self, verdict: Verdict, sequence: int) -> None:
        if self._unproven and self._unproven[-1][0] is verdict and self._unproven[-1][2] + 1 >= sequence:
            self._unproven[-1] = (verdict, self._unproven[-1][1], sequence)
        elif len(self._unproven) < MAX_PROBLEMS:
            self._unproven.append((verdict, sequence, sequence))

    def _misplaced(self, entry: AuditEntry, stored: StoredEntry, *, is_next: bool) -> str:
        """Return why an entry that is itself right does not belong where it stands. Empty: it does."""
        sequence, last = stored.id.sequence, self._last
        if entry.chain != self._chain:
            return f"entry {sequence} belongs to chain {entry.chain}"
        if entry.sequence != sequence or sequence <= last.sequence:
            return f"entry {entry.sequence} stands in the place of entry {sequence}, behind entry {last.sequence}"
        if is_next and self._is_linked and entry.previous != last.digest:
            return f"entry {sequence} does not follow the entry {last.sequence} that stands before it"
        if is_next and self._is_linked and stored.id.ms != max(entry.time_ms, last.id_ms):
            return f"entry {sequence} stands at another time than its own"
        return ""

    def result(self) -> ChainResult:
        """Return the result, once all entries were checked."""
        head = self._last if self._first else None
        if self._start.sequence and head is None:
            self._report(ProblemKind.MISSING, self._start.sequence, "all entries were removed")
        for known in self._known:
            self._compare(known, 0 if head is None else head.sequence)
        for verdict, first, last in self._unproven:
            has = "has" if first == last else "have"
            self._report(ProblemKind(verdict), first, f"{_entries(first, last)} {has} {_WITHOUT[verdict]}")
        return ChainResult(self._chain, self._count, self._first, head, tuple(self._problems))

    def _compare(self, known: KnownHead, newest: int) -> None:
        """Report how the chain contradicts a head that it had."""
        sequence, start = known.sequence, self._start
        seen = "the head that was kept" if known.is_kept else "this server"
        digest = start.digest if sequence == start.sequence else self._digests.get(sequence)
        if sequence > max(newest, start.sequence):
            text = f"the newest entry is {newest}, but {seen} has entry {sequence}"
            self._report(ProblemKind.TRUNCATED, sequence, text)
        elif digest is not None and digest != known.digest:
            self._report(ProblemKind.TRUNCATED, sequence, f"entry {sequence} is another one than {seen} has")
        elif sequence <= start.sequence and known.time_ms > start.id_ms:
            # Retention deletes by time: it has not come to this entry.
            text = f"entry {sequence}, which {seen} has, is younger than what retention has deleted"
            self._report(ProblemKind.MISSING, sequence, text)
        elif sequence <= start.sequence and self._start_verdict is not self._key.best:
            text = f"entry {sequence}, which {seen} has, is gone, and nothing proves that retention has deleted it"
            self._report(ProblemKind.MISSING, sequence, text)

    def _report(self, kind: ProblemKind, sequence: int, text: str) -> None:
        if len(self._problems) < MAX_PROBLEMS:
            # The number of a head that a server has seen can be any that the store accepts.
            self._problems.append(Problem(kind, min(sequence, MAX_SEQUENCE), text))


def _entries(first: int, last: int) -> str:
    return f"entry {first}" if first == last else f"entries {first} to {last}"


def _missing(first: int, last: int) -> str:
    return f"{_entries(first, last)} {'is' if first == last else 'are'} not there any more"
