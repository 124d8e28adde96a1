"""Reads the events of partitions. Each partition numbers its events from 1 on, without a gap.

A store that was restored from a backup, or that lost its last steps in a failover, uses numbers a second time. So a
position has the digest of the last event that was read, and a reader reads that event again: its digest shows whether
these are still the same events. A resume token has one digest, made of those of all partitions, so that it stays small.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import operator
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from callback_server.domain.event import Event
from callback_server.store import keys
from callback_server.store.scripts import Scripts

EVENTS_PER_READ: Final = 200
"""How many events of a partition one command reads. Reading as many of all partitions takes the store 7 ms."""
_TOKEN_VERSION: Final = 1
_KEYS: Final = tuple(keys.key(partition, "events") for partition in range(keys.PARTITIONS))

decode_event = msgspec.msgpack.Decoder(Event).decode
_encode_token = msgspec.msgpack.Encoder().encode
_decode_token = msgspec.msgpack.Decoder(tuple[int, int, list[int]]).decode


class _AnyToken(msgspec.Struct, array_like=True):
    """The first field of a token of every version."""

    version: int


_decode_any = msgspec.msgpack.Decoder(_AnyToken).decode


class StoredEvent(NamedTuple):
    """An event, and its position."""

    partition: int
    number: int
    digest: int
    """A digest of the event, of 64 bits."""
    event: Event


class ResumeToken(NamedTuple):
    """A position, as a resume token holds it."""

    numbers: list[int] | None
    """The number of the last event of each partition. None: a later release made the token, and only it knows them."""
    digest: int
    """The digest of these events."""

    @classmethod
    def from_text(cls, text: str) -> ResumeToken:
        """Parse a token.

        Raises:
            ValueError: The text is not a resume token.
        """
        try:
            packed = base64.b64decode(text, altchars=b"-_", validate=True)
            version = _decode_any(packed).version
            if version > _TOKEN_VERSION:
                return cls(None, 0)
            _, digest, numbers = _decode_token(packed)
        except (binascii.Error, msgspec.DecodeError, RecursionError) as error:
            raise ValueError("not a resume token") from error
        if version < 1 or len(numbers) != keys.PARTITIONS or not all(0 <= n < 2**53 for n in numbers):
            raise ValueError("not a resume token")
        return cls(numbers, digest)


class Position:
    """A position in the events of all partitions: behind one event of each."""

    def __init__(self, numbers: Sequence[int], digests: Sequence[int]) -> None:
        """Make a position from the numbers and the digests of the events, by partition. Both are 0 before the first."""
        self.numbers = [*numbers]
        self.digests = [*digests]
        self.digest = functools.reduce(operator.xor, self.digests, 0)

    def token(self) -> str:
        """Return the position as an opaque resume token."""
        return base64.urlsafe_b64encode(_encode_token((_TOKEN_VERSION, self.digest, self.numbers))).decode()

    def copy(self) -> Position:
        """Return a copy, which moves by itself."""
        return Position(self.numbers, self.digests)

    def move(self, partition: int, number: int, digest: int) -> None:
        """Move behind an event."""
        self.digest ^= self.digests[partition] ^ digest
        self.numbers[partition], self.digests[partition] = number, digest

    def move_behind(self, events: Sequence[StoredEvent]) -> None:
        """Move behind events, which are in order in each partition."""
        for partition, number, digest, _ in events:
            self.move(partition, number, digest)

    def advance(self, other: Position) -> None:
        """Move forward to another position, in each partition where that is further."""
        for partition, number in enumerate(other.numbers):
            if number > self.numbers[partition]:
                self.move(partition, number, other.digests[partition])

    def reaches(self, other: Position) -> bool:
        """Return whether this position is at or behind the other one in every partition."""
        return all(mine >= its for mine, its in zip(self.numbers, other.numbers, strict=True))


async def read_end_position(scripts: Scripts) -> Position:
    """Return the position behind the newest event of each partition.

    Raises:
        StoreError: The store did not answer.
    """
    newest = await _run(scripts, [("XREVRANGE", key, "+", "-", "COUNT", 1) for key in _KEYS])
    return Position([number for number, _ in newest], [_digest(*events) for _, events in newest])


async def resolve_token(scripts: Scripts, token: ResumeToken) -> Position | None:
    """Return the position of a token. None: it is unknown, its events are no longer kept, or the store has others.

    Raises:
        StoreError: The store did not answer.
    """
    if token.numbers is None:
        return None
    there = await _read(scripts, token.numbers, limit=1)
    if any(number and number != first for number, (first, _) in zip(token.numbers, there, strict=True)):
        return None
    digests = [_digest(*events) if number else 0 for number, (_, events) in zip(token.numbers, there, strict=True)]
    position = Position(token.numbers, digests)
    return position if token.digest == position.digest else None


async def read_events(scripts: Scripts, position: Position) -> tuple[list[StoredEvent], bool] | None:
    """Return the next events after a position, and whether there may be more.

    At most `EVENTS_PER_READ` of each partition are read. None: the event at the position, or one after it, is no longer
    kept, or the store has other events with these numbers.

    Raises:
        StoreError: The store did not answer.
    """
    found, more = list[StoredEvent](), False
    pages = await _read(scripts, position.numbers, limit=EVENTS_PER_READ + 1)
    for partition, (number, digest, (first, events)) in enumerate(
        zip(position.numbers, position.digests, pages, strict=True)
    ):
        if number and (first != number or _digest(events[0]) != digest):
            return None
        if not number and first > 1:
            return None
        new = events[1 if number else 0 :]
        more = more or len(new) >= EVENTS_PER_READ
        found += [
            StoredEvent(partition, at, _digest(event), decode_event(event)) for at, event in enumerate(new, number + 1)
        ]
    return found, more


async def _read(scripts: Scripts, numbers: Sequence[int], *, limit: int) -> list[tuple[int, list[bytes]]]:
    """Return for each partition the number of its first event from a number on (0: none), and these events.

    If the event with that number is no longer kept, the first one is a later one. Commands take the store a quarter of
    what a script takes for it.
    """
    return await _run(
        scripts, [("XRANGE", key, f"0-{at}", "+", "COUNT", limit) for key, at in zip(_KEYS, numbers, strict=True)]
    )


async def _run(scripts: Scripts, commands: Sequence[Sequence[str | int]]) -> list[tuple[int, list[bytes]]]:
    replies = await scripts.read_together(commands)
    return [
        (int(entries[0][0].removeprefix(b"0-")) if entries else 0, [fields[1] for _, fields in entries])
        for entries in replies
    ]


def _digest(event: bytes = b"") -> int:
    """Return the digest of an event as it is stored, and 0 for no event."""
    return int.from_bytes(hashlib.blake2b(event, digest_size=8).digest()) if event else 0
