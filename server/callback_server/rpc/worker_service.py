"""`WorkerService`: workers come, get calls, and go."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Coroutine
from typing import Any, Final, TypeVar

from callback.v1 import worker_service_pb2 as worker_pb2
from callback.v1 import worker_service_pb2_grpc as worker_grpc
from callback_process.logs import get_logger
from callback_server.access.authenticator import Authenticator
from callback_server.access.roles import Role
from callback_server.domain.case import FORM, RECORD
from callback_server.errors import (
    ActivityNotAllowedError,
    InvalidRequestError,
    ServerStoppingError,
    Violation,
)
from callback_server.handlers.workers.pool import WorkerPool
from callback_server.handlers.workers.worker import MOST_MESSAGES, Worker
from callback_server.rpc.method import Caller, require_valid, rpc_duplex

log = get_logger()
T = TypeVar("T")

HELLO_S: Final = 10.0
"""How long a worker may take to say who it is, in seconds: it has a stream, and says nothing."""
LONGEST_STAY_S: Final = 3600
"""How long a stream is kept at most, in seconds; then its worker is asked to come again. So what it may do is looked at
again, and workers spread over servers that have come since."""


class WorkerServicer(worker_grpc.WorkerServiceServicer):
    """Has workers speak with the pool."""

    def __init__(self, pool: WorkerPool, access: Authenticator, pushed: Collection[str]) -> None:
        """`pushed` are the activities whose calls do not come to workers, for their handler has a target."""
        self._pool = pool
        self._pushed = pushed
        self.access = access
        self._reading: set[asyncio.Task[Any]] = set()

    @rpc_duplex(Role.WORKER)
    async def Work(  # noqa: N802  # gRPC's name
        self, requests: AsyncIterator[worker_pb2.WorkRequest], caller: Caller
    ) -> AsyncGenerator[worker_pb2.WorkResponse, None]:
        """Takes a worker for as long as it stays."""
        hello = await self._hello(requests)
        if self._pool.draining:  # not before: who is still writing its hello when the stream ends is not told why
            raise ServerStoppingError
        principal = caller()
        for activity in hello.callback_activities:
            if not principal.may_work_on(activity):
                raise ActivityNotAllowedError(principal.name, activity)
        worker = Worker(
            hello.callback_activities, hello.max_calls, takes_more=hello.takes_more, changed=self._pool.changed
        )
        facts = {"worker": hello.name, "principal": principal.name}
        log.info("worker_connected", **facts, activities=[*hello.callback_activities], max_calls=hello.max_calls)
        notices = {activity: notice for activity in hello.callback_activities if (notice := self._notice(activity))}
        if notices:
            log.warning("worker_in_vain", **facts, notices=[*notices.values()])
        welcome = worker_pb2.Welcome(notices=notices.values(), activities_in_vain=notices, takes_more=True)
        worker.say(worker_pb2.WorkResponse(welcome=welcome))
        reading = self._left_to_read(self._read(requests, worker))
        stay = asyncio.get_running_loop().call_later(
            LONGEST_STAY_S * random.uniform(0.8, 1),  # noqa: S311  # spreads workers
            worker.drain,
        )
        self._pool.join(worker)
        try:
            async for message in worker.messages():
                caller()  # who may no longer is told so before the next message
                yield message
            if reading.done():
                reading.result()
        finally:
            stay.cancel()
            self._pool.leave(worker)
            log.info("worker_gone", **facts, calls_lost=worker.calls_lost)

    def _notice(self, activity: str) -> str | None:
        """Why no calls of an activity come to workers, and what to change; None: they do."""
        if activity in (RECORD, FORM):
            return f"no call of {activity} comes to a worker: that activity is built in; name yours otherwise"
        if activity in self._pushed:
            return (
                f"no call of {activity} comes to a worker: this server's configuration has a target for it; take the "
                f"target out of [activities.{activity}], or do not run a worker for it"
            )
        return None

    async def _read(self, requests: AsyncIterator[worker_pb2.WorkRequest], worker: Worker) -> None:
        """Takes note of what a worker says, until it says no more.

        Raises:
            InvalidRequestError: it breaks the contract.
        """
        try:
            async for said in requests:
                if len(said.more) >= MOST_MESSAGES:  # before one is looked at: to look at a million takes seconds
                    raise InvalidRequestError(
                        [Violation("more", "repeated.max_items", f"must have at most {MOST_MESSAGES - 1} messages")]
                    )
                for message in (said, *said.more):
                    if message is not said and message.more:
                        raise InvalidRequestError(
                            [Violation("more", "more_once", "what is in more has no more itself")]
                        )
                    if message.WhichOneof("message") == "hello":
                        raise _hello_first("only the first message may be hello")
                    # What is wrong with a decision is told to the owner of its call; it is no reason to lose others.
                    if message.result.WhichOneof("outcome") != "response":
                        require_valid(message)
                    worker.hear(message)
        finally:
            self._pool.leave(worker)

    async def _hello(self, requests: AsyncIterator[worker_pb2.WorkRequest]) -> worker_pb2.Hello:
        reading = self._left_to_read(_hello(requests))
        await asyncio.wait((reading,), timeout=HELLO_S)
        if not reading.done():
            raise _hello_first(f"hello must come within {HELLO_S:g} s")
        return reading.result()

    def _left_to_read(self, read: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Reads on, to the end of the stream if need be: a read that is cancelled takes the stream with it."""
        reading = asyncio.create_task(read)
        self._reading.add(reading)
        reading.add_done_callback(self._has_read)
        return reading

    def _has_read(self, reading: asyncio.Task[Any]) -> None:
        self._reading.discard(reading)
        if not reading.cancelled():
            reading.exception()  # told to the worker, if it is still there


async def _hello(requests: AsyncIterator[worker_pb2.WorkRequest]) -> worker_pb2.Hello:
    async for message in requests:
        require_valid(message)
        if message.WhichOneof("message") != "hello":
            break
        if message.more:
            raise _hello_first("hello comes alone: more is for a server that has said that it takes it")
        return message.hello
    raise _hello_first("the first message must be hello")


def _hello_first(told: str) -> InvalidRequestError:
    return InvalidRequestError([Violation("hello", "hello_first", told)])
