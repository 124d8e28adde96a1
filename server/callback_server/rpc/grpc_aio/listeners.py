"""Several grpc.aio servers that listen on the same port.

A grpc.aio server accepts one RPC per turn of the event loop, however many have arrived, and requests the next one only
afterwards. Under load, most of the time passes in that wait. Therefore several servers share everything but their
sockets. The operating system distributes the connections among them (SO_REUSEPORT).
"""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from collections.abc import Callable
from typing import Any, Final

import grpc

from callback_process.addresses import parse_bind

LISTENERS: Final = 8 if sys.platform == "linux" else 1
"""The number of servers. Only Linux distributes connections among sockets with SO_REUSEPORT."""

Options = list[tuple[str, Any]]


class Listeners:
    """Several servers that act as one."""

    def __init__(self, make_server: Callable[[Options], grpc.aio.Server]) -> None:
        """Create the servers. `make_server` creates one, with these options besides its own."""
        self._servers = [make_server([("grpc.so_reuseport", int(LISTENERS > 1))]) for _ in range(LISTENERS)]
        self._stopping: asyncio.Task[None] | None = None

    def bind(self, address: str, credentials: Callable[[], grpc.ServerCredentials] | None) -> int:
        """Listen on `HOST:PORT`, and return the port.

        Args:
            address: Where to listen. Port 0 selects a free port.
            credentials: Makes the credentials of one server. None: plain text.

        Raises:
            OSError: The port is taken.
            RuntimeError: gRPC cannot listen there.
        """
        host, port = where = parse_bind(address)
        _require_free(host, port)
        for server in self._servers:
            bind = str(where._replace(port=port))
            port = server.add_secure_port(bind, credentials()) if credentials else server.add_insecure_port(bind)
        return port

    async def start(self) -> None:
        """Accept RPCs from now on."""
        for server in self._servers:
            await server.start()

    async def stop(self, grace_s: float | None) -> None:
        """Accept no more RPCs, and return when the running ones have ended, at the latest after the grace.

        A second call waits for the first one: grpc.aio crashes if a server is stopped twice at the same time.
        """
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop(grace_s))
        await asyncio.shield(self._stopping)

    async def _stop(self, grace_s: float | None) -> None:
        await asyncio.gather(*(server.stop(grace_s) for server in self._servers))


def _require_free(host: str, port: int) -> None:
    """Check that no other process listens on a port.

    The system would not refuse the port if the other process also uses SO_REUSEPORT. A process that starts to share the
    port later, or at the same moment, is not detected.

    Raises:
        OSError: Another process listens on the port.
    """
    if port == 0:
        return
    for family, kind, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # closed connections do not count
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            try:
                probe.bind(address)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise  # every other error is reported by gRPC itself
