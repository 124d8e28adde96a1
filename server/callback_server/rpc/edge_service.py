"""The servicer of `EdgeService`: HTTP requests come in, and the responses to render go out."""

from __future__ import annotations

import asyncio
import functools
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from typing import Final, TypeAlias

from google.rpc import status_pb2

from callback.v1 import edge_service_pb2 as edge_pb2
from callback.v1 import edge_service_pb2_grpc as edge_grpc
from callback_server import metrics
from callback_server.access.authenticator import Authenticator
from callback_server.access.roles import Principal, Role
from callback_server.calls.active_call import ActiveCall, CallAnswer
from callback_server.calls.invoke import CallInvoker
from callback_server.calls.marks import CallerMarks
from callback_server.contract.conversion import content, from_message, to_message
from callback_server.domain.call import Request
from callback_server.domain.case import Settings
from callback_server.errors import CallbackError, RevokedError
from callback_server.limits.large_turns import LARGE_BYTES, LargeReader, LargeTurn, LargeTurns
from callback_server.rpc.grpc_aio.stream_reading import StreamReading
from callback_server.rpc.method import Authenticate, error_status, require_valid, rpc, rpc_stream
from callback_server.store.epochs.exchange import EpochExchange

_MAX_BATCH_RESULTS: Final = 64
"""The maximum number of results in one message."""
_MAX_BATCH_BYTES: Final = 256 * 1024
"""The maximum size of the bodies in one message, in bytes. A larger body is sent alone."""
MAX_UNSENT_BYTES: Final = 16 * 1024 * 1024
"""How many bytes of bodies may wait for an edge that does not read. Beyond it, the server does not read from it."""
CHECK_S: Final = 1.0
"""How often the server checks whether the credential of a connected edge is revoked, in seconds."""

_Answer: TypeAlias = asyncio.Future[CallAnswer] | asyncio.Future[Settings] | asyncio.Future[None]
_Outcome: TypeAlias = CallAnswer | Settings | status_pb2.Status | None

_observe_call = metrics.REQUEST_SECONDS.labels(metrics.INVOKE_METHOD).observe
_observe_look_up = metrics.LOOK_UP_SECONDS.observe


class EdgeServicer(edge_grpc.EdgeServiceServicer):
    """Passes the requests of edges to the call path."""

    def __init__(
        self, invoker: CallInvoker, marks: CallerMarks, authenticator: Authenticator, epochs: EpochExchange
    ) -> None:
        self.authenticator = authenticator
        self._invoker = invoker
        self._marks = marks
        self._epochs = epochs
        self._is_ready = True
        self._streams: set[_InvocationStream] = set()
        self._reading = StreamReading()
        self._large_turns = LargeTurns()

    def set_ready(self, is_ready: bool) -> None:
        """Tell edges whether to send calls here. Calls that come nevertheless are run as long as that is possible."""
        self._is_ready = is_ready
        if not is_ready:
            for stream in self._streams:
                stream.set_not_ready()

    @rpc_stream(Role.EDGE)
    async def StreamInvocations(
        self, requests: AsyncIterator[edge_pb2.StreamInvocationsRequest], authenticate: Authenticate
    ) -> AsyncGenerator[edge_pb2.StreamInvocationsResponse, None]:
        """Run the calls that an edge sends. They run to their recorded end even if this RPC is cancelled."""
        stream = _InvocationStream(
            self._invoker, authenticate, self._epochs, self._large_turns, is_ready=self._is_ready
        )
        reading = self._reading.start(stream.read(requests))
        checking = asyncio.create_task(stream.check())
        self._streams.add(stream)
        try:
            with self._epochs.listening(stream.send_epochs):
                async for response in stream.responses():
                    yield response
            if stream.revoked is not None:
                raise stream.revoked
            reading.result()
        finally:
            checking.cancel()
            self._streams.discard(stream)
            stream.close()

    @rpc(Role.EDGE)
    async def ReportCallerGone(
        self, request: edge_pb2.ReportCallerGoneRequest, _caller: Principal
    ) -> edge_pb2.ReportCallerGoneResponse:
        """Record that a caller did not get the result of its call."""
        await self._marks.mark_caller_gone(request.call_id)
        return edge_pb2.ReportCallerGoneResponse()


class _InvocationStream:
    """The calls of one stream and their results. All results that are ready at one time are sent in one message.

    A call whose result does not reach the edge has lost its caller: the edge answers it with an error, or is gone.

    If the edge loses its role, its new calls are refused, and the calls that run get their results. If its credential
    is revoked, the stream ends at once.
    """

    def __init__(
        self,
        invoker: CallInvoker,
        authenticate: Authenticate,
        epochs: EpochExchange,
        large_turns: LargeTurns,
        *,
        is_ready: bool,
    ) -> None:
        self._invoker = invoker
        self._reader = LargeReader(large_turns)
        self._epochs = epochs
        self._must_send_epochs = True
        self._authenticate = authenticate
        self._is_ready = is_ready
        self._unsent_readiness = edge_pb2.READINESS_READY if is_ready else edge_pb2.READINESS_NOT_READY
        self._calls: dict[int, ActiveCall | None] = {}
        """The calls whose results were not sent, by number. None: a look-up, or a call that was not started."""
        self._unsent: deque[tuple[int, _Outcome]] = deque()
        """The results to send, with the numbers of their calls. None: send the body."""
        self._unsent_bytes = 0
        self._unsent_waiting: list[int] = []
        """The calls that wait for their answers since the last message."""
        self.revoked: RevokedError | None = None
        """Why the server ends the stream."""
        self._is_read = False
        """Whether the edge has closed its side."""
        self._is_closed = False
        self._changed = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()

    def set_not_ready(self) -> None:
        """Tell the edge to use another server; once."""
        if self._is_ready:
            self._is_ready = False
            self._unsent_readiness = edge_pb2.READINESS_NOT_READY
            self._changed.set()

    def send_epochs(self) -> None:
        """Send what this server knows of the store's epochs."""
        self._must_send_epochs = True
        self._changed.set()

    def close(self) -> None:
        """Drop all results: the edge has disconnected, or has all of them."""
        self._is_closed = True
        for call in self._calls.values():
            if call is not None:
                self._invoker.caller_gone(call)
                if call.answer.done():  # the others run, and keep their turns, or wait for them, until they have theirs
                    _free_turn(call)
        self._reader.end()
        self._unsent.clear()
        self._has_room.set()

    async def read(self, requests: AsyncIterator[edge_pb2.StreamInvocationsRequest]) -> None:
        """Start the calls that come, until the edge closes its side."""
        try:
            async for message in requests:
                self._epochs.receive(message.store_epochs)
                self._start(message.invocations)
                for number in message.gone_numbers:
                    if (call := self._calls.get(number)) is not None:
                        self._invoker.caller_gone(call)
                if message.release_callers:
                    for call in self._calls.values():
                        if call is not None:
                            call.release()
                del message  # it has the bodies, and the next one may take long
                await self._has_room.wait()
        finally:
            self._is_read = True
            self._changed.set()

    async def check(self) -> None:
        """End the stream when the credential of the edge is revoked, until cancelled."""
        while self.revoked is None:
            await asyncio.sleep(CHECK_S)
            try:
                self._authenticate()
            except RevokedError as error:
                self.revoked = error
                self._changed.set()
            except CallbackError:
                continue  # its next calls are refused

    async def responses(self) -> AsyncIterator[edge_pb2.StreamInvocationsResponse]:
        """Yield the messages to the edge, until all its calls have their results, or it is revoked."""
        while self.revoked is None and (self._unsent_readiness or self._unsent or self._calls or not self._is_read):
            if self._unsent_readiness or self._unsent or self._unsent_waiting or self._must_send_epochs:
                message = self._next_batch()
                self._reader.begin()
                yield message
                self._reader.end()
                for result in message.results:
                    _free_turn(self._calls.pop(result.number, None))
                del message
            else:
                self._changed.clear()
                await self._changed.wait()

    def _start(self, invocations: Iterable[edge_pb2.Invocation]) -> None:
        began = time.perf_counter()
        refusal = self._refusal()  # once for the whole batch
        for invocation in invocations:
            is_look_up = invocation.look_up or invocation.HasField("origins")
            observe = _observe_look_up if is_look_up else _observe_call
            self._calls[invocation.number] = None
            try:
                if refusal is not None:
                    raise refusal
                answer = self._invoke(invocation)
            except Exception as error:
                observe(time.perf_counter() - began)
                self._add_result(invocation.number, error_status(error, metrics.INVOKE_METHOD))
            else:
                answer.add_done_callback(functools.partial(self._on_answer, invocation.number, observe, began))

    def _refusal(self) -> CallbackError | None:
        """Return why this edge may send no calls now. None: it may."""
        try:
            self._authenticate()
        except CallbackError as error:
            self.set_not_ready()
            return error
        return None

    def _invoke(self, invocation: edge_pb2.Invocation) -> _Answer:
        if invocation.HasField("origins"):
            return self._read_origins(invocation.origins)
        if invocation.HasField("wait"):
            require_valid(invocation.wait)
            wait = invocation.wait
            call = self._invoker.wait(wait.call_id, wait.token, without_answer=wait.without_answer)
            call.turn = LargeTurn(self._reader)
            self._calls[invocation.number] = call
            return call.answer
        if invocation.HasField("event"):
            event = invocation.event
            require_valid(event)
            request = event.request
            call = self._invoker.invoke_event(
                event.endpoint, event.path, from_message(Request, request), prefers_page=request.prefers_page
            )
        else:
            request = invocation.request
            require_valid(request)
            arguments = request.state, request.state_query_parameter, from_message(Request, request)
            if invocation.look_up:
                return self._invoker.look_up(*arguments)
            call = self._invoker.invoke(*arguments, prefers_page=request.prefers_page)
        self._calls[invocation.number] = call
        call.turn = LargeTurn(self._reader)
        call.on_waiting = functools.partial(self._on_waiting, invocation.number)
        return call.answer

    def _read_origins(self, request: edge_pb2.OriginsRequest) -> asyncio.Future[Settings]:
        require_valid(request)
        if request.HasField("wait"):
            return self._invoker.settings_of_wait(request.wait.call_id, request.wait.token)
        return self._invoker.settings(request.state, request.state_query_parameter)

    def _on_waiting(self, number: int) -> None:
        self._unsent_waiting.append(number)
        self._changed.set()

    def _on_answer(
        self,
        number: int,
        observe: Callable[[float], None],
        began: float,
        answer: _Answer,
    ) -> None:
        if not answer.cancelled():  # cancelled: the process ends, and its streams with it
            observe(time.perf_counter() - began)
            error = answer.exception()
            result = answer.result() if error is None else error_status(error, metrics.INVOKE_METHOD)
            if self._is_closed or _body_size(result) <= LARGE_BYTES:  # a large one has its turn until it was sent
                _free_turn(self._calls.get(number))
            self._add_result(number, result)

    def _add_result(self, number: int, outcome: _Outcome) -> None:
        if self._is_closed:
            return
        self._unsent.append((number, outcome))
        self._changed.set()
        self._unsent_bytes += _body_size(outcome)
        if self._unsent_bytes > MAX_UNSENT_BYTES:
            self._has_room.clear()

    def _next_batch(self) -> edge_pb2.StreamInvocationsResponse:
        """Return a message with as many results as fit: one gRPC message costs more than all that is in it."""
        message = edge_pb2.StreamInvocationsResponse(
            readiness=self._unsent_readiness, waiting_numbers=self._unsent_waiting
        )
        self._unsent_readiness = edge_pb2.READINESS_UNSPECIFIED
        self._unsent_waiting.clear()
        if self._must_send_epochs:
            self._must_send_epochs = False
            message.store_epochs = self._epochs.message()
        left = _MAX_BATCH_BYTES
        while self._unsent and len(message.results) < _MAX_BATCH_RESULTS:
            number, outcome = self._unsent[0]
            size = _body_size(outcome)
            if size > left and message.results:
                break
            left -= size
            self._unsent.popleft()
            self._unsent_bytes -= size
            call = self._calls.get(number)
            response = None
            if isinstance(outcome, CallAnswer):
                answer = None if outcome.wait_path else outcome.response
                response = content(edge_pb2.InvokeResponse, outcome, response=answer)
            result = message.results.add(
                number=number, caller_gone=call is not None and call.is_caller_gone, response=response
            )
            if call is not None and call.creator_traceparent:
                result.creator_traceparent = call.creator_traceparent
            if outcome is None:
                result.send_body.SetInParent()
            elif isinstance(outcome, Settings):
                result.origins.CopyFrom(to_message(edge_pb2.CaseOrigins, outcome))
            elif isinstance(outcome, status_pb2.Status):
                result.status.CopyFrom(outcome)
        if self._unsent_bytes <= MAX_UNSENT_BYTES:
            self._has_room.set()
        return message


def _free_turn(call: ActiveCall | None) -> None:
    if call is not None and call.turn is not None:
        call.turn.free()


def _body_size(outcome: _Outcome) -> int:
    return len(outcome.response.body or b"") if isinstance(outcome, CallAnswer) else 0
