"""A handler server of the generated stubs alone, in this process, that keeps every rule except one.

It is a program under test for `callback_conform`, with the handlers that clients/conformance/README.md describes.
"""

import asyncio
import time

import grpc
from google.protobuf.unknown_fields import UnknownFieldSet
from support.faulty_program import FaultyProgram

from callback.v1 import callback_handler_service_pb2 as pb
from callback.v1 import callback_pb2
from callback.v1.callback_handler_service_pb2_grpc import (
    CallbackHandlerServiceServicer,
    add_CallbackHandlerServiceServicer_to_server,
)

MIB = 1 << 20


class FaultyHandlers(FaultyProgram, CallbackHandlerServiceServicer):
    """The program. `fault` is the rule that it breaks, by a name below; empty: none."""

    def __init__(self, fault, variables, changes):
        self._turn = asyncio.Semaphore(1 if fault == "one at a time" else 100)
        self._stopping = asyncio.Event()
        super().__init__(fault, variables, changes)

    def terminate(self):
        self._stopping.set()

    async def _run(self):
        limit = 4 * MIB if self.fault == "small messages" else 16 * MIB
        server = grpc.aio.server(options=[("grpc.max_receive_message_length", limit), ("grpc.so_reuseport", 0)])
        add_CallbackHandlerServiceServicer_to_server(self, server)
        server.add_insecure_port(self._variables["CALLBACK_ADDRESS"])
        await server.start()
        try:
            await self._stopping.wait()
            await server.stop(0 if self.fault == "stops at once" else 10)
        finally:
            await server.stop(0)
            self.exit_code = 0
            self._changes.notify()

    async def HandleCallback(self, request, context):
        if request.callback_activity != self._variables["CALLBACK_ACTIVITY"] and self.fault != "any activity":
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "no handler")
        if self.fault == "no unknown fields" and len(UnknownFieldSet(request)):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "unknown")
        if self.fault == "deadline by its clock" and request.deadline.ToMilliseconds() < time.time() * 1000:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "too late")
        async with self._turn:
            self.say("started", request.call_id)
            handling = asyncio.ensure_future(self._handle(request, context))
            try:
                return await (asyncio.shield(handling) if self.fault == "no cancellation" else handling)
            except asyncio.CancelledError:
                if self.fault != "no cancellation":
                    self.say("cancelled", request.call_id)
                raise

    async def _handle(self, request, context):
        code, headers, body = 201, [], b"done"
        verdict = pb.VERDICT_ACCEPTED
        match request.callback_activity_case:
            case "reject":
                code = 422
                verdict = verdict if self.fault == "no rejections" else pb.VERDICT_REJECTED
            case "fail":
                if self.fault != "a failure is an answer":
                    await context.abort(grpc.StatusCode.INTERNAL, "failed")
            case "wait":
                await asyncio.Event().wait()
            case "sleep":
                await asyncio.sleep(0.5)
            case "five":
                body = bytes(5 * MIB)
            case "echo":
                values = [each.value for each in request.request_headers if each.name == "x-value"]
                if self.fault == "ASCII alone":
                    values = [each.encode("ascii", "replace").decode() for each in values]
                headers = [callback_pb2.ResponseHeader(name="x-echo", value=each) for each in values]
        response = callback_pb2.Response(
            response_code=200 if self.fault == "another code" else code, response_body=body
        )
        response.response_headers.headers.extend(headers)
        return pb.HandleCallbackResponse(verdict=verdict, response=response)

    async def HandleNotification(self, request, context):
        given = request.notification
        if given.callback_activity != self._variables["CALLBACK_ACTIVITY"] and self.fault != "any notification":
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "no handler")
        self.say("started" if self.fault == "a notification is a call" else "notified", given.call_id)
        return pb.HandleNotificationResponse(decision=pb.HandleCallbackResponse(verdict=pb.VERDICT_ACCEPTED))

    async def RefuseAnswer(self, _request, context):
        if self.fault == "a report is an error":
            await context.abort(grpc.StatusCode.INTERNAL, "what")
        return pb.RefuseAnswerResponse()
