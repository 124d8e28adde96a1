"""Loading a store with many cases, as a server stores them, but many in one go."""

import asyncio

import redis.asyncio

from callback_server.store import close_case, create_case, keys
from callback_server.store.retention import Retention

_BATCH = 2_000
_LOADERS = 3


class _Batch:
    """Stands for `Scripts`: keeps what is to be run, and sends it in one go."""

    def __init__(self, client):
        self._pipeline = client.pipeline(transaction=False)

    async def run(self, script, partition, *args):
        self._pipeline.execute_command("EVALSHA", script.sha, 1, keys.tag(partition), *args)
        return [b"OK"]

    async def send(self):
        await self._pipeline.execute()


async def load(store, numbers, case, *, is_closed=lambda number: False):
    """Stores `case(number)`, a `NewCase`, for each of a range of numbers, and closes those that `is_closed(number)`."""
    batches = iter(range(numbers.start, numbers.stop, _BATCH))

    async def load_batches(client):
        for first in batches:
            batch = _Batch(client)
            for number in range(first, min(first + _BATCH, numbers.stop)):
                new = case(number)
                await create_case.create_case(batch, new)
                if is_closed(number):
                    await close_case.close_case(batch, new.id, owner=None, retention=Retention())
            await batch.send()

    async with redis.asyncio.Redis(port=store.port, socket_timeout=120) as client:
        for script in (create_case.SCRIPT, close_case.SCRIPT):
            await client.script_load(script.source)
        await asyncio.gather(*(load_batches(client) for _ in range(_LOADERS)))
