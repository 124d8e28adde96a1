"""A worker: handlers without a port. It connects to a server, and calls come to it.

::

    handlers = Handlers()

    @handlers.activity("order-paid")
    async def paid(call: IncomingCall) -> Response: ...

    if __name__ == "__main__":
        Worker(handlers, "callback:50051", token_file="worker.token").run()

What becomes of a call is what `callback.handlers` says. Besides:

1. A worker keeps one stream to one server, and gets the calls of every server beside it. Where the target has several
   addresses it takes any, and another one when that is lost or stops. Channels that spread single requests over servers
   (round robin) have no part in it. Run two workers or more, and they share the calls.
2. It begins with a call once the server says so, which it says to one worker only. A worker that is lost before that
   costs nothing: the call goes to another. What it has begun when the stream is lost, it cancels; nothing takes its
   answer, and the server ends the call as one whose handler was lost.
3. A handler whose deadline has passed is cancelled; what it returns then changes nothing. It takes one of the worker's
   places until it has ended.
4. It connects again by itself, after pauses that grow and differ by chance. A server that is gone without a word is
   noticed within ten seconds.
5. It logs of which of its activities the server has no calls for workers: its configuration has a handler server for
   them. It works all the same, for another server may have some.
6. At SIGTERM it asks for no more calls, and ends what it has begun. A server that stops asks it to go elsewhere: it
   connects to another, and meanwhile ends what it has begun for the first.
"""

import asyncio
import logging
import math
import os
import socket
import sys
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from os import PathLike

import grpc

from callback._errors import (
    CallbackError,
    InvalidRequestError,
    PermissionDeniedError,
    UnauthenticatedError,
    from_rpc_error,
)
from callback.connection._backoff import Backoff
from callback.connection._channel_options import CHANNEL_OPTIONS
from callback.connection._credentials import Tls, TlsFiles, bearer, warn_of_plain_text
from callback.targets import DEFAULT_TARGET, check_target
from callback.v1 import callback_handler_service_pb2 as handler_messages
from callback.v1 import worker_service_pb2 as messages
from callback.v1.worker_service_pb2_grpc import WorkerServiceStub
from callback.worker._handlers import (
    DEFAULT_GRACE,
    HandlerFailedError,
    Handlers,
    decide,
    log_refusal,
    log_to_standard_error,
    stop_signals,
)

DEFAULT_MAX_CALLS = 100
"""How many calls a worker takes at a time, unless another number is given."""
WELCOME_S = 10.0
"""How long a server may take to greet a worker, in seconds. One that takes longer is left for another."""
FIRST_PAUSE_S = 0.2
"""How long a worker waits before it connects again, in seconds, at first."""
LONGEST_PAUSE_S = 5.0
"""How long in the end."""
MOST_MESSAGES = 64
"""How many messages go in one."""
MOST_BYTES = 256 * 1024
"""How large one of several may be; a larger one goes alone."""

_OPTIONS = (
    *CHANNEL_OPTIONS,
    # Each stream has a connection of its own, to any of the target's addresses: so workers spread over servers.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.service_config", '{"loadBalancingConfig": [{"pick_first": {"shuffleAddressList": true}}]}'),
)

_log = logging.getLogger("callback.worker")


class Worker:
    """Handlers at work for a server, which they connect to.

    ::

        Worker(handlers, "callback:50051", token_file="worker.token").run()

    Args:
        handlers: The handlers. Each of their activities is announced to the server, at the time of connecting.
        target: `host:port`, or another gRPC target such as `dns:///callback:50051`, with any number of addresses.
        tls: Whom to trust, and which certificate to show. Default: no TLS. A token can then be read on the way, which
            is logged as a warning, unless the target is on this machine.
        token: The bearer token that proves who asks, or a function that returns it and is called with every connection.
        token_file: A file with that token, read with every connection, so that a new one holds without a restart; the
            last one while there is none in it.
        max_calls: How many calls to handle at a time, at most 1,000. Handlers share one event loop: it is their waiting
            that can be done together.
        grace: How long running calls may take to end after a stop, in seconds. What still runs then is cancelled.
        name: What the worker is called in the server's log. Default: the machine and the process.

    Raises:
        ValueError: The target has no port, or is none, `max_calls` is no such number, `token` and `token_file` are both
            given, the token is none, or there is nothing in a file of `tls` that can be used.
        OSError: `token_file` or a file of `tls` can not be read.
    """

    def __init__(
        self,
        handlers: Handlers,
        target: str = DEFAULT_TARGET,
        *,
        tls: Tls | None = None,
        token: str | Callable[[], str] | None = None,
        token_file: str | PathLike[str] | None = None,
        max_calls: int = DEFAULT_MAX_CALLS,
        grace: float = DEFAULT_GRACE,
        name: str = "",
    ) -> None:
        if not 1 <= max_calls <= 1000:
            raise ValueError(f"max_calls is 1 to 1,000, not {max_calls}")
        check_target(target)
        self._handlers = handlers
        self._target = target
        self._tls = None if tls is None else TlsFiles(tls)
        self._proof = bearer(token, token_file)
        warn_of_plain_text(target, tls, has_token=token is not None or token_file is not None)
        self._max_calls = max_calls
        self._grace = grace
        self._name = name or f"{socket.gethostname()}-{os.getpid()}"

    def run(self) -> None:
        """Work, as all that a program does; what `serve` raises ends it with one line on standard error.

        What is logged here goes to standard error too, unless the program has set up logging.

        Raises:
            SystemExit: It can not start.
        """
        log_to_standard_error()
        try:
            asyncio.run(self.serve())
        except (CallbackError, ValueError) as error:
            sys.exit(str(error))

    async def serve(self) -> None:
        """Work until SIGTERM or SIGINT arrives or this is cancelled; then take no new calls and let running ones end.

        A second signal has its usual effect. Outside the main thread signals can not be caught: cancel it there.

        Raises:
            CallbackError: The server refuses this worker, at the first time: the token is wrong, or it may not work on
                one of the activities. What it refuses later, a token that is being replaced say, is logged, and tried
                again.
            ValueError: There are no handlers, or what a function gives is no token, at the first time.
        """
        with stop_signals() as stop:
            await self._until(stop)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Work inside an `async with` block, as tests do. It begins when the server has greeted the worker.

        ::

            async with Worker(handlers, target).working(): ...

        Errors are those of `serve`.
        """
        stop, welcome = asyncio.Event(), asyncio.Event()
        work = asyncio.create_task(self._until(stop, welcome))
        greeted = asyncio.create_task(welcome.wait())
        try:
            await asyncio.wait((work, greeted), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                yield
        finally:
            greeted.cancel()
            stop.set()
            await work

    async def _until(self, stop: asyncio.Event, welcome: asyncio.Event | None = None) -> None:
        """Work until the event; `welcome` is set when a server has greeted the worker for the first time."""
        if not self._handlers.activities:
            raise ValueError("a worker without handlers has nothing to do")
        welcome = welcome or asyncio.Event()
        places = asyncio.Semaphore(self._max_calls)  # shared: a stream that is drained goes on beside its successor
        streams: set[_Stream] = set()
        connecting = asyncio.create_task(self._stay_connected(streams, places, welcome))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((connecting, stopping), return_when=asyncio.FIRST_COMPLETED)
            if connecting.done():
                connecting.result()  # it ends by an error alone
            _log.info("stopping; running calls have %g s to end", self._grace)
            connecting.cancel()
            for stream in streams:
                stream.drain()
            if streams:
                await asyncio.wait([stream.ended for stream in streams], timeout=self._grace)
        finally:
            connecting.cancel()
            stopping.cancel()
            for stream in streams:
                stream.ended.cancel()
            await asyncio.gather(connecting, stopping, *(stream.ended for stream in streams), return_exceptions=True)

    async def _stay_connected(self, streams: set["_Stream"], places: asyncio.Semaphore, welcome: asyncio.Event) -> None:
        """Keep a stream to a server, and another one whenever that is over."""
        backoff, is_explained = _backoff(), True
        while True:
            try:
                stream = _Stream(self._connection(), self._proof(), self._hello(), self._handlers, places)
            except ValueError as error:  # what a function gives is no token
                if not welcome.is_set():
                    raise
                _log.error("can not connect: %s", error)
            else:
                streams.add(stream)
                stream.ended.add_done_callback(lambda _, stream=stream: streams.discard(stream))  # type: ignore[misc]
                await stream.known.wait()
                if stream.welcome:
                    welcome.set()
                    backoff = _backoff()
                    works_on = [each for each in self._handlers.activities if each not in stream.in_vain]
                    _log.info("working on %s for %s", ", ".join(works_on) or "nothing", self._target)
                await stream.left.wait()
                is_explained = not (is_explained and stream.is_unexplained)
                if is_explained:
                    self._take_note(stream, first=not welcome.is_set())
            await asyncio.sleep(backoff.next_pause())

    def _take_note(self, stream: "_Stream", *, first: bool) -> None:
        """Log why another stream is needed.

        Raises:
            CallbackError: The server has refused this worker, and never taken it (`first`).
        """
        if stream.failure is None:
            _log.info("the server at %s asks to go elsewhere", self._target)
            return
        error = from_rpc_error(stream.failure, self._target)
        if first and (
            isinstance(error, InvalidRequestError | PermissionDeniedError | UnauthenticatedError)
            or error.code is grpc.StatusCode.UNIMPLEMENTED
        ):
            raise error from stream.failure
        _log.warning("no server, trying again: %s", error)

    def _connection(self) -> grpc.aio.Channel:
        if self._tls is None:
            return grpc.aio.insecure_channel(self._target, options=_OPTIONS)
        self._tls.have_changed()  # each stream has a channel of its own, made of what the files say by then
        options = (*_OPTIONS, *self._tls.channel_options)
        return grpc.aio.secure_channel(self._target, self._tls.credentials, options=options)

    def _hello(self) -> messages.Hello:
        return messages.Hello(
            callback_activities=self._handlers.activities,
            max_calls=self._max_calls,
            name=self._name,
            takes_more=True,
        )


class _Stream:
    """One stream to one server, from Hello to its end."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        proof: tuple[tuple[str, str], ...],
        hello: messages.Hello,
        handlers: Handlers,
        places: asyncio.Semaphore,
    ) -> None:
        self._handlers = handlers
        self._places = places
        self._calls: dict[str, _Call] = {}
        self._outgoing: deque[messages.WorkRequest] = deque()
        self._spoken = asyncio.Event()
        self._takes_more = False
        """Whether the server reads several messages in one."""
        self._say(messages.WorkRequest(hello=hello))
        self._stopping = False
        self._is_over = False
        self.welcome = False
        """Whether the server has greeted the worker."""
        self.in_vain: Sequence[str] = ()
        """The activities whose calls do not come to workers there."""
        self.known = asyncio.Event()
        """It has, or the stream is over."""
        self.left = asyncio.Event()
        """The server asks to go elsewhere, or the stream is over: time for another one."""
        self.failure: grpc.RpcError | None = None
        """What gRPC says of a stream that is over. None: the server has ended it in good order."""
        self.ended = asyncio.create_task(self._run(channel, proof))
        """Its whole life."""

    @property
    def is_unexplained(self) -> bool:
        """Whether it ended while Hello was written: gRPC says INTERNAL then, and not why. The next one mostly hears."""
        failure = self.failure
        return (
            not self.welcome
            and failure is not None
            and failure.code() is grpc.StatusCode.INTERNAL
            and not failure.trailing_metadata()  # else the server itself says so
        )

    def drain(self) -> None:
        """Ask for no more calls. Those that have begun go on; the server then ends the stream."""
        if not self.welcome:
            self.ended.cancel()
            return
        self._stopping = True
        for call in self._calls.values():
            if not call.asked:
                call.task.cancel()
        self._say(messages.WorkRequest(drain=messages.Drain()))

    async def _run(self, channel: grpc.aio.Channel, proof: tuple[tuple[str, str], ...]) -> None:
        stream = WorkerServiceStub(channel).Work(self._said(), metadata=proof)
        try:
            async with asyncio.timeout(WELCOME_S) as limit:
                async for message in stream:
                    limit.reschedule(None)
                    self.welcome = True
                    self.known.set()
                    self._hear(message)
                    for each in message.more:
                        self._hear(each)
        except TimeoutError:
            _log.warning("the server does not greet us within %g s", WELCOME_S)
        except grpc.RpcError as failure:
            self.failure = failure
        finally:
            self.known.set()
            self.left.set()
            stream.cancel()
            self._is_over = True
            self._spoken.set()
            running = [call.task for call in self._calls.values()]
            for task in running:
                task.cancel()
            await channel.close()
            await asyncio.gather(*running, return_exceptions=True)

    async def _said(self) -> AsyncGenerator[messages.WorkRequest, None]:
        """What is said to the server, until the stream is over."""
        while not self._is_over:
            if self._outgoing:
                yield self._message()
            else:
                self._spoken.clear()
                await self._spoken.wait()

    def _message(self) -> messages.WorkRequest:
        """As much of what is to be said as goes in one message."""
        message = self._outgoing.popleft()
        if self._takes_more and self._outgoing:
            left = MOST_BYTES - message.ByteSize()
            while self._outgoing and len(message.more) < MOST_MESSAGES - 1:
                left -= self._outgoing[0].ByteSize()
                if left < 0:
                    break
                message.more.append(self._outgoing.popleft())
        return message

    def _hear(self, message: messages.WorkResponse) -> None:
        match message.WhichOneof("message"):
            case "welcome":
                self._takes_more = message.welcome.takes_more
                self.in_vain = message.welcome.activities_in_vain
                for notice in message.welcome.notices:
                    _log.warning("%s", notice)
            case "call":
                self._take(message.call)
            case "go":
                if (call := self._calls.get(message.go.call_id)) is not None:
                    call.go.set()
            case "withdrawn":
                if (call := self._calls.get(message.withdrawn.call_id)) is not None:
                    call.task.cancel()
            case "drain":
                self.left.set()
            case "refused":
                log_refusal(message.refused)

    def _take(self, request: handler_messages.HandleCallbackRequest) -> None:
        """Take a call, which has one result: that of its handler, or that it was declined."""
        call = self._calls[request.call_id] = _Call(request)
        call.task = asyncio.create_task(self._handle(call))
        call.task.add_done_callback(lambda _: self._finish(call))
        if self._stopping:
            call.task.cancel()

    async def _handle(self, call: "_Call") -> None:
        handler = self._handlers.get(call.request.callback_activity)
        if handler is None:
            return
        async with self._places:
            call.asked = True
            self._say(messages.WorkRequest(start=messages.Start(call_id=call.request.call_id)))
            await call.go.wait()
            call.result.error = "the handler was cancelled"
            try:
                call.result.response.CopyFrom(await decide(handler, call.request))
            except HandlerFailedError as failure:
                call.result.error = str(failure)

    def _finish(self, call: "_Call") -> None:
        del self._calls[call.request.call_id]
        self._say(messages.WorkRequest(result=call.result))

    def _say(self, message: messages.WorkRequest) -> None:
        self._outgoing.append(message)
        self._spoken.set()


class _Call:
    """A call that the server has sent."""

    task: asyncio.Task[None]

    def __init__(self, request: handler_messages.HandleCallbackRequest) -> None:
        self.request = request
        self.result = messages.Result(call_id=request.call_id, declined=True)
        """How it ends, if it ended now."""
        self.go = asyncio.Event()
        """The server says to begin."""
        self.asked = False
        """It has a place, and the server was told so: it may have to begin at any moment."""


def _backoff() -> Backoff:
    return Backoff(math.inf, first=FIRST_PAUSE_S, longest=LONGEST_PAUSE_S)
