"""TCP tunnel to an address, which can lose answers, break its connections and lead elsewhere."""

import asyncio
import contextlib
from asyncio import StreamReader, StreamWriter
from typing import Self, cast

from callback_process.listener import stop_accepting

_CHUNK_BYTES = 1 << 16


class Tunnel:
    """Tunnel from a port of loopback to `target`. Use it as an async context manager, which listens.

    `target` holds for new connections. While `is_losing_answers`, bytes from the target are dropped and counted in
    `lost_bytes`.
    """

    def __init__(self, target: str, *, port: int = 0) -> None:
        """Create a tunnel.

        Args:
            target: Address that it leads to, `HOST:PORT`.
            port: Port to listen on. 0 picks a free one.
        """
        self.target = target
        self.address = ""
        """Address that it listens on, once it does."""
        self.is_losing_answers = False
        self.lost_bytes = 0
        self._port = port
        self._connections: set[StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_error: object) -> None:
        await stop_accepting(self._server)
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def lead_to(self, target: str) -> None:
        """Lead to another address, and break every connection."""
        self.target = target
        self.cut()

    def cut(self) -> None:
        """Break every connection, as a failure of the network does."""
        for connection in self._connections:
            connection.transport.abort()

    async def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        if not self._server.is_serving():  # it was closed since it accepted this connection
            writer.transport.abort()
            return
        host, _, port = self.target.rpartition(":")
        ends = {writer}
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._tasks.add(task)
        self._connections.add(writer)
        try:
            back_reader, back_writer = await asyncio.open_connection(host, int(port))
            ends.add(back_writer)
            self._connections.add(back_writer)
            await asyncio.gather(self._forward(reader, back_writer), self._forward(back_reader, writer, is_answer=True))
        except (OSError, asyncio.CancelledError):  # asyncio of Python 3.11 would log that it was cancelled
            return
        finally:
            self._connections -= ends
            for end in ends:
                end.transport.abort()
            self._tasks.discard(task)

    async def _forward(self, reader: StreamReader, writer: StreamWriter, *, is_answer: bool = False) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(_CHUNK_BYTES):
                if is_answer and self.is_losing_answers:
                    self.lost_bytes += len(chunk)
                else:
                    writer.write(chunk)
                    await writer.drain()
        writer.transport.abort()
