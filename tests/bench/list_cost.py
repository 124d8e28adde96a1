"""What a page of `ListCallbacks` costs with many cases, as a ratio to the cost with 1,000: `list_cost.py [MANY]`.

Two stores, each with a server before it, on this machine and in one run: what differs is how many cases there are. They
are loaded by the create and close scripts themselves, pipelined. A fifth is closed, a quarter is of activity `b`. The
calls alternate between the two, and the medians are compared.
"""

import asyncio
import hashlib
import statistics
import sys
import tempfile
import time
from pathlib import Path

import redis.asyncio

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.system import System, own_store

from callback import AsyncCallbackClient, CallbackStatus
from callback_server.domain.case import Settings
from callback_server.domain.response import Response, ResponseType
from callback_server.store import close_case, create_case, keys
from callback_server.store.packing import pack_content

FEW = 1_000
MANY = 1_000_000
BATCH = 2_000
LOADERS = 3
ROUNDS = 100
PAGE = 50
FILTERS = {
    "owner": {},
    "status": {"status": CallbackStatus.CLOSED},
    "activity": {"activity": "b"},
    "both": {"status": CallbackStatus.CLOSED, "activity": "b"},
}


async def load(store, cases):
    """Stores that many cases."""
    content, body = pack_content(Settings(), Response(type=ResponseType.RESPONSE, code=200, body=b"ok"))
    batches = iter(range(0, cases, BATCH))

    async def load_batches(client):
        for first in batches:
            pipeline = client.pipeline(transaction=False)
            for number in range(first, min(first + BATCH, cases)):
                sha = hashlib.sha256(b"%d" % number).digest()
                case_id = sha[:16].hex()
                tag = keys.tag(keys.partition_of(case_id))
                activity = "b" if number % 4 == 0 else "acd"[number % 3]
                pipeline.execute_command(
                    "EVALSHA", create_case.SCRIPT.sha, 1, tag, case_id, sha, sha, "local", activity, "MULTIPLE", "",
                    "", content, body,
                )  # fmt: skip
                if number % 5 == 0:
                    pipeline.execute_command("EVALSHA", close_case.SCRIPT.sha, 1, tag, case_id, "", 100, 0)
            await pipeline.execute()

    async with redis.asyncio.Redis(port=store.port, socket_timeout=120) as client:
        for script in (create_case.SCRIPT, close_case.SCRIPT):
            await client.script_load(script.source)
        await asyncio.gather(*(load_batches(client) for _ in range(LOADERS)))


async def page_seconds(client, chosen):
    """How long one page takes, in seconds."""
    began = time.perf_counter()
    page = await client.list_callbacks_page(page_size=PAGE, **chosen)
    took = time.perf_counter() - began
    assert len(page.items) == PAGE
    return took


async def compare(few, many):
    """Prints the cost of a page for each filter, with few cases and with many."""
    async with AsyncCallbackClient(few.grpc) as few_client, AsyncCallbackClient(many.grpc) as many_client:
        for name, chosen in FILTERS.items():
            took = {few_client: [], many_client: []}
            for _ in range(ROUNDS):
                for client, times in took.items():
                    times.append(await page_seconds(client, chosen))
            a, b = (statistics.median(times) * 1000 for times in took.values())
            print(f"{name:9} few {a:6.2f} ms   many {b:6.2f} ms   ratio {b / a:.2f}", flush=True)


async def main(many):
    """Loads, measures, prints."""
    with tempfile.TemporaryDirectory() as folder:
        systems = []
        try:
            for count in (FEW, many):
                directory = Path(folder, str(count))
                directory.mkdir()  # noqa: ASYNC240 - nothing else runs yet
                store = own_store(directory).start()
                system = System(directory, store)
                systems.append(system)
                await system.server.start()
                began = time.perf_counter()
                await load(store, count)
                print(f"loaded {count:,} cases in {time.perf_counter() - began:.0f} s", flush=True)
            await compare(*systems)
        finally:
            for system in systems:
                system.server.stop()
                system.store.stop()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else MANY))
