"""A worker of the generated stubs alone, in this process, that keeps every rule of the protocol except one.

It is a program under test for `callback_conform`, with the handlers that clients/conformance/README.md describes.
"""

import asyncio
import collections
import contextlib
import random
import time
from pathlib import Path

import grpc
from support.faulty_program import FaultyProgram

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


class FaultyWorker(FaultyProgram):
    """The program. `fault` is the rule that it breaks, by a name below; empty: none."""

    def __init__(self, fault, variables, changes):
        self._slots = asyncio.Semaphore(1 if fault == "one slot" else int(variables["CALLBACK_MAX_CALLS"]))
        self._token = self._authorities = ""
        self._streams = set()
        self.seen = set()
        """The ids of all calls that were offered."""
        self.handling = set()
        """The tasks of the calls of all streams."""
        self.store_epochs = b""
        self._has_been_welcome = False
        self._last = None
        """The last stream that was opened."""
        self._serving = None
        """The last stream that was welcome."""
        self._is_stopping = False
        super().__init__(fault, variables, changes)

    def terminate(self):
        if self.fault == "stops only when connected" and not any(stream.is_welcome for stream in self._streams):
            return
        self._is_stopping = True
        if self.fault == "stops at once" or not self._streams:
            self._running.cancel()
            return
        for stream in self._streams:
            stream.drain()

    async def _run(self):
        tasks = set()
        try:
            if self._read("CALLBACK_TOKEN_FILE") is None and self.fault != "starts without a token":
                self.exit_code = 1
                return
            self._token = self._read("CALLBACK_TOKEN_FILE") or ""
            for _ in range(1 if self.fault == "runs once" else int(self._variables["CALLBACK_RUNS"])):
                self._is_stopping = False
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
            stream = self._last = _Stream(self, self._slots)
            task = stream.task = asyncio.create_task(stream.run(self._channel(), self._metadata()))
            self._streams.add(stream)
            tasks.add(task)
            task.add_done_callback(lambda task, stream=stream: self._on_end(stream, task))
            await self._until_leaving(stream)
            if self.fault == "a lost stream is final" and task.done() and stream.is_welcome:
                return
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
            factor *= 0.2 if self.fault == "no longest pause" else 1
            await asyncio.sleep(pause_s * factor)
            pause_s = 2 * pause_s if self.fault == "no longest pause" else min(2 * pause_s, 5)
        await asyncio.gather(*tasks, return_exceptions=True)

    def _on_end(self, stream, task):
        self._streams.discard(stream)
        is_refused = not task.cancelled() and task.exception() is not None
        if stream.is_drained:
            is_next = {
                "the end of a drained stream opens another": True,
                "the refusal of a drained stream opens another": is_refused,
            }
            if is_next.get(self.fault, False):
                self._last.leaving.set()
            if self.fault == "the refusal of a drained stream is final" and is_refused:
                self._running.cancel()

    async def _until_leaving(self, stream):
        while not (stream.leaving.is_set() or (stream.is_welcome and self._have_files_changed())):
            if self.fault == "a file that cannot be used ends the stream" and self._is_a_file_unusable():
                stream.task.cancel()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    await stream.leaving.wait()
        if self.fault == "leaves before Welcome" and not stream.leaving.is_set():
            stream.drain()

    def _have_files_changed(self):
        has_new_token = self._read("CALLBACK_TOKEN_FILE") not in (None, self._token)
        has_new_authorities = self._read("CALLBACK_CA_FILE") not in (None, self._authorities)
        return (has_new_token and self.fault not in ("no look at the token file", "the token of the start")) or (
            has_new_authorities and self.fault != "no look at the authorities"
        )

    def _is_a_file_unusable(self):
        return None in (self._read("CALLBACK_TOKEN_FILE"), self._read("CALLBACK_CA_FILE"))

    def _read(self, variable):
        """Return the content of a file, and "" where there is none to read. None: it cannot be used."""
        if not (path := self._variables[variable]):
            return ""
        text = Path(path).read_text() if Path(path).exists() else ""
        if variable == "CALLBACK_TOKEN_FILE":
            return (text if self.fault == "white space is of the token" else text.strip()) or None
        return text if "BEGIN CERTIFICATE" in text else None

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
        target = self._variables["CALLBACK_TARGET"]
        authorities = self._read("CALLBACK_CA_FILE")
        if authorities is not None or self.fault == "takes authorities that cannot be used":
            self._authorities = "none" if authorities is None else authorities
        if self._authorities and self.fault != "no TLS":
            credentials = grpc.ssl_channel_credentials(self._authorities.encode())
            return grpc.aio.secure_channel(target, credentials, options=options)
        return grpc.aio.insecure_channel(target, options=options)

    def _metadata(self):
        if self.fault == "no token":
            return []
        if self.fault != "the token of the start":
            token = self._read("CALLBACK_TOKEN_FILE")
            self._token = token or ("" if self.fault == "takes an empty token" else self._token)
        return [("authorization", f"Bearer {self._token}")]

    def hello(self):
        activity = self._variables["CALLBACK_ACTIVITY"]
        return pb.Hello(
            callback_activities=[activity],
            notification_activities=[activity],
            max_calls=int(self._variables["CALLBACK_MAX_CALLS"]) + (self.fault == "another max_calls"),
            max_message_bytes=1 << 16 if self.fault == "a small max_message_bytes" else 0,
            store_epochs=b"" if self.fault == "no store_epochs" else self.store_epochs,
        )

    def keep_store_epochs(self, epochs):
        if epochs or self.fault == "empty store_epochs replace others":
            self.store_epochs = epochs

    async def decide(self, offer):
        """Run the handler of a call."""
        is_notification = offer.reason not in {
            "EXPIRY is a call": (0, callback_pb2.CALL_REASON_CALL, callback_pb2.CALL_REASON_EXPIRY),
            "an unknown reason is that of a call": (0, callback_pb2.CALL_REASON_CALL, 99),
            "no reason is that of a notification": (callback_pb2.CALL_REASON_CALL,),
        }.get(self.fault, (0, callback_pb2.CALL_REASON_CALL))
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
        self.is_drained = False
        """Whether the server has sent Drain."""
        self._slots = asyncio.Semaphore(2) if program.fault == "slots for each stream" else slots
        self._calls = {}
        self._outgoing = collections.deque()
        self._has_outgoing = asyncio.Event()
        self._is_draining = False

    @property
    def _fault(self):
        return self.program.fault

    def send(self, **message):
        self._outgoing.append(pb.WorkerMessage(**message))
        self._has_outgoing.set()

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
        if self._fault == "more than Hello at first":
            self.send(accept=pb.Accept(call_id="c1"))
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
            await self._has_outgoing.wait()
            if self._fault == "empty batches" and self.is_welcome:
                await call.write(pb.WorkRequest())
            request = self._next_batch()
            await call.write(request)
            if self._fault == "half-closes" and request.messages[0].HasField("drain"):
                await call.done_writing()
                return

    def _next_batch(self):
        """Take the messages that are ready, as many as fit."""
        limit, limit_bytes = {
            "one message a batch": (1, MIB),
            "no limit of messages": (1000, 256 * 1024),
            "no limit of bytes": (64, MIB),
        }.get(self._fault, (64, 256 * 1024))
        request = pb.WorkRequest(messages=[self._outgoing.popleft()])
        while self._outgoing and len(request.messages) < limit:
            longer = pb.WorkRequest(messages=[*request.messages, self._outgoing[0]])
            if longer.ByteSize() > limit_bytes:
                break
            self._outgoing.popleft()
            request = longer
        if not self._outgoing:
            self._has_outgoing.clear()
        return request

    def _receive(self, messages):
        taken = {
            "the first of a batch": slice(1),
            "the last of a batch": slice(-1, None),
            "a reversed batch": slice(None, None, -1),
        }
        for message in messages[taken.get(self._fault, slice(None))]:
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
            elif kind == "drain" and self._fault != "Drain is ignored":
                self.is_drained = True
                if self._fault == "Drain cancels the calls":
                    for call in self._calls.values():
                        call.task.cancel()
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
                if self._fault == "an error is declined":
                    call.result.declined.SetInParent()
                if self._fault == "an error ends the stream":
                    self.send(hello=self.program.hello())
            except TimeoutError:
                pass

    def _finish(self, call):
        """Send the result: also of a call that is withdrawn before its task has begun."""
        self.program.handling.discard(call.task)
        del self._calls[call.offer.call_id]
        for _ in range(2 if self._fault == "each result twice" else 1):
            self.send(result=call.result)

    async def _accept(self, call, result):
        offer = call.offer
        async with self._slots:
            if self._fault == "accepts late" and len(self._calls) > 1:
                await asyncio.sleep(6)
            call.is_accepted = True
            for _ in range(2 if self._fault == "each accept twice" else 1):
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
            if self._fault == "no outcome":
                result.ClearField("outcome")


class _Call:
    def __init__(self, offer):
        self.offer = offer
        self.result = pb.Result(call_id=offer.call_id, declined=pb.Declined())
        self.is_accepted = False
        self.confirmed = asyncio.Event()
