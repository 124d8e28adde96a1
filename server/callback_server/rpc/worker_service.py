"""The servicer of `WorkerService`: workers connect, receive calls, and disconnect."""

from __future__ import annotations

import asyncio
import functools
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterable
from typing import Final

from callback.v1 import worker_service_pb2 as worker_pb2
from callback.v1 import worker_service_pb2_grpc as worker_grpc
from callback_process.logs import get_logger
from callback_server.access.authenticator import Authenticator
from callback_server.access.roles import Principal, Role
from callback_server.domain.case import FORM, RECORD
from callback_server.errors import (
    ActivityNotAllowedError,
    CallbackError,
    InvalidRequestError,
    IssuerUnavailableError,
    RevokedError,
    ServerStoppingError,
    Violation,
)
from callback_server.handlers.workers.pool import WorkerPool
from callback_server.handlers.workers.worker import DEFAULT_MAX_MESSAGE_BYTES, MAX_BATCH_MESSAGES, Worker
from callback_server.rpc.grpc_aio.stream_reading import StreamReading
from callback_server.rpc.method import Authenticate, require_valid, rpc_stream
from callback_server.store.epochs.exchange import EpochExchange

log = get_logger()

MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
"""The maximum size of a message, in bytes: a request with its body, whatever the limit of the edge."""
HELLO_TIMEOUT_S: Final = 10.0
"""How long a worker may take to send Hello after it has opened its stream, in seconds."""
MAX_STREAM_AGE_S: Final = 3600
"""The maximum age of a stream, in seconds. Then the server asks the worker to connect again. So the worker is
authenticated again, and workers spread over servers that started later."""
AGE_SHARES: Final = (0.8, 1.0)
"""Between which shares of its maximum the age of a stream is chosen at random: so workers spread."""
LEAST_LIFE_S: Final = 10.0
"""How long the credential of a worker must be valid for the server to ask for another connection before it expires, in
seconds."""
CHECK_S: Final = 1.0
"""How often the server checks whether a connected worker may still work, in seconds. It does before each call, too."""


class WorkerServicer(worker_grpc.WorkerServiceServicer):
    """Connects workers to the pool."""

    def __init__(
        self, pool: WorkerPool, authenticator: Authenticator, pushed: Collection[str], epochs: EpochExchange
    ) -> None:
        """Create a servicer. `pushed` are the activities with a push target: their calls do not go to workers."""
        self._pool = pool
        self._epochs = epochs
        self._pushed = pushed
        self.authenticator = authenticator
        self._reading = StreamReading()

    @rpc_stream(Role.WORKER)
    async def Work(
        self, requests: AsyncIterator[worker_pb2.WorkRequest], authenticate: Authenticate
    ) -> AsyncGenerator[worker_pb2.WorkResponse, None]:
        """Serve a worker for as long as it is connected."""
        hello = await self._hello(requests)
        if self._pool.draining:  # not before Hello: gRPC would not pass the error to a worker that still writes it
            raise ServerStoppingError
        served = sorted({*hello.callback_activities, *hello.notification_activities})
        authorize = functools.partial(_authorize, authenticate, served)
        principal = authorize()
        worker = Worker(
            hello.callback_activities,
            hello.max_calls,
            on_slot_free=self._pool.on_slot_free,
            notification_activities=hello.notification_activities,
            max_message_bytes=min(hello.max_message_bytes or DEFAULT_MAX_MESSAGE_BYTES, MAX_MESSAGE_BYTES),
            name=hello.name,
            find_refusal=functools.partial(_find_refusal, authorize),
        )
        facts = {"worker": hello.name, "principal": principal.name}
        log.info(
            "worker_connected",
            **facts,
            activities=[*hello.callback_activities],
            notification_activities=[*hello.notification_activities],
            max_calls=hello.max_calls,
        )
        notices = {activity: notice for activity in served if (notice := self._notice(activity))}
        if notices:
            log.warning("worker_unroutable_activities", **facts, notices=[*notices.values()])
        self._epochs.receive(hello.store_epochs)
        welcome = worker_pb2.Welcome(
            notices=notices.values(), unroutable_activities=notices, store_epochs=self._epochs.message()
        )
        worker.send(worker_pb2.WorkResponse(messages=[worker_pb2.ServerMessage(welcome=welcome)]))
        reading = self._reading.start(self._read(requests, worker))
        age_limit = asyncio.get_running_loop().call_later(_age_limit_s(principal), worker.drain)
        checking = asyncio.create_task(_check(worker))
        self._pool.join(worker)
        try:
            with self._epochs.listening(functools.partial(self._send_epochs, worker)):
                async for response in worker.responses():
                    yield response
            if reading.done():
                reading.result()
            if worker.refusal is not None:
                raise worker.refusal
        finally:
            age_limit.cancel()
            checking.cancel()
            self._pool.leave(worker)
            refusal = None if worker.refusal is None else str(worker.refusal)
            log.info("worker_disconnected", **facts, calls_lost=worker.calls_lost, refusal=refusal)

    def _send_epochs(self, worker: Worker) -> None:
        if message := self._epochs.message():
            worker.send(worker_pb2.WorkResponse(messages=[worker_pb2.ServerMessage(store_epochs=message)]))

    def _notice(self, activity: str) -> str | None:
        """Return why no calls of an activity go to workers, and what to change. None: they do."""
        if activity in (RECORD, FORM):
            return f"no call of {activity} goes to a worker: the activity is built in; choose another name for yours"
        if activity in self._pushed:
            return (
                f"no call of {activity} goes to a worker: the configuration of this server has a target for it; remove "
                f"the target from [activities.{activity}], or run no worker for it"
            )
        return None

    async def _read(self, requests: AsyncIterator[worker_pb2.WorkRequest], worker: Worker) -> None:
        """Handle the messages of a worker until the worker closes its side.

        Raises:
            InvalidRequestError: A batch is too large, or Hello is sent again.
        """
        try:
            async for request in requests:
                # Before the messages are looked at: to look at a million of them takes seconds.
                if not 1 <= len(request.messages) <= MAX_BATCH_MESSAGES:
                    problem = f"must have 1 to {MAX_BATCH_MESSAGES} messages"
                    raise InvalidRequestError([Violation("messages", "repeated.max_items", problem)])
                for message in request.messages:
                    if message.WhichOneof("message") == "hello":
                        raise _hello_error("only the first message may be hello")
                    worker.receive(message)
        finally:
            self._pool.leave(worker)

    async def _hello(self, requests: AsyncIterator[worker_pb2.WorkRequest]) -> worker_pb2.Hello:
        reading = self._reading.start(_read_hello(requests))
        await asyncio.wait((reading,), timeout=HELLO_TIMEOUT_S)
        if not reading.done():
            raise _hello_error(f"hello must come within {HELLO_TIMEOUT_S:g} s")
        return reading.result()


def _authorize(authenticate: Authenticate, served: Iterable[str]) -> Principal:
    """Return the principal of a worker that may work. Raise CallbackError."""
    principal = authenticate()
    for activity in served:
        if not principal.may_work_on(activity):
            raise ActivityNotAllowedError(principal.name, activity, purpose="serve")
    return principal


def _find_refusal(authorize: Callable[[], Principal]) -> CallbackError | None:
    try:
        authorize()
    except IssuerUnavailableError:
        return None  # nothing is known against a token that was verified before
    except CallbackError as error:
        return error
    return None


async def _check(worker: Worker) -> None:
    """Drain a worker that may work no longer, and end the stream of one that is revoked, until cancelled."""
    while True:
        await asyncio.sleep(CHECK_S)
        if not worker.may_work() and isinstance(worker.refusal, RevokedError):
            worker.disconnect(by_server=True)


def _age_limit_s(principal: Principal) -> float:
    """Return after which time a worker connects again: for its next credential, and to spread over the servers."""
    life_s = MAX_STREAM_AGE_S if principal.expires is None else principal.expires - time.time()
    limit_s = MAX_STREAM_AGE_S if life_s < LEAST_LIFE_S else min(life_s, MAX_STREAM_AGE_S)
    return limit_s * random.uniform(*AGE_SHARES)  # noqa: S311  # spreads workers


async def _read_hello(requests: AsyncIterator[worker_pb2.WorkRequest]) -> worker_pb2.Hello:
    async for request in requests:
        if len(request.messages) != 1 or request.messages[0].WhichOneof("message") != "hello":
            break
        require_valid(request.messages[0])
        hello = request.messages[0].hello
        if not (hello.callback_activities or hello.notification_activities):
            problem = "must not be empty, unless notification_activities is not"
            raise InvalidRequestError([Violation("hello.callback_activities", "no_activities", problem)])
        return hello
    raise _hello_error("the first message must be hello, alone")


def _hello_error(problem: str) -> InvalidRequestError:
    return InvalidRequestError([Violation("hello", "hello_first", problem)])
