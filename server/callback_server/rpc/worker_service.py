"""`WorkerService`: workers come, get calls, and go."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import timedelta
from typing import Final

from google.protobuf.duration_pb2 import Duration

from callback.v1 import worker_service_pb2 as worker_pb2
from callback.v1 import worker_service_pb2_grpc as worker_grpc
from callback_process.logs import get_logger
from callback_server.domain.principal import Principal, Role
from callback_server.errors import (
    ActivityNotAllowedError,
    InvalidRequestError,
    ServerStoppingError,
    Violation,
)
from callback_server.rpc.access import Access
from callback_server.rpc.method import rpc_stream
from callback_server.wire.validation import violations
from callback_server.workers.pool import WorkerPool
from callback_server.workers.worker import Worker

log = get_logger()

KEEPALIVE_S: Final = 15
"""How often a worker should ping us, in seconds, as we ping it. With 10 s for the answer, a dead peer is noticed well
within 45 s on both sides."""
LONGEST_STAY_S: Final = 3600
"""How long a stream is kept at most, in seconds; then its worker is asked to come again. So what it may do is looked at
again, and workers spread over servers that have come since."""


class WorkerServicer(worker_grpc.WorkerServiceServicer):
    """Has workers speak with the pool."""

    def __init__(self, pool: WorkerPool, access: Access) -> None:
        self._pool = pool
        self.access = access
        self._reading: set[asyncio.Task[None]] = set()

    @rpc_stream(Role.WORKER)
    async def Work(  # noqa: N802  # gRPC's name
        self, requests: AsyncIterator[worker_pb2.WorkRequest], caller: Principal
    ) -> AsyncGenerator[worker_pb2.WorkResponse, None]:
        """Takes a worker for as long as it stays."""
        if self._pool.draining:
            raise ServerStoppingError
        hello = await _hello(requests)
        for activity in hello.callback_activities:
            if not caller.may_work_on(activity):
                raise ActivityNotAllowedError(caller.name, activity)
        worker = Worker(hello.callback_activities, hello.max_calls, changed=self._pool.changed)
        facts = {"worker": hello.name, "principal": caller.name}
        log.info("worker_connected", **facts, activities=[*hello.callback_activities], max_calls=hello.max_calls)
        keepalive = Duration()
        keepalive.FromTimedelta(timedelta(seconds=KEEPALIVE_S))
        worker.say(worker_pb2.WorkResponse(welcome=worker_pb2.Welcome(keepalive=keepalive)))
        # It is left to end by itself, with the stream: a read that is cancelled takes the stream with it.
        reading = asyncio.create_task(self._read(requests, worker))
        self._reading.add(reading)
        reading.add_done_callback(self._read_to_its_end)
        stay = asyncio.get_running_loop().call_later(
            LONGEST_STAY_S * random.uniform(0.8, 1),  # noqa: S311  # spreads workers
            worker.drain,
        )
        self._pool.join(worker)
        try:
            async for message in worker.messages():
                yield message
            if reading.done():
                reading.result()
        finally:
            stay.cancel()
            self._pool.leave(worker)
            log.info("worker_gone", **facts, calls_lost=worker.calls_lost)

    async def _read(self, requests: AsyncIterator[worker_pb2.WorkRequest], worker: Worker) -> None:
        """Takes note of what a worker says, until it says no more.

        Raises:
            InvalidRequestError: it breaks the contract.
        """
        try:
            async for message in requests:
                if message.WhichOneof("message") == "hello":
                    raise _hello_first("only the first message may be hello")
                # What is wrong with a decision is told to the owner of its call; it is no reason to lose others.
                if message.result.WhichOneof("outcome") != "response" and (broken := violations(message)):
                    raise InvalidRequestError(broken)
                worker.hear(message)
        finally:
            self._pool.leave(worker)

    def _read_to_its_end(self, reading: asyncio.Task[None]) -> None:
        self._reading.discard(reading)
        if not reading.cancelled():
            reading.exception()  # told to the worker, if it is still there


async def _hello(requests: AsyncIterator[worker_pb2.WorkRequest]) -> worker_pb2.Hello:
    async for message in requests:
        broken = violations(message)
        if broken:
            raise InvalidRequestError(broken)
        if message.WhichOneof("message") != "hello":
            break
        return message.hello
    raise _hello_first("the first message must be hello")


def _hello_first(told: str) -> InvalidRequestError:
    return InvalidRequestError([Violation("hello", "hello_first", told)])
