"""One gRPC channel to the servers, kept connected."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Final

import grpc
import grpc.aio

from callback.v1 import edge_service_pb2, edge_service_pb2_grpc
from callback_edge.credentials import Tls

_SEND_S: Final = 3.0
"""How long a call waits to be sent, where the connection went in that moment: until there is another, or not at all."""
_EDGE_SERVICE: Final = "callback.v1.EdgeService"
_SERVICE_CONFIG: Final = {
    "loadBalancingConfig": [{"round_robin": {}}],  # over all of a target's addresses
    # Who says that it does not serve is sent no more, and answers what it has.
    "healthCheckConfig": {"serviceName": _EDGE_SERVICE},
}
_CHANNEL_OPTIONS: Final = (
    ("grpc.enable_retries", 0),  # an Invoke is sent once; also off: the transparent ones
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


class NotSentError(Exception):
    """Nothing was sent: no server has seen any of the call, and none will."""


class Link:
    """A channel, from its making on a running loop to `close`.

    Args:
        target: the servers, as gRPC names them.
        tls: what to trust and to show; None is plain text.
        on_change: called whenever the connection came, went, or failed to come.
    """

    def __init__(self, target: str, tls: Tls | None, on_change: Callable[[], None]) -> None:
        if tls is None:
            self._channel = grpc.aio.insecure_channel(target, options=_CHANNEL_OPTIONS)
        else:
            self._channel = tls.channel(target, _CHANNEL_OPTIONS)
        self._edge_service = edge_service_pb2_grpc.EdgeServiceStub(self._channel)
        # The same method, and the same on the wire; but this one tells when it may be sent.
        self._invoke = self._channel.stream_unary(
            f"/{_EDGE_SERVICE}/Invoke",
            request_serializer=edge_service_pb2.InvokeRequest.SerializeToString,
            response_deserializer=edge_service_pb2.InvokeResponse.FromString,
        )
        self._on_change = on_change
        self._open = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._watching = asyncio.create_task(self._watch())

    @property
    def is_ready(self) -> bool:
        """Whether a connection stands, to a server that serves."""
        return self._channel.get_state() is grpc.ChannelConnectivity.READY

    async def invoke(
        self, request: edge_service_pb2.InvokeRequest, *, token: str, timeout_s: float
    ) -> edge_service_pb2.InvokeResponse:
        """Send an Invoke, and return its answer.

        Args:
            request: what to send.
            token: who is asking; empty if a certificate says so, or nobody asks.
            timeout_s: how long to wait for the answer, in seconds.

        Raises:
            NotSentError: there was no connection to send it over, for a few seconds.
            AioRpcError: there was no answer.
        """
        call = self._invoke(timeout=timeout_s, metadata=_metadata(token), wait_for_ready=True)
        self._open += 1
        self._is_idle.clear()
        try:
            await _connected(call)
            # Where the connection goes meanwhile, gRPC says INTERNAL of the writing, and of the call what became of it.
            with contextlib.suppress(grpc.aio.AioRpcError, grpc.aio.InternalError):
                await call.write(request)
                await call.done_writing()
            return await call
        finally:
            call.cancel()  # nothing, once it has ended
            self._open -= 1
            if not self._open:
                self._is_idle.set()

    async def introduce(self, *, token: str, timeout_s: float) -> None:
        """Send an Invoke of nothing: what it is refused for tells whether an Invoke of something would be.

        Raises:
            AioRpcError: in any case.
        """
        nothing = edge_service_pb2.InvokeRequest()
        await self._edge_service.Invoke(nothing, timeout=timeout_s, metadata=_metadata(token))

    async def report_caller_gone(self, call_id: str, *, token: str, timeout_s: float) -> None:
        """Say of a call that its caller has hung up.

        Raises:
            AioRpcError: it is not known whether that was heard.
        """
        report = edge_service_pb2.ReportCallerGoneRequest(call_id=call_id)
        await self._edge_service.ReportCallerGone(report, timeout=timeout_s, metadata=_metadata(token))

    async def retire(self) -> None:
        """Close, once everything that was sent has its answer."""
        try:
            await self._is_idle.wait()
        finally:
            await self.close()

    async def close(self) -> None:
        """Close at once."""
        self._watching.cancel()
        await asyncio.gather(self._watching, return_exceptions=True)
        await self._channel.close()

    async def _watch(self) -> None:
        # One watcher for all who wait: each that gave up waiting for a change would leak.
        while True:
            await self._channel.wait_for_state_change(self._channel.get_state(try_to_connect=True))
            self._on_change()


def _metadata(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),) if token else ()


async def _connected(call: grpc.aio.Call) -> None:
    """Wait until the call has a connection. Before, nothing of its request is sent, whatever becomes of it."""
    try:
        async with asyncio.timeout(_SEND_S):
            await call.wait_for_connection()
    except TimeoutError:
        raise NotSentError from None
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            raise NotSentError from error
        raise
