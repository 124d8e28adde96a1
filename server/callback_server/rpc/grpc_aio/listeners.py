"""A gRPC server that listens several times on its port, where the system shares connections out among those that do.

In each turn of the loop grpc.aio takes one RPC per server, however many have come, and asks for the next one only then:
under load most of the time goes by waiting for that. So there are several servers, which have all in common but their
sockets; each connection is with one of them.
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
"""How many servers there are. Elsewhere SO_REUSEPORT does not share connections out."""

Options = list[tuple[str, Any]]


class Listeners:
    """Several servers as one."""

    def __init__(self, make_server: Callable[[Options], grpc.aio.Server]) -> None:
        """`make_server` makes one with options besides its own."""
        self._servers = [make_server([("grpc.so_reuseport", int(LISTENERS > 1))]) for _ in range(LISTENERS)]

    def bind(self, address: str, credentials: Callable[[], grpc.ServerCredentials] | None) -> int:
        """Listens on `HOST:PORT`, with credentials for each; without any it speaks plain text. Returns the port.

        Raises:
            OSError: the port is taken.
            RuntimeError: it can not be bound.
        """
        host, port = where = parse_bind(address)
        _require_free(host, port)
        for server in self._servers:
            bind = str(where._replace(port=port))
            port = server.add_secure_port(bind, credentials()) if credentials else server.add_insecure_port(bind)
        return port

    async def start(self) -> None:
        """Takes RPCs from now on."""
        for server in self._servers:
            await server.start()

    async def stop(self, grace_s: float | None) -> None:
        """Takes no more, and ends when those that run have ended, but no later than after the grace."""
        await asyncio.gather(*(server.stop(grace_s) for server in self._servers))


def _require_free(host: str, port: int) -> None:
    """Refuses a port that somebody listens on. The system would not: whoever shares theirs shares ours.

    Who begins to share it later is not seen, be it another server in the very same moment.

    Raises:
        OSError: somebody does.
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
                    raise  # of all else gRPC says what it is
