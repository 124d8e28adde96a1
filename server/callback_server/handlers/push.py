"""Push handlers: the server calls the handler of an activity, a gRPC `CallbackHandlerService` in another process.

A call that never left this process is distinguished from one that may have left it. The connection is therefore made
first, and the call is sent, once, only when the connection is ready. gRPC's own retries are off. When the TLS files
or the addresses of the target change, a new connection is made and takes over once it is ready; the old one still
receives the decisions on its calls.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, Self

import grpc

from callback.v1 import callback_handler_service_pb2 as handler_pb2
from callback.v1 import callback_handler_service_pb2_grpc as handler_grpc
from callback_process.credentials import FileReloader, reload_logger, tls_files, tls_reloader
from callback_process.logs import get_logger
from callback_process.tasks import TaskSet
from callback_server import metrics
from callback_server.domain.activity import DEFAULT_DEADLINE_MS
from callback_server.domain.call import CallFailure, Grant, Request
from callback_server.domain.notification import CallReason
from callback_server.handlers.handler import HandlerError, Reply
from callback_server.handlers.messages import question
from callback_server.settings import ActivitySettings
from callback_shared.addresses import Addresses

log = get_logger()

REFUSE_TIMEOUT_S: Final = 5.0
"""Deadline of the RPC that reports to a handler that its decision cannot be rendered, in seconds."""
FILES_INTERVAL_S: Final = 1.0
"""Interval between two checks of the TLS files, in seconds."""
_OPTIONS: Final[list[tuple[str, Any]]] = [
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),  # the proxy in the environment is for the web, and handlers are internal
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),  # over all addresses of the target
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.max_send_message_length", 16 * 1024 * 1024),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # without it a peer that hangs is noticed a minute later
]
_FAILURES: Final = {
    grpc.StatusCode.DEADLINE_EXCEEDED: CallFailure.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNAVAILABLE: CallFailure.HANDLER_LOST,
}


class PushHandler:
    """The handler of one activity with the connection to it, from `async with` to its end."""

    def __init__(self, activity: str, settings: ActivitySettings, *, records_errors: bool = False) -> None:
        """Read the TLS files. Raises CredentialsError if one cannot be used.

        Args:
            activity: The activity.
            settings: Its settings, with a `target`.
            records_errors: Whether what the handler says of its error is recorded.
        """
        self._activity = activity
        self._settings = settings
        self._records_errors = records_errors
        self._credentials = credentials(activity, settings)
        self._addresses = Addresses(settings.target or "")
        self._next: HandlerConnection | None = None
        """The connection that takes over once it is ready."""
        self._tasks = TaskSet()
        self._is_stopped = False

    async def __aenter__(self) -> Self:
        self._changed = asyncio.Event()
        self._addresses.look_up()  # the start does not wait for it
        self._connection = self._new_connection()
        self._tasks.start(self._follow_changes())
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._tasks.cancel()
        for connection in (self._connection, self._next):
            if connection is not None:
                await connection.close()

    async def handle(self, grant: Grant, request: Request, *, timeout_s: float) -> Reply:
        """Ask the service for its decision. See `Handler`."""
        end = time.monotonic() + timeout_s
        connection = await self._connected(min(self._settings.connect_timeout_s, timeout_s))
        left_s = max(end - time.monotonic(), 0.001)
        message = question(grant, request, timeout_s=left_s, report_error=self._records_errors)
        metadata = (("traceparent", request.traceparent),) if request.traceparent else None
        try:
            if grant.reason is CallReason.CALL:
                answer = await connection.stub.HandleCallback(message, timeout=left_s, metadata=metadata)
            else:
                notification = handler_pb2.HandleNotificationRequest(notification=message)
                sent = connection.stub.HandleNotification(notification, timeout=left_s, metadata=metadata)
                answer = (await sent).decision
        except grpc.aio.AioRpcError as error:
            if grant.reason is not CallReason.CALL and error.code() is grpc.StatusCode.UNIMPLEMENTED:
                detail = f"the handler of {self._activity} takes no notifications"
                raise HandlerError(CallFailure.NO_HANDLER, detail) from error
            failure = _FAILURES.get(error.code(), CallFailure.HANDLER_ERROR)
            said = f": {error.details()}" if self._records_errors and error.details() else ""
            raise HandlerError(failure, f"the handler answered {error.code().name}{said}") from error
        return Reply(answer, lambda refusal: self._tasks.start(_refuse(connection, refusal)))

    def stop(self) -> None:
        """Send no more calls: those that wait for the connection end, and their handler has not started."""
        self._is_stopped = True
        self._wake_waiting()

    async def _connected(self, timeout_s: float) -> HandlerConnection:
        """Wait until the connection is ready. Nothing of the call is sent before."""
        if self._connection.is_ready and not self._is_stopped:
            return self._connection
        try:
            async with asyncio.timeout(timeout_s):
                while not (self._is_stopped or self._connection.is_ready):
                    await self._changed.wait()
        except TimeoutError:
            raise HandlerError(
                CallFailure.HANDLER_UNREACHABLE, f"no connection to the handler of {self._activity} in {timeout_s:g} s"
            ) from None
        if self._is_stopped:
            raise HandlerError(CallFailure.HANDLER_UNREACHABLE, "the server stopped before it could send the call")
        return self._connection

    async def _follow_changes(self) -> None:
        """Follow the TLS files and the addresses of the target."""
        while True:
            await asyncio.sleep(FILES_INTERVAL_S)
            if self._connection.is_ready:
                has_moved = self._addresses.refresh()
            else:
                has_moved = await self._addresses.look_up_within(FILES_INTERVAL_S)
            if has_moved:
                log.info("handler_addresses_changed", activity=self._activity, addresses=self._addresses.target)
            if self._credentials.reload() or has_moved:
                abandoned, self._next = self._next, self._new_connection()
                if abandoned is not None:
                    await abandoned.close()

    def _new_connection(self) -> HandlerConnection:
        return HandlerConnection(
            make_channel(self._settings, self._addresses, self._credentials.value), self._connection_changed
        )

    def _connection_changed(self) -> None:
        if self._next is not None and self._next.is_ready:
            former, self._connection, self._next = self._connection, self._next, None
            deadline_ms = self._settings.deadline_ms or DEFAULT_DEADLINE_MS
            self._tasks.start(former.close(grace_s=2 * deadline_ms / 1000))  # each call ends by its deadline, before
        self._wake_waiting()

    def _wake_waiting(self) -> None:
        """Wake the calls that wait for the connection now."""
        self._changed.set()
        self._changed.clear()


class HandlerConnection:
    """A channel that is kept connected until `close`."""

    def __init__(self, channel: grpc.aio.Channel, on_change: Callable[[], None]) -> None:
        """Connect the channel on the running loop.

        Args:
            channel: The channel.
            on_change: Called at the start, and whenever the connection is made, breaks, or fails.
        """
        self._channel = channel
        self.stub = handler_grpc.CallbackHandlerServiceStub(channel)
        self._on_change = on_change
        self._watching = asyncio.create_task(self._watch())

    @property
    def is_ready(self) -> bool:
        """Whether the connection is ready."""
        return self._channel.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY

    async def close(self, *, grace_s: float = 0) -> None:
        """Close once every call has ended, or after `grace_s` seconds."""
        self._watching.cancel()
        await asyncio.gather(self._watching, return_exceptions=True)
        try:
            await self._channel.close(grace_s)
        finally:
            await self._channel.close()  # also if this task was cancelled during the grace

    async def _watch(self) -> None:
        # One watcher for all calls: gRPC leaks each wait for a change that is abandoned.
        # The state is read before the call: what changes during the call then ends the wait at once. A connection that
        # became ready between the call and a later reading would never take over.
        while True:
            state = self._channel.get_state(try_to_connect=True)
            self._on_change()
            await self._channel.wait_for_state_change(state)


async def _refuse(connection: HandlerConnection, refusal: handler_pb2.RefuseAnswerRequest) -> None:
    try:
        await connection.stub.RefuseAnswer(refusal, timeout=REFUSE_TIMEOUT_S)
    except (grpc.aio.AioRpcError, grpc.aio.UsageError) as error:  # a handler need not serve this method, or be there
        log.debug("refusal_not_sent", call_id=refusal.call_id, error=type(error).__name__)


def credentials(activity: str, settings: ActivitySettings) -> FileReloader[grpc.ChannelCredentials | None]:
    """Return credentials that follow the files of the TLS settings; None means plain text.

    Raises:
        CredentialsError: A file cannot be used.
    """
    failed = metrics.RELOADS_FAILED.labels("handler_tls")
    on_reload = reload_logger(failed, "handler_tls_read", "handler_tls_not_read", activity=activity)
    if settings.tls is None:
        return FileReloader({}, lambda _nothing: None, on_reload)
    return tls_reloader(tls_files(f"activities.{activity}.tls", settings.tls), grpc.ssl_channel_credentials, on_reload)


def make_channel(
    settings: ActivitySettings, addresses: Addresses, credentials: grpc.ChannelCredentials | None
) -> grpc.aio.Channel:
    """Return a channel to a handler at its addresses of now; without credentials it is in plain text."""
    # In spite of its name, this option limits the duration of one attempt to connect.
    options = [*_OPTIONS, ("grpc.min_reconnect_backoff_ms", round(settings.connect_timeout_s * 1000))]
    if settings.tls is not None and settings.tls.server_name is not None:
        options.append(("grpc.ssl_target_name_override", settings.tls.server_name))
    else:
        options += addresses.options
    if credentials is None:
        return grpc.aio.insecure_channel(addresses.target, options=options)
    return grpc.aio.secure_channel(addresses.target, credentials, options=options)
