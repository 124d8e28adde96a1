"""Batching of concurrent requests.

grpc.aio starts each RPC in its own turn of the event loop, with work of its own in between. It costs less to do the
work of several requests in a row and to send their commands to the store together: see docs/performance.md. So while
some requests are admitted, further requests wait for them, and are then admitted together.

They wait as long as admitted requests end, up to `LONGEST_WAIT_S`. If they always waited for a short time, then a slow
machine would have several batches in progress at once, and each would be small.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

FREE_BELOW: Final = 2
"""While fewer requests than this are admitted, no request waits."""
BATCH_SIZE: Final = 32
"""The maximum number of requests that are admitted together."""
STALL_S: Final = 0.003
"""Requests wait no longer if no admitted one has ended for this time, or up to twice as long, in seconds. The store may
respond to others although it does not respond to the admitted ones."""
LONGEST_WAIT_S: Final = 0.03
"""Requests wait no longer than this, in seconds, even if admitted ones end: these may end because one node of the store
fails them, and the others may be slow. Then a batch is admitted each `STALL_S`."""


class AdmissionBatcher:
    """Admits requests in batches. A request is admitted inside `async with`."""

    def __init__(self) -> None:
        self._admitted = 0
        self._waiting: deque[tuple[float, asyncio.Future[None]]] = deque()
        """The requests that wait: since when, by the time of the loop, and what they wait for."""
        self._timer: asyncio.TimerHandle | None = None
        self._has_ended = False
        """Whether an admitted request has ended since the timer was last due."""

    async def __aenter__(self) -> None:
        if self._admitted >= FREE_BELOW:
            loop = asyncio.get_running_loop()
            if self._timer is None:
                self._timer = loop.call_later(STALL_S, self.on_timer)
            admission: asyncio.Future[None] = loop.create_future()
            self._waiting.append((loop.time(), admission))
            try:
                await admission  # counts as admitted from the moment at which the future is done
            except BaseException:
                if admission.done() and not admission.cancelled():
                    self._release()
                raise
        else:
            self._admitted += 1

    async def __aexit__(self, *_error: object) -> None:
        self._release()

    def _release(self) -> None:
        self._admitted -= 1
        self._has_ended = True
        if self._admitted < FREE_BELOW:
            self._admit_batch()

    def on_timer(self) -> None:
        """Admit a batch if no admitted request has ended since the last time, or if one has waited too long."""
        self._timer = None
        loop = asyncio.get_running_loop()
        if self._waiting and (not self._has_ended or loop.time() - self._waiting[0][0] > LONGEST_WAIT_S):
            self._admit_batch()
        self._has_ended = False
        if self._waiting:
            self._timer = loop.call_later(STALL_S, self.on_timer)

    def _admit_batch(self) -> None:
        room = BATCH_SIZE
        while room and self._waiting:
            _since, admission = self._waiting.popleft()
            if not admission.done():  # done: its request was cancelled
                room -= 1
                self._admitted += 1
                admission.set_result(None)
