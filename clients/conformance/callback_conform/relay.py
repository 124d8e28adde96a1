"""A relay in front of the scripted server, which can let connections hang as a network does that loses packets."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import StreamReader, StreamWriter
from typing import Final, Self

_CHUNK_BYTES: Final = 1 << 18


async def stop_accepting(server: asyncio.Server) -> None:
    """Close a server, which serves what it has accepted by then.

    asyncio loses a connection, and leaves it open, if its server closes in the turn of the loop that accepted it
    (python/cpython#109564).
    """
    loop = asyncio.get_running_loop()
    for listening in server.sockets:
        loop.remove_reader(listening.fileno())
    await asyncio.sleep(0)  # what was accepted becomes a connection of the server
    server.close()


class Relay:
    """Forwards connections to a port of loopback. Use it as an async context manager, which listens."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connections: dict[asyncio.Task[None], _Connection] = {}

        self.port = 0
        """The port that it listens on, also after it was away. 0 before the block."""
        self._server: asyncio.Server | None = None
        """None while it is away."""

    async def __aenter__(self) -> Self:
        await self.be_away(False)
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.be_away(True)

    async def be_away(self, is_away: bool) -> None:
        """Break the connections that there are and refuse new ones, or accept these again."""
        if not is_away and self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
            self.port = int(self._server.sockets[0].getsockname()[1])
        elif is_away and self._server is not None:
            server, self._server = self._server, None
            await stop_accepting(server)
            self.cut()
            while self._connections:
                await asyncio.wait(self._connections)
            await server.wait_closed()

    def cut(self) -> None:
        """Break the connections that there are now."""
        for connection in self._connections.values():
            connection.abort()

    def freeze(self) -> None:
        """Forward nothing more on the connections that there are now."""
        for connection in self._connections.values():
            connection.is_frozen = True

    def hold(self, is_held: bool) -> None:
        """Hold back what the program sends on the connections that there are now, or forward it again."""
        for connection in self._connections.values():
            connection.hold(is_held)

    async def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            there = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            writer.transport.abort()
            return
        connection = _Connection((reader, writer), there)
        task = asyncio.create_task(connection.forward())
        self._connections[task] = connection
        task.add_done_callback(self._connections.pop)
        await task


class _Connection:
    """One connection, and the one behind it."""

    def __init__(self, here: tuple[StreamReader, StreamWriter], there: tuple[StreamReader, StreamWriter]) -> None:
        self._here, self._there = here, there
        self.is_frozen = False
        self._is_open = asyncio.Event()
        """Set unless what the program sends is held back."""
        self._is_open.set()

    async def forward(self) -> None:
        """Forward both ways until an end breaks."""
        always = asyncio.Event()
        always.set()
        ways = ((self._here[0], self._there[1], self._is_open), (self._there[0], self._here[1], always))
        await asyncio.gather(*(self._forward(*way) for way in ways))

    def hold(self, is_held: bool) -> None:
        """Hold back what the program sends, or forward it again."""
        if is_held:
            self._is_open.clear()
        else:
            self._is_open.set()

    def abort(self) -> None:
        """Break both connections."""
        self._is_open.set()
        for _, writer in (self._here, self._there):
            writer.transport.abort()

    async def _forward(self, reader: StreamReader, writer: StreamWriter, is_open: asyncio.Event) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(_CHUNK_BYTES):
                await is_open.wait()
                if not self.is_frozen:
                    writer.write(chunk)
                    await writer.drain()
        self.abort()
