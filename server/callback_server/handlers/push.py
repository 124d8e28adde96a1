"""Push: an activity's handler is a gRPC service of somebody else's, `CallbackHandlerService`, that we call.

What has never left this process is told apart from what may have: the connection is made first, on its own, and only
when it stands is the handler asked, once. gRPC's own retries are off.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, Final

import grpc

from callback.v1 import callback_handler_service_pb2_grpc as handler_grpc
from callback_process.settings import TlsSettings
from callback_server.domain.call import CallFailure, Grant, Request
from callback_server.handlers.contract import decision, question
from callback_server.handlers.handler import Decision, HandlerError
from callback_server.settings import ActivitySettings

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
    """The handler of one activity. Keeps a connection, from its making on a running loop to `close`."""

    def __init__(self, activity: str, settings: ActivitySettings) -> None:
        """Raises OSError if a file of the TLS settings can not be read."""
        self._activity = activity
        self._connect_timeout_s = settings.connect_timeout_s
        self._channel = make_channel(settings)
        self._stub = handler_grpc.CallbackHandlerServiceStub(self._channel)
        self._changed = asyncio.Event()
        self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Closes the connection."""
        self._watching.cancel()
        await asyncio.gather(self._watching, return_exceptions=True)
        await self._channel.close()

    async def handle(self, grant: Grant, request: Request, *, timeout_s: float) -> Decision:
        """Asks the service for its decision. See `Handler`."""
        end = time.monotonic() + timeout_s
        await self._connect(min(self._connect_timeout_s, timeout_s))
        left_s = max(end - time.monotonic(), 0.001)
        try:
            answer = await self._stub.HandleCallback(
                question(grant, request, deadline_ms=round((time.time() + left_s) * 1000)), timeout=left_s
            )
        except grpc.aio.AioRpcError as error:
            failure = _FAILURES.get(error.code(), CallFailure.HANDLER_ERROR)
            raise HandlerError(failure, f"the handler answered {error.code().name}") from error
        return decision(answer)

    async def _connect(self, timeout_s: float) -> None:
        """Waits for a connection. Nothing of the call is sent before it stands."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._channel.get_state(try_to_connect=True) is not grpc.ChannelConnectivity.READY:
                    await self._changed.wait()
        except TimeoutError:
            raise HandlerError(
                CallFailure.HANDLER_UNREACHABLE, f"no connection to the handler of {self._activity} in {timeout_s:g} s"
            ) from None

    async def _watch(self) -> None:
        """Tells who waits when the connection changes. One watcher for all: each that gave up waiting would leak."""
        while True:
            await self._channel.wait_for_state_change(self._channel.get_state(try_to_connect=True))
            self._changed.set()  # wakes those who wait now
            self._changed.clear()


def make_channel(settings: ActivitySettings) -> grpc.aio.Channel:
    """A channel to a handler. Raises OSError if a file of the TLS settings can not be read."""
    target = settings.target or ""
    # That is in truth how long one attempt to connect may take.
    options = [*_OPTIONS, ("grpc.min_reconnect_backoff_ms", round(settings.connect_timeout_s * 1000))]
    if settings.tls is None:
        return grpc.aio.insecure_channel(target, options=options)
    if settings.tls.server_name is not None:
        options.append(("grpc.ssl_target_name_override", settings.tls.server_name))
    return grpc.aio.secure_channel(target, _credentials(settings.tls), options=options)


def _credentials(tls: TlsSettings) -> grpc.ChannelCredentials:
    def read(file: Path | None) -> bytes | None:
        return None if file is None else file.read_bytes()

    return grpc.ssl_channel_credentials(read(tls.ca_file), read(tls.key_file), read(tls.cert_file))
