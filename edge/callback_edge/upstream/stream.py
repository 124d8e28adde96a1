"""One stream to a server, which carries calls there and answers back.

1. No call is sent before the server has said that it takes calls, and none after it has said that it takes no more, or
   refused one because it does not know this edge.
2. One message is under way at a time; what comes meanwhile goes together in the next.
3. A call that was handed over here may have been made, whatever becomes of the stream: where it ends without the call's
   answer, nobody knows.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

import grpc
import grpc.aio
from google.rpc import code_pb2

from callback.v1 import edge_service_pb2
from callback_edge.limits.body_budget import HeldBody

REFUSED: Final = (code_pb2.UNAUTHENTICATED, code_pb2.PERMISSION_DENIED)
"""How a server says that it does not know this edge."""
MOST_CALLS: Final = 64
"""How many calls go in one message."""
MOST_BYTES: Final = 256 * 1024
"""How large a message of several calls may be; a larger call goes alone."""


class Call:
    """One call on its way: what is sent, and who waits for the answer. Who hangs up cancels `answer`, and no more."""

    __slots__ = ("answer", "body", "number", "refusals", "sent", "since")

    def __init__(self, number: int, request: edge_service_pb2.InvokeRequest, body: HeldBody) -> None:
        self.number = number
        message = edge_service_pb2.StreamInvocationsRequest()
        message.invocations.add(number=number).request.CopyFrom(request)
        self.sent = message.SerializeToString()
        """A whole message. Several, one after the other, are one that has all their calls: so protobuf joins them."""
        self.body = body
        self.answer: asyncio.Future[edge_service_pb2.InvokeResponse] = asyncio.get_running_loop().create_future()
        self.refusals = 0
        """How many servers did not know this edge."""
        self.since = 0.0


class Waiting:
    """Calls in the order in which they came, each for no longer than a time.

    Args:
        longest_s: how long, in seconds.
        on_late: called with each that is here for longer, and then no more.
    """

    def __init__(self, longest_s: float, on_late: Callable[[Call], None]) -> None:
        self._longest_s = longest_s
        self._on_late = on_late
        self._calls: dict[int, Call] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, call: Call) -> None:
        """Add a call, as the last one."""
        loop = asyncio.get_running_loop()
        call.since = loop.time()
        self._calls[call.number] = call
        if self._timer is None:
            self._timer = loop.call_later(self._longest_s, self._look)

    def take(self, number: int) -> Call | None:
        """Take a call out, if it is here."""
        return self._calls.pop(number, None)

    def take_some(self) -> list[Call]:
        """Take out as many of the first as go in one message."""
        taken: list[Call] = []
        size = 0
        for call in self._calls.values():
            size += len(call.sent)
            if taken and (size > MOST_BYTES or len(taken) == MOST_CALLS):
                break
            taken.append(call)
        for call in taken:
            del self._calls[call.number]
        return taken

    def take_all(self) -> list[Call]:
        """Take all out."""
        taken = [*self._calls.values()]
        self._calls.clear()
        return taken

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() - self._longest_s
        self._timer = None
        late = []
        for call in self._calls.values():
            if call.since > until:
                self._timer = loop.call_at(call.since + self._longest_s, self._look)
                break
            late.append(call)
        for call in late:
            del self._calls[call.number]
            self._on_late(call)


class Events(Protocol):
    """Who is told what happens on streams."""

    def stream_changed(self) -> None:
        """A stream takes calls now, or takes no more, or has room for a message."""

    def answered(self, call: Call, answer: edge_service_pb2.InvocationResult) -> None:
        """A call has its answer."""

    def lost(self, call: Call) -> None:
        """A call was sent, and there will be no answer."""


class Stream:
    """A stream, from its making on a running loop to its end.

    Args:
        rpc: the stream as gRPC has it, for messages that are bytes already.
        timeout_s: how long a call may wait for its answer, in seconds.
        events: who is told what happens.
    """

    def __init__(self, rpc: Any, timeout_s: float, events: Events) -> None:
        self._rpc = rpc
        self._events = events
        self._calls = Waiting(timeout_s, events.lost)
        self._outgoing = b""
        self._is_left = False
        self._has_work = asyncio.Event()
        self.is_open = False
        """The server takes calls by it."""
        self.settled = asyncio.Event()
        """It is known whether the server takes calls by it."""
        self.over = asyncio.Event()
        """Another one is needed in its place."""
        self.ended = asyncio.create_task(self._run())
        """Its end; an AioRpcError if that was none in good order."""

    @property
    def is_free(self) -> bool:
        """Whether calls can be sent now."""
        return self.is_open and not self._outgoing and not self._rpc.done()

    def send(self, calls: Iterable[Call]) -> None:
        """Send some calls in one message. Only while it is free."""
        sent = []
        for call in calls:
            self._calls.add(call)
            sent.append(call.sent)
        self._outgoing = b"".join(sent)
        self._has_work.set()

    def leave(self) -> None:
        """Send no more; it ends when everything is answered."""
        self.is_open = False
        self._is_left = True
        self._has_work.set()
        self.over.set()

    async def _run(self) -> None:
        writing = asyncio.create_task(self._write())
        try:
            while (message := await self._rpc.read()) is not grpc.aio.EOF:
                self._hear(message)
        finally:
            self.is_open = False
            self._rpc.cancel()
            writing.cancel()
            for call in self._calls.take_all():
                self._events.lost(call)
            self.settled.set()
            self.over.set()
            self._events.stream_changed()

    async def _write(self) -> None:
        # What it fails of ends the stream, and is told there; of a connection that goes meanwhile gRPC says INTERNAL.
        with contextlib.suppress(grpc.aio.AioRpcError, grpc.aio.InternalError, asyncio.InvalidStateError):
            while self._outgoing or not self._is_left:
                if self._outgoing:
                    await self._rpc.write(self._outgoing)
                    self._outgoing = b""
                    self._events.stream_changed()
                else:
                    self._has_work.clear()
                    await self._has_work.wait()
            await self._rpc.done_writing()

    def _hear(self, message: edge_service_pb2.StreamInvocationsResponse) -> None:
        if message.readiness == edge_service_pb2.READINESS_READY:
            self.is_open = not self._is_left
            self.settled.set()
            self._events.stream_changed()
        elif message.readiness == edge_service_pb2.READINESS_NOT_READY:
            self.leave()
            self.settled.set()
            self._events.stream_changed()
        for answer in message.results:
            if answer.HasField("status") and answer.status.code in REFUSED:
                self.leave()
            call = self._calls.take(answer.number)
            if call is not None:
                self._events.answered(call, answer)
