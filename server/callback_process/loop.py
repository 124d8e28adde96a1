"""The event loop of a process: uvloop where it is available."""

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from callback_process.limited_event import LimitedEvent
from callback_process.logs import get_logger

try:
    import uvloop
except ImportError:  # not available on this platform
    uvloop = None  # type: ignore[assignment]  # a module or None

T = TypeVar("T")

_ACCEPT_FAILED: Final = LimitedEvent(get_logger().warning, "accept_failed")
_NO_ACCEPT: Final = "socket.accept() out of system resource"
"""What asyncio says when the system gives no connection. It says so a hundred times in a row, with a traceback each."""


def new_loop() -> asyncio.AbstractEventLoop:
    """Return a new loop of asyncio that logs a failed `accept`, as for want of open files, at most once a second."""
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(_log_error)
    return loop


def _log_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    if context["message"] == _NO_ACCEPT:
        _ACCEPT_FAILED.log(error=str(context["exception"]), to_do="allow more open files")
    else:
        loop.default_exception_handler(context)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end on a new loop, as `asyncio.run` does, and return its result."""
    gc.freeze()  # modules and the like stay; scanning them again and again took a tenth of an edge's time
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if uvloop else new_loop) as runner:
        return runner.run(main)
