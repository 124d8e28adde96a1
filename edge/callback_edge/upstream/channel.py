"""One gRPC channel to the servers, and the streams over it, all kept.

Each stream is to one server, whichever the channel has in turn. One that ends, or whose server takes no more calls, has
another in its place at once; and each has one after a while, so that calls spread over servers that have come, and
who this edge is is looked at again.
"""

import asyncio
import contextlib
import json
import random
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

import grpc
import grpc.aio

from callback.v1 import edge_service_pb2, edge_service_pb2_grpc
from callback_edge.credentials import Tls
from callback_edge.upstream.stream import Events, Stream
from callback_process import logs

_log = logs.get_logger()

STREAMS: Final = 4
"""How many streams there are: enough for several servers to have one, and few enough for calls to go together."""
_STAY_S: Final = 10.0
"""How long a stream is used, in seconds, more or less."""
_ANSWER_S: Final = 5.0
"""How long a server may take to say whether it takes calls, in seconds."""
_FIRST_PAUSE_S: Final = 0.1
"""How long it takes until another stream is tried, in seconds, after one that failed; then twice as long, and so on."""
_LONGEST_PAUSE_S: Final = 5.0
_EDGE_SERVICE: Final = "callback.v1.EdgeService"
_SERVICE_CONFIG: Final = {
    "loadBalancingConfig": [{"round_robin": {}}],  # over all of a target's addresses
    # Who says that it does not serve gets no stream.
    "healthCheckConfig": {"serviceName": _EDGE_SERVICE},
}
_CHANNEL_OPTIONS: Final = (
    ("grpc.enable_retries", 0),  # a call is sent once; also off: the transparent ones
    ("grpc.service_config_disable_resolution", 1),  # nor can DNS turn them on again
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    ("grpc.enable_http_proxy", 0),  # the environment may name one for the web; the server is not out there
    ("grpc.dns_min_time_between_resolutions_ms", 2000),  # a server that is replaced has another address
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 2000),  # in truth: how long an attempt to connect may take
    ("grpc.max_reconnect_backoff_ms", 500),  # one that restarted is back before the next one drains
    # A peer that hangs or is unplugged is found within 40 s; without the last one only after a minute more.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.ping_timeout_ms", 10_000),
)


class LinkEvents(Events, Protocol):
    """Who is told what happens on a link."""

    def welcomed(self) -> None:
        """A server takes calls from this edge."""

    def failed(self, error: grpc.aio.AioRpcError) -> None:
        """There is no stream, for this reason."""


class Link:
    """A channel with its streams, from its making on a running loop to `close`.

    Args:
        target: the servers, as gRPC names them.
        tls: what to trust and to show; None is plain text.
        token: who is asking, at each moment; empty if a certificate says so, or nobody asks.
        timeout_s: how long a call may wait for its answer, in seconds.
        events: who is told what happens.
    """

    def __init__(
        self, target: str, tls: Tls | None, token: Callable[[], str], timeout_s: float, events: LinkEvents
    ) -> None:
        if tls is None:
            self._channel = grpc.aio.insecure_channel(target, options=_CHANNEL_OPTIONS)
        else:
            self._channel = tls.channel(target, _CHANNEL_OPTIONS)
        self._edge_service = edge_service_pb2_grpc.EdgeServiceStub(self._channel)
        # As the stub has it, but for messages that are bytes already.
        self._carry: Any = self._channel.stream_stream(
            f"/{_EDGE_SERVICE}/StreamInvocations",
            response_deserializer=edge_service_pb2.StreamInvocationsResponse.FromString,
        )
        self._token = token
        self._timeout_s = timeout_s
        self._events = events
        self._streams: deque[Stream] = deque()
        """Those by which calls go, in their turn."""
        self._all: set[Stream] = set()
        """Those too that only answer what they have."""
        self._try_again = asyncio.Event()
        self._keeping = [
            asyncio.create_task(self._watch()),
            *(asyncio.create_task(self._keep()) for _ in range(STREAMS)),
        ]

    @property
    def is_ready(self) -> bool:
        """Whether calls can be sent: there is a server that takes them."""
        return any(stream.is_open for stream in self._streams)

    def free_stream(self) -> Stream | None:
        """Return the stream whose turn it is, if there is one by which calls can be sent now."""
        for _ in range(len(self._streams)):
            self._streams.rotate(-1)
            if self._streams[-1].is_free:
                return self._streams[-1]
        return None

    def renew(self) -> None:
        """Have other streams in place of all there are: who this edge is may have changed."""
        for stream in self._streams:
            stream.over.set()
        self._try_now()

    async def report_caller_gone(self, call_id: str, *, timeout_s: float) -> None:
        """Say of a call that its caller has hung up.

        Raises:
            AioRpcError: it is not known whether that was heard.
        """
        report = edge_service_pb2.ReportCallerGoneRequest(call_id=call_id)
        await self._edge_service.ReportCallerGone(report, timeout=timeout_s, metadata=self._metadata())

    async def retire(self) -> None:
        """Close, once everything that was sent has its answer."""
        try:
            await self._stop_keeping()
            for stream in self._all:
                stream.leave()
            if self._all:
                await asyncio.wait([stream.ended for stream in self._all])
        finally:
            await self.close()

    async def close(self) -> None:
        """Close at once."""
        await self._stop_keeping()
        ended = [stream.ended for stream in self._all]
        for each in ended:
            each.cancel()
        await asyncio.gather(*ended, return_exceptions=True)
        await self._channel.close()

    async def _stop_keeping(self) -> None:
        for task in self._keeping:
            task.cancel()
        await asyncio.gather(*self._keeping, return_exceptions=True)

    async def _watch(self) -> None:
        # One watcher for all who wait: each that gave up waiting for a change would leak.
        while True:
            state = self._channel.get_state(try_to_connect=True)
            if state is grpc.ChannelConnectivity.READY:
                self._try_now()
            await self._channel.wait_for_state_change(state)

    def _try_now(self) -> None:
        self._try_again.set()  # wakes those who wait now
        self._try_again.clear()

    async def _keep(self) -> None:
        """Keep one stream in use: another one whenever that is over, and first that, then away with the one before."""
        former: Stream | None = None
        pause_s = _FIRST_PAUSE_S
        while True:
            stream = self._open()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_ANSWER_S):
                    await stream.settled.wait()
            if stream.is_open:
                pause_s = _FIRST_PAUSE_S
                if former is not None:
                    self._leave(former)
                former = stream
                await self._until_over(stream)
                continue
            self._leave(stream)
            if not stream.settled.is_set():
                stream.ended.cancel()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s * random.uniform(0.5, 1)):  # noqa: S311  # spreads edges
                    await self._try_again.wait()
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _open(self) -> Stream:
        stream = Stream(self._carry(metadata=self._metadata()), self._timeout_s, self._events)
        self._all.add(stream)
        self._streams.append(stream)
        stream.ended.add_done_callback(lambda _: self._gone(stream))
        return stream

    async def _until_over(self, stream: Stream) -> None:
        self._events.welcomed()
        timer = asyncio.get_running_loop().call_later(
            _STAY_S * random.uniform(0.5, 1),  # noqa: S311  # spreads streams over servers, and edges
            stream.over.set,
        )
        try:
            await stream.over.wait()
        finally:
            timer.cancel()

    def _leave(self, stream: Stream) -> None:
        stream.leave()
        with contextlib.suppress(ValueError):
            self._streams.remove(stream)

    def _gone(self, stream: Stream) -> None:
        self._all.discard(stream)
        self._leave(stream)
        error = None if stream.ended.cancelled() else stream.ended.exception()
        if isinstance(error, grpc.aio.AioRpcError):
            self._events.failed(error)
        elif error is not None:
            _log.error("a server broke the contract", exc_info=error)

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        token = self._token()
        return (("authorization", f"Bearer {token}"),) if token else ()
