"""gRPC channel to the servers, with the streams that it keeps open.

Each stream is to one server; the channel selects servers in turn. A stream that ends, or whose server is not ready, is
replaced at once. Each stream is also replaced after some seconds. So calls spread to new servers, and servers
authenticate this edge again. The first streams are to the servers whose connections were ready first, perhaps to one
alone, so they are replaced soon, and each replacement is used twice as long as the stream before it.
"""

import asyncio
import contextlib
import json
import random
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import grpc
import grpc.aio

from callback.v1 import edge_service_pb2, edge_service_pb2_grpc
from callback_edge.credentials import Tls
from callback_edge.upstream.availability import ServerAvailability
from callback_edge.upstream.epoch_relay import EpochRelay
from callback_edge.upstream.stream import InvocationStream, OnResult
from callback_edge.upstream.unanswered import UnansweredCall
from callback_process import logs
from callback_process.credentials import FileReloader
from callback_shared.addresses import Addresses

log = logs.get_logger()

STREAM_COUNT: Final = 4
"""Number of streams: enough to use several servers, and few enough to batch calls."""
STREAM_LIFETIME_S: Final = 10.0
"""Longest use of a stream, in seconds. The real time is random, from half of it."""
FIRST_LIFETIME_S: Final = 0.5
"""The same of the first streams of a channel, in seconds. It doubles with each replacement."""
_READINESS_TIMEOUT_S: Final = 5.0
"""How long a server may take to say whether it is ready, in seconds."""
FIRST_PAUSE_S: Final = 0.1
"""Pause before the next stream after one that failed, in seconds. It doubles with each failure."""
MAX_PAUSE_S: Final = 5.0
_EDGE_SERVICE: Final = "callback.v1.EdgeService"
_SERVICE_CONFIG: Final = {
    "loadBalancingConfig": [{"round_robin": {}}],  # over all addresses of a target
    # A server that is not healthy gets no stream.
    "healthCheckConfig": {"serviceName": _EDGE_SERVICE},
}
_CHANNEL_OPTIONS: Final = (
    ("grpc.enable_retries", 0),  # a call is sent once; this also turns off transparent retries
    ("grpc.service_config_disable_resolution", 1),  # so that DNS cannot turn them on again
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    ("grpc.enable_http_proxy", 0),  # a proxy of the environment is for the web, and servers are not on the web
    ("grpc.dns_min_time_between_resolutions_ms", 2000),  # for a target that gRPC looks up itself
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 2000),  # in effect the timeout of an attempt to connect
    ("grpc.max_reconnect_backoff_ms", 500),  # a restarted server is back before the next one drains
    # The edge detects a peer that hangs or is unplugged within 40 s. Without the last option it takes a minute more.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.ping_timeout_ms", 10_000),
)


class ServerChannel:
    """Channel with its streams, from its creation on a running loop to `close`.

    Args:
        addresses: The servers, as they are known now.
        tls: TLS of the connections; None is plain text.
        token: This edge's token. Empty if a certificate identifies it, or nothing does.
        timeout_s: How long a call may wait for its result, in seconds.
        availability: Records whether servers accept calls.
        epochs: Has what servers know of their store.
        on_change: Called when a stream is ready, is ready no more, or can send a message.
        on_waiting: Called with each call that waits for its answer, and is no more among those that run.
        on_result: Ends a call.
    """

    def __init__(
        self,
        addresses: Addresses,
        tls: Tls | None,
        token: FileReloader[str],
        timeout_s: float,
        availability: ServerAvailability,
        epochs: EpochRelay,
        on_change: Callable[[], None],
        on_waiting: Callable[[UnansweredCall], None],
        on_result: OnResult,
    ) -> None:
        if tls is None:
            options = (*_CHANNEL_OPTIONS, *addresses.options)
            self._channel = grpc.aio.insecure_channel(addresses.target, options=options)
        else:
            self._channel = tls.channel(addresses, _CHANNEL_OPTIONS)
        self._edge_service = edge_service_pb2_grpc.EdgeServiceStub(self._channel)
        # The same as the stub's method, without a serializer: the messages are bytes already.
        self._stream_invocations: Any = self._channel.stream_stream(
            f"/{_EDGE_SERVICE}/StreamInvocations",
            response_deserializer=edge_service_pb2.StreamInvocationsResponse.FromString,
        )
        self._token = token
        self._availability = availability
        self._new_stream = partial(
            InvocationStream,
            timeout_s=timeout_s,
            epochs=epochs,
            on_change=on_change,
            on_waiting=on_waiting,
            on_result=on_result,
        )
        self._streams: deque[InvocationStream] = deque()
        """Streams in use, in round-robin order."""
        self._all_streams: set[InvocationStream] = set()
        """Also the streams that only wait for results."""
        self._releases_callers = False
        self._retry_now = asyncio.Event()
        """Set, and replaced by another one, when the next stream may succeed although the last one failed."""
        self._maintenance = [
            asyncio.create_task(self._watch_connectivity()),
            *(asyncio.create_task(self._maintain_stream()) for _ in range(STREAM_COUNT)),
        ]

    @property
    def is_ready(self) -> bool:
        """Whether a server accepts calls."""
        return any(stream.is_ready for stream in self._streams)

    def next_free_stream(self) -> InvocationStream | None:
        """Return the next stream in round-robin order that can send a message now. None if there is none."""
        for _ in range(len(self._streams)):
            self._streams.rotate(-1)
            if self._streams[-1].can_send:
                return self._streams[-1]
        return None

    def replace_streams(self) -> None:
        """Replace all streams, so that servers authenticate this edge again."""
        for stream in self._streams:
            stream.needs_replacement.set()
        self._wake_retries()

    def release_callers(self) -> None:
        """Ask the servers to tell the callers that wait to wait elsewhere, on streams that are opened later too."""
        self._releases_callers = True
        for stream in self._all_streams:
            stream.release_callers()

    def report_gone(self, number: int) -> None:
        """Report over its stream that the caller of a call is gone, if a server has the call."""
        for stream in self._all_streams:
            stream.report_gone(number)

    async def report_caller_gone(self, call_id: str, *, timeout_s: float) -> None:
        """Report to a server that the caller of a call has disconnected.

        Raises:
            AioRpcError: It is unknown whether the server has received the report.
        """
        report = edge_service_pb2.ReportCallerGoneRequest(call_id=call_id)
        await self._edge_service.ReportCallerGone(report, timeout=timeout_s, metadata=self._metadata())

    async def drain(self) -> None:
        """Wait for the results of all sent calls, then close."""
        try:
            await self._stop_maintenance()
            for stream in self._all_streams:
                stream.stop_sending()
            if self._all_streams:
                await asyncio.wait([stream.task for stream in self._all_streams])
        finally:
            await self.close()

    async def close(self) -> None:
        """Close at once."""
        await self._stop_maintenance()
        tasks = [stream.task for stream in self._all_streams]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._channel.close()

    async def _stop_maintenance(self) -> None:
        for task in self._maintenance:
            task.cancel()
        await asyncio.gather(*self._maintenance, return_exceptions=True)

    async def _watch_connectivity(self) -> None:
        # One watcher for all streams: gRPC leaks a watcher that stops waiting for a change.
        while True:
            state = self._channel.get_state(try_to_connect=True)
            if state is grpc.ChannelConnectivity.READY:
                self._wake_retries()
            await self._channel.wait_for_state_change(state)

    def _wake_retries(self) -> None:
        self._retry_now.set()
        self._retry_now = asyncio.Event()

    async def _maintain_stream(self) -> None:
        """Keep one stream in use: open its replacement first, then stop sending on the earlier one."""
        current: InvocationStream | None = None
        pause_s, lifetime_s = FIRST_PAUSE_S, FIRST_LIFETIME_S
        while True:
            retry_now = self._retry_now  # of before: what changes while the stream is opened counts
            stream = self._open_stream()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_READINESS_TIMEOUT_S):
                    await stream.readiness_known.wait()
            if stream.is_ready:
                pause_s = FIRST_PAUSE_S
                if current is not None:
                    self._stop_using(current)
                current = stream
                await self._wait_for_replacement(stream, lifetime_s)
                lifetime_s = min(2 * lifetime_s, STREAM_LIFETIME_S)
                continue
            self._stop_using(stream)
            if not stream.readiness_known.is_set():
                stream.task.cancel()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s * random.uniform(0.5, 1)):  # noqa: S311  # spreads edges
                    await retry_now.wait()
            pause_s = min(2 * pause_s, MAX_PAUSE_S)

    def _open_stream(self) -> InvocationStream:
        stream = self._new_stream(self._stream_invocations(metadata=self._metadata()))
        if self._releases_callers:
            stream.release_callers()
        self._all_streams.add(stream)
        self._streams.append(stream)
        stream.task.add_done_callback(lambda _: self._stream_ended(stream))
        return stream

    async def _wait_for_replacement(self, stream: InvocationStream, lifetime_s: float) -> None:
        self._availability.server_ready()
        timer = asyncio.get_running_loop().call_later(
            lifetime_s * random.uniform(0.5, 1),  # noqa: S311  # spreads streams over servers, and edges
            stream.needs_replacement.set,
        )
        try:
            await stream.needs_replacement.wait()
        finally:
            timer.cancel()

    def _stop_using(self, stream: InvocationStream) -> None:
        stream.stop_sending()
        with contextlib.suppress(ValueError):
            self._streams.remove(stream)

    def _stream_ended(self, stream: InvocationStream) -> None:
        self._all_streams.discard(stream)
        self._stop_using(stream)
        error = None if stream.task.cancelled() else stream.task.exception()
        if isinstance(error, grpc.aio.AioRpcError):
            self._availability.stream_failed(error)
        elif error is not None:
            log.error("stream_failed", exc_info=error)  # the server broke the contract, or the edge has a bug

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        token = self._token.value
        return (("authorization", f"Bearer {token}"),) if token else ()
