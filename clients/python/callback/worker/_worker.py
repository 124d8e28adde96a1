"""A worker: handlers without a listening port. It connects to a server and receives calls from it.

    handlers = Handlers()

    @handlers.activity("order-paid")
    async def paid(call: IncomingCall) -> Response: ...

    if __name__ == "__main__":
        Worker(handlers, "callback:50051", token_file="worker.token").run()

The result of a call is described at `Handlers`. In addition:

1. A worker keeps one stream to one server, and receives the calls of every server of the deployment through it. If the
   target has several addresses, it connects to any of them, and to another one when that server is lost or stops. A
   load balancer for single requests (round robin) does not apply to it. Run at least two workers; they share the calls.
2. A worker starts a call only after the server has confirmed it, and the server confirms it to one worker only. If a
   worker is lost before that, nothing is lost: the server offers the call to another worker. If the stream is lost
   during a call, the worker cancels the handler, because no server would accept its result, and the server ends the
   call with HANDLER_LOST.
3. A handler is cancelled at its deadline; a result after that has no effect. The handler occupies a slot of the worker
   until it has ended. A plain function is not interrupted: see `Handlers`.
4. The worker reconnects by itself, with exponential backoff and jitter. It detects a server that vanished within ten
   seconds.
5. The worker logs which of its activities get no calls from the server, because its configuration has a handler server
   for them. It keeps running, because another server may have some.
6. At SIGTERM the worker requests no more calls, and finishes those that it started. A server that stops asks its
   workers to connect to another server. The worker does so, and meanwhile finishes the calls of the first one.
7. When its token file or its TLS files have changed, which the worker looks for every second, it opens another stream
   with them. Once that is welcome, it finishes the calls of the old stream and leaves that. Until then it keeps the old
   one: the server may not know the new token yet.
"""

import asyncio
import logging
import math
import os
import socket
import sys
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from os import PathLike

import grpc

from callback import _checks as checks
from callback._decisions import Handler, NotificationHandler
from callback._errors import CallbackError, InvalidRequestError, PermissionDeniedError, UnauthenticatedError
from callback._rpc_errors import from_rpc_error
from callback.connection._backoff import Backoff
from callback.connection._bearer_token import Metadata, TokenFile, token_metadata, warn_of_plain_text
from callback.connection._channel_options import CHANNEL_OPTIONS, MAX_MESSAGE_BYTES
from callback.connection._tls import Tls, TlsFiles, open_channel
from callback.v1 import callback_handler_service_pb2 as handler_messages
from callback.v1 import worker_service_pb2 as messages
from callback.v1.worker_service_pb2_grpc import WorkerServiceStub
from callback.worker._execution import HandlerFailedError, decide, is_notification, log_answer_refused
from callback.worker._handlers import DEFAULT_GRACE_S, Handlers
from callback.worker._process import log_to_standard_error, stop_signals
from callback.worker._threads import HandlerThreads
from callback_shared.addresses import Addresses
from callback_shared.targets import DEFAULT_TARGET, check_target

DEFAULT_MAX_CALLS = 100
"""The number of concurrent calls, unless another number is given."""
WELCOME_TIMEOUT_S = 10.0
"""How long a server may take to welcome a worker, in seconds. The worker then tries another one."""
LOOK_UP_TIMEOUT_S = 2.0
"""How long each connection waits for the addresses of the target, in seconds. Then it uses the last known ones."""
FIRST_PAUSE_S = 0.2
"""The first pause before reconnecting, in seconds."""
LONGEST_PAUSE_S = 5.0
"""The longest pause before reconnecting, in seconds."""
LOOK_AT_FILES_S = 1.0
"""How often a connected worker looks whether its token file or its TLS files have changed, in seconds."""
UNEXPLAINED_ENDS_PER_LOG = 5
"""How many streams in a row end without a reason for each line of the log that says so."""
MAX_BATCH_MESSAGES = 64
"""The largest number of messages in a batch."""
MAX_BATCH_BYTES = 256 * 1024
"""The largest size of a batch, in bytes. A larger message is sent alone."""

_OPTIONS = (
    *CHANNEL_OPTIONS,
    # Each stream has its own connection, to any address of the target, so that workers spread over the servers.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.service_config", '{"loadBalancingConfig": [{"pick_first": {"shuffleAddressList": true}}]}'),
)

_log = logging.getLogger("callback.worker")


class Worker:
    """A worker that connects to a server, and runs the handlers of the calls that it receives.

        Worker(handlers, "callback:50051", token_file="worker.token").run()

    Args:
        handlers: The handlers. The worker announces their activities to the server when it connects.
        target: `host:port`, or another gRPC target such as `dns:///callback:50051`, with any number of addresses.
            Names are looked up every 5 seconds; when their addresses change, the worker selects one of them again.
        tls: The authorities to trust, and the worker's certificate. Default: no TLS. A token then crosses the network
            in plain text, which is logged as a warning unless the target is on this machine.
        token: The bearer token, or a function that returns it and is called with every connection. The server asks for
            another connection before the token expires.
        token_file: A file with the bearer token. When it changes, the worker connects with the new token, and finishes
            its calls. While the file is unusable, the last token stays in use.
        max_calls: The number of concurrent calls (slots), 1 to 1,000. Coroutine functions share one event loop, so
            only their asynchronous waiting overlaps. Plain functions have as many threads as there are slots.
        grace: How long running calls may continue after a stop, in seconds. Later they are cancelled. The worker still
            waits for plain functions: a thread cannot be ended.
        name: The name of the worker in the server's log. Default: the host name and the process id.

    Raises:
        TypeError: `handlers`, `tls`, `max_calls` or `grace` has the wrong type.
        ValueError: The target is not valid or has no port, `max_calls` is out of range, `token` and `token_file` are
            both given, the token is malformed, or a file of `tls` has no usable content.
        OSError: `token_file` or a file of `tls` cannot be read.
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
        grace: float = DEFAULT_GRACE_S,
        name: str = "",
    ) -> None:
        self._handlers = checks.instance("handlers", handlers, Handlers, "Handlers")
        self._tls = None if tls is None else TlsFiles(tls)
        if not 1 <= checks.number("max_calls", max_calls) <= 1000:
            raise ValueError(f"max_calls must be 1 to 1,000, not {max_calls}")
        check_target(checks.text("target", target), needs_name=tls is not None and tls.server_name is None)
        self._target = target
        self._addresses = Addresses(target)
        self._metadata = token_metadata(token, token_file)
        warn_of_plain_text(target, tls, has_token=token is not None or token_file is not None)
        self._max_calls = max_calls
        self._grace = checks.seconds("grace", grace)
        self._name = name or f"{socket.gethostname()}-{os.getpid()}"
        self._is_running = False
        self._working: tuple[asyncio.Task[None], asyncio.Event] | None = None
        """Inside the block `working()`: its task, and the event of the first welcome."""
        self._stream: _Stream | None = None
        """The stream of the last welcome."""
        self._store_epochs = b""
        """What the last server knows of its store, for the next one. It is not read here."""

    def run(self) -> None:
        """Serve as the main job of a program. An error of `serve` ends the program with one line on standard error.

        The log of this library goes to standard error too, unless the program has configured logging.

        Raises:
            SystemExit: The worker cannot start.
        """
        log_to_standard_error()
        try:
            asyncio.run(self.serve())
        except (CallbackError, ValueError) as error:
            sys.exit(str(error))

    @property
    def is_connected(self) -> bool:
        """Whether a server has welcomed the worker, and is not stopping: for a readiness probe."""
        return self._stream is not None and not self._stream.leaving.is_set()

    async def connected(self) -> None:
        """Wait inside the block `working()` until a server has welcomed the worker for the first time.

        Raises:
            RuntimeError: The worker does not run in a block, or has stopped.
            CallbackError: As for `serve`.
            ValueError: As for `serve`.
        """
        if self._working is None:
            raise RuntimeError("the worker does not run: use `async with worker.working():`")
        serving, welcome = self._working
        welcomed = asyncio.create_task(welcome.wait())
        try:
            await asyncio.wait((serving, welcomed), return_when=asyncio.FIRST_COMPLETED)
        finally:
            welcomed.cancel()
        if not welcome.is_set():
            serving.result()
            raise RuntimeError("the worker has stopped, and was never connected")

    async def serve(self) -> None:
        """Serve until SIGTERM, SIGINT or cancellation. Then accept no new calls, and let running calls finish.

        A second signal has its usual effect. Python cannot handle signals outside the main thread: cancel `serve`
        there.

        Raises:
            CallbackError: The server refuses the first connection of this worker: the token is wrong, or the principal
                may not handle one of the activities. A later refusal, such as during the replacement of a token, is
                logged, and the worker tries again.
            ValueError: There are no handlers, or a token function returns a malformed token for the first connection.
            RuntimeError: The worker runs already. After a stop it can serve again.
        """
        with self._runs(), stop_signals() as stop:
            await self._until(stop, asyncio.Event())

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Serve inside an `async with` block: in tests, or beside other work, such as a web application.

        The block begins at once, and the worker connects in the background: a server that is away keeps no program from
        starting or stopping. It handles no signals:

            worker = Worker(handlers, target)
            async with worker.working():
                await worker.connected()  # in a test, before the first call

        A web application has `worker.is_connected` for its readiness. The errors are those of `serve`. One of the
        server is logged when it arrives, and raised by `connected` and at the end of the block.
        """
        with self._runs():
            stop, welcome = asyncio.Event(), asyncio.Event()
            serving = asyncio.create_task(self._until(stop, welcome))
            serving.add_done_callback(_log_failure)
            self._working = serving, welcome
            try:
                yield
            finally:
                stop.set()
                self._stream = None
                try:
                    await serving
                finally:
                    self._working = None

    @contextmanager
    def _runs(self) -> Iterator[None]:
        """Check that the worker can run, and that it does not run a second time inside the block."""
        if not (self._handlers.activities or self._handlers.notification_activities):
            raise ValueError("a worker needs at least one handler: register it with Handlers.activity")
        if self._is_running:
            raise RuntimeError("this worker runs already: stop it first, or create another Worker")
        self._is_running = True
        try:
            yield
        finally:
            self._is_running, self._stream = False, None

    async def _until(self, stop: asyncio.Event, welcome: asyncio.Event) -> None:
        """Serve until the event `stop`. Set `welcome` when a server has welcomed the worker for the first time."""
        # Shared, because a draining stream runs beside its successor.
        slots, threads = asyncio.Semaphore(self._max_calls), HandlerThreads(self._max_calls)
        streams: set[_Stream] = set()
        connecting = asyncio.create_task(self._stay_connected(streams, slots, threads, welcome))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((connecting, stopping), return_when=asyncio.FIRST_COMPLETED)
            if connecting.done():
                connecting.result()  # raises: the task ends only with an error
            _log.info("stopping grace_s=%g", self._grace)
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

    async def _stay_connected(
        self, streams: set["_Stream"], slots: asyncio.Semaphore, threads: HandlerThreads, welcome: asyncio.Event
    ) -> None:
        """Keep a stream to a server. Open another one when it ends, the server drains, or files or addresses change."""
        backoff, unexplained = _backoff(), 0
        serving: _Stream | None = None
        while True:
            await self._addresses.look_up_within(LOOK_UP_TIMEOUT_S)
            try:
                stream = _Stream(
                    self._channel(),
                    self._metadata(),
                    self._hello(),
                    self._handlers,
                    slots,
                    threads,
                    self._keep_store_epochs,
                )
            except ValueError as error:  # a token function returned a malformed token
                if not welcome.is_set():
                    raise
                _log.error("token_unusable error=%s", error)
            else:
                streams.add(stream)
                stream.ended.add_done_callback(lambda _, stream=stream: streams.discard(stream))  # type: ignore[misc]  # mypy cannot type a lambda with a default
                await stream.answered.wait()
                if stream.is_welcome:
                    if serving is not None and not serving.leaving.is_set():
                        serving.drain()
                    serving = self._stream = stream
                    welcome.set()
                    backoff = _backoff()
                    served = [each for each in self._served() if each not in stream.unroutable_activities]
                    _log.info("worker_connected target=%s activities=%s", self._target, ",".join(served) or "none")
                await self._until_leaving(stream)
                unexplained = unexplained + 1 if stream.is_unexplained else 0
                if unexplained % UNEXPLAINED_ENDS_PER_LOG == 0:
                    self._log_end(stream, first=not welcome.is_set())
            await asyncio.sleep(backoff.next_pause())

    async def _until_leaving(self, stream: "_Stream") -> None:
        """Wait until the worker needs another stream than this one."""
        while not (stream.leaving.is_set() or self._have_files_changed()):
            if self._addresses.refresh():
                _log.info("addresses_changed target=%s addresses=%s", self._target, self._addresses.target)
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AT_FILES_S):
                    await stream.leaving.wait()

    def _have_files_changed(self) -> bool:
        has_new_token = isinstance(self._metadata, TokenFile) and self._metadata.has_changed()
        have_changed = has_new_token or (self._tls is not None and self._tls.reload_if_changed())
        if have_changed:
            _log.info("files_changed target=%s", self._target)
        return have_changed

    def _log_end(self, stream: "_Stream", *, first: bool) -> None:
        """Log why the worker needs another stream.

        Raises:
            CallbackError: The server refused the first connection of this worker (`first`).
        """
        if not stream.leaving.is_set():
            return
        if stream.failure is None:
            _log.info("server_draining target=%s", self._target)
            return
        error = from_rpc_error(stream.failure, self._target, encrypted=self._tls is not None)
        if first and (
            isinstance(error, InvalidRequestError | PermissionDeniedError | UnauthenticatedError)
            or error.code is grpc.StatusCode.UNIMPLEMENTED
        ):
            raise error from stream.failure
        _log.warning("worker_disconnected error=%s", error)

    def _channel(self) -> grpc.aio.Channel:
        if self._tls is not None:
            self._tls.reload_if_changed()  # each stream has its own channel, with the current files
        channel: grpc.aio.Channel = open_channel(grpc.aio, self._addresses, self._tls, _OPTIONS)
        return channel

    def _served(self) -> list[str]:
        """Return the activities whose calls or notifications the worker handles."""
        return [*dict.fromkeys((*self._handlers.activities, *self._handlers.notification_activities))]

    def _hello(self) -> messages.Hello:
        return messages.Hello(
            callback_activities=self._handlers.activities,
            notification_activities=self._handlers.notification_activities,
            max_calls=self._max_calls,
            name=self._name,
            store_epochs=self._store_epochs,
            max_message_bytes=MAX_MESSAGE_BYTES,
        )

    def _keep_store_epochs(self, message: bytes) -> None:
        self._store_epochs = message or self._store_epochs


class _Stream:
    """A stream to a server, from Hello to its end."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        metadata: Metadata,
        hello: messages.Hello,
        handlers: Handlers,
        slots: asyncio.Semaphore,
        threads: HandlerThreads,
        keep_store_epochs: Callable[[bytes], None],
    ) -> None:
        self._handlers = handlers
        self._keep_store_epochs = keep_store_epochs
        self._slots = slots
        self._threads = threads
        self._calls: dict[str, _Call] = {}
        self._outgoing: deque[messages.WorkRequest] = deque()
        """The messages to send, each as a batch of one: to merge batches copies each message once."""
        self._has_outgoing = asyncio.Event()
        self._send(messages.WorkRequest(messages=[messages.WorkerMessage(hello=hello)]))
        self._stopping = False
        self._has_ended = False
        self.is_welcome = False
        """Whether the server has welcomed the worker."""
        self.unroutable_activities: Sequence[str] = ()
        """The activities whose calls this server does not send to workers."""
        self.answered = asyncio.Event()
        """Set when the server has welcomed the worker, or the stream has ended."""
        self.leaving = asyncio.Event()
        """Set when the worker needs another stream: the server is draining, or the stream has ended."""
        self.failure: grpc.RpcError | None = None
        """The gRPC error that ended the stream. None if the server ended it regularly."""
        self.ended = asyncio.create_task(self._run(channel, metadata))
        """The task that runs the stream."""

    @property
    def is_unexplained(self) -> bool:
        """Whether the stream ended while Hello was being sent.

        gRPC then reports INTERNAL without the reason. One of the next streams receives the reason: on a busy machine
        some in a row can end like this.
        """
        failure = self.failure
        return (
            not self.is_welcome
            and failure is not None
            and failure.code() is grpc.StatusCode.INTERNAL
            and not failure.trailing_metadata()  # otherwise the server itself sent it
        )

    def drain(self) -> None:
        """Request no more calls. Started calls continue; then the server ends the stream."""
        if not self.is_welcome:
            self.ended.cancel()
            return
        self._stopping = True
        for call in self._calls.values():
            if not call.accepted:
                call.task.cancel()
        request = messages.WorkRequest()
        request.messages.add().drain.SetInParent()
        self._send(request)

    async def _run(self, channel: grpc.aio.Channel, metadata: Metadata) -> None:
        stream = WorkerServiceStub(channel).Work(self._outgoing_messages(), metadata=metadata)
        try:
            async with asyncio.timeout(WELCOME_TIMEOUT_S) as limit:
                async for response in stream:
                    limit.reschedule(None)
                    self.is_welcome = True
                    self.answered.set()
                    for message in response.messages:
                        self._receive(message)
        except TimeoutError:
            _log.warning("welcome_timed_out timeout_s=%g", WELCOME_TIMEOUT_S)
        except grpc.RpcError as failure:
            self.failure = failure
        finally:
            self.answered.set()
            self.leaving.set()
            stream.cancel()
            self._has_ended = True
            self._has_outgoing.set()
            running = [call.task for call in self._calls.values()]
            for task in running:
                task.cancel()
            await channel.close()
            await asyncio.gather(*running, return_exceptions=True)

    async def _outgoing_messages(self) -> AsyncGenerator[messages.WorkRequest, None]:
        """Yield the messages to the server until the stream ends."""
        while not self._has_ended:
            if self._outgoing:
                yield self._next_batch()
            else:
                self._has_outgoing.clear()
                await self._has_outgoing.wait()

    def _next_batch(self) -> messages.WorkRequest:
        """Return as many of the outgoing messages as fit into one batch."""
        batch = self._outgoing.popleft()
        if self._outgoing:
            remaining = MAX_BATCH_BYTES - batch.ByteSize()
            room = MAX_BATCH_MESSAGES - 1
            while self._outgoing and room:
                remaining -= self._outgoing[0].ByteSize()
                if remaining < 0:
                    break
                batch.MergeFrom(self._outgoing.popleft())
                room -= 1
        return batch

    def _receive(self, message: messages.ServerMessage) -> None:
        match message.WhichOneof("message"):
            case "welcome":
                self.unroutable_activities = message.welcome.unroutable_activities
                self._keep_store_epochs(message.welcome.store_epochs)
                for notice in message.welcome.notices:
                    _log.warning("server_notice notice=%s", notice)
            case "offer":
                self._on_offer(message.offer)
            case "confirm":
                if (call := self._calls.get(message.confirm.call_id)) is not None:
                    call.confirmed.set()
            case "withdraw":
                if (call := self._calls.get(message.withdraw.call_id)) is not None:
                    call.task.cancel()
            case "drain":
                self.leaving.set()
            case "store_epochs":
                self._keep_store_epochs(message.store_epochs)
            case "answer_refused":
                log_answer_refused(message.answer_refused)

    def _on_offer(self, request: handler_messages.HandleCallbackRequest) -> None:
        """Start the task of an offered call. It sends one result: the decision of the handler, or that it declined."""
        call = self._calls[request.call_id] = _Call(request)
        call.task = asyncio.create_task(self._handle(call))
        call.task.add_done_callback(lambda _: self._finish(call))
        if self._stopping:
            call.task.cancel()

    async def _handle(self, call: "_Call") -> None:
        activity = call.request.callback_activity
        handler: Handler | NotificationHandler | None = (
            self._handlers.get_notification(activity) if is_notification(call.request) else self._handlers.get(activity)
        )
        if handler is None:
            return
        async with self._slots:
            call.accepted = True
            request = messages.WorkRequest()
            request.messages.add().accept.call_id = call.request.call_id
            self._send(request)
            await call.confirmed.wait()
            call.result.error = "the handler was cancelled"
            try:
                call.result.response.CopyFrom(await decide(handler, call.request, self._threads))
            except HandlerFailedError as failure:
                call.result.error = str(failure)

    def _finish(self, call: "_Call") -> None:
        del self._calls[call.request.call_id]
        request = messages.WorkRequest()
        request.messages.add().result.CopyFrom(call.result)
        self._send(request)

    def _send(self, request: messages.WorkRequest) -> None:
        """Queue a message, in a batch of one."""
        self._outgoing.append(request)
        self._has_outgoing.set()


class _Call:
    """A call that the server offered."""

    task: asyncio.Task[None]

    def __init__(self, request: handler_messages.HandleCallbackRequest) -> None:
        self.request = request
        self.result = messages.Result(call_id=request.call_id, declined=messages.Declined())
        """The result, if the call ended now."""
        self.confirmed = asyncio.Event()
        """Set when the server confirms the call: the handler may start."""
        self.accepted = False
        """Whether the call has a slot, and the server knows it: it may confirm the call at any moment."""


def _log_failure(serving: asyncio.Task[None]) -> None:
    if not serving.cancelled() and (error := serving.exception()):
        _log.error("worker_ended error=%s", error)


def _backoff() -> Backoff:
    return Backoff(math.inf, first=FIRST_PAUSE_S, longest=LONGEST_PAUSE_S)
