"""A watch of calls, with the events that it got."""

import contextlib

import grpc

from callback.v1 import callbacks_service_pb2 as pb2


class Watch:
    """A watch that has begun; `token` is the place behind what it was told."""

    def __init__(self, callbacks, metadata=None, **request):
        self._stream = callbacks.WatchCalls(pb2.WatchCallsRequest(**request), metadata=metadata)
        self.token = ""
        self._early = []

    async def begin(self):
        """Wait until what happens is not missed."""
        assert not await self.read()
        return self

    async def read(self):
        """The events of the next message. Raises EOFError if there is none, for it has ended well."""
        message = await self._stream.read()
        if message is grpc.aio.EOF:
            raise EOFError
        self.token = message.resume_token
        return list(message.events)

    async def events(self, count):
        """The next events, so many and no more."""
        got = []
        while len(got) < count:
            got += await self.read()
        assert len(got) == count, got
        return got

    async def end_of(self):
        """Read to the end, which raises how it ended."""
        while True:
            await self.read()

    def cancel(self):
        """End it."""
        self._stream.cancel()


@contextlib.asynccontextmanager
async def watch(callbacks, **request):
    """A watch for as long as the block."""
    watching = await Watch(callbacks, **request).begin()
    try:
        yield watching
    finally:
        watching.cancel()


def told(event):
    """An event in short: its type, and what it says of the case's status and reason, the call's, and the delivery's."""
    words = [pb2.CallEventType.Name(event.type).removeprefix("CALL_EVENT_TYPE_")]
    for field, prefix in _WORDS:
        names = event.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number
        words.append(names[getattr(event, field)].name.removeprefix(prefix))
    return tuple("" if word == "UNSPECIFIED" else word for word in words)


_WORDS = (
    ("case_status", "CALLBACK_STATUS_"),
    ("close_reason", "CLOSE_REASON_"),
    ("call_status", "CALL_STATUS_"),
    ("delivery_status", "DELIVERY_STATUS_"),
)
