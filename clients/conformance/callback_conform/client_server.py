"""The scripted `CallbacksService`: each request waits until a step answers it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import grpc
from google.protobuf import message_factory
from google.protobuf.message import Message

from callback.v1 import callbacks_service_pb2 as pb
from callback_conform.changes import Changes
from callback_conform.refusals import refuse

SERVICE: Final = pb.DESCRIPTOR.services_by_name["CallbacksService"]


class Request:
    """One RPC of the client, from its request until it is over."""

    def __init__(self, method: str, message: Message, token: str, remaining_s: float | None) -> None:
        self.method = method
        self.message = message
        self.token = token
        """The bearer token that came with it. Empty if none did."""
        self.remaining_s = remaining_s
        """The time until its deadline, in seconds. None: it has none."""
        self.time = time.monotonic()
        """When it came."""
        self._replies: asyncio.Queue[Message | Mapping[str, Any]] = asyncio.Queue()

    def send(self, reply: Message | Mapping[str, Any]) -> None:
        """Send a message, or end the RPC with a status."""
        self._replies.put_nowait(reply)

    async def replies(self) -> AsyncIterator[Message | Mapping[str, Any]]:
        """Yield what a step sends, until the status that ends the RPC."""
        while True:
            item = await self._replies.get()
            yield item
            if not isinstance(item, Message):
                return


class ClientServer:
    """The servicer. Its requests wait in `requests` until a step takes them."""

    def __init__(self, changes: Changes) -> None:
        self.requests: list[Request] = []
        self._changes = changes
        for method in SERVICE.methods:
            handler = self._stream(method.name) if method.server_streaming else self._unary(method.name)
            setattr(self, method.name, handler)

    def _open(self, method: str, message: Message, context: grpc.aio.ServicerContext[Any, Any]) -> Request:
        metadata = dict(context.invocation_metadata() or ())
        token = str(metadata.get("authorization", "")).removeprefix("Bearer ")
        request = Request(method, message, token, context.time_remaining())
        self.requests.append(request)
        self._changes.notify()
        return request

    def _unary(self, name: str) -> Any:
        async def serve(message: Message, context: grpc.aio.ServicerContext[Any, Any]) -> Message:
            async for reply in self._open(name, message, context).replies():
                if isinstance(reply, Message):
                    return reply
                await refuse(context, reply)
            raise AssertionError("the replies of a request end with its status")

        return serve

    def _stream(self, name: str) -> Any:
        async def serve(message: Message, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Message]:
            async for reply in self._open(name, message, context).replies():
                if isinstance(reply, Message):
                    yield reply
                elif reply["code"] != "OK":
                    await refuse(context, reply)

        return serve


def reply_class(method: str) -> type[Message]:
    """Return the class of the messages that a method replies with."""
    found: type[Message] = message_factory.GetMessageClass(SERVICE.methods_by_name[method].output_type)
    return found
