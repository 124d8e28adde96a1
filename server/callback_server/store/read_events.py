"""Reads the events of partitions. Each partition numbers its own, from 1 on, without a hole."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from callback_server.domain.event import Event
from callback_server.store import keys
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("read_events")
EVENTS_AT_ONCE: Final = 200
"""How many events of a partition are read at once: it blocks the store meanwhile."""
_TOKEN_VERSION: Final = 1

decode_event = msgspec.msgpack.Decoder(Event).decode
_encode_token = msgspec.msgpack.Encoder().encode
_decode_token = msgspec.msgpack.Decoder(tuple[int, list[int]]).decode


@dataclass(slots=True)
class Position:
    """A place in the events of all partitions: behind the one with this number in each."""

    numbers: list[int]

    def token(self) -> str:
        """The place as an opaque resume token."""
        return base64.urlsafe_b64encode(_encode_token((_TOKEN_VERSION, self.numbers))).decode()

    @classmethod
    def from_token(cls, token: str) -> Position:
        """The place that a token names.

        Raises:
            ValueError: this is none of our tokens.
        """
        try:
            version, numbers = _decode_token(base64.b64decode(token, altchars=b"-_", validate=True))
        except (binascii.Error, msgspec.DecodeError) as error:
            raise ValueError("not a resume token") from error
        if version != _TOKEN_VERSION or len(numbers) != keys.PARTITIONS or not all(0 <= n < 2**53 for n in numbers):
            raise ValueError("not a resume token")
        return cls(numbers)

    def copy(self) -> Position:
        """The same place, that can be moved by itself."""
        return Position([*self.numbers])

    def reaches(self, other: Position) -> bool:
        """Whether nothing that is before the other place comes after this one."""
        return all(mine >= its for mine, its in zip(self.numbers, other.numbers, strict=True))

    def advance(self, other: Position) -> None:
        """Moves it on to another place, where that is further."""
        self.numbers = [max(pair) for pair in zip(self.numbers, other.numbers, strict=True)]


@dataclass(frozen=True, slots=True)
class Page:
    """Events of a partition after a place."""

    newest: int
    """The number of the newest event that there is."""
    first: int
    """The number of the first of `events`, 0 if there are none; each one after it has the next number."""
    events: list[Event]

    @property
    def last(self) -> int:
        """The number of the last event that was read, or of the newest where there was none to read."""
        return self.first + len(self.events) - 1 if self.events else self.newest

    @property
    def more(self) -> bool:
        """Whether there are events after these."""
        return self.last < self.newest

    def lost(self, after: int) -> bool:
        """Whether events after that place are no longer kept, or the store has lost what was there."""
        return self.newest < after or self.first > after + 1


async def read_ends(scripts: Scripts) -> Position:
    """The place behind all events that there are.

    Raises:
        StoreError: the store did not answer.
    """
    replies = await scripts.run_lists(SCRIPT, {partition: ["", 0] for partition in range(keys.PARTITIONS)})
    return Position([replies[partition][0] for partition in range(keys.PARTITIONS)])


async def read_events(scripts: Scripts, after: Sequence[int]) -> list[Page]:
    """Of each partition the next events after a place, at most `EVENTS_AT_ONCE`.

    Raises:
        StoreError: the store did not answer.
    """
    arguments: dict[int, Sequence[str | bytes | int]] = {
        partition: [number, EVENTS_AT_ONCE] for partition, number in enumerate(after)
    }
    replies = await scripts.run_lists(SCRIPT, arguments)
    return [_page(*replies[partition]) for partition in range(keys.PARTITIONS)]


def _page(newest: int, first: int, *events: bytes) -> Page:
    return Page(newest, first, [decode_event(event) for event in events])
