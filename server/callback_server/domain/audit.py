"""The audit: who changed what, as chains of entries that can be verified.

1. Each partition of the store has a chain, and one more is for what belongs to no case. The entries of a chain are
   numbered from 1 on without a gap, and each one has the SHA-256 of the entry before it. So the newest entry, the
   *head* of the chain, proves all others.
2. Each entry has an HMAC under a key that only the servers have. Without a key it has none, and nothing is proven.
3. An entry is exactly the bytes that are stored: they are never made again in order to verify them.
4. Retention deletes the oldest entries, if they are proven. A *start*, with an HMAC too, then says where the chain
   begins, and the time up to which entries were deleted.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Final

import msgspec

from callback_server.domain.case import Case

_PURPOSE: Final = b"callback audit"
_KEY_ID_BYTES: Final = 4
NO_MAC: Final = "-"
"""Stands where an entry has no HMAC."""
MAX_MS: Final = 253_402_300_799_999
"""The latest time that an entry can have, in milliseconds since the epoch: the end of the year 9999."""
MAX_SEQUENCE: Final = 2**63 - 1
"""The highest number that an entry can have."""
_Ms = Annotated[int, msgspec.Meta(ge=0, le=MAX_MS)]
_Sequence = Annotated[int, msgspec.Meta(ge=1, le=MAX_SEQUENCE)]
_Chain = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class AuditAction(enum.StrEnum):
    """The kind of a change."""

    RESPONSE_SET = "RESPONSE_SET"
    CALL_ANSWERED = "CALL_ANSWERED"
    CALLBACK_RESOLVED = "CALLBACK_RESOLVED"
    CALLBACK_CLOSED = "CALLBACK_CLOSED"
    CALLBACK_EXTENDED = "CALLBACK_EXTENDED"
    CALLS_ERASED = "CALLS_ERASED"
    CALL_REPLAYED = "CALL_REPLAYED"
    ACTIVITY_PAUSED = "ACTIVITY_PAUSED"
    ACTIVITY_RESUMED = "ACTIVITY_RESUMED"
    PRINCIPALS_READ = "PRINCIPALS_READ"
    STATE_KEY_CHANGED = "STATE_KEY_CHANGED"
    PROFILE_CREATED = "PROFILE_CREATED"
    PROFILE_UPDATED = "PROFILE_UPDATED"
    PROFILE_DELETED = "PROFILE_DELETED"
    PROFILE_CHECKED = "PROFILE_CHECKED"


@dataclass(frozen=True, slots=True)
class Change:
    """What a principal changes. It has no state, no URL, no body and no header."""

    action: AuditAction
    actor: str
    """The principal. Empty: a server."""
    case_id: str = ""
    owner: str = ""
    activity: str = ""
    call_id: str = ""
    reason: str = ""
    verification_profile: str = ""
    """The profile of the owner that is changed."""
    details: Mapping[str, str] = field(default_factory=dict)
    principals: Mapping[str, str] = field(default_factory=dict)
    """Of a principals file: as in `AuditEntry`."""

    @classmethod
    def of_case(
        cls, action: AuditAction, actor: str, case: Case, *, call_id: str = "", details: Mapping[str, str] | None = None
    ) -> Change:
        """Return a change of a case or of one of its calls."""
        return cls(action, actor, case.id, case.owner, case.activity, call_id, details=details or {})


class AuditEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """An entry of a chain, stored as JSON: add fields with a default, and never reuse a name."""

    chain: _Chain
    sequence: _Sequence
    previous: str
    """The digest of the entry before it. Empty: it is the first one."""
    nonce: str
    """Random: no two entries are equal, also if two servers make the same change at the same moment."""
    time_ms: _Ms
    """The time by the clock of the server, in milliseconds since the epoch."""
    action: str
    """An `AuditAction`, or one that only a newer release knows."""
    actor: str = ""
    case_id: str = ""
    owner: str = ""
    activity: str = ""
    call_id: str = ""
    reason: str = ""
    verification_profile: str = ""
    details: dict[str, str] = {}
    principals: dict[str, str] = {}
    """Of a principals file that was read: a short digest for each name, by which the next entry says what changed."""
    key_id: str = ""
    """The id of the key of its HMAC. Empty: it has no HMAC."""


class AuditStart(msgspec.Struct, frozen=True):
    """The newest entry that retention has deleted: the chain begins behind it. Stored as JSON."""

    chain: _Chain
    sequence: _Sequence
    digest: str
    id_ms: _Ms = msgspec.field(name="place_ms")
    key_id: str


@dataclass(frozen=True, slots=True)
class Head:
    """The newest entry of a chain."""

    sequence: int
    digest: str
    """The SHA-256 of the entry, in hexadecimal digits."""
    id_ms: int
    """The time in its id: its own, or that of an earlier entry if that is later."""
    mark: str
    """The SHA-1 of the entry: scripts compare it, and have nothing better. It proves nothing."""

    @classmethod
    def of(cls, entry_id: EntryId, entry: bytes) -> Head:
        """Return the head that an entry is."""
        sha1 = hashlib.sha1(entry, usedforsecurity=False).hexdigest()
        return cls(entry_id.sequence, digest_of(entry), entry_id.ms, sha1)


NO_ENTRIES: Final = Head(0, "", 0, "-")
"""The head of a chain without entries."""
UNKNOWN: Final = Head(0, "", 0, "?")
"""Stands for a head that is not known: no chain has it."""


@dataclass(frozen=True, slots=True, order=True)
class EntryId:
    """The id of an entry in the stream of its chain. Its order is that of the entries."""

    ms: int
    sequence: int

    @classmethod
    def parse(cls, text: str | bytes) -> EntryId:
        """Parse an id of the store. Raise ValueError."""
        ms, _, sequence = (text if isinstance(text, str) else text.decode()).partition("-")
        return cls(int(ms), int(sequence))

    def __str__(self) -> str:
        return f"{self.ms}-{self.sequence}"

    @property
    def is_possible(self) -> bool:
        """Whether a server can have given it to an entry."""
        return self.ms <= MAX_MS and 1 <= self.sequence <= MAX_SEQUENCE


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry as it is stored."""

    id: EntryId
    entry: bytes
    mac: str

    @classmethod
    def parse(cls, id_: bytes, fields: Sequence[bytes]) -> StoredEntry:
        """Return an item of a stream. One that no server has made has an empty entry."""
        if len(fields) == 4 and fields[::2] == [b"entry", b"mac"]:
            return cls(EntryId.parse(id_), fields[1], fields[3].decode("latin-1"))
        return cls(EntryId.parse(id_), b"", "")


def digest_of(entry: bytes) -> str:
    """Return the digest of an entry: its SHA-256 in hexadecimal digits."""
    return hashlib.sha256(entry).hexdigest()


_encode = msgspec.json.Encoder().encode
_decode_entry = msgspec.json.Decoder(AuditEntry).decode
_decode_start = msgspec.json.Decoder(AuditStart).decode


_UNDECODABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding raises for bytes that no server has made."""


def decode_entry(entry: bytes) -> AuditEntry | None:
    """Return what an entry says. None: it is none."""
    try:
        return _decode_entry(entry)
    except _UNDECODABLE:
        return None


def decode_start(start: bytes) -> AuditStart | None:
    """Return what a start says. None: it is none."""
    try:
        return _decode_start(start)
    except _UNDECODABLE:
        return None


class Verdict(enum.StrEnum):
    """What an HMAC proves about an entry or a start."""

    PROVEN = "PROVEN"
    """A server with one of our keys has made it."""
    ALTERED = "ALTERED"
    """It is not as a server has stored it."""
    UNKNOWN_KEY = "UNKNOWN_KEY"
    """Nothing: it names a key that is not ours."""
    UNPROTECTED = "UNPROTECTED"
    """Nothing: it has no HMAC."""


class AuditKey:
    """Makes entries and starts, and their HMACs, and says what these prove."""

    def __init__(self, state_key: bytes | None, other: bytes | None = None) -> None:
        """Derive the key.

        Args:
            state_key: What it is derived from, which all servers share. None: entries have no HMAC.
            other: Another one whose HMACs prove as much, during a change of the `state_key`.
        """
        derived = [hmac.digest(each, _PURPOSE, "sha256") for each in (state_key, other) if each is not None]
        self._keys = {hmac.digest(each, b"id", "sha256")[:_KEY_ID_BYTES].hex(): each for each in derived}
        self.id = "" if state_key is None else next(iter(self._keys))
        """Names the key, and says nothing about it. Empty: there is no key."""
        self.best = Verdict.PROVEN if self.id else Verdict.UNPROTECTED
        """The verdict on what a server with this key has just made."""

    def mac(self, kind: bytes, text: bytes) -> str:
        """Return the HMAC of an entry or a start (`kind`), in hexadecimal digits."""
        return self._mac(self.id, kind, text)

    def _mac(self, key_id: str, kind: bytes, text: bytes) -> str:
        return hmac.digest(self._keys[key_id], kind + b"\0" + text, "sha256").hex() if key_id else NO_MAC

    def judge(self, kind: bytes, text: bytes, mac: str, said: AuditEntry | AuditStart | None) -> Verdict:
        """Return what an HMAC proves.

        Args:
            kind: What it is of: `ENTRY` or `START`.
            text: The bytes that are stored.
            mac: The HMAC.
            said: What the bytes say. None: they are no entry, or no start.
        """
        if said is None:
            return Verdict.ALTERED
        if not said.key_id:
            return Verdict.UNPROTECTED if mac == NO_MAC else Verdict.ALTERED
        if said.key_id not in self._keys:
            return Verdict.UNKNOWN_KEY
        is_right = hmac.compare_digest(mac.encode(), self._mac(said.key_id, kind, text).encode())
        return Verdict.PROVEN if is_right else Verdict.ALTERED

    def judge_entry(self, chain: int, stored: StoredEntry) -> Verdict:
        """Return what an entry proves where it stands: an entry with another id proves nothing there."""
        said = decode_entry(stored.entry)
        if said is not None and (said.chain, said.sequence) != (chain, stored.id.sequence):
            return Verdict.ALTERED
        return self.judge(ENTRY, stored.entry, stored.mac, said)

    def is_other(self, said: AuditEntry | AuditStart) -> bool:
        """Return whether an entry or a start names the other key. That alone proves nothing."""
        return said.key_id != self.id and said.key_id in self._keys

    def seal(self, change: Change, chain: int, head: Head, now_ms: int) -> tuple[StoredEntry, Head]:
        """Return the entry of a change, as it follows a head, and the head that it becomes."""
        entry = _encode(
            AuditEntry(
                chain=chain,
                sequence=head.sequence + 1,
                previous=head.digest,
                nonce=secrets.token_hex(8),
                time_ms=now_ms,
                **asdict(change),
                key_id=self.id,
            )
        )
        entry_id = EntryId(max(now_ms, head.id_ms), head.sequence + 1)
        return StoredEntry(entry_id, entry, self.mac(ENTRY, entry)), Head.of(entry_id, entry)

    def seal_start(self, chain: int, deleted: Head) -> tuple[bytes, str]:
        """Return the start of a chain whose entries up to `deleted` are deleted, and its HMAC."""
        start = _encode(AuditStart(chain, deleted.sequence, deleted.digest, deleted.id_ms, self.id))
        return start, self.mac(START, start)


ENTRY: Final = b"entry"
START: Final = b"start"
"""What an HMAC is of: none of one kind is one of the other."""
