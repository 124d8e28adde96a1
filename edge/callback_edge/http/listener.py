"""Listener: accepts connections up to the limits, and stops without losing a request.

The stop:

1. The edge drains: it accepts and serves connections as before, but each response is the last of its connection. So a
   proxy that keeps connections for later requests uses another edge, and sends no request on a connection that closes
   at that moment.
2. It closes the socket, after it has accepted every connection that the system had established.
3. It closes idle connections. A connection that has had no request gets a moment for one that is on its way.
4. It waits for running requests until the grace period ends.
"""

import asyncio
import contextlib
import socket
from collections import Counter
from typing import Any, Final

from hypercorn.typing import ASGIFramework, LifespanState

from callback_edge import metrics, problems
from callback_edge.callers import CallerResolver
from callback_edge.http.config import EdgeConfig, EdgeContext
from callback_edge.http.connection import Connection
from callback_edge.pages.pages import Pages
from callback_edge.settings import EdgeSettings
from callback_process import logs

log = logs.get_logger()

_BACKLOG: Final = 2048
_REFUSALS: Final = {
    "max_connections": problems.TOO_MANY_CALLS,
    "max_connections_per_address": problems.TOO_MANY_REQUESTS,
}
"""Problem that a connection beyond each limit gets."""
_MAX_REFUSED: Final = 256
"""Maximum number of over-limit connections that get a response at the same time. The edge aborts the others."""
_ACCEPT_SETTLE_S: Final = 0.05
"""How long the loop may take to hand over accepted connections, in seconds."""
_FLUSH_S: Final = 0.3
"""How long after the grace period connections may flush the responses sent at its end, in seconds."""


class HttpListener:
    """Server of one application on one socket, from `start` to `stop`.

    Args:
        app: The application.
        pages: Answers to problems.
        settings: The limits.
    """

    def __init__(self, app: ASGIFramework, pages: Pages, settings: EdgeSettings) -> None:
        self._app: Any = app
        self._state: LifespanState = {}
        self._config = EdgeConfig()
        self._config.access_log_sample = settings.access_log_sample
        self._callers = CallerResolver(settings.trusted_proxies or ())
        self._context = EdgeContext(self._callers, pages)
        self._max_connections = settings.max_connections
        applies = settings.trusted_proxies is not None  # else any peer may be a proxy for all callers
        self._max_per_group = settings.max_connections_per_address if applies else 0
        self._by_group: Counter[str] = Counter()
        self._refused = 0
        self._running: dict[asyncio.Task[None], Connection] = {}
        self._socket: socket.socket
        self._server: asyncio.Server

    async def start(self, listening: socket.socket) -> None:
        """Accept connections on a bound socket. The listener owns the socket from then on."""
        self._socket = listening.dup()  # the loop closes its own
        self._socket.setblocking(False)
        self._server = await asyncio.start_server(self._connected, sock=listening, backlog=_BACKLOG)

    def drain(self) -> None:
        """End each connection with its next response, from now on."""
        self._context.is_draining = True

    async def stop(self, grace_s: float) -> None:
        """Accept no more connections, wait for running requests, and close every connection.

        Args:
            grace_s: How long requests may run, in seconds. Then connections have a moment to flush their responses, and
                the rest is cut. Idle connections close at once.
        """
        self.drain()
        await self._close_socket()
        await self._context.terminated.set()
        for connection in self._running.values():
            connection.shorten_wait()
        for timeout_s in (grace_s, _FLUSH_S):
            if self._running:
                await asyncio.wait([*self._running], timeout=timeout_s)
        for connection in self._running.values():
            connection.abort()
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait([*self._running], timeout=_FLUSH_S)

    async def _close_socket(self) -> None:
        # A closed socket resets connections that were not accepted. The loop stops accepting, and this takes the rest.
        self._server.close()  # not wait_closed(): since Python 3.12 it waits for connections without a limit
        await asyncio.sleep(_ACCEPT_SETTLE_S)
        loop = asyncio.get_running_loop()
        with self._socket, contextlib.suppress(OSError):  # BlockingIOError: that was the last one
            while True:
                accepted, _ = self._socket.accept()
                await loop.connect_accepted_socket(self._new_protocol, accepted)

    def _new_protocol(self) -> asyncio.StreamReaderProtocol:
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(), self._connected)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        connection = Connection(self._app, loop, self._config, self._context, self._state, reader, writer)
        connection.group = self._group_of(writer)
        if limit := self._exceeded_limit(connection.group):
            metrics.limited(limit).inc()
            if self._refused >= _MAX_REFUSED:
                connection.abort()
                return
            connection.refusal = _REFUSALS[limit]
            self._refused += 1
        elif connection.group:
            self._by_group[connection.group] += 1
        task = loop.create_task(connection.run())
        self._running[task] = connection
        metrics.CONNECTIONS.inc()
        task.add_done_callback(self._disconnected)

    def _group_of(self, writer: asyncio.StreamWriter) -> str:
        """Return the group whose limit a connection counts for. A trusted proxy has none: all callers are behind it."""
        name = writer.get_extra_info("peername")
        if not self._max_per_group or not name:
            return ""  # no limit, or the client is gone already
        peer = self._callers.peer(name[0])
        return "" if peer.is_trusted else peer.caller.group

    def _exceeded_limit(self, group: str) -> str:
        """Return the limit that one more connection exceeds. Empty if there is none."""
        if len(self._running) - self._refused >= self._max_connections:
            return "max_connections"
        if group and self._by_group[group] >= self._max_per_group:
            return "max_connections_per_address"
        return ""

    def _disconnected(self, task: asyncio.Task[None]) -> None:
        connection = self._running.pop(task)
        if connection.refusal:
            self._refused -= 1
        elif connection.group:
            self._by_group[connection.group] -= 1
            if not self._by_group[connection.group]:
                del self._by_group[connection.group]
        metrics.CONNECTIONS.dec()
        if not task.cancelled() and (error := task.exception()):
            log.error("connection_failed", exc_info=error)
