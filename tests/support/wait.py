"""Waiting for a condition: the only place in the tests where time passes by itself."""

import asyncio
import time

DEADLINE_S = 120.0
"""A condition that comes about in a second can take many on a machine with much other load."""
_SHORTEST_S, _LONGEST_S = 0.01, 0.1
"""Limits of the pause before a condition is looked at again. Many conditions are requests, which take processor time
from what is waited for."""


def _pause_s(passed_s):
    """Return how long to pause after this time: a wait lasts at most a twentieth longer for it."""
    return min(max(passed_s / 20, _SHORTEST_S), _LONGEST_S)


async def wait_until(condition, *, deadline_s=DEADLINE_S, what="the condition"):
    """Call `condition()`, a plain or async function, until its result is true, and return the result."""
    began = time.monotonic()
    while True:
        value = condition()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        passed_s = time.monotonic() - began
        assert passed_s < deadline_s, f"{what} did not come about in {deadline_s} s"
        await asyncio.sleep(_pause_s(passed_s))


async def wait_for(read, expected, *, what="the expected result"):
    """Call the async function `read()` until its result equals the expected one."""

    async def is_expected():
        return await read() == expected

    await wait_until(is_expected, what=what)


def wait_until_sync(condition, *, deadline_s=DEADLINE_S, what="the condition"):
    """Do as `wait_until`, without an event loop."""
    began = time.monotonic()
    while True:
        value = condition()
        if value:
            return value
        passed_s = time.monotonic() - began
        assert passed_s < deadline_s, f"{what} did not come about in {deadline_s} s"
        time.sleep(_pause_s(passed_s))
