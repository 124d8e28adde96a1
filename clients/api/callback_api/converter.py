"""The thread that converts large messages, one at a time.

There is one thread, because each more would take the interpreter from the event loop. A conversion keeps the
interpreter for as long as it parses a text, which is longest for one with many escapes. So identities take turns, and
after each conversion the thread rests for a multiple of its time, in which the event loop has the interpreter.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

REST: Final = 2
"""How long the thread rests after a conversion, as a multiple of its time."""

_T = TypeVar("_T")


class Converter:
    """Converts the large messages of all identities."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "api_converter")
        self._waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}
        """Conversions that wait for their turn, by identity. The first identity is next."""
        self._is_busy = False

    async def run(self, identity: Hashable, convert: Callable[[], _T]) -> _T:
        """Return what `convert` returns, once its identity has had its turn.

        Args:
            identity: Whose message it is.
            convert: Converts it.
        """
        loop = asyncio.get_running_loop()
        if self._is_busy:
            turn: asyncio.Future[None] = loop.create_future()
            self._waiting.setdefault(identity, deque()).append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._next()
                raise
        self._is_busy = True
        began = time.monotonic()
        conversion = loop.run_in_executor(self._thread, convert)
        # Also if the caller leaves meanwhile: what the thread has begun, it ends.
        conversion.add_done_callback(lambda _done: loop.call_later(REST * (time.monotonic() - began), self._next))
        return await asyncio.shield(conversion)

    def close(self) -> None:
        """End the thread. What waits is not converted."""
        self._thread.shutdown(cancel_futures=True)

    def _next(self) -> None:
        self._is_busy = False
        while self._waiting and not self._is_busy:
            identity, turns = next(iter(self._waiting.items()))
            del self._waiting[identity]
            turn = turns.popleft()
            if turns:
                self._waiting[identity] = turns
            if not turn.done():  # done: its caller has left
                turn.set_result(None)
                self._is_busy = True
