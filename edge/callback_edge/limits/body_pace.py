"""Pace of large bodies: how much of them the edge handles in one turn of its event loop, over all connections.

A part of a body takes about as much time as a small call. Without a limit, a turn with many large bodies takes so long
that small calls wait for tens of milliseconds at each step. A connection whose turn has not come is not read meanwhile.
"""

import asyncio
from collections import deque
from typing import Final

PARTS_PER_TURN: Final = 8
"""Number of parts, of at most 64 KiB each, that are handled in one turn."""


class BodyPace:
    """Turns of the parts of large bodies: callers take turns, and so do the bodies of one caller."""

    def __init__(self) -> None:
        self._left = PARTS_PER_TURN
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        """Parts that wait, by the group of their caller. The first group is next."""
        self._is_scheduled = False

    async def wait(self, group: str) -> None:
        """Wait until one more part of a caller's body can be handled."""
        loop = asyncio.get_running_loop()
        if not self._is_scheduled:
            self._is_scheduled = True
            loop.call_soon(self._start_turn)
        if self._left and not self._waiting:
            self._left -= 1
            return
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.setdefault(group, deque()).append(turn)
        await turn

    def _start_turn(self) -> None:
        self._left = PARTS_PER_TURN
        while self._left and self._waiting:
            group, parts = next(iter(self._waiting.items()))
            del self._waiting[group]
            turn = parts.popleft()
            if parts:
                self._waiting[group] = parts
            if not turn.done():  # done: the exchange was cancelled
                turn.set_result(None)
                self._left -= 1
        self._is_scheduled = self._left < PARTS_PER_TURN
        if self._is_scheduled:
            asyncio.get_running_loop().call_soon(self._start_turn)
