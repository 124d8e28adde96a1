"""Load at a steady rate that does not wait for answers: requests of callers while processes restart.

The client is minimal: on a busy machine, a client that needs milliseconds for each request would measure itself.
"""

import asyncio
import contextlib
import re

_IDLE_S = 5
"""Maximum idle time of a connection that is used again, in seconds: a request on a closing connection fails."""
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


class Load:
    """Sender of `request(n)`, the bytes of an HTTP/1.1 request, for n = 0, 1, … over connections from `connect()`.

    `answers` has, by n, the status and the body; or 0 and the error as text. `sent` is the number of sent requests.
    """

    def __init__(self, connect, request, *, per_second):
        self._connect = connect
        self._request = request
        self._pause = 1 / per_second
        self._idle = []
        self._running = set()
        self.sent = 0
        self.answers = {}

    @contextlib.asynccontextmanager
    async def running(self):
        """Send requests while the block runs, then wait for the outstanding answers."""
        sending = asyncio.create_task(self._send())
        try:
            yield self
        finally:
            sending.cancel()
            await asyncio.gather(sending, *self._running, return_exceptions=True)
            for _, (_, writer) in self._idle:
                writer.close()

    async def _send(self):
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            call = asyncio.create_task(self._one(self.sent))
            self._running.add(call)
            call.add_done_callback(self._running.discard)
            self.sent += 1
            await asyncio.sleep(began + self.sent * self._pause - loop.time())

    async def _one(self, n):
        try:
            async with asyncio.timeout(60):
                reader, writer = self._kept() or await self._connect()
                try:
                    writer.write(self._request(n))
                    head = await reader.readuntil(b"\r\n\r\n")
                    body = await reader.readexactly(int(_LENGTH.search(head)[1]))
                except BaseException:
                    writer.close()
                    raise
        except (OSError, EOFError) as error:
            self.answers[n] = (0, repr(error))
            return
        self.answers[n] = (int(head[9:12]), body.decode())
        if b"\r\nconnection: close\r\n" in head.lower():
            writer.close()
        else:
            self._idle.append((asyncio.get_running_loop().time(), (reader, writer)))

    def _kept(self):
        if self._idle:
            since, connection = self._idle.pop()
            if asyncio.get_running_loop().time() - since < _IDLE_S:
                return connection
            for _, (_, writer) in self._idle:  # the connections below it have been idle for longer
                writer.close()
            self._idle.clear()
            connection[1].close()
        return None
