"""The event loop of a process: uvloop where it is available."""

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

try:
    import uvloop
except ImportError:  # not available on this platform
    uvloop = None  # type: ignore[assignment]  # a module or None

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end on a new loop, as `asyncio.run` does, and return its result."""
    gc.freeze()  # modules and the like stay; scanning them again and again took a tenth of an edge's time
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if uvloop else None) as runner:
        return runner.run(main)
