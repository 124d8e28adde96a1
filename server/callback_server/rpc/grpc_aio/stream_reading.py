"""Reading the messages of a stream in a task.

To cancel a pending read cancels the whole RPC in grpc.aio. A servicer that waits for something besides the next message
therefore reads in a task that is never cancelled. The task ends by itself when the stream ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class StreamReading:
    """The reading tasks of a servicer."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, read: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Read in a task. The task stays referenced until it ends, also after the RPC has ended."""
        task = asyncio.create_task(read)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        return task

    def _on_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # marks it as retrieved: if the RPC still runs, the servicer raises it there
