"""Push handlers made of the generated stubs alone, without the client library, so that a test can send any answer.

An answer can even be arbitrary bytes. The case's `callback_activity_case` names the script that the handler runs.
`GatedHandler` runs in the process of the server.
"""

import asyncio
import contextlib
import itertools

import grpc

from callback.v1 import callback_handler_service_pb2 as messages
from callback.v1 import callback_pb2 as resources
from callback_server.handlers.handler import Reply

_names = itertools.count(1)


def accept(response=None, **more):
    """Return the answer ACCEPTED."""
    return messages.HandleCallbackResponse(verdict=messages.VERDICT_ACCEPTED, response=response, **more)


def reject(response=None):
    """Return the answer REJECTED."""
    return messages.HandleCallbackResponse(verdict=messages.VERDICT_REJECTED, response=response)


def override(headers=None, **attributes):
    """Return a response with some attributes; `headers` are pairs."""
    if headers is not None:
        attributes["response_headers"] = resources.ResponseHeaders(
            headers=[resources.ResponseHeader(name=name, value=value) for name, value in headers]
        )
    return resources.Response(**attributes)


def answering(answer):
    """Return a script that gives this answer: a message, or bytes in its place."""

    async def script(_request, _context):
        return answer

    return script


def gated(gate, answer):
    """Return a script that gives this answer once the gate, an event, is set."""

    async def script(_request, _context):
        await gate.wait()
        return answer

    return script


class GatedHandler:
    """A handler in the process of the server that accepts each call once its gate is open, and counts them."""

    def __init__(self):
        self.gate = asyncio.Event()
        self.started = 0

    async def handle(self, _grant, _request, *, timeout_s):
        del timeout_s
        self.started += 1
        await self.gate.wait()
        return Reply(accept(), lambda _: None)


class StubHandler:
    """gRPC server with `CallbackHandlerService`, listening at `target`."""

    def __init__(self):
        self._scripts = {}
        self._requests = {}
        self.target = None

    def play(self, script):
        """Return the `callback_activity_case` for cases whose calls this coroutine function handles."""
        name = f"script-{next(_names)}"
        self._scripts[name] = script
        self._requests[name] = []
        return name

    def requests(self, name):
        """Return the requests to the script of this name, in order."""
        return self._requests[name]

    async def handle(self, request, context):
        name = request.callback_activity_case
        self._requests[name].append(request)
        return await self._scripts[name](request, context)


@contextlib.asynccontextmanager
async def stub_handler():
    """Run a `StubHandler`."""
    handler = StubHandler()
    method = grpc.unary_unary_rpc_method_handler(
        handler.handle,
        request_deserializer=messages.HandleCallbackRequest.FromString,
        response_serializer=lambda answer: answer if isinstance(answer, bytes) else answer.SerializeToString(),
    )
    service = messages.DESCRIPTOR.services_by_name["CallbackHandlerService"].full_name
    server = grpc.aio.server(
        options=[
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
        ]
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"HandleCallback": method}),))
    handler.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield handler
    finally:
        await server.stop(0)
