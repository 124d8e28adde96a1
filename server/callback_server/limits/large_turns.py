"""Turns of calls with large bodies: few bytes of them are on the way between the store and the edges at a time.

Each takes the store, this process and the edge some milliseconds. Hundreds at once would delay every other call by
their sum. Owners take turns, and so do the calls of one owner. As with other limits, only a claim shows whose call it
is, and how large the response of its case is. So this is known from the case's last call. The calls of a case that was
not called before take turns only on their way to the edge.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

LARGE_BYTES: Final = 64 * 1024
"""Size above which a body is large, in bytes."""
MAX_BYTES: Final = 2 * 1024 * 1024
"""How many bytes have turns: of two bodies of 1 MiB, the store works for one and this process for the other."""
MOST_S: Final = 1.0
"""How long a turn lasts at most, in seconds. An edge that does not read delays the calls of others for so long."""
MOST_KNOWN: Final = 10_000
"""How many cases with a large response are known."""


class LargeCases:
    """The cases whose response was large at their last call."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, int]] = {}
        """By case, the owner, and the bytes of the body."""

    def learn(self, case_id: str, owner: str, size: int) -> None:
        """Take note of the size of the body of a case's response, in bytes."""
        self._known.pop(case_id, None)
        if size > LARGE_BYTES:
            self._known[case_id] = owner, size
            if len(self._known) > MOST_KNOWN:
                del self._known[next(iter(self._known))]

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
        self._waiting: dict[str, deque[LargeTurn]] = {}
        """The calls that wait, by group. The first group is next."""

    def wait(self, turn: LargeTurn, group: str) -> None:
        """Give the call its turn once one is free."""
        self._waiting.setdefault(group, deque()).append(turn)
        self._give()

    def free(self, size: int) -> None:
        """End the turn of so many bytes."""
        self._bytes -= size
        self._give()

    def _give(self) -> None:
        while self._waiting:
            group, turns = next(iter(self._waiting.items()))
            if self._bytes and self._bytes + turns[0].size > MAX_BYTES:
                return
            del self._waiting[group]
            turn = turns.popleft()
            if turns:
                self._waiting[group] = turns
            if turn.start():
                self._bytes += turn.size


class LargeTurn:
    """The turn of one call, which it may need or not."""

    def __init__(self, turns: LargeTurns) -> None:
        self._turns = turns
        self.size = 0
        """The bytes of its bodies."""
        self._has_turn = False
        self._started: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def take(self, group: str, size: int) -> None:
        """Wait for the turn of so many bytes, unless the call has one, or needs none (0)."""
        if size and not self._has_turn:
            self.size = size
            self._started = asyncio.get_running_loop().create_future()
            self._turns.wait(self, group)
            await self._started

    def start(self) -> bool:
        """Begin the turn. Return whether the call still waits for it."""
        if self._started is None or self._started.done():
            return False
        self._has_turn = True
        self._started.set_result(None)
        self._timer = asyncio.get_running_loop().call_later(MOST_S, self.free)
        return True

    def free(self) -> None:
        """End the turn, or the wait for it. A second call does nothing."""
        if self._started is not None and not self._started.done():
            self._started.set_result(None)
        if self._has_turn:
            self._has_turn = False
            if self._timer is not None:
                self._timer.cancel()
            self._turns.free(self.size)
