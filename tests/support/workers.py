"""A worker made of the generated stubs alone: it sends any message that a test chooses, valid or not."""

import asyncio
import contextlib
from collections import defaultdict

import grpc
from support.wait import DEADLINE_S

from callback import Handlers
from callback.v1 import callback_handler_service_pb2 as handler_pb
from callback.v1 import worker_service_pb2 as pb
from callback.v1.worker_service_pb2_grpc import add_WorkerServiceServicer_to_server

ACCEPTED = handler_pb.HandleCallbackResponse(verdict=handler_pb.VERDICT_ACCEPTED)


@contextlib.asynccontextmanager
async def connected(worker):
    """Serve inside the block, which begins when the worker is connected."""
    async with worker.working():
        await worker.connected()
        yield


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

    async def hello(self, *activities, max_calls=1, name="raw", **fields):
        """Send Hello, and wait for Welcome."""
        await self.say(hello=pb.Hello(callback_activities=activities, max_calls=max_calls, name=name, **fields))
        return await self.next("welcome")

    async def accept(self, call):
        """Accept an offered call."""
        await self.say(accept=pb.Accept(call_id=call.call_id))

    async def begin(self, number=1):
        """Accept the offer with this number, counted from 1, and return its call when it is confirmed."""
        call = await self.next("offer", number)
        await self.accept(call)
        assert await self._word_on(call) == "confirm"
        return call

    async def handle(self, number=1, answer=ACCEPTED):
        """Handle the offer with this number by the protocol, and return its call."""
        call = await self.begin(number)
        await self.result(call, answer)
        return call

    async def _word_on(self, call):
        """Wait for the server's word on an accepted call: `confirm` or `withdraw`. None: the stream is over."""
        async with asyncio.timeout(DEADLINE_S), self._heard:
            await self._heard.wait_for(lambda: call.call_id in self._told or self.over.is_set())
        return self._told.pop(call.call_id, None)

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
            word = await self._word_on(call)
            if word == "confirm":
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


@contextlib.asynccontextmanager
async def serving(worker, handle=None):
    """Let a worker handle its calls as `serve` does while the block runs, and then end its stream."""
    task = asyncio.create_task(worker.serve(handle))
    try:
        yield worker
    finally:
        await worker.close()
        await task


@contextlib.asynccontextmanager
async def serving_worker(stub, *activities, max_calls=1, handle=None, metadata=None):
    """Run a `RawWorker` for these activities that handles its calls as `serve` does."""
    async with raw_worker(stub, *activities, max_calls=max_calls, metadata=metadata) as worker, serving(worker, handle):
        yield worker


def handlers_of(**functions):
    """Return handlers of the Python client: a function for each activity."""
    handlers = Handlers()
    for activity, function in functions.items():
        handlers.activity(activity)(function)
    return handlers


@contextlib.asynccontextmanager
async def worker_service(servicer, credentials=None, here="127.0.0.1:0"):
    """Run a `WorkerService` that a test has written, and yield it with its `address`."""
    server = grpc.aio.server()
    add_WorkerServiceServicer_to_server(servicer, server)
    port = server.add_secure_port(here, credentials) if credentials else server.add_insecure_port(here)
    servicer.address = f"127.0.0.1:{port}"
    await server.start()
    try:
        yield servicer
    finally:
        await server.stop(0)
