"""A worker, as a program of its own, that answers each call when it is told to: `late_worker.py ADDRESS`.

It is told so by a line on standard input, whatever has become of the call. It says on standard output what it is at:
`welcome`, then `begun CALL` and `answered CALL`.
"""

import asyncio
import sys

import grpc
from support.workers import raw_worker

from callback.v1.worker_service_pb2_grpc import WorkerServiceStub


async def main(address):
    """Works until it is killed."""
    async with (
        grpc.aio.insecure_channel(address) as channel,
        raw_worker(WorkerServiceStub(channel), "act") as worker,
    ):
        print("welcome", flush=True)

        number = 0
        while True:
            number += 1
            call = await worker.next("call", number, wait_s=3600)
            await worker.start(call)
            await worker.next("go", number)
            print("begun", call.call_id, flush=True)
            await asyncio.to_thread(sys.stdin.readline)
            await worker.result(call)
            print("answered", call.call_id, flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
