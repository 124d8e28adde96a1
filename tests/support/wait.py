"""Waiting for a condition: the only place in the tests where time passes by itself."""

import asyncio
import time

DEADLINE_S = 120.0
"""A condition that comes about in a second can take many on a machine with much other load."""
_PAUSE_S = 0.01


async def wait_until(condition, *, deadline_s=DEADLINE_S, what="the condition"):
    """Call `condition()`, a plain or async function, until its result is true, and return the result."""
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < end, f"{what} did not come about in {deadline_s} s"
        await asyncio.sleep(_PAUSE_S)


def wait_until_sync(condition, *, deadline_s=DEADLINE_S, what="the condition"):
    """Do as `wait_until`, without an event loop."""
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"{what} did not come about in {deadline_s} s"
        time.sleep(_PAUSE_S)
