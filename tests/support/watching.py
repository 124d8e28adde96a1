"""A watch of calls, and the events that it received."""

import contextlib

import grpc

from callback.v1 import callbacks_service_pb2 as pb2


class Watch:
    """An active watch; `token` is the position after the last received event."""

    def __init__(self, callbacks, metadata=None, **request):
        self._stream = callbacks.WatchCalls(pb2.WatchCallsRequest(**request), metadata=metadata)
        self.token = ""

    async def begin(self):
        """Wait until the watch is active: it misses no later event."""
        assert not await self.read()
        return self

    async def read(self):
        """Return the events of the next message. Raise EOFError if the watch has ended without an error."""
        message = await self._stream.read()
        if message is grpc.aio.EOF:
            raise EOFError
        self.token = message.resume_token
        return list(message.events)

    async def events(self, count):
        """Return exactly this many next events."""
        got = []
        while len(got) < count:
            got += await self.read()
        assert len(got) == count, got
        return got

    async def end_of(self):
        """Read to the end, and raise the error that ended the watch."""
        while True:
            await self.read()

    def cancel(self):
        """End the watch."""
        self._stream.cancel()


@contextlib.asynccontextmanager
async def watch(callbacks, **request):
    """Watch calls while the block runs."""
    watching = await Watch(callbacks, **request).begin()
    try:
        yield watching
    finally:
        watching.cancel()


def told(event):
    """Return an event in short: its type, the case's status and reason, the call's status, and the delivery's."""
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
