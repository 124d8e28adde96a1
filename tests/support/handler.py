"""A push handler for tests: it counts its calls and runs a script of the test."""

import asyncio
import contextlib
from collections import Counter

from support.wait import wait_until

from callback import Handlers


class HandlerService:
    """Handler service that answers calls of the given activities with `script`, by default `accept`.

    `script` is a coroutine function of the call.
    """

    def __init__(self):
        self.starts = Counter()
        """Number of handler starts, by case."""
        self.calls = []
        """Ids of the calls that a handler was started for."""
        self.config = ""
        """Activities for the server's configuration, in TOML."""
        self.gate = asyncio.Event()
        """Gate of `wait_at_the_gate`."""
        self.script = self.accept

    async def accept(self, _call):
        """Script: accept, and keep the case's response."""

    async def wait_at_the_gate(self, _call):
        """Script: accept once the gate is open."""
        await self.gate.wait()

    async def until_started(self, calls=1):
        """Wait until handlers were started for this many calls."""
        await wait_until(lambda: len(self.calls) >= calls, what=f"start {calls} of a handler")

    async def handle(self, call):
        """Count a call, and run the script."""
        self.starts[call.case_id] += 1
        self.calls.append(call.call_id)
        return await self.script(call)


@contextlib.asynccontextmanager
async def handler_service(*activities, deadline_s=8):
    """Run a `HandlerService` for these activities."""
    service, handlers = HandlerService(), Handlers()
    for name in activities:
        handlers.activity(name)(service.handle)
    async with handlers.listen("127.0.0.1:0", grace=0) as listening:
        service.config = "\n".join(
            f'[activities.{name}]\ntarget = "{listening.address}"\ndeadline_s = {deadline_s}' for name in activities
        )
        yield service
