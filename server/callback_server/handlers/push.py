"""Push: an activity's handler is a gRPC service of somebody else's, `CallbackHandlerService`, that we call.

What has never left this process is told apart from what may have: the connection is made first, on its own, and only
when it stands is the handler asked, once. gRPC's own retries are off. Other TLS files make another connection, which
takes over once it stands; the one before answers what it was asked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Final, Self

import grpc

from callback.v1 import callback_handler_service_pb2 as handler_pb2
from callback.v1 import callback_handler_service_pb2_grpc as handler_grpc
from callback_process.credentials import FileReloader, tls_files, tls_reloader
from callback_process.logs import get_logger
from callback_server import metrics
from callback_server.domain.activity import DEFAULT_DEADLINE_MS
from callback_server.domain.call import CallFailure, Grant, Request
from callback_server.handlers.handler import HandlerError, Reply
from callback_server.handlers.messages import question
from callback_server.settings import ActivitySettings

log = get_logger()

REFUSAL_S: Final = 5.0
"""How long a handler may take to hear that its answer is none, in seconds."""
FILES_S: Final = 1.0
"""How often TLS files are looked at, in seconds."""
_OPTIONS: Final[list[tuple[str, Any]]] = [
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),  # the environment may name one for the web; a handler is not out there
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.max_send_message_length", 16 * 1024 * 1024),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # without it a peer that hangs is found only after a minute more
]
_FAILURES: Final = {
    grpc.StatusCode.DEADLINE_EXCEEDED: CallFailure.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNAVAILABLE: CallFailure.HANDLER_LOST,
}


class PushHandler:
    """The handler of one activity, and the connection to it, from `async with` to its end.

    Raises:
        CredentialsError: a file of the TLS settings can not be used.
    """

    def __init__(self, activity: str, settings: ActivitySettings) -> None:
        self._activity = activity
        self._settings = settings
        self._credentials = credentials(activity, settings)
        self._next: _Link | None = None
        """What takes over once it stands."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._changed = asyncio.Event()
        self._link = self._new_link()
        self._keep(self._follow_files())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for link in (self._link, self._next):
            if link is not None:
                await link.close()

    async def handle(self, grant: Grant, request: Request, *, timeout_s: float) -> Reply:
        """Asks the service for its decision. See `Handler`."""
        end = time.monotonic() + timeout_s
        link = await self._connected(min(self._settings.connect_timeout_s, timeout_s))
        left_s = max(end - time.monotonic(), 0.001)
        try:
            answer = await link.stub.HandleCallback(
                question(grant, request, deadline_ms=round((time.time() + left_s) * 1000)), timeout=left_s
            )
        except grpc.aio.AioRpcError as error:
            failure = _FAILURES.get(error.code(), CallFailure.HANDLER_ERROR)
            raise HandlerError(failure, f"the handler answered {error.code().name}") from error
        return Reply(answer, lambda refusal: self._keep(_refuse(link, refusal)))

    async def _connected(self, timeout_s: float) -> _Link:
        """Waits for a connection that stands. Nothing of the call is sent before."""
        try:
            async with asyncio.timeout(timeout_s):
                while not self._link.is_ready:
                    await self._changed.wait()
        except TimeoutError:
            raise HandlerError(
                CallFailure.HANDLER_UNREACHABLE, f"no connection to the handler of {self._activity} in {timeout_s:g} s"
            ) from None
        return self._link

    async def _follow_files(self) -> None:
        while True:
            await asyncio.sleep(FILES_S)
            if self._credentials.reload():
                given_up, self._next = self._next, self._new_link()
                if given_up is not None:
                    await given_up.close()

    def _new_link(self) -> _Link:
        return _Link(make_channel(self._settings, self._credentials.value), self._connection_changed)

    def _connection_changed(self) -> None:
        if self._next is not None and self._next.is_ready:
            former, self._link, self._next = self._link, self._next, None
            deadline_ms = self._settings.deadline_ms or DEFAULT_DEADLINE_MS
            self._keep(former.close(grace_s=2 * deadline_ms / 1000))  # each call ends before, by its deadline
        self._changed.set()  # wakes those who wait now
        self._changed.clear()

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)  # the loop itself holds tasks weakly
        task.add_done_callback(self._tasks.discard)


class _Link:
    """A channel that is kept connected, from its making on a running loop to `close`.

    Args:
        channel: what to connect.
        on_change: called whenever the connection came, went, or failed to come.
    """

    def __init__(self, channel: grpc.aio.Channel, on_change: Callable[[], None]) -> None:
        self._channel = channel
        self.stub = handler_grpc.CallbackHandlerServiceStub(channel)
        self._on_change = on_change
        self._watching = asyncio.create_task(self._watch())

    @property
    def is_ready(self) -> bool:
        """Whether the connection stands."""
        return self._channel.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY

    async def close(self, *, grace_s: float = 0) -> None:
        """Closes, once everything that was asked is answered, or after this time."""
        self._watching.cancel()
        await asyncio.gather(self._watching, return_exceptions=True)
        try:
            await self._channel.close(grace_s)
        finally:
            await self._channel.close()  # also where nobody waits for the answers any more

    async def _watch(self) -> None:
        # One watcher for all who wait: each that gave up waiting for a change would leak.
        while True:
            await self._channel.wait_for_state_change(self._channel.get_state(try_to_connect=True))
            self._on_change()


async def _refuse(link: _Link, refusal: handler_pb2.RefuseAnswerRequest) -> None:
    try:
        await link.stub.RefuseAnswer(refusal, timeout=REFUSAL_S)
    except (grpc.aio.AioRpcError, grpc.aio.UsageError) as error:  # it need not listen, nor be there still
        log.debug("refusal_not_told", call_id=refusal.call_id, error=type(error).__name__)


def credentials(activity: str, settings: ActivitySettings) -> FileReloader[grpc.ChannelCredentials | None]:
    """Credentials that follow the files which the TLS settings name; None for plain text.

    Raises:
        CredentialsError: a file can not be used.
    """

    def tell(problem: str | None) -> None:
        if problem is None:
            log.info("handler_tls_read", activity=activity)
        else:
            metrics.RELOADS_FAILED.labels("handler_tls").inc()
            log.error("handler_tls_not_read", activity=activity, problem=problem)

    if settings.tls is None:
        return FileReloader({}, lambda _nothing: None, tell)
    return tls_reloader(tls_files(f"activities.{activity}.tls", settings.tls), grpc.ssl_channel_credentials, tell)


def make_channel(settings: ActivitySettings, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
    """A channel to a handler; without credentials, in plain text."""
    # That is in truth how long one attempt to connect may take.
    options = [*_OPTIONS, ("grpc.min_reconnect_backoff_ms", round(settings.connect_timeout_s * 1000))]
    if credentials is None:
        return grpc.aio.insecure_channel(settings.target or "", options=options)
    if settings.tls is not None and settings.tls.server_name is not None:
        options.append(("grpc.ssl_target_name_override", settings.tls.server_name))
    return grpc.aio.secure_channel(settings.target or "", credentials, options=options)
