"""Turns of calls with large bodies: few of them are on the way between the store and the edges at a time.

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
AT_A_TIME: Final = 2
"""How many calls have a turn: the store works for one while this process works for the other."""
MOST_S: Final = 1.0
"""How long a turn lasts at most, in seconds. An edge that does not read delays the calls of others for so long."""
MOST_KNOWN: Final = 10_000
"""How many cases with a large response are known."""


class LargeCases:
    """The owners of the cases whose response was large at their last call."""

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}

    def learn(self, case_id: str, owner: str, size: int) -> None:
        """Take note of the size of the body of a case's response, in bytes."""
        self._owners.pop(case_id, None)
        if size > LARGE_BYTES:
            self._owners[case_id] = owner
            if len(self._owners) > MOST_KNOWN:
                del self._owners[next(iter(self._owners))]

    def group_of(self, case_id: str, size: int) -> str:
        """Return with which calls one with a body of this size takes turns: those of its owner, or of its case.

        Empty: it needs no turn.
        """
        return self._owners.get(case_id) or (case_id if size > LARGE_BYTES else "")


class LargeTurns:
    """The turns of the calls of this process."""

    def __init__(self) -> None:
        self._left = AT_A_TIME
        self._waiting: dict[str, deque[LargeTurn]] = {}
        """The calls that wait, by group. The first group is next."""

    def wait(self, turn: LargeTurn, group: str) -> None:
        """Give the call its turn once one is free."""
        self._waiting.setdefault(group, deque()).append(turn)
        self._give()

    def free(self) -> None:
        """Take the turn of a call that has one."""
        self._left += 1
        self._give()

    def _give(self) -> None:
        while self._left and self._waiting:
            group = next(iter(self._waiting))
            turns = self._waiting.pop(group)
            turn = turns.popleft()
            if turns:
                self._waiting[group] = turns
            if turn.start():
                self._left -= 1


class LargeTurn:
    """The turn of one call, which it may need or not."""

    def __init__(self, turns: LargeTurns) -> None:
        self._turns = turns
        self._has_turn = False
        self._started: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def take(self, group: str) -> None:
        """Wait for the turn, unless the call has it."""
        if not self._has_turn:
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
            self._turns.free()
