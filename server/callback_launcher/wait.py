"""Waiting for a condition."""

import asyncio
from collections.abc import Awaitable, Callable

PAUSE_S = 0.1
"""Interval between two looks at a condition, in seconds."""


async def wait_until(condition: Callable[[], Awaitable[bool]], *, timeout_s: float, pause_s: float = PAUSE_S) -> bool:
    """Wait until a condition is true or the time is over, and return whether it is true."""
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                if await condition():
                    return True
                await asyncio.sleep(pause_s)
    except TimeoutError:
        return False
