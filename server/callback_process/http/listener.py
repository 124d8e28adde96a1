"""Listener: accepts connections up to the limits, and stops without losing a request.

A connection can stay idle for a long time (`keep_alive_timeout_s`). So that this takes no room from callers, at a
limit the listener closes the connection that has been idle the longest, if that is `MIN_IDLE_S` at least. It never
closes one of a trusted proxy for that.

The stop:

1. The listener drains: it accepts and serves connections as before, but each response is the last of its connection. So
   a proxy that keeps connections for later requests uses another process, and sends no request on a connection that
   closes at that moment.
2. It accepts every connection that the system had established, and closes the socket.
3. It closes idle connections. A connection that has had no request gets a moment for one that is on its way.
4. It waits for running requests until the grace period ends.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Sequence
from typing import Final

from callback_process import logs
from callback_process.addresses import IPNetwork
from callback_process.http.callers import CallerResolver
from callback_process.http.config import HttpConfig, HttpContext, IdleConnection
from callback_process.http.connection import Connection
from callback_process.http.service import HttpLimits, Service

log = logs.get_logger()

_BACKLOG: Final = 2048
_ACCEPT_BATCH: Final = 8
"""Maximum number of connections to accept before others are served."""
ACCEPT_RETRY_S: Final = 1
"""How long the listener accepts nothing after the system refused a connection for lack of files or memory, in
seconds."""
_REFUSALS: Final = {"max_connections": 503, "max_connections_per_address": 429}
"""Status that a connection beyond each limit gets."""
_MAX_REFUSED: Final = 256
"""Maximum number of over-limit connections that get a response at the same time. The others are closed."""
MIN_IDLE_S: Final = 5
"""How long a connection is idle, in seconds, before it can be closed to make room for another one."""
_FLUSH_S: Final = 0.3
"""How long after the grace period connections may flush the responses sent at its end, in seconds."""


class HttpListener:
    """Server of HTTP on one socket, from `start` to `stop`.

    Args:
        service: What answers the requests.
        limits: The limits.
        trusted_proxies: Proxies in front. None: unknown, so that no limit per address applies.
    """

    def __init__(self, service: Service, limits: HttpLimits, trusted_proxies: Sequence[IPNetwork] | None) -> None:
        self._service = service
        self._config = HttpConfig(limits, service.fixed_headers)
        self._callers = CallerResolver(trusted_proxies or ())
        self._context = HttpContext(self._callers, service)
        self._max_connections = limits.max_connections
        applies = trusted_proxies is not None  # else any peer may be a proxy for all callers
        self._max_per_group = limits.max_connections_per_address if applies else 0
        self._counted = 0
        self._by_group: Counter[str] = Counter()
        self._refused = 0
        self.connections: dict[asyncio.Task[None], Connection] = {}
        """The open connections."""
        self._socket: socket.socket

    async def start(self, listening: socket.socket) -> None:
        """Accept connections on a bound socket. The listener closes it."""
        self._socket = listening
        listening.setblocking(False)
        listening.listen(_BACKLOG)
        self._resume()

    def drain(self) -> None:
        """End each connection with its next response, from now on."""
        self._context.is_draining = True

    async def stop(self, grace_s: float) -> None:
        """Accept no more connections, wait for running requests, and close every connection. May be called again.

        Args:
            grace_s: How long requests may run, in seconds. Then connections have a moment to flush their responses, and
                the rest is cut. Idle connections close at once.
        """
        self.drain()
        if self._is_open:
            asyncio.get_running_loop().remove_reader(self._socket)
            with self._socket:  # to close it resets each connection that was not accepted
                while self._accept():
                    pass
        await self._context.terminated.set()
        for connection in self.connections.values():
            connection.shorten_wait()
        for timeout_s in (grace_s, _FLUSH_S):
            if self.connections:
                await asyncio.wait([*self.connections], timeout=timeout_s)
        for connection in self.connections.values():
            connection.abort()
        for task in self.connections:
            task.cancel()
        if self.connections:
            await asyncio.wait([*self.connections], timeout=_FLUSH_S)

    @property
    def _is_open(self) -> bool:
        return self._socket.fileno() >= 0

    def _resume(self) -> None:
        if self._is_open:
            asyncio.get_running_loop().add_reader(self._socket, self._accept_batch)

    def _accept_batch(self) -> None:
        for _ in range(_ACCEPT_BATCH):
            if not self._accept():
                break

    def _accept(self) -> bool:
        """Accept a connection that the system has established. Return False if there is none."""
        try:
            accepted, address = self._socket.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:
            log.warning("accept_failed", error=str(error), to_do="allow more open files, or lower max_connections")
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._socket)
            loop.call_later(ACCEPT_RETRY_S, self._resume)
            return False
        group = self._group_of(address[0])
        refusal = 0
        if limit := self._exceeded_limit(group):
            self._service.count_limited(limit)
            if self._refused >= _MAX_REFUSED:
                accepted.close()
                return True
            refusal = _REFUSALS[limit]
        loop = asyncio.get_running_loop()
        connection = Connection(loop, self._config, self._context, accepted, group, refusal)
        if refusal:
            self._refused += 1
        else:
            self._count(connection)
        task = loop.create_task(connection.run())
        self.connections[task] = connection
        self._service.count_connections(1)
        task.add_done_callback(self._disconnected)
        return True

    def _group_of(self, address: str) -> str:
        """Return the group whose limit a connection counts for. A trusted proxy has none: all callers are behind it."""
        if not self._max_per_group:
            return ""
        peer = self._callers.peer(address)
        return "" if peer.is_trusted else peer.caller.group

    def _exceeded_limit(self, group: str) -> str:
        """Return the limit that one more connection exceeds, if no idle one makes room. Empty if there is none."""
        if group and self._by_group[group] >= self._max_per_group and not self._evict(group):
            return "max_connections_per_address"
        if self._counted >= self._max_connections and not self._evict():
            return "max_connections"
        return ""

    def _evict(self, group: str = "") -> bool:
        """Close the connection that has been idle the longest, of a group or of all. Return False if there is none."""
        latest = asyncio.get_running_loop().time() - MIN_IDLE_S
        for connection, since in self._context.idle.items():
            if since > latest:
                break
            if (not group or connection.group == group) and not connection.has_unread_bytes():
                connection.close_idle()
                self._uncount(connection)
                return True
        return False

    def _count(self, connection: Connection) -> None:
        connection.is_counted = True
        self._counted += 1
        if connection.group:
            self._by_group[connection.group] += 1

    def _uncount(self, connection: IdleConnection) -> None:
        connection.is_counted = False
        self._counted -= 1
        if connection.group:
            self._by_group[connection.group] -= 1
            if not self._by_group[connection.group]:
                del self._by_group[connection.group]

    def _disconnected(self, task: asyncio.Task[None]) -> None:
        connection = self.connections.pop(task)
        if connection.refusal:
            self._refused -= 1
        elif connection.is_counted:
            self._uncount(connection)
        self._service.count_connections(-1)
        if not task.cancelled() and (error := task.exception()):
            log.error("connection_failed", exc_info=error)
