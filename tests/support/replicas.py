"""Stores that can become replicas of each other."""

import contextlib

import redis.asyncio
from support.store import StoreProcess

from callback_launcher.store import REPLICATION


@contextlib.contextmanager
def running_stores(directory, count, *settings):
    """Run some stores, each a primary without replicas."""
    with contextlib.ExitStack() as stack:
        stores = (StoreProcess(directory / f"store{n}", settings=(*REPLICATION, *settings)) for n in range(count))
        yield [stack.enter_context(store) for store in stores]


async def until_replicated(primary):
    """Wait until the replica of a store has all that it has."""
    async with redis.asyncio.Redis(port=primary.port) as client:
        await client.set("last", "step")
        assert await client.wait(1, 30_000) == 1
