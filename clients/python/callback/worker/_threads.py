"""Handlers that are plain functions: each call runs in a thread, so that it delays no other one.

1. There are at most as many threads as a worker has slots. A further call of a handler server waits for a thread.
2. The function runs in a copy of the context of its call, so it finds the context variables of the program.
3. A thread cannot be ended. If its call is cancelled, the function runs to its end, and its answer is dropped. Until
   then the call occupies its slot, and a stop waits for it.
"""

import asyncio
import contextvars
import inspect
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from callback import _checks as checks

_log = logging.getLogger("callback.handlers")


@dataclass(frozen=True, slots=True)
class PlainFunction:
    """A handler that is a plain function. Calling it calls the function, in the thread of the caller."""

    function: Callable[[Any], Any]
    """The function."""

    def __call__(self, given: Any) -> Any:
        """Return what the function returns."""
        return self.function(given)


class HandlerThreads:
    """The threads of one worker or handler server.

    Args:
        size: The largest number of threads. A thread starts when it is needed, and stays.
    """

    def __init__(self, size: int) -> None:
        self._pool = ThreadPoolExecutor(checks.number("max_threads", size), thread_name_prefix="callback-handler")

    async def run(self, function: PlainFunction, given: Any) -> Any:
        """Run a function of a call or notification in a thread, and return its answer once it has ended.

        Raises:
            BaseException: What the function raises.
            asyncio.CancelledError: The call was cancelled, and the function has ended, or will never start.
        """
        job = self._pool.submit(_outcome, contextvars.copy_context(), function, given)
        done, is_cancelled = asyncio.wrap_future(job), False
        while not done.done():
            try:
                await asyncio.wait([done])
            except asyncio.CancelledError:
                if job.cancel():
                    raise  # it had not started
                is_cancelled = True
                _log.warning("handler_continues activity=%r call_id=%s", given.activity, given.call_id)
        answer, error = done.result()
        if is_cancelled:
            if inspect.iscoroutine(answer):
                answer.close()
            raise asyncio.CancelledError
        if error is not None:
            raise error
        return await answer if inspect.isawaitable(answer) else answer

    async def close(self) -> None:
        """Wait until the functions that run have ended, and end the threads."""
        try:
            await asyncio.to_thread(self._pool.shutdown)
        except RuntimeError:  # the interpreter is ending, as in `atexit`, and has waited for the threads of all pools
            self._pool.shutdown(wait=False)


def _outcome(context: contextvars.Context, function: PlainFunction, given: Any) -> tuple[Any, BaseException | None]:
    """Return the answer of a function, and what it raised: a future cannot carry each exception."""
    try:
        return context.run(function, given), None
    except BaseException as error:  # it is raised again in the task of the call
        return None, error
