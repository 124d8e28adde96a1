"""A minimal HTTP/1.1 client for measurements: it is cheap, so that a measurement shows the cost of the other side."""

import asyncio
import re

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close\r\n", re.IGNORECASE)


def get(path):
    """Return the bytes of a GET."""
    return b"GET %s HTTP/1.1\r\nhost: localhost\r\n\r\n" % path.encode()


class Connection(asyncio.Protocol):
    """A connection with one request at a time. `status` is the last answer's; `is_open`: it accepts another request."""

    def __init__(self):
        self.is_open = False
        self.status = 0
        self._transport = None
        self._received = b""
        self._done = None

    @classmethod
    async def to(cls, port, address=None):
        """Open a connection to a port of this machine, optionally from another loopback address."""
        origin = (address, 0) if address else None
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(cls, "127.0.0.1", port, local_addr=origin))[1]

    def send(self, request, done):
        """Send a request. `done()` is called once, when the answer is here or cannot come; then `status` is 0."""
        self._done = done
        self._received = b""
        self._transport.write(request)

    async def ask(self, request):
        """Send a request, wait for its answer, and return the status."""
        waiter = asyncio.get_running_loop().create_future()
        self.send(request, lambda: waiter.done() or waiter.set_result(self.status))  # done: the sender was cancelled
        return await waiter

    def close(self):
        """Close the connection."""
        self._transport.abort()

    def connection_made(self, transport):
        self._transport = transport
        self.is_open = True

    def data_received(self, data):
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._received[: end + 2]
        if len(self._received) >= end + 4 + int(_LENGTH.search(head)[1]):
            self.is_open = not _CLOSE.search(head)
            self._answered(int(head[9:12]))

    def connection_lost(self, error):
        self.is_open = False
        self._answered(0)

    def _answered(self, status):
        self.status = status
        if done := self._done:
            self._done = None
            done()
