"""The server, as the edge sees it: one gRPC channel.

1. An Invoke is sent once. gRPC's retries are off, and nothing here sends one again.
2. It is sent only over a connection that stands. Where there is none, nothing was sent and the caller may try again;
   once it was sent and no answer came, nobody here knows what became of it, and the caller is not told to try again.
3. It belongs to no caller: it goes on to its answer when the caller hangs up.
"""

import asyncio
import math
from types import TracebackType
from typing import Any, Final, Self

import grpc
import grpc.aio
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from callback.v1 import edge_service_pb2, edge_service_pb2_grpc
from callback_edge import status
from callback_process import logs

_log = logs.get_logger()

_CONNECT_WAIT_S: Final = 1.0
"""How long a call waits for a connection: long enough for one that was just lost, short for the caller."""
_UNREACHABLE_RETRY_S: Final = 5
_HEALTH_TIMEOUT_S: Final = 1.0
_ERROR_DOMAIN: Final = "callback"

_CHANNEL_OPTIONS: Final = (
    ("grpc.enable_retries", 0),  # rule 1; also off: the transparent ones
    ("grpc.service_config_disable_resolution", 1),  # nor can DNS turn them on again
    ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),  # over all of a target's addresses
    ("grpc.enable_http_proxy", 0),  # the environment may name one for the web; the server is not out there
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 2000),  # in truth: how long an attempt to connect may take
    ("grpc.max_reconnect_backoff_ms", 2000),
    # A peer that hangs or is unplugged is found within 40 s; without the last one only after a minute more.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.ping_timeout_ms", 10_000),
)


class Upstream:
    """The connection to the server, from `async with` to its end."""

    def __init__(self, target: str, *, invoke_timeout_s: float) -> None:
        self._target = target
        self._invoke_timeout_s = invoke_timeout_s
        self._calls: set[asyncio.Task[edge_service_pb2.InvokeResponse]] = set()

    async def __aenter__(self) -> Self:
        self._channel = grpc.aio.insecure_channel(self._target, options=_CHANNEL_OPTIONS)
        self._edge_service = edge_service_pb2_grpc.EdgeServiceStub(self._channel)
        self._health: Any = health_pb2_grpc.HealthStub(self._channel)
        self._connected = asyncio.Event()
        self._given_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watching.cancel()
        for call in self._calls:
            call.cancel()
        await asyncio.gather(self._watching, *self._calls, return_exceptions=True)
        await self._channel.close()

    async def invoke(self, request: edge_service_pb2.InvokeRequest) -> edge_service_pb2.InvokeResponse:
        """Make the call. Who awaits this may be cancelled; the call is not.

        Raises:
            Refusal: the server refused, could not be reached, or did not answer.
        """
        call = asyncio.create_task(self._invoke(request))
        self._calls.add(call)  # the loop itself holds tasks weakly
        call.add_done_callback(self._ended)
        either: list[asyncio.Future[Any]] = [call, self._given_up]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not call.done():
            raise status.Refusal(status.OUTCOME_UNKNOWN)
        return call.result()

    async def is_serving(self) -> bool:
        """Return whether the server says that it serves: its store answers too."""
        request = health_pb2.HealthCheckRequest(service="")
        try:
            answer = await self._health.Check(request, timeout=_HEALTH_TIMEOUT_S)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    def give_up(self) -> None:
        """Answer, with OUTCOME_UNKNOWN, everyone who waits for a call."""
        if not self._given_up.done():
            self._given_up.set_result(None)

    async def finish(self, timeout_s: float) -> None:
        """Wait for the calls that still run, their callers gone or not, but no longer than this."""
        if self._calls:
            await asyncio.wait(self._calls, timeout=timeout_s)

    async def _invoke(self, request: edge_service_pb2.InvokeRequest) -> edge_service_pb2.InvokeResponse:
        try:
            async with asyncio.timeout(_CONNECT_WAIT_S):
                await self._connected.wait()
        except TimeoutError:
            raise status.Refusal(status.SERVER_UNREACHABLE, retry_after_s=_UNREACHABLE_RETRY_S) from None
        try:
            return await self._edge_service.Invoke(request, timeout=self._invoke_timeout_s)
        except grpc.aio.AioRpcError as error:
            raise refusal_from(error) from error

    def _ended(self, call: asyncio.Task[edge_service_pb2.InvokeResponse]) -> None:
        self._calls.discard(call)
        if not call.cancelled():
            call.exception()  # taken notice of, even where the caller is gone

    async def _watch(self) -> None:
        """Keep a connection, and know whether it stands. One watcher: a caller that stops watching would leak."""
        while True:
            state = self._channel.get_state(try_to_connect=True)
            if state is grpc.ChannelConnectivity.READY:
                self._connected.set()
            else:
                self._connected.clear()
            await self._channel.wait_for_state_change(state)


def refusal_from(error: grpc.aio.AioRpcError) -> status.Refusal:
    """Return what a failed Invoke means to its caller. The server's words stay out of it."""
    reason, call_id, retry_after_s = "", "", None
    try:
        rich = rpc_status.from_call(error)  # type: ignore[arg-type]  # typed for the synchronous API, made for both
    except ValueError:  # details that contradict the status: not from our server
        rich = None
    for detail in rich.details if rich else ():
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        if detail.Unpack(info) and info.domain == _ERROR_DOMAIN:
            reason, call_id = info.reason, info.metadata.get("call_id", "")
        elif detail.Unpack(retry):
            retry_after_s = _whole_seconds(retry.retry_delay)
    if reason:
        problem = status.BY_REASON.get(reason, status.INTERNAL)
        return status.Refusal(problem, retry_after_s=retry_after_s, call_id=call_id)
    _log.warning("invoke failed", grpc_code=error.code().name, grpc_details=error.details())
    lost = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
    return status.Refusal(status.OUTCOME_UNKNOWN if error.code() in lost else status.INTERNAL)


def _whole_seconds(delay: duration_pb2.Duration) -> int:
    return min(max(1, math.ceil(delay.seconds + delay.nanos / 1e9)), 24 * 3600)
