"""Waiting for a condition."""

import asyncio
from collections.abc import Awaitable, Callable

from callback_launcher.child import START_S
from callback_launcher.errors import LaunchError

PAUSE_S = 0.1
"""Interval between two looks at a condition, in seconds."""


async def wait_until(
    condition: Callable[[], Awaitable[bool]], problem: str = "", *, timeout_s: float = START_S, pause_s: float = PAUSE_S
) -> None:
    """Wait until a condition is true or the time is over.

    Args:
        condition: Returns whether it is true.
        problem: Text of the error. Empty: the end of the time is no error.
        timeout_s: Time limit, in seconds.
        pause_s: Interval between two looks, in seconds.

    Raises:
        LaunchError: The time is over.
    """
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                if await condition():
                    return
                await asyncio.sleep(pause_s)
    except TimeoutError:
        if problem:
            raise LaunchError(problem) from None
