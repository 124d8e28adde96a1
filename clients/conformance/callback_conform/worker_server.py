"""The scripted server of workers: it sends what a scenario says, and checks each message against the protocol."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import grpc

from callback.v1 import worker_service_pb2 as pb
from callback.v1 import worker_service_pb2_grpc as services
from callback_conform.changes import Changes
from callback_conform.refusals import refuse

ACTIVITY: Final = "conform"
"""The activity of the program under test, for calls and notifications."""
MAX_CALLS: Final = 2
"""The number of slots of the program under test, unless a scenario needs more."""
MANY_CALLS: Final = 100
"""The number of slots for a scenario that needs more."""
MAX_BATCH_MESSAGES: Final = 64
MAX_BATCH_BYTES: Final = 256 * 1024
DEFAULT_MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024
"""The largest message of a worker that does not say it, in bytes."""
LEAST_MAX_MESSAGE_BYTES: Final = 1024 * 1024
HALF_CLOSE_S: Final = 0.5
"""How long after the last request a stream is half-closed, in seconds. gRPC reports the end of the requests also if the
worker has cancelled the stream or is lost, and then cancels the RPC at once."""


class Stream:
    """One stream of the worker."""

    def __init__(self, hello: pb.Hello, peer: str, token: str, changes: Changes) -> None:
        self.hello = hello
        self.peer = peer
        """The connection, as gRPC names it."""
        self.token = token
        """The bearer token that came with the stream. Empty if none did."""
        self.received: list[pb.WorkerMessage] = []
        """The messages of the worker after Hello that no step has taken yet."""
        self.batches = 0
        """How many batches the worker has sent after Hello."""
        self.broken: list[str] = []
        """How the worker has broken the protocol."""
        self.has_ended = False
        """Whether the worker has ended the stream, or its connection was lost."""
        self._changes = changes
        self._outgoing: asyncio.Queue[pb.WorkResponse | Mapping[str, Any]] = asyncio.Queue()
        self._offered: set[str] = set()
        self._accepted: set[str] = set()
        self._confirmed: set[str] = set()
        self._withdrawn: set[str] = set()
        self._has_drained = False
        self._is_ending = False

    @property
    def max_message_bytes(self) -> int:
        """The largest message that the worker takes, in bytes."""
        return self.hello.max_message_bytes or DEFAULT_MAX_MESSAGE_BYTES

    def send(self, response: pb.WorkResponse) -> None:
        """Send a batch."""
        for message in response.messages:
            if message.HasField("offer"):
                self._offered.add(message.offer.call_id)
            elif message.HasField("confirm"):
                self._confirmed.add(message.confirm.call_id)
            elif message.HasField("withdraw"):
                self._withdrawn.add(message.withdraw.call_id)
            elif message.HasField("drain"):
                self._has_drained = True
        self._outgoing.put_nowait(response)

    def end(self, refusal: Mapping[str, Any]) -> None:
        """End the stream after what was sent; the code OK ends it without an error."""
        self._is_ending = True
        self._outgoing.put_nowait(refusal)

    async def outgoing(self) -> AsyncIterator[pb.WorkResponse | Mapping[str, Any]]:
        """Yield the batches, and at last the end."""
        while True:
            item = await self._outgoing.get()
            yield item
            if not isinstance(item, pb.WorkResponse):
                return

    def receive(self, request: pb.WorkRequest) -> None:
        """Take a batch of the worker."""
        self.batches += 1
        count = len(request.messages)
        if not 1 <= count <= MAX_BATCH_MESSAGES:
            self.broken.append(f"M1: a WorkRequest has {count} messages")
        if count > 1 and request.ByteSize() > MAX_BATCH_BYTES:
            self.broken.append(f"M1: a WorkRequest of {count} messages has {request.ByteSize()} bytes")
        for message in request.messages:
            self._check(message)
            self.received.append(message)
        self._changes.notify()

    def lost(self) -> None:
        """Take note that the stream is over."""
        if self._has_drained and not (self._is_ending or self.has_ended):
            self.broken.append("S7: the worker ended the stream that the server had drained, before the server did")
        self.has_ended = True
        self._changes.notify()

    def _check(self, message: pb.WorkerMessage) -> None:
        match message.WhichOneof("message"):
            case "hello":
                self.broken.append("S1: the worker sent Hello again")
            case "accept":
                call = message.accept.call_id
                if call not in self._offered or call in self._accepted:
                    self.broken.append(f"C1: Accept for {call!r}, which is not offered")
                self._accepted.add(call)
                if len(self._accepted) > self.hello.max_calls:
                    self.broken.append(f"C1: the worker has accepted {len(self._accepted)} calls, more than max_calls")
            case "result":
                self._check_result(message.result)

    def _check_result(self, result: pb.Result) -> None:
        call, outcome = result.call_id, result.WhichOneof("outcome")
        if call not in self._offered:
            self.broken.append(f"C1: a Result for {call!r}, which is not offered, or has a Result already")
        elif outcome is None:
            self.broken.append(f"C1: the Result for {call!r} has no outcome")
        elif outcome != "declined" and call not in self._confirmed:
            self.broken.append(f"C3: {outcome} for {call!r} before Confirm")
        elif outcome == "declined" and call in self._confirmed - self._withdrawn:
            self.broken.append(f"C6: Declined for {call!r} after Confirm")
        for calls in (self._offered, self._accepted, self._confirmed, self._withdrawn):
            calls.discard(call)


class WorkerServer(services.WorkerServiceServicer):
    """The servicer. Its streams wait in `opened` until a step takes them."""

    def __init__(self, changes: Changes) -> None:
        self.opened: list[Stream] = []
        self.attempts: list[float] = []
        """When each stream that was refused, or taken, was opened, by `time.monotonic`."""
        self.refusal: Mapping[str, Any] | None = None
        """How each new stream is refused. None: it is taken."""
        self.broken: list[str] = []
        self.max_calls = MAX_CALLS
        """The number of slots that the worker must announce."""
        self._changes = changes

    async def Work(  # noqa: N802  # gRPC's name
        self, request_iterator: AsyncIterator[pb.WorkRequest], context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.WorkResponse]:
        """Serve one stream."""
        first = await anext(request_iterator, pb.WorkRequest())
        self.attempts.append(time.monotonic())
        self._changes.notify()
        if self.refusal is not None:
            await refuse(context, self.refusal)
        if problem := _hello_problem(first, self.max_calls):
            self.broken.append(problem)
            self._changes.notify()
            await refuse(context, {"code": "INVALID_ARGUMENT", "reason": "INVALID_REQUEST", "message": problem})
        metadata = dict(context.invocation_metadata() or ())
        token = str(metadata.get("authorization", "")).removeprefix("Bearer ")
        stream = Stream(first.messages[0].hello, context.peer(), token, self._changes)
        reading = asyncio.create_task(_read(request_iterator, stream))
        self.opened.append(stream)
        self._changes.notify()
        try:
            async for item in stream.outgoing():
                if isinstance(item, pb.WorkResponse):
                    yield item
                elif item["code"] != "OK":
                    await refuse(context, item)
        finally:
            reading.cancel()
            stream.lost()


async def _read(requests: AsyncIterator[pb.WorkRequest], stream: Stream) -> None:
    try:
        async for request in requests:
            stream.receive(request)
        await asyncio.sleep(HALF_CLOSE_S)
        stream.broken.append("S9: the worker half-closed the stream")
    finally:
        stream.lost()


def _hello_problem(request: pb.WorkRequest, max_calls: int) -> str | None:
    """Return what is wrong with the first batch of a stream; None if nothing is."""
    if len(request.messages) != 1 or not request.messages[0].HasField("hello"):
        return "S1: the first WorkRequest is not Hello alone"
    hello = request.messages[0].hello
    if ACTIVITY not in hello.callback_activities or ACTIVITY not in hello.notification_activities:
        return f"the program must handle calls and notifications of {ACTIVITY}"
    if hello.max_calls != max_calls:
        return f"max_calls must be {max_calls}, the value of CALLBACK_MAX_CALLS, and is {hello.max_calls}"
    if 0 < hello.max_message_bytes < LEAST_MAX_MESSAGE_BYTES:
        return f"M5: max_message_bytes is {hello.max_message_bytes}"
    return None
