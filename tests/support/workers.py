"""A worker made of the generated stubs alone: it sends any message that a test chooses, valid or not."""

import asyncio
import contextlib
from collections import defaultdict

import grpc
import pytest
from support.wait import DEADLINE_S

from callback.v1 import callback_handler_service_pb2 as handler_pb
from callback.v1 import worker_service_pb2 as pb
from callback_server.handlers.workers import assignment

ACCEPTED = handler_pb.HandleCallbackResponse(verdict=handler_pb.VERDICT_ACCEPTED)


class RawWorker:
    """One stream. `heard` has the server's messages in order; `read` has the batches as they arrived."""

    def __init__(self, stub, metadata=None):
        self._stream = stub.Work(metadata=metadata)
        self._heard = asyncio.Condition()
        self._writing = asyncio.Lock()
        self.read = []
        self.heard = []
        self._by_kind = defaultdict(list)
        self._told = {}
        """By accepted call: `confirm` or `withdraw`, whichever came first."""
        self.over = asyncio.Event()
        self.error = None
        """Error that ended the stream: None while it is open, or if it ended without an error."""
        self._reading = asyncio.create_task(self._read())

    async def _read(self):
        try:
            async for response in self._stream:
                async with self._heard:
                    self.read.append(response)
                    for message in response.messages:
                        self._hear(message)
                    self._heard.notify_all()
        except (grpc.aio.AioRpcError, asyncio.CancelledError) as error:
            self.error = error
        finally:
            self.over.set()
            async with self._heard:
                self._heard.notify_all()

    def _hear(self, message):
        kind = message.WhichOneof("message")
        self.heard.append(message)
        self._by_kind[kind].append(getattr(message, kind))
        if kind in ("confirm", "withdraw"):
            self._told.setdefault(getattr(message, kind).call_id, kind)

    def of(self, kind):
        """Return the messages of one kind."""
        return self._by_kind[kind]

    async def next(self, kind, number=1):
        """Wait for the message of a kind with this number, counted from 1, and return it."""
        async with asyncio.timeout(DEADLINE_S), self._heard:
            await self._heard.wait_for(lambda: len(self.of(kind)) >= number or self.over.is_set())
        assert len(self.of(kind)) >= number, f"the stream is over: {self.error!r}"
        return self.of(kind)[number - 1]

    async def say(self, **message):
        """Send one message."""
        await self.send(pb.WorkRequest(messages=[pb.WorkerMessage(**message)]))

    async def send(self, request):
        """Send a batch."""
        async with self._writing:  # two concurrent writes end a stream
            await self._stream.write(request)

    async def hello(self, *activities, max_calls=1, name="raw", max_message_bytes=0):
        """Send Hello, and wait for Welcome."""
        await self.say(
            hello=pb.Hello(
                callback_activities=activities, max_calls=max_calls, name=name, max_message_bytes=max_message_bytes
            )
        )
        return await self.next("welcome")

    async def accept(self, call):
        """Accept an offered call."""
        await self.say(accept=pb.Accept(call_id=call.call_id))

    async def result(self, call, answer=ACCEPTED):
        """Send a decision."""
        await self.say(result=pb.Result(call_id=call.call_id, response=answer))

    async def fail(self, call, error="broke"):
        """Send an error in place of a decision."""
        await self.say(result=pb.Result(call_id=call.call_id, error=error))

    async def decline(self, call):
        """Decline an offered call."""
        await self.say(result=pb.Result(call_id=call.call_id, declined=pb.Declined()))

    async def serve(self, handle=None):
        """Handle every call by the protocol until the stream is over; `handle(call)` returns the answer."""
        tasks, taken = set(), 0

        async def one(call):
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):  # the stream is over
                await handled(call)

        async def handled(call):
            await self.accept(call)
            async with asyncio.timeout(DEADLINE_S), self._heard:
                await self._heard.wait_for(lambda: call.call_id in self._told or self.over.is_set())
            told = self._told.pop(call.call_id, None)
            if told == "confirm":
                await self.result(call, await handle(call) if handle else ACCEPTED)
            elif not self.over.is_set():
                await self.decline(call)

        while not self.over.is_set():
            async with self._heard:
                for call in self.of("offer")[taken:]:
                    taken += 1
                    task = asyncio.create_task(one(call))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                if not self.over.is_set():
                    await self._heard.wait()
        await asyncio.gather(*tasks)

    def lose(self):
        """Break the stream."""
        self._stream.cancel()

    async def close(self):
        """Break the stream, and wait until it is over."""
        self._stream.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)


@contextlib.asynccontextmanager
async def raw_worker(stub, *activities, max_calls=1, metadata=None):
    """Run a `RawWorker` that has sent Hello for these activities, if there are any."""
    worker = RawWorker(stub, metadata)
    try:
        if activities:
            await worker.hello(*activities, max_calls=max_calls)
        yield worker
    finally:
        await worker.close()


@contextlib.contextmanager
def accept_timeout(timeout_s):
    """Let the worker accept a call that is offered in the body only for so long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assignment, "STEP_TIMEOUT_S", timeout_s)
        yield
