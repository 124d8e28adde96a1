"""`EdgeService`: HTTP requests in, what to answer out."""

from __future__ import annotations

import asyncio
import functools
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import Final

from google.rpc import status_pb2

from callback.v1 import edge_service_pb2 as edge_pb2
from callback.v1 import edge_service_pb2_grpc as edge_grpc
from callback_server import metrics
from callback_server.access.authenticator import Authenticator
from callback_server.access.roles import Principal, Role
from callback_server.calls.invoke import Answer, Calls
from callback_server.contract import converters
from callback_server.errors import CallbackError
from callback_server.rpc.method import Caller, refused, require_valid, rpc, rpc_duplex

_INVOKE: Final = "Invoke"
"""What figures and logs call one call of a stream."""
_MOST_ANSWERS: Final = 64
"""How many go in one message."""
_MOST_BYTES: Final = 256 * 1024
"""How much of bodies goes in one message; a larger one goes alone."""
_MOST_UNSENT_BYTES: Final = 16 * 1024 * 1024
"""How much of bodies may wait for an edge that does not read; it is not read from meanwhile."""

_invoke_seconds = metrics.REQUEST_SECONDS.labels(_INVOKE)


class EdgeServicer(edge_grpc.EdgeServiceServicer):
    """Hands requests of the edge to the call's path."""

    def __init__(self, calls: Calls, access: Authenticator) -> None:
        self.access = access
        self._calls = calls
        self._takes_calls = True
        self._streams: set[_Stream] = set()
        self._reading: set[asyncio.Task[None]] = set()

    def take_calls(self, whether: bool) -> None:
        """Has edges send their calls here, or elsewhere. What comes nevertheless is called as long as that can be."""
        self._takes_calls = whether
        if not whether:
            for stream in self._streams:
                stream.close_intake()

    @rpc_duplex(Role.EDGE)
    async def Carry(  # noqa: N802  # gRPC's name
        self, requests: AsyncIterator[edge_pb2.CarryRequest], caller: Caller
    ) -> AsyncGenerator[edge_pb2.CarryResponse, None]:
        """Makes the calls that an edge sends. They run to their recorded end even if this RPC is cancelled."""
        stream = _Stream(self._calls, caller, is_open=self._takes_calls)
        # It is left to end by itself, with the stream: a read that is cancelled takes the stream with it.
        reading = asyncio.create_task(stream.read(requests))
        self._reading.add(reading)
        reading.add_done_callback(self._read_to_its_end)
        self._streams.add(stream)
        try:
            async for message in stream.messages():
                yield message
            reading.result()
        finally:
            self._streams.discard(stream)
            stream.end()

    def _read_to_its_end(self, reading: asyncio.Task[None]) -> None:
        self._reading.discard(reading)
        if not reading.cancelled():
            reading.exception()  # told to the edge, if it is still there

    @rpc(Role.EDGE)
    async def ReportCallerGone(  # noqa: N802  # gRPC's name
        self, request: edge_pb2.ReportCallerGoneRequest, _caller: Principal
    ) -> edge_pb2.ReportCallerGoneResponse:
        """Records that a caller has hung up."""
        require_valid(request)
        await self._calls.caller_gone(request.call_id)
        return edge_pb2.ReportCallerGoneResponse()


class _Stream:
    """The calls of one stream, and their answers: all that are there at one time go together.

    Whoever may no longer send calls has each refused, and what it had before answered.
    """

    def __init__(self, calls: Calls, caller: Caller, *, is_open: bool) -> None:
        self._calls = calls
        self._caller = caller
        self._intake = edge_pb2.INTAKE_OPEN if is_open else edge_pb2.INTAKE_CLOSED
        """What is yet to be said of it."""
        self._is_open = is_open
        self._running = 0
        self._answers: deque[tuple[int, Answer | status_pb2.Status]] = deque()
        """What is yet to be sent, by the calls' numbers."""
        self._unsent_bytes = 0
        self._is_read = False
        """No more calls come."""
        self._is_over = False
        self._changed = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()

    def close_intake(self) -> None:
        """Tells the edge to go elsewhere; once."""
        if self._is_open:
            self._is_open = False
            self._intake = edge_pb2.INTAKE_CLOSED
            self._changed.set()

    def end(self) -> None:
        """Lets go of the calls: nobody is there for their answers."""
        self._is_over = True
        self._answers.clear()
        self._has_room.set()

    async def read(self, requests: AsyncIterator[edge_pb2.CarryRequest]) -> None:
        """Makes the calls that come, until no more do."""
        try:
            async for message in requests:
                self._begin(message.invocations)
                await self._has_room.wait()
        finally:
            self._is_read = True
            self._changed.set()

    async def messages(self) -> AsyncIterator[edge_pb2.CarryResponse]:
        """What is said to the edge, until all that it sent is answered."""
        while self._intake or self._answers or self._running or not self._is_read:
            if self._intake or self._answers:
                yield self._message()
            else:
                self._changed.clear()
                await self._changed.wait()

    def _begin(self, invocations: Iterable[edge_pb2.Invocation]) -> None:
        began = time.perf_counter()
        refusal = self._refusal()
        for each in invocations:
            self._running += 1
            try:
                if refusal is not None:
                    raise refusal
                answer = self._invoke(each.request)
            except Exception as error:
                self._ended(each.number, began, refused(error, _INVOKE))
            else:
                answer.add_done_callback(functools.partial(self._answered, each.number, began))

    def _refusal(self) -> CallbackError | None:
        """Why this edge may send no calls now. None: it may."""
        try:
            self._caller()
        except CallbackError as error:
            self.close_intake()
            return error
        return None

    def _invoke(self, request: edge_pb2.InvokeRequest) -> asyncio.Future[Answer]:
        require_valid(request)
        return self._calls.invoke(request.state, request.state_query_parameter, converters.request_from(request))

    def _answered(self, number: int, began: float, answer: asyncio.Future[Answer]) -> None:
        if not answer.cancelled():  # else the process ends, and its streams with it
            error = answer.exception()
            self._ended(number, began, answer.result() if error is None else refused(error, _INVOKE))

    def _ended(self, number: int, began: float, outcome: Answer | status_pb2.Status) -> None:
        _invoke_seconds.observe(time.perf_counter() - began)
        self._running -= 1
        if self._is_over:
            return
        self._answers.append((number, outcome))
        self._changed.set()
        self._unsent_bytes += _size(outcome)
        if self._unsent_bytes > _MOST_UNSENT_BYTES:
            self._has_room.clear()

    def _message(self) -> edge_pb2.CarryResponse:
        """As much of what is to be said as goes in one message."""
        message = edge_pb2.CarryResponse(intake=self._intake)
        self._intake = edge_pb2.INTAKE_UNSPECIFIED
        left = _MOST_BYTES
        while self._answers and len(message.answers) < _MOST_ANSWERS:
            number, outcome = self._answers[0]
            size = _size(outcome)
            if size > left and message.answers:
                break
            left -= size
            self._answers.popleft()
            self._unsent_bytes -= size
            answer = message.answers.add(number=number)
            if isinstance(outcome, Answer):
                answer.response.call_id = outcome.call_id
                answer.response.response.CopyFrom(converters.response_to(outcome.response))
            else:
                answer.status.CopyFrom(outcome)
        if self._unsent_bytes <= _MOST_UNSENT_BYTES:
            self._has_room.set()
        return message


def _size(outcome: Answer | status_pb2.Status) -> int:
    return len(outcome.response.body or b"") if isinstance(outcome, Answer) else 0
