"""Lets requests in together, once there are several.

What is done for several requests in a row, and sent to the store for them together, costs less than what is done for
one after another with gRPC's work in between: see docs/performance.md. So who comes while others are under way waits
for them, as one does for a lift, and goes with all who have come meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType
from typing import Final

FREE_BELOW: Final = 2
"""While fewer are under way, nobody waits."""
TOGETHER: Final = 16
"""How many go at once."""
LONGEST_WAIT_S: Final = 0.003
"""How long they wait at most, in seconds: a store that does not answer those under way may well answer others."""


class AdmissionBatcher:
    """A request is under way inside of `async with`."""

    def __init__(self) -> None:
        self._under_way = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> None:
        if self._under_way >= FREE_BELOW:
            loop = asyncio.get_running_loop()
            if self._timer is None:
                self._timer = loop.call_later(LONGEST_WAIT_S, self._late)
            turn: asyncio.Future[None] = loop.create_future()
            self._waiting.append(turn)
            try:
                await turn  # it counts from the moment at which its turn has come
            except BaseException:
                if turn.done() and not turn.cancelled():
                    self._leave()
                raise
        else:
            self._under_way += 1

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        self._under_way -= 1
        if self._under_way < FREE_BELOW:
            self._go()

    def _late(self) -> None:
        self._timer = None
        self._go()
        if self._waiting:
            self._timer = asyncio.get_running_loop().call_later(LONGEST_WAIT_S, self._late)

    def _go(self) -> None:
        room = TOGETHER
        while room and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # else its request was cancelled
                room -= 1
                self._under_way += 1
                turn.set_result(None)
