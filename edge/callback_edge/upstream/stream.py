"""gRPC stream to one server: sends calls and receives results.

1. The edge sends no call before the server is ready, and none after the server is not ready or has refused this edge.
2. One message is being written at a time. Calls that arrive meanwhile are batched in the next one.
3. The server learns at once that the caller of a call is gone. It learns it also from a stream that breaks.
4. The server may have run a call that was sent, whatever happens to the stream. If the stream ends without the call's
   result, the outcome is unknown.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from typing import Any

import grpc
import grpc.aio

from callback.v1 import edge_service_pb2
from callback_edge.upstream.epoch_relay import EpochRelay
from callback_edge.upstream.status import REFUSAL_CODES
from callback_edge.upstream.unanswered import UnansweredCall, UnansweredCalls

OnResult = Callable[[UnansweredCall, edge_service_pb2.InvocationResult | None], None]
"""Called with each call that was sent, and its result. None: it will have no result."""


class InvocationStream:
    """Stream of calls to one server, from its creation on a running loop to its end.

    Args:
        rpc: The gRPC stream, for requests that are serialized already.
        timeout_s: How long a call may wait for its result, in seconds.
        epochs: Has what servers know of their store.
        on_change: Called when the stream is ready, is ready no more, or can send a message.
        on_waiting: Called with each call that waits for its answer, and is no more among those that run.
        on_result: Ends a call.
    """

    def __init__(
        self,
        rpc: Any,
        timeout_s: float,
        epochs: EpochRelay,
        on_change: Callable[[], None],
        on_waiting: Callable[[UnansweredCall], None],
        on_result: OnResult,
    ) -> None:
        self._rpc = rpc
        self._epochs = epochs
        self._must_pass_epochs = False
        self._on_change = on_change
        self._on_waiting = on_waiting
        self._on_result = on_result
        self._calls = UnansweredCalls(timeout_s, self._call_expired)
        self._outgoing = b""
        self._outgoing_calls: list[UnansweredCall] = []
        self._gone_numbers: list[int] = []
        self._must_release = self._releases_callers = False
        self._is_stopped = False
        self._has_work = asyncio.Event()
        self.is_ready = False
        """Whether the server accepts calls on this stream."""
        self.readiness_known = asyncio.Event()
        """Set once the server has said whether it accepts calls, or the stream has ended."""
        self.needs_replacement = asyncio.Event()
        """Set when another stream must take its place."""
        self.task = asyncio.create_task(self._run())
        """Task that ends with the stream; it raises AioRpcError if the stream fails."""

    @property
    def can_send(self) -> bool:
        """Whether a message can be sent now."""
        return self.is_ready and not self._outgoing and not self._rpc.done()

    def send(self, calls: Iterable[UnansweredCall]) -> None:
        """Send calls in one message. Requires `can_send`."""
        self._outgoing_calls = [*calls]
        for call in self._outgoing_calls:
            self._calls.add(call)
            if call.is_caller_gone:
                self._send_gone(call.number)
        self._must_release = self._releases_callers
        self._outgoing = b"".join([call.encoded for call in self._outgoing_calls])
        self._has_work.set()

    def stop_sending(self) -> None:
        """Send no more calls. The stream ends when every call has its result."""
        self.is_ready = False
        self._is_stopped = True
        self._has_work.set()
        self.needs_replacement.set()

    def release_callers(self) -> None:
        """Ask the server to tell the callers that wait on this stream to wait elsewhere, those of later calls too."""
        self._must_release = self._releases_callers = True
        self._has_work.set()

    def _pass_epochs(self) -> None:
        self._must_pass_epochs = True
        self._has_work.set()

    def report_gone(self, number: int) -> None:
        """Report to the server that the caller of a call is gone, if the server has the call."""
        if number in self._calls:
            self._send_gone(number)

    def _send_gone(self, number: int) -> None:
        self._gone_numbers.append(number)
        self._has_work.set()

    def _call_expired(self, call: UnansweredCall) -> None:
        self._send_gone(call.number)
        self._on_result(call, None)

    async def _run(self) -> None:
        self._epochs.add(self._pass_epochs)
        self._must_pass_epochs = bool(self._epochs.message)  # also one that came since the stream was created
        writing = asyncio.create_task(self._write())
        try:
            while (message := await self._rpc.read()) is not grpc.aio.EOF:
                self._handle(message)
        finally:
            self.is_ready = False
            self._epochs.discard(self._pass_epochs)
            self._rpc.cancel()
            writing.cancel()
            for call in self._calls.take_all():
                self._on_result(call, None)
            self.readiness_known.set()
            self.needs_replacement.set()
            self._on_change()

    async def _write(self) -> None:
        # An error here ends the stream, and `_run` reports it. gRPC raises INTERNAL if the connection breaks meanwhile.
        with contextlib.suppress(grpc.aio.AioRpcError, grpc.aio.InternalError, asyncio.InvalidStateError):
            while self._outgoing or self._gone_numbers or self._must_release or self._calls or not self._is_stopped:
                if self._outgoing or self._gone_numbers or self._must_release or self._must_pass_epochs:
                    await self._write_message()
                else:
                    self._has_work.clear()
                    await self._has_work.wait()
            await self._rpc.done_writing()

    async def _write_message(self) -> None:
        calls, rest = (
            self._outgoing,
            edge_service_pb2.StreamInvocationsRequest(
                gone_numbers=self._gone_numbers,
                release_callers=self._must_release,
                store_epochs=self._epochs.message if self._must_pass_epochs else b"",
            ),
        )
        self._gone_numbers, self._must_release, self._must_pass_epochs = [], False, False
        await self._rpc.write(calls + rest.SerializeToString())
        if calls:  # otherwise calls may have come meanwhile
            self._outgoing = b""
            for call in self._outgoing_calls:
                call.written()
            self._outgoing_calls.clear()
            self._on_change()

    def _handle(self, message: edge_service_pb2.StreamInvocationsResponse) -> None:
        if message.readiness == edge_service_pb2.READINESS_READY:
            self.is_ready = not self._is_stopped
            self.readiness_known.set()
            self._on_change()
        elif message.readiness == edge_service_pb2.READINESS_NOT_READY:
            self.stop_sending()
            self.readiness_known.set()
            self._on_change()
        if message.store_epochs:
            self._epochs.receive(message.store_epochs, self._pass_epochs)
        for number in message.waiting_numbers:
            if (waiting := self._calls.get(number)) is not None:
                self._on_waiting(waiting)
        for result in message.results:
            if result.HasField("status") and result.status.code in REFUSAL_CODES:
                self.stop_sending()
            call = self._calls.remove(result.number)
            if call is not None:
                self._on_result(call, result)
        if self._is_stopped and not self._calls:
            self._has_work.set()  # to close this side
