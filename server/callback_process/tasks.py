"""Background tasks: kept alive, logged when they fail, cancelled until they have ended."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, Self

from callback_process.logs import get_logger

log = get_logger()

_CANCEL_AGAIN_S = 0.1
"""Time after which a task that still runs is cancelled again, in seconds."""


class TaskSet:
    """Tasks that run beside the code that starts them, from `async with` to its end.

    It holds a reference to each task, because the event loop itself holds only weak ones. A task that fails is logged
    at once: nothing else would notice before the process stops.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` in a task."""
        task = asyncio.create_task(work, name=getattr(work, "__qualname__", None))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def wait(self) -> None:
        """Wait until every task has ended by itself."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def cancel(self) -> None:
        """Cancel every task and wait until all have ended."""
        await cancel_all(self._tasks)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.critical("task_failed", task=task.get_name(), exc_info=error)


async def cancel_all(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until all have ended.

    A task is cancelled again and again: redis-py loses a cancellation that arrives together with a reply of the store.
    """
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=_CANCEL_AGAIN_S)
