"""Reads the events of partitions. Each partition numbers its own, from 1 on, without a hole.

A store that was restored from a backup, or that lost its last steps in a failover, gives numbers a second time. So who
knows a place also knows the mark of the event there, and reads that event again: it tells whether these still are the
events that were read before. A token has one mark, made of those of its events, so that it stays small.
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
from callback_server.store.generated_lua import numbers, text
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("read_events", [*text("first_number"), *numbers("limit")])
EVENTS_PER_READ: Final = 200
"""How many events of a partition are read at once: it blocks the store meanwhile."""
_TOKEN_VERSION: Final = 2

decode_event = msgspec.msgpack.Decoder(Event).decode
_encode_token = msgspec.msgpack.Encoder().encode
_decode_token = msgspec.msgpack.Decoder(tuple[int, int, list[int]]).decode
_decode_unmarked = msgspec.msgpack.Decoder(tuple[int, list[int]]).decode


class _AnyToken(msgspec.Struct, array_like=True):
    """What a token of every release begins with."""

    version: int


_decode_any = msgspec.msgpack.Decoder(_AnyToken).decode


class StoredEvent(NamedTuple):
    """An event, and where it stands."""

    partition: int
    number: int
    mark: int
    """A digest of the event, of 64 bits."""
    event: Event


class ResumeToken(NamedTuple):
    """A place, as far as a token knows it."""

    numbers: list[int] | None
    """None: a later release made it, and it alone knows the place."""
    mark: int | None
    """None: the release before made it, which knew of none."""

    @classmethod
    def from_text(cls, text: str) -> ResumeToken:
        """The token that this is.

        Raises:
            ValueError: it is none of ours.
        """
        try:
            packed = base64.b64decode(text, altchars=b"-_", validate=True)
            version = _decode_any(packed).version
            if version > _TOKEN_VERSION:
                return cls(None, None)
            if version == _TOKEN_VERSION:
                _, mark, numbers = _decode_token(packed)
            else:
                mark, (_, numbers) = None, _decode_unmarked(packed)
        except (binascii.Error, msgspec.DecodeError, RecursionError) as error:
            raise ValueError("not a resume token") from error
        if version < 1 or len(numbers) != keys.PARTITIONS or not all(0 <= n < 2**53 for n in numbers):
            raise ValueError("not a resume token")
        return cls(numbers, mark)


class Position:
    """A place in the events of all partitions: behind one of each. 0 and 0 where there is none."""

    def __init__(self, numbers: Sequence[int], marks: Sequence[int]) -> None:
        self.numbers = [*numbers]
        self.marks = [*marks]
        self.mark = functools.reduce(operator.xor, self.marks, 0)

    def token(self) -> str:
        """The place as an opaque resume token."""
        return base64.urlsafe_b64encode(_encode_token((_TOKEN_VERSION, self.mark, self.numbers))).decode()

    def copy(self) -> Position:
        """The same place, that can be moved by itself."""
        return Position(self.numbers, self.marks)

    def move(self, partition: int, number: int, mark: int) -> None:
        """Moves it behind an event."""
        self.mark ^= self.marks[partition] ^ mark
        self.numbers[partition], self.marks[partition] = number, mark

    def advance(self, other: Position) -> None:
        """Moves it on to another place, where that is further."""
        for partition, number in enumerate(other.numbers):
            if number > self.numbers[partition]:
                self.move(partition, number, other.marks[partition])

    def reaches(self, other: Position) -> bool:
        """Whether nothing that is before the other place comes after this one."""
        return all(mine >= its for mine, its in zip(self.numbers, other.numbers, strict=True))


async def read_end_position(scripts: Scripts) -> Position:
    """The place behind all events that there are.

    Raises:
        StoreError: the store did not answer.
    """
    newest = await _read(scripts, [""] * keys.PARTITIONS, limit=1)
    return Position([number for number, _ in newest], [_mark(*events) for _, events in newest])


async def resolve_token(scripts: Scripts, token: ResumeToken) -> Position | None:
    """The place of a token; None if it can not be told, its events are not kept any more, or the store has others.

    Raises:
        StoreError: the store did not answer.
    """
    if token.numbers is None:
        return None
    there = await _read(scripts, token.numbers, limit=1)
    if any(number and number != first for number, (first, _) in zip(token.numbers, there, strict=True)):
        return None
    marks = [_mark(*events) if number else 0 for number, (_, events) in zip(token.numbers, there, strict=True)]
    position = Position(token.numbers, marks)
    return position if token.mark in (None, position.mark) else None


async def read_events(scripts: Scripts, position: Position) -> tuple[list[StoredEvent], bool] | None:
    """The next events after a place, of each partition at most `EVENTS_PER_READ`, and whether there may be more.

    None: the events at that place, or some after it, are not kept any more, or the store has others by these numbers.

    Raises:
        StoreError: the store did not answer.
    """
    found, more = list[StoredEvent](), False
    pages = await _read(scripts, position.numbers, limit=EVENTS_PER_READ + 1)
    for partition, (number, mark, (first, events)) in enumerate(
        zip(position.numbers, position.marks, pages, strict=True)
    ):
        if number and (first != number or _mark(events[0]) != mark):
            return None
        if not number and first > 1:
            return None
        new = events[1 if number else 0 :]
        more = more or len(new) >= EVENTS_PER_READ
        found += [
            StoredEvent(partition, at, _mark(event), decode_event(event)) for at, event in enumerate(new, number + 1)
        ]
    return found, more


async def _read(scripts: Scripts, numbers: Sequence[int | str], *, limit: int) -> list[tuple[int, list[bytes]]]:
    """Of each partition the events from one on: the number of the first, 0 if there is none, and what they are."""
    replies = await scripts.run_on_partitions(
        SCRIPT, {partition: SCRIPT.pack(first_number=at, limit=limit) for partition, at in enumerate(numbers)}
    )
    return [(replies[partition][0], replies[partition][1:]) for partition in range(keys.PARTITIONS)]


def _mark(event: bytes = b"") -> int:
    """That of an event, as it is stored; 0 of none."""
    return int.from_bytes(hashlib.blake2b(event, digest_size=8).digest()) if event else 0
