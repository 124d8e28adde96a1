"""A worker program that answers late: `late_worker.py ADDRESS`.

It answers no call until it reads a line from standard input. Then it answers all of them, whatever their state is by
then. It writes its progress to standard output: `welcome`, then `begun CALL`.
"""

import asyncio
import sys

import grpc
from support.workers import ACCEPTED, raw_worker

from callback.v1.worker_service_pb2_grpc import WorkerServiceStub


async def main(address):
    """Work until the process is killed."""
    async with (
        grpc.aio.insecure_channel(address) as channel,
        raw_worker(WorkerServiceStub(channel), "act", max_calls=1000) as worker,
    ):
        print("welcome", flush=True)
        told = asyncio.create_task(asyncio.to_thread(sys.stdin.readline))

        async def late(call):
            print("begun", call.call_id, flush=True)
            await asyncio.wait((told,))
            return ACCEPTED

        await worker.serve(late)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
