"""The event loop of a process: uvloop where there is one."""

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

try:
    import uvloop
except ImportError:  # not made for this platform
    uvloop = None  # type: ignore[assignment]  # a module or nothing

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end on a new loop, as `asyncio.run` does, and return what it returns."""
    gc.freeze()  # modules and the like stay; to look through them again and again took an edge a tenth of its time
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if uvloop else None) as runner:
        return runner.run(main)
