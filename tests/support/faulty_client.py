"""A client of the generated stubs alone, in this process, that keeps every rule of a client except one.

It is a client driver under test for `callback_conform`: clients/conformance/README.md describes its commands.
"""

import asyncio
import json
import math
import uuid
from pathlib import Path

import grpc
from google.protobuf.unknown_fields import UnknownFieldSet
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from support.faulty_program import FaultyProgram

from callback.v1 import callback_pb2
from callback.v1 import callbacks_service_pb2 as pb
from callback.v1.callbacks_service_pb2_grpc import CallbacksServiceStub

PAUSE_S = 0.05
OPTIONS = [
    ("grpc.enable_retries", 0),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.keepalive_time_ms", 4_100),
    ("grpc.keepalive_timeout_ms", 1_000),
    ("grpc.http2.ping_timeout_ms", 1_000),
]
PINGS = ("grpc.keepalive_time_ms", "grpc.keepalive_timeout_ms", "grpc.http2.ping_timeout_ms")


class CallbackClosedError(Exception):
    """The callback is closed, for the reason that is the text."""


class FaultyClient(FaultyProgram):
    """The driver. `fault` is the rule that it breaks, by a name below; empty: none."""

    def __init__(self, fault, variables, changes):
        self._commands = asyncio.Queue()
        self._token = Path(variables["CALLBACK_TOKEN_FILE"]).read_text()
        self._one_id = str(uuid.uuid4())
        super().__init__(fault, variables, changes)

    def write(self, line):
        self._commands.put_nowait(json.loads(line))

    def terminate(self):
        self._running.cancel()

    async def _run(self):
        authorities = self._authorities()
        if authorities.count(b"BEGIN") != authorities.count(b"END") and self.fault != "any authorities":
            self.exit_code = 1
            self._changes.notify()
            return
        try:
            async with self._channel() as channel:
                self._opened, self._stub = channel, CallbacksServiceStub(channel)
                while True:
                    command = await self._commands.get()
                    try:
                        result = {"ok": await getattr(self, f"_{command['do']}")(command)}
                    except grpc.aio.AioRpcError as error:
                        result = {"error": self._object(error)}
                    except CallbackClosedError as closed:
                        result = {"error": {"reason": "CALLBACK_CLOSED", "facts": {"close_reason": str(closed)}}}
                    except grpc.aio.UsageError:
                        result = {"error": {"code": "CANCELLED"}}
                    except TimeoutError:
                        result = {"error": {"code": "DEADLINE_EXCEEDED"}}
                    except UnicodeEncodeError:
                        result = {"refused": True}
                    self.lines.append(json.dumps(result))
                    self._changes.notify()
        finally:
            self.exit_code = 0
            self._changes.notify()

    def _channel(self):
        target, options = self._variables["CALLBACK_TARGET"], OPTIONS
        if self.fault == "no pings":
            options = [each for each in options if each[0] not in PINGS]
        if self.fault == "one server":
            target = target.partition(",")[0]
        if "," in target or self.fault == "IP addresses alone":
            target = f"ipv4:{target}"
        authorities = self._authorities()
        if authorities and self.fault != "no TLS":
            if self.fault == "one name":
                options = [*options, ("grpc.ssl_target_name_override", "callback.example")]
            return grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(authorities), options=options)
        return grpc.aio.insecure_channel(target, options=options)

    def _authorities(self):
        ca_file = self._variables["CALLBACK_CA_FILE"]
        return Path(ca_file).read_bytes() if ca_file else b""

    def _metadata(self):
        if self.fault == "no token":
            return []
        if self.fault != "the token of the start":
            self._token = Path(self._variables["CALLBACK_TOKEN_FILE"]).read_text()
        return [("authorization", f"Bearer {self._token}")]

    async def _generate(self, command):
        activity = "\ud800" if command.get("is_no_unicode") else command["activity"]
        if self.fault == "other text":
            activity = activity.encode(errors="replace").decode()
        choices = command.get("choices", [])
        if self.fault == "sorted choices":
            choices = sorted(choices)
        request = pb.GenerateCallbackUrlRequest(
            callback_activity=activity,
            prompt=callback_pb2.Prompt(choices=[callback_pb2.PromptChoice(value=each) for each in choices]),
            response=callback_pb2.Response(response_type=callback_pb2.RESPONSE_TYPE_RESPONSE),
            request_id=command.get("request_id") or str(uuid.uuid4()),
        )
        if self.fault == "one id":
            request.request_id = self._one_id
        if self.fault == "ignores the id":
            request.request_id = str(uuid.uuid4())
        made = await self._call("GenerateCallbackUrl", request, command)
        if self.fault == "no unknown fields" and len(UnknownFieldSet(made)):
            return {}
        return {"case_id": made.callback_case_id, "url": made.callback_url}

    async def _get(self, command):
        request = pb.GetCallbackRequest(callback_case_id=command["case_id"])
        found = (await self._call("GetCallback", request, command)).callback
        return {"case_id": found.callback_case_id}

    async def _close(self, _command):
        if self.fault != "never closed":
            await self._opened.close()
        return {}

    async def _wait(self, command):
        loop = asyncio.get_running_loop()
        end = loop.time() + command["timeout_s"]
        if self.fault == "waits without end":
            end = math.inf
        watch = None
        while True:
            request = pb.GetCallbackRequest(callback_case_id=command["case_id"])
            found = (await self._call("GetCallback", request, command)).callback
            if found.call_count:
                request = pb.ListCallsRequest(callback_case_id=command["case_id"])
                (call,) = (await self._call("ListCalls", request, command)).calls
                await self._call("GetCall", pb.GetCallRequest(call_id=call.call_id), command)
                return {"call_id": call.call_id}
            if found.status == callback_pb2.CALLBACK_STATUS_CLOSED and self.fault != "waits for a closed one":
                reason = callback_pb2.CloseReason.Name(found.close_reason)
                raise CallbackClosedError(reason.removeprefix("CLOSE_REASON_"))
            if self.fault == "polls":
                await asyncio.sleep(PAUSE_S)
                continue
            try:
                async with asyncio.timeout(end - loop.time()):
                    if watch is None:
                        request = pb.WatchCallsRequest(callback_case_id=command["case_id"])
                        watch = self._stub.WatchCalls(request, metadata=self._metadata())
                        await watch.read()
                    else:
                        while not (await watch.read()).events:
                            pass
            except grpc.aio.AioRpcError:
                if self.fault == "a lost watch is the end":
                    raise
                watch = None

    async def _call(self, method, request, command):
        loop = asyncio.get_running_loop()
        default_s = 60 if self.fault == "a minute" else 10
        end = loop.time() + command.get("timeout_s", default_s)
        while True:
            left_s = None if self.fault == "no deadline" else end - loop.time()
            try:
                return await getattr(self._stub, method)(request, timeout=left_s, metadata=self._metadata())
            except grpc.aio.AioRpcError as error:
                pause_s = PAUSE_S if self.fault == "no pause" else self._object(error)["retry_after_s"] or PAUSE_S
                is_retryable = (
                    error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
                    or self.fault == "retries everything"
                )
                is_over = loop.time() + pause_s >= end and self.fault != "retries without end"
                if not is_retryable or self.fault == "no retries" or is_over:
                    raise
                await asyncio.sleep(pause_s)
                if self.fault == "a new id":
                    request.request_id = str(uuid.uuid4())

    async def _watch(self, command):
        request = pb.WatchCallsRequest(
            callback_case_id=command.get("case_id", ""), resume_token=command.get("resume_token", "")
        )
        first_token, events = request.resume_token, []
        while True:
            if self.fault == "from the start":
                request.resume_token = first_token
            stream = self._stub.WatchCalls(request, metadata=self._metadata())
            try:
                async for message in stream:
                    for event in message.events:
                        if self.fault == "known types alone" and event.type not in pb.CallEventType.values():
                            continue
                        events.append({"call_id": event.call_id})
                        request.resume_token = event.resume_token
                        if len(events) == command["count"]:
                            stream.cancel()
                            token = message.resume_token if self.fault == "after the batch" else event.resume_token
                            return {"events": events, "resume_token": token}
                    if not message.events and self.fault != "positions of events alone":
                        request.resume_token = message.resume_token
                if self.fault == "OK is the end":
                    return {"events": events, "resume_token": request.resume_token}
            except grpc.aio.AioRpcError as error:
                reason = self._object(error)["reason"]
                if self.fault == "begins anew" and reason == "WATCH_POSITION_LOST":
                    request.resume_token = ""
                elif error.code() is not grpc.StatusCode.UNAVAILABLE and (
                    reason != "WATCHER_TOO_SLOW" or self.fault == "too slow is an error"
                ):
                    raise
            await asyncio.sleep(PAUSE_S)

    def _object(self, error):
        info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
        status = rpc_status.from_call(error)
        for detail in status.details if status else ():
            for message in (info, bad, retry):
                if detail.Is(message.DESCRIPTOR):
                    detail.Unpack(message)
        is_ours = info.domain == "callback" or self.fault == "any domain"
        violations = bad.field_violations[:1] if self.fault == "one violation" else bad.field_violations
        return {
            "code": error.code().name,
            "reason": info.reason if is_ours else "",
            "facts": {} if self.fault == "no facts" else dict(info.metadata),
            "retry_after_s": retry.retry_delay.ToMilliseconds() / 1000 or None,
            "violations": [
                {"field": each.field, "description": each.description, "rule": each.reason} for each in violations
            ],
        }
