"""Turns of large bodies and refusals: how many a process handles in one turn of its event loop, over all connections.

A part of a body, or a refusal, takes about as much time as a small call. Without a limit, a turn with many of them
takes so long that small calls wait for a hundred milliseconds at each step. Until its turn has come, a connection is
not read, or has no answer, so that its client sends no more than the process handles.
"""

import asyncio
from collections import deque
from typing import Final

STEPS_PER_TURN: Final = 2
"""Number of steps in one turn. A step is a part of a body, of at most 64 KiB, or a refusal."""


class Turns:
    """Turns of such steps: callers take turns, and so do the connections of one caller."""

    def __init__(self) -> None:
        self._left = STEPS_PER_TURN
        self.waiting: dict[str, deque[asyncio.Future[None]]] = {}
        """Steps that wait, by the group of their caller. The first group is next."""
        self._is_scheduled = False

    async def wait(self, group: str) -> None:
        """Wait until one more step for a caller can be done."""
        loop = asyncio.get_running_loop()
        if not self._is_scheduled:
            self._is_scheduled = True
            loop.call_soon(self._start_turn)
        if self._left and not self.waiting:
            self._left -= 1
            return
        turn: asyncio.Future[None] = loop.create_future()
        self.waiting.setdefault(group, deque()).append(turn)
        await turn

    def _start_turn(self) -> None:
        self._left = STEPS_PER_TURN
        while self._left and self.waiting:
            group, steps = next(iter(self.waiting.items()))
            del self.waiting[group]
            turn = steps.popleft()
            if steps:
                self.waiting[group] = steps
            if not turn.done():  # done: the exchange was cancelled
                turn.set_result(None)
                self._left -= 1
        self._is_scheduled = self._left < STEPS_PER_TURN
        if self._is_scheduled:
            asyncio.get_running_loop().call_soon(self._start_turn)
