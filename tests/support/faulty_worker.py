"""A worker of the generated stubs alone, in this process, that keeps every rule of the protocol except one.

It is a program under test for `callback_conform`, with the handlers that clients/conformance/README.md describes.
"""

import asyncio
import contextlib
import random
import time
from pathlib import Path

import grpc

from callback.v1 import callback_handler_service_pb2 as handler_pb
from callback.v1 import callback_pb2
from callback.v1 import worker_service_pb2 as pb
from callback.v1.worker_service_pb2_grpc import WorkerServiceStub

MIB = 1 << 20
FINAL = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNIMPLEMENTED,
}


class FaultyWorker:
    """The program. `fault` is the rule that it breaks, by a name below; empty: none."""

    def __init__(self, fault, variables, changes):
        self.fault = fault
        self.lines = []
        self.exit_code = None
        self._variables = variables
        self._changes = changes
        self._slots = asyncio.Semaphore(1 if fault == "one slot" else int(variables["CALLBACK_MAX_CALLS"]))
        self._token, self._authorities = self._read("CALLBACK_TOKEN_FILE"), ""
        self._streams = set()
        self.seen = set()
        """The ids of all calls that were offered."""
        self.handling = set()
        """The tasks of the calls of all streams."""
        self.store_epochs = b""
        self._has_been_welcome = False
        self._serving = None
        """The last stream that was welcome."""
        self._is_stopping = False
        self._running = asyncio.create_task(self._run())

    @classmethod
    def launch(cls, fault):
        """Return how to start a worker with a fault."""

        async def start(variables, changes):
            return cls(fault, variables, changes)

        return start

    def say(self, event, call_id):
        self.lines.append(f"{event} {call_id}")
        self._changes.notify()

    def write(self, _line):
        """It reads nothing."""

    def terminate(self):
        if self.fault == "stops only when connected" and not any(stream.is_welcome for stream in self._streams):
            return
        self._is_stopping = True
        if self.fault == "stops at once" or not self._streams:
            self._running.cancel()
            return
        for stream in self._streams:
            stream.drain()

    async def kill(self):
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)

    async def _run(self):
        tasks = set()
        try:
            await self._stay_connected(tasks)
            self.exit_code = 0
        except grpc.aio.AioRpcError:
            self.exit_code = 1
        finally:
            left = [*tasks, *self.handling]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            self.exit_code = self.exit_code or 0
            self._changes.notify()

    async def _stay_connected(self, tasks):
        pause_s = 0.2
        while not self._is_stopping:
            stream = _Stream(self, self._slots)
            task = stream.task = asyncio.create_task(stream.run(self._channel(), self._metadata()))
            self._streams.add(stream)
            tasks.add(task)
            task.add_done_callback(lambda _, stream=stream: self._streams.discard(stream))
            await self._until_leaving(stream)
            if stream.is_welcome:
                self._has_been_welcome = True
                pause_s = pause_s if self.fault == "pauses that only grow" else 0.2
            if task.done() and (error := task.exception()) is not None:
                code = error.code() if isinstance(error, grpc.aio.AioRpcError) else None
                is_first = not self._has_been_welcome or self.fault == "each refusal is final"
                is_final = code in FINAL or (self.fault == "INTERNAL is final" and code is grpc.StatusCode.INTERNAL)
                if is_final and is_first and self.fault != "no refusal is final":
                    raise error
            elif task.done() and self.fault == "OK is final":
                return
            factor = {"no pause": 0.005, "no jitter": 0.2}.get(self.fault, random.uniform(0.5, 1))
            await asyncio.sleep(pause_s * factor)
            pause_s = min(2 * pause_s, 5)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _until_leaving(self, stream):
        while not (stream.leaving.is_set() or (stream.is_welcome and self._have_files_changed())):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    await stream.leaving.wait()
        if self.fault == "leaves before Welcome" and not stream.leaving.is_set():
            stream.drain()

    def _have_files_changed(self):
        has_new_token = self._read("CALLBACK_TOKEN_FILE") != self._token
        has_new_authorities = self._read("CALLBACK_CA_FILE") != self._authorities
        return (has_new_token and self.fault not in ("no look at the token file", "the token of the start")) or (
            has_new_authorities and self.fault != "no look at the authorities"
        )

    def _read(self, variable):
        return Path(path).read_text() if (path := self._variables[variable]) else ""

    def on_welcome(self, stream):
        if self._serving is not None and not self._serving.leaving.is_set():
            self._serving.drain()
        self._serving = stream

    def _channel(self):
        options = [
            ("grpc.max_receive_message_length", 2 * MIB if self.fault == "promises too much" else 4 * MIB),
            ("grpc.use_local_subchannel_pool", int(self.fault != "one connection")),
            *([] if self.fault == "no pings" else [("grpc.keepalive_time_ms", 5_000)]),
        ]
        target, self._authorities = self._variables["CALLBACK_TARGET"], self._read("CALLBACK_CA_FILE")
        if self._authorities and self.fault != "no TLS":
            credentials = grpc.ssl_channel_credentials(self._authorities.encode())
            return grpc.aio.secure_channel(target, credentials, options=options)
        return grpc.aio.insecure_channel(target, options=options)

    def _metadata(self):
        if self.fault == "no token":
            return []
        if self.fault != "the token of the start":
            self._token = self._read("CALLBACK_TOKEN_FILE")
        return [("authorization", f"Bearer {self._token}")]

    def hello(self):
        activity = self._variables["CALLBACK_ACTIVITY"]
        return pb.Hello(
            callback_activities=[activity],
            notification_activities=[activity],
            max_calls=int(self._variables["CALLBACK_MAX_CALLS"]),
            store_epochs=b"" if self.fault == "no store_epochs" else self.store_epochs,
        )

    def keep_store_epochs(self, epochs):
        if epochs or self.fault == "empty store_epochs replace others":
            self.store_epochs = epochs

    async def decide(self, offer):
        """Run the handler of a call."""
        is_notification = offer.reason in (callback_pb2.CALL_REASON_REMINDER, callback_pb2.CALL_REASON_EXPIRY)
        if is_notification and self.fault != "a notification is a call":
            self.say("notified", offer.call_id)
            return accepted()
        self.say("started", offer.call_id)
        try:
            match offer.callback_activity_case:
                case "reject":
                    return handler_pb.HandleCallbackResponse(
                        verdict=handler_pb.VERDICT_REJECTED, response=callback_pb2.Response(response_code=422)
                    )
                case "fail":
                    raise RuntimeError
                case "wait":
                    await asyncio.Event().wait()
                case "sleep":
                    await asyncio.sleep(0.3)
                case "large":
                    return accepted(response_body=bytes(17 * MIB))
                case "five":
                    return accepted(response_body=bytes(5 * MIB))
                case "echo":
                    values = [each.value for each in offer.request_headers if each.name == "x-value"]
                    if self.fault == "ASCII alone":
                        values = [value.encode("ascii", "replace").decode() for value in values]
                    headers = callback_pb2.ResponseHeaders(
                        headers=[callback_pb2.ResponseHeader(name="x-echo", value=value) for value in values]
                    )
                    return accepted(response_headers=headers)
        except asyncio.CancelledError:
            self.say("cancelled", offer.call_id)
            raise
        return accepted(response_body=b"done")


def accepted(**response):
    """Return the decision that accepts, with this response."""
    return handler_pb.HandleCallbackResponse(
        verdict=handler_pb.VERDICT_ACCEPTED, response=callback_pb2.Response(response_code=201, **response)
    )


class _Stream:
    """One stream of the worker."""

    def __init__(self, program, slots):
        self.program = program
        self.leaving = asyncio.Event()
        self.is_welcome = False
        self._slots = slots
        self._calls = {}
        self._outgoing = asyncio.Queue()
        self._is_draining = False

    @property
    def _fault(self):
        return self.program.fault

    def send(self, **message):
        self._outgoing.put_nowait(pb.WorkRequest(messages=[pb.WorkerMessage(**message)]))

    def drain(self):
        if not (self.is_welcome or self._fault == "drains before Welcome"):
            self.task.cancel()
            return
        self._is_draining = True
        self.send(drain=pb.Drain())

    async def run(self, channel, metadata):
        """Serve the stream until its end. Raises the error that ended it."""
        call = WorkerServiceStub(channel).Work(metadata=metadata)
        self.send(hello=self.program.hello())
        writing = asyncio.create_task(self._write(call))
        try:
            async with asyncio.timeout(None if self._fault == "waits for Welcome" else 10) as limit:
                async for response in call:
                    limit.reschedule(None)
                    self.is_welcome = True
                    self._receive(response.messages)
        except TimeoutError:
            pass
        finally:
            writing.cancel()
            call.cancel()
            if self._fault != "handlers go on":
                for each in self._calls.values():
                    each.task.cancel()
            self.leaving.set()
            with contextlib.suppress(asyncio.CancelledError):
                await channel.close()

    async def _write(self, call):
        while True:
            request = await self._outgoing.get()
            while self._fault == "no limit of a batch" and request.ByteSize() < MIB and not self._outgoing.empty():
                request.MergeFrom(self._outgoing.get_nowait())
            await call.write(request)
            if self._fault == "half-closes" and request.messages[0].HasField("drain"):
                await call.done_writing()
                return

    def _receive(self, messages):
        for message in messages[:1] if self._fault == "the first of a batch" else messages:
            kind = message.WhichOneof("message")
            if kind is None and self._fault == "no unknown messages":
                raise ValueError
            if kind == "offer":
                if self._fault == "each call_id once" and message.offer.call_id in self.program.seen:
                    continue
                self.program.seen.add(message.offer.call_id)
                call = self._calls[message.offer.call_id] = _Call(message.offer)
                call.task = asyncio.create_task(self._handle(call))
                self.program.handling.add(call.task)
                call.task.add_done_callback(lambda _, call=call: self._finish(call))
            elif kind == "confirm":
                if (call := self._call(message.confirm.call_id)) is not None:
                    call.confirmed.set()
            elif kind == "withdraw":
                self._withdraw(message.withdraw.call_id)
                if self._fault == "a withdrawal ends its batch":
                    return
            elif kind == "welcome":
                self.program.keep_store_epochs(message.welcome.store_epochs)
                self.program.on_welcome(self)
            elif kind == "store_epochs":
                self.program.keep_store_epochs(message.store_epochs)
            elif kind == "drain":
                self.leaving.set()
                if self._fault == "Drain ends the stream":
                    raise ValueError

    def _call(self, call_id):
        return self._calls[call_id] if self._fault == "no unknown calls" else self._calls.get(call_id)

    def _withdraw(self, call_id):
        call = self._calls.get(call_id)
        if call is None:
            if self._fault == "two results":
                self.send(result=pb.Result(call_id=call_id, declined=pb.Declined()))
            return
        is_ignored = {
            "a waiting call is not withdrawn": not call.is_accepted,
            "a confirmed call is not withdrawn": call.confirmed.is_set(),
            "no withdrawals": True,
        }.get(self._fault, False)
        if not is_ignored:
            call.task.cancel()

    async def _handle(self, call):
        offer = call.offer
        is_ours = offer.callback_activity == self.program.hello().callback_activities[0]
        if (is_ours or self._fault == "every activity") and (not self._is_draining or self._fault == "takes more"):
            try:
                await self._accept(call, call.result)
            except RuntimeError:
                call.result.error = "failed"
                if self._fault == "an error ends the stream":
                    self.send(hello=self.program.hello())
            except TimeoutError:
                pass

    def _finish(self, call):
        """Send the result: also of a call that is withdrawn before its task has begun."""
        self.program.handling.discard(call.task)
        del self._calls[call.offer.call_id]
        results = [pb.WorkerMessage(result=call.result)] * (2 if self._fault == "each result twice" else 1)
        self._outgoing.put_nowait(pb.WorkRequest(messages=results))

    async def _accept(self, call, result):
        offer = call.offer
        async with self._slots:
            if self._fault == "accepts late" and len(self._calls) > 1:
                await asyncio.sleep(6)
            call.is_accepted = True
            self.send(accept=pb.Accept(call_id=offer.call_id))
            if self._fault == "an error for a withdrawn call":
                result.error = "withdrawn"
            if self._fault != "starts before Confirm":
                async with asyncio.timeout(0.3 if self._fault == "gives up before Confirm" else None):
                    await call.confirmed.wait()
            if self._fault != "declines what is cancelled":
                result.error = "cancelled"
            limit_s = {
                "the deadline is a time": offer.deadline.ToSeconds() - time.time(),
                "the timeout is its own": offer.timeout.ToSeconds(),
            }.get(self._fault)
            async with asyncio.timeout(limit_s):
                answer = await self.program.decide(offer)
            limit = {"sends what is too large": 64, "4 MiB for answers": 4}.get(self._fault, 16) * MIB - 1024
            if answer.ByteSize() > limit:
                result.error = "too large"
            elif self._fault == "a rejection is an error" and answer.verdict == handler_pb.VERDICT_REJECTED:
                result.error = "rejected"
            else:
                result.response.CopyFrom(answer)


class _Call:
    def __init__(self, offer):
        self.offer = offer
        self.result = pb.Result(call_id=offer.call_id, declined=pb.Declined())
        self.is_accepted = False
        self.confirmed = asyncio.Event()
