"""Turns of calls with large bodies: few bytes of them are on the way between the store and the edges at a time.

Each takes the store, this process and the edge some milliseconds. Hundreds at once would delay every other call by
their sum. Owners take turns, and so do the calls of one owner. As with other limits, only a claim shows whose call it
is, and how large the response of its case is. So this is known from the case's last call. The calls of a case that was
not called before take turns only on their way to the edge, or, with a large body, with those of its case.

A stream of an edge that has not read what it was sent for the time of a turn gets no more of them until it has.
"""

from __future__ import annotations

import asyncio
from typing import Final

from callback_server import metrics

LARGE_BYTES: Final = 64 * 1024
"""Size above which a body is large, in bytes."""
MAX_BYTES: Final = 2 * 1024 * 1024
"""How many bytes have turns: of two bodies of 1 MiB, the store works for one and this process for the other."""
MOST_S: Final = 1.0
"""How long a turn lasts at most, in seconds. A stream that an edge does not read delays others so long, once."""
MOST_KNOWN: Final = 10_000
"""How many cases with a large response are known."""


class LargeCases:
    """The cases whose last call had a large body, of the request or of the response."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, int]] = {}
        """By case, the owner, and the bytes of the response."""

    def learn(self, case_id: str, owner: str, size: int, *, request_size: int = 0) -> None:
        """Take note of the owner of a call, and of the sizes of the response and of the request, in bytes."""
        self._known.pop(case_id, None)
        if max(size, request_size) > LARGE_BYTES:
            self._known[case_id] = owner, size
            if len(self._known) > MOST_KNOWN:
                del self._known[next(iter(self._known))]

    def owner_of(self, case_id: str) -> str:
        """Return the owner of a case. Empty: it is not known."""
        return self._known[case_id][0] if case_id in self._known else ""

    def group_of(self, case_id: str, size: int) -> tuple[str, int]:
        """Return with which calls one with a body of this size takes turns, and its bytes, with those of the response.

        It takes turns with those of its owner, or of its case. The bytes are 0 if it needs no turn.
        """
        owner, answer_size = self._known.get(case_id, (case_id, 0))
        size = max(size, answer_size)
        return owner, size if size > LARGE_BYTES else 0


class LargeTurns:
    """The turns of the calls of this process."""

    def __init__(self) -> None:
        self._bytes = 0
        """The bytes that have turns."""
        self._waiting: dict[str, dict[LargeTurn, None]] = {}
        """The calls that wait, by group. The first group is next."""

    def wait(self, turn: LargeTurn, group: str) -> None:
        """Give the call its turn once one is free."""
        self._waiting.setdefault(group, {})[turn] = None
        self.give()

    def leave(self, turn: LargeTurn, group: str) -> None:
        """Wait no more for the turn of the call. Nothing happens if it has had it."""
        turns = self._waiting.get(group, {})
        turns.pop(turn, None)
        if not turns:
            self._waiting.pop(group, None)
        self.give()  # the next may need fewer bytes

    def free(self, size: int) -> None:
        """End the turn of so many bytes."""
        self._bytes -= size
        self.give()

    def give(self) -> None:
        """Give turns to those that are next, while there are any."""
        while (found := self._next()) is not None:
            group, turn = found
            if self._bytes and self._bytes + turn.size > MAX_BYTES:
                return
            turns = self._waiting.pop(group)
            del turns[turn]
            if turns:
                self._waiting[group] = turns
            self._bytes += turn.size
            turn.start()

    def _next(self) -> tuple[str, LargeTurn] | None:
        return next(
            ((group, turn) for group, turns in self._waiting.items() for turn in turns if not turn.reader.is_behind),
            None,
        )


class LargeReader:
    """A stream of an edge, as far as the edge reads what it is sent."""

    def __init__(self, turns: LargeTurns) -> None:
        self.turns = turns
        self.is_behind = False
        """Whether a turn of its calls has ended while it did not read. It gets none until it has read."""
        self._is_sent_to = False

    def begin(self) -> None:
        """Take note that a message is on its way to the edge."""
        self._is_sent_to = True

    def end(self) -> None:
        """Take note that the edge has read enough for the next message, or is gone."""
        self._is_sent_to = False
        if self.is_behind:
            self.is_behind = False
            self.turns.give()

    def turn_is_over(self) -> None:
        """Take note that a turn has lasted for the most time."""
        self.is_behind = self._is_sent_to


class LargeTurn:
    """The turn of one call, which it may need or not."""

    def __init__(self, reader: LargeReader) -> None:
        self.reader = reader
        self.size = 0
        """The bytes of its bodies."""
        self._has_turn = False
        self._started: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def take(self, group: str, size: int) -> None:
        """Wait for the turn of so many bytes, unless the call has one, or needs none (0)."""
        if not size or self._has_turn:
            return
        self.size = size
        self._started = asyncio.get_running_loop().create_future()
        self.reader.turns.wait(self, group)
        try:
            with metrics.LARGE_CALLS_WAITING.track_inprogress():
                await self._started
        except asyncio.CancelledError:
            self.reader.turns.leave(self, group)
            self.free()
            raise

    def start(self) -> None:
        """Begin the turn."""
        self._has_turn = True
        if self._started is not None and not self._started.done():  # done: its task was cancelled just now
            self._started.set_result(None)
        self._timer = asyncio.get_running_loop().call_later(MOST_S, self._time_over)

    def _time_over(self) -> None:
        self.reader.turn_is_over()
        self.free()

    def free(self) -> None:
        """End the turn, if the call has one."""
        if self._has_turn:
            self._has_turn = False
            if self._timer is not None:
                self._timer.cancel()
            self.reader.turns.free(self.size)
