"""Requests of the API, sent to the server by gRPC with the bearer token of the request, and nothing else of it."""

import asyncio
import hashlib
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final, TypeVar

import grpc
import grpc.aio
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from connectrpc.interceptor import MetadataInterceptor
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.request import RequestContext
from connectrpc.server import Endpoint
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from callback import Tls
from callback.connection._cancellation import is_being_cancelled
from callback.connection._channel_options import CHANNEL_OPTIONS
from callback.connection._tls import TlsFiles, open_channel
from callback.v1 import audit_service_pb2, callbacks_service_pb2, operations_service_pb2, profiles_service_pb2
from callback.v1.callbacks_service_pb2_grpc import CallbacksServiceStub
from callback_api.codecs import Received
from callback_api.converter import Converter
from callback_api.errors import as_connect_errors, refusal
from callback_shared.addresses import Addresses

_FILES: Final = (callbacks_service_pb2, operations_service_pb2, audit_service_pb2, profiles_service_pb2)
"""The services that the API serves, as modules."""
RPCS: Final[Mapping[str, MethodDescriptor]] = {
    f"/{service.full_name}/{method.name}": method
    for file in _FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
"""RPCs by path."""
MAX_WATCHES: Final = 64
"""Maximum number of open watches of all callers. The server has limits of its own, also for each principal."""
_BEARER: Final = re.compile(r"(?i:bearer) +[!-~]{1,4096}")
PROBE_TIMEOUT_S: Final = 10.0
MAX_PROBES: Final = 8
"""About how many unknown tokens the server is asked at once. The requests of others wait."""
MAX_WAITING_PROBES: Final = 256
"""How many of these wait. A further one is refused."""
INLINE_BYTES: Final = 16 * 1024
"""Largest message that is converted on the event loop, in bytes. A larger one goes to another thread."""
KNOWN_S: Final = 60.0
"""How long the server is trusted to have principals, or to know a token, without asking again, in seconds."""
MAX_KNOWN: Final = 1024
"""Maximum number of tokens that are remembered as known."""

_Context = RequestContext[Any, Any]
_Metadata = tuple[tuple[str, str], ...]
_T = TypeVar("_T")


class Forwarding(MetadataInterceptor[None]):
    """The RPCs of the server, as endpoints of connectrpc.

    Args:
        target: Target of the server.
        tls: TLS to the server. None: plain text.
        is_local: Whether only programs on this machine can use it. Otherwise the server has to have principals.
    """

    def __init__(self, target: str, tls: Tls | None, *, is_local: bool) -> None:
        self._addresses = Addresses(target)
        self._tls = None if tls is None else TlsFiles(tls)
        self._is_local = is_local
        self._channel: grpc.aio.Channel | None = None
        self._watches: set[grpc.aio.UnaryStreamCall[Any, Any]] = set()
        self._is_stopping = False
        self._has_principals_until = 0.0
        self._known_until: dict[bytes, float] = {}
        """Until when a token counts as known, by its SHA-256. The oldest is first."""
        self._probes = asyncio.Semaphore(MAX_PROBES)
        self._waiting_probes = 0
        self._converter = Converter()

    def endpoints(self) -> Mapping[str, Any]:
        """Return the endpoint of each RPC, by path."""
        return {path: self._endpoint(method) for path, method in RPCS.items()}

    async def on_start(self, context: _Context) -> None:
        """Authenticate a request. connectrpc calls this before it reads anything of the message.

        So a caller without a token cannot make the console wait for a message, decompress it or parse it.
        """
        with as_connect_errors():
            metadata = _metadata(context)
            if not self._addresses.is_known:
                await self._addresses.look_up_within(PROBE_TIMEOUT_S)
            stub = CallbacksServiceStub(self._connection())
            if not self._is_local and time.monotonic() >= self._has_principals_until:
                await self._require_principals(stub)
            token = hashlib.sha256(repr(metadata).encode()).digest()
            if time.monotonic() >= self._known_until.get(token, 0.0):
                was_known = self._known_until.pop(token, None) is not None
                await self._require_known(stub, metadata, at_once=was_known)
                self._known_until.pop(token, None)
                if len(self._known_until) >= MAX_KNOWN:
                    del self._known_until[next(iter(self._known_until))]
                self._known_until[token] = time.monotonic() + KNOWN_S

    def end_watches(self) -> None:
        """End all watches. Their callers are told to watch again."""
        self._is_stopping = True
        for watch in self._watches:
            watch.cancel()

    async def close(self) -> None:
        """Close the connection to the server."""
        self._converter.close()
        if self._channel is not None:
            await self._channel.close()

    def _endpoint(self, method: MethodDescriptor) -> Any:
        info = MethodInfo(
            name=method.name,
            service_name=method.containing_service.full_name,
            input=message_factory.GetMessageClass(method.input_type),
            output=message_factory.GetMessageClass(method.output_type),
            idempotency_level=IdempotencyLevel.UNKNOWN,  # so there is no GET
            stream_type=StreamType.SERVER_STREAM if method.server_streaming else StreamType.UNARY,
        )
        if method.server_streaming:
            return Endpoint.server_stream(info, self._stream)
        return Endpoint.unary(info, self._send)

    async def _send(self, received: Received, context: _Context) -> bytes:
        """Send a request, and return the response."""
        with as_connect_errors():
            request = await self._convert(received.message, received.max_size, context)
        with as_connect_errors(lambda status: received.format.refused(request, status)):
            rpc = self._rpc(context)
            response: Message = await rpc(request, timeout=_seconds_left(context), metadata=_metadata(context))
            return await self._convert(lambda: received.format.format(request, response), response.ByteSize(), context)

    async def _convert(self, convert: Callable[[], _T], size: int, context: _Context) -> _T:
        """Return what `convert` returns for a message of a size in bytes."""
        if size <= INLINE_BYTES:
            return convert()
        return await self._converter.run(_metadata(context), convert)

    async def _stream(self, received: Received, context: _Context) -> AsyncIterator[bytes]:
        """Send a request, and yield the responses."""
        with as_connect_errors():
            request = await self._convert(received.message, received.max_size, context)
        with as_connect_errors(lambda status: received.format.refused(request, status)):
            if self._is_stopping:
                raise _stopping()
            if len(self._watches) >= MAX_WATCHES:
                message = f"this console has {MAX_WATCHES} watchers, its maximum"
                raise refusal(Code.RESOURCE_EXHAUSTED, message, "TOO_MANY_WATCHERS")
            rpc = self._rpc(context)
            call = rpc(request, timeout=_seconds_left(context), metadata=_metadata(context))
            self._watches.add(call)
            try:
                async for response in call:
                    yield received.format.format(request, response)
            except asyncio.CancelledError as error:
                if is_being_cancelled():  # the caller has gone, or its time is over
                    raise
                raise _stopping() from error
            finally:
                self._watches.discard(call)
                call.cancel()

    def _rpc(self, context: _Context) -> Any:
        """Return the RPC of a request."""
        method, channel = context.method, self._connection()
        is_stream = method.stream_type is StreamType.SERVER_STREAM
        return (channel.unary_stream if is_stream else channel.unary_unary)(
            f"/{method.service_name}/{method.name}",
            request_serializer=method.input.SerializeToString,
            response_deserializer=method.output.FromString,
        )

    async def _require_principals(self, stub: Any) -> None:
        """Raise an error if the server accepts requests without a token: other machines can use this console."""
        try:
            await _probe(stub, ())
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAUTHENTICATED:
                raise
            self._has_principals_until = time.monotonic() + KNOWN_S
            return
        raise ConnectError(
            Code.FAILED_PRECONDITION,
            "the server has no principals, so only programs on the machine of the console may use it",
        )

    async def _require_known(self, stub: Any, metadata: _Metadata, *, at_once: bool) -> None:
        """Raise the error of the server if it does not accept the token of a request.

        What it is asked for needs no role that an RPC of the API does not need.

        Args:
            stub: The stub.
            metadata: The token.
            at_once: Whether callers with other tokens, which the server may not know, do not make this one wait.
        """
        if at_once:
            await _probe(stub, metadata)
            return
        if self._waiting_probes >= MAX_WAITING_PROBES:
            raise ConnectError(Code.UNAVAILABLE, "too many callers with a new token: try again")
        self._waiting_probes += 1
        try:
            async with self._probes:
                await _probe(stub, metadata)
        finally:
            self._waiting_probes -= 1

    def _connection(self) -> grpc.aio.Channel:
        """Return the channel. The first request opens it; changed addresses, and changed files of TLS, replace it."""
        has_changed = self._addresses.refresh()
        has_changed |= self._tls is not None and self._tls.reload_if_changed()
        if self._channel is None or has_changed:
            self._channel = open_channel(grpc.aio, self._addresses, self._tls, CHANNEL_OPTIONS)
        return self._channel


def _stopping() -> ConnectError:
    return refusal(Code.UNAVAILABLE, "the console stops: watch again with the last resume token", "SERVER_STOPPING")


def _seconds_left(context: _Context) -> float | None:
    return None if context.timeout_ms is None else max(context.timeout_ms, 0) / 1000


async def _probe(stub: Any, metadata: _Metadata) -> None:
    """Send a small request, to see whether the server accepts it."""
    request = callbacks_service_pb2.ListCallbacksRequest(page_size=1)
    await stub.ListCallbacks(request, timeout=PROBE_TIMEOUT_S, metadata=metadata)


def _metadata(context: _Context) -> _Metadata:
    """Return the bearer token as metadata, which are the same however the header is written."""
    given = context.request_headers.getall("authorization")
    if len(given) > 1 or not all(_BEARER.fullmatch(each) for each in given):
        raise refusal(Code.UNAUTHENTICATED, "authorization must be: Bearer TOKEN", "UNAUTHENTICATED")
    return tuple(("authorization", f"Bearer {each.rpartition(' ')[2]}") for each in given)
