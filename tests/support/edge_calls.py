"""Calls to a server's EdgeService without an edge, each over its own stream."""

import asyncio
import contextlib

import grpc
import grpc.aio

from callback.v1 import edge_service_pb2 as edge
from callback.v1.edge_service_pb2_grpc import EdgeServiceStub

_CODES = {code.value[0]: code for code in grpc.StatusCode}


class EdgeCalls:
    """Calls over a channel. Each is an awaitable of its response, and raises a refusal as an RPC does."""

    def __init__(self, channel):
        self._stub = EdgeServiceStub(channel)
        self.ReportCallerGone = self._stub.ReportCallerGone

    def StreamInvocations(self, requests=None, *, metadata=()):
        return EdgeStream(self._stub.StreamInvocations(requests, metadata=metadata))

    def Invoke(self, request, *, metadata=()):
        return asyncio.ensure_future(self._invoke(request, metadata))

    async def look_up(self, request, *, metadata=()):
        """Look a request up. Return None, or raise its refusal."""
        result = await self._ask(edge.Invocation(number=1, request=request, look_up=True), metadata)
        if not result.HasField("send_body"):
            response_of(result)
            raise AssertionError("a look-up has no response")

    async def origins(self, request, *, metadata=()):
        """Return the origins that may use a case, or raise the refusal."""
        result = await self._ask(edge.Invocation(number=1, origins=request), metadata)
        return result.origins if result.HasField("origins") else response_of(result)

    async def wait(self, request, *, metadata=()):
        """Return the answer to an earlier call, whose caller was told to wait, or raise its refusal."""
        return response_of(await self._ask(edge.Invocation(number=1, wait=request), metadata))

    def event(self, event, *, metadata=()):
        """Send an event, and return the future of its answer."""
        return asyncio.ensure_future(self._event(event, metadata))

    async def _event(self, event, metadata):
        return response_of(await self._ask(edge.Invocation(number=1, event=event), metadata))

    async def _invoke(self, request, metadata):
        return response_of(await self._ask(edge.Invocation(number=1, request=request), metadata))

    async def _ask(self, invocation, metadata):
        stream = self.StreamInvocations(metadata=metadata)
        try:
            await stream.read()  # readiness; the server must accept this call in any case
            await stream.write(edge.StreamInvocationsRequest(invocations=[invocation]))
            await stream.done_writing()
            async for result in answers_of(stream):
                # Read to the end, as an edge does: the caller of a result that is cancelled on its way is gone.
                with contextlib.suppress(grpc.aio.AioRpcError):
                    await stream.read()
                return result
            raise AssertionError("the stream ended without a result")
        finally:
            stream.cancel()


class EdgeStream:
    """A stream of an edge. It reads what edges read: not the messages that have only epochs, which come at any time."""

    def __init__(self, stream):
        self._stream = stream
        self.write, self.done_writing = stream.write, stream.done_writing
        self.cancel, self.code = stream.cancel, stream.code

    async def read(self):
        while (message := await self._stream.read()) is not grpc.aio.EOF:
            if message.results or message.readiness:
                break
        return message


async def answers_of(stream):
    """Yield the results of a stream until it ends."""
    while (message := await stream.read()) is not grpc.aio.EOF:
        for answer in message.results:
            yield answer


def response_of(answer):
    """Return the response in a result, or raise the error in it."""
    if answer.HasField("response"):
        return answer.response
    details = grpc.aio.Metadata(("grpc-status-details-bin", answer.status.SerializeToString()))
    raise grpc.aio.AioRpcError(_CODES[answer.status.code], grpc.aio.Metadata(), details, answer.status.message)
