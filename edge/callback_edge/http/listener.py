"""Connections, from accepting to closing: not too many, and nobody holds one, or the process, longer than they may.

Hypercorn waits for slow readers without end, and its own stop waits for them too. Here a connection is given up when
its peer takes nothing for `WRITE_TIMEOUT_S`, and a stop is over when its grace is. The pieces that are replaced are
internal to Hypercorn 0.18.

A stop loses nobody who got in:

1. It drains: connections are accepted and served as before, but each answer is the last of its connection. So a proxy
   that keeps some open for its next requests sends them to another edge, and none on one that closes in that moment.
2. It closes the socket, having accepted all that the system had connected already.
3. It closes idle connections; those on which nothing was asked yet have a moment, for what is on its way.
4. It waits for running requests, as long as its grace.
"""

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final

from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.asyncio.tcp_server import MAX_RECV, TCPServer
from hypercorn.events import Event, RawData, Updated
from hypercorn.typing import ASGIFramework, ConnectionState, LifespanState
from hypercorn.utils import parse_socket_addr

from callback_edge import metrics, problems
from callback_edge.http.protocol import EdgeConfig, EdgeContext, StrictHTTP
from callback_edge.limits.callers import Callers
from callback_edge.pages.views import Problems
from callback_edge.settings import EdgeSettings
from callback_process import logs

_log = logs.get_logger()

WRITE_TIMEOUT_S: Final = 30
"""How long a peer may take to make room for an answer, and again for its last 64 KiB."""
LINGER_S: Final = 2
"""How long to go on reading, and dropping, what a peer sends that has been answered already. A socket that is closed
with unread bytes resets its connection, and the peer may never see the answer."""
_HANGING_UP_S: Final = 0.1
"""How long one that ends its side is still there for an answer: it may have said all that it has to say. So the
application has its turn to take what has come in, and a request that came whole is a call."""
_BACKLOG: Final = 2048
_TOO_MANY: Final = {
    "max_connections": problems.TOO_MANY_CALLS,
    "max_connections_per_address": problems.TOO_MANY_REQUESTS,
}
"""What a connection beyond a limit is told."""
_MOST_TURNED_AWAY: Final = 256
"""How many connections beyond the limit may be told so at a time; those beyond that are cut."""
_SETTLE_S: Final = 0.05
"""How long the loop may take to hand over what it has accepted."""
_FIRST_REQUEST_S: Final = 0.5
"""How long after the socket was closed a first request may take to arrive."""
_ABORT_S: Final = 0.3
"""How long after a stop's grace connections may take to flush the answers that were given at its end."""


class _Tasks(TaskGroup):
    """Hypercorn's, but that the application is cancelled when its caller hangs up.

    ASGI has it listen for that beside its work, which takes another task for each request.
    """

    async def spawn_app(self, app: Any, config: Any, scope: Any, send: Any) -> Callable[[Any], Awaitable[None]]:
        """Start the application, and return what gives it what comes in."""
        received: asyncio.Queue[Any] = asyncio.Queue(config.max_app_queue_size)
        task = self._task_group.create_task(_run(app, scope, received.get, send))
        task.add_done_callback(lambda _: _make_room(received))

        async def put(message: Any) -> None:
            if message["type"] != "http.disconnect":
                await received.put(message)
            elif task is not asyncio.current_task():  # else its own answer has ended
                self._loop.call_later(_HANGING_UP_S, task.cancel)

        return put


def _make_room(received: asyncio.Queue[Any]) -> None:
    """Let whoever reads from the connection go on, who waits to put in what nobody will take any more."""
    while not received.empty():
        received.get_nowait()


async def _run(app: Any, scope: Any, receive: Any, send: Any) -> None:
    try:
        await app(scope, receive, send)
    except Exception:
        _log.exception("the application failed")  # Hypercorn cuts the connection: half an answer must not look whole
    finally:
        await send(None)


class Connection(TCPServer):
    """One connection of ours: strict HTTP, and an end to waiting for its peer."""

    protocol: StrictHTTP  # type: ignore[assignment]
    group = ""
    """Whose share of connections it is of; empty if of nobody's."""
    turned_away_with: problems.Problem | None = None
    """If it is one too many: all that becomes of it."""
    _waiting: asyncio.TimerHandle | None = None
    """Ends the connection if no request comes."""
    _giving_up: asyncio.TimerHandle | None = None
    """Ends it if its peer does not take the last bytes."""

    async def run(self) -> None:
        """Serve the connection until it is closed."""
        peer = self.writer.get_extra_info("socket")
        self._reading = asyncio.current_task()
        self._peer_has_ended = False
        try:
            client = parse_socket_addr(peer.family, peer.getpeername())
            server = parse_socket_addr(peer.family, peer.getsockname())
            tasks = _Tasks(self.loop)
            self.protocol = StrictHTTP(
                self.app,
                self.config,
                self.context,
                tasks,
                ConnectionState(self.state.copy()),
                False,
                client,
                server,
                self.protocol_send,
            )
            try:
                async with tasks:
                    try:
                        if self.turned_away_with:
                            await self.protocol.turn_away(self.turned_away_with)
                            return
                        self._wait_for_request()
                        await self._read_data()
                        self._peer_has_ended = True
                    finally:
                        self._stop_waiting()
            finally:
                self.protocol.end_record()
        except OSError:
            pass  # the peer is gone
        finally:
            await self._close()
            if self._giving_up:
                self._giving_up.cancel()

    def abort(self) -> None:
        """Close the connection at once, whatever is still to be sent."""
        self.writer.transport.abort()

    async def protocol_send(self, event: Event) -> None:
        """Do what the protocol says: send, close, or mark the connection as idle or busy."""
        if isinstance(event, RawData):
            await self._write(event.data)
        elif isinstance(event, Updated):
            self._stop_waiting()
            if event.idle and not self._peer_has_ended:
                self._wait_for_request()
        else:
            if asyncio.current_task() is self._reading:
                await self._linger()  # refused by the protocol; the application does its own lingering
            await self._close()

    async def _write(self, data: bytes) -> None:
        if self.writer.transport.is_closing():
            return  # given up before: requests that were already in are served, nobody hears the answers
        try:
            self.writer.write(data)
            if self.writer.transport.get_write_buffer_size():  # else there is nothing to wait for
                async with self.send_lock, asyncio.timeout(WRITE_TIMEOUT_S):
                    await self.writer.drain()
        except asyncio.CancelledError:
            self.abort()  # half an answer may be out: nothing can follow it
            raise
        except (OSError, RuntimeError):  # TimeoutError is an OSError
            self.abort()  # which whoever reads notices

    async def _linger(self) -> None:
        try:
            self.writer.write_eof()
            async with asyncio.timeout(LINGER_S):
                while await self.reader.read(MAX_RECV):
                    pass
        except (OSError, RuntimeError):
            pass

    def stop_waiting_long(self) -> None:
        """End the connection if it waits for a request; have its first one come soon."""
        if self._waiting:
            self._stop_waiting()
            self._wait_for_request()

    def _wait_for_request(self) -> None:
        patience_s: float = self.config.keep_alive_timeout
        if self.context.terminated.is_set():
            patience_s = 0 if self.protocol.has_begun else _FIRST_REQUEST_S
        self._waiting = self.loop.call_later(patience_s, self._end_waiting)

    def _end_waiting(self) -> None:
        self._giving_up = self.loop.call_later(WRITE_TIMEOUT_S, self.abort)
        self.writer.close()

    def _stop_waiting(self) -> None:
        if self._waiting:
            self._waiting.cancel()
            self._waiting = None

    async def _close(self) -> None:
        # Not undone when this is cancelled: the last bytes may still be waiting for a peer that does not take them.
        self._giving_up = self._giving_up or self.loop.call_later(WRITE_TIMEOUT_S, self.abort)
        await super()._close()


class HttpServer:
    """Serves one application on one socket, from `start` to `stop`."""

    def __init__(self, app: ASGIFramework, problems: Problems, settings: EdgeSettings) -> None:
        self._app: Any = app
        self._state: LifespanState = {"problems": problems}
        self._config = EdgeConfig()
        self._config.access_log_sample = settings.access_log_sample
        self._callers = Callers(settings.trusted_proxies or ())
        self._context = EdgeContext(self._callers)
        self._most = settings.max_connections
        holds = settings.trusted_proxies is not None  # else any peer may be a proxy, with everyone behind it
        self._most_of_one = settings.max_connections_per_address if holds else 0
        self._of_one: Counter[str] = Counter()
        self._turned_away = 0
        self._running: dict[asyncio.Task[None], Connection] = {}
        self._listening: socket.socket
        self._listener: asyncio.Server

    async def start(self, listening: socket.socket) -> None:
        """Accept connections on a bound socket, which is ours from now on."""
        self._listening = listening.dup()  # the loop closes its own
        self._listening.setblocking(False)
        self._listener = await asyncio.start_server(self._connected, sock=listening, backlog=_BACKLOG)

    def drain(self) -> None:
        """From now on, end each connection with its next answer."""
        self._context.is_draining = True

    async def stop(self, grace_s: float) -> None:
        """Accept nothing more, let running requests end, and close every connection.

        Idle connections close at once. Those that are still busy when the grace is over have a moment to flush
        what they were answered, then they are cut.
        """
        self.drain()
        await self._close_listener()
        await self._context.terminated.set()
        for connection in self._running.values():
            connection.stop_waiting_long()
        for patience_s in (grace_s, _ABORT_S):
            if self._running:
                await asyncio.wait([*self._running], timeout=patience_s)
        for connection in self._running.values():
            connection.abort()
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait([*self._running], timeout=_ABORT_S)

    async def _close_listener(self) -> None:
        # A socket that is closed resets what nobody has accepted yet. The loop stops accepting, and we take the rest.
        self._listener.close()  # not wait_closed(): since Python 3.12 it waits for connections, for ever
        await asyncio.sleep(_SETTLE_S)
        loop = asyncio.get_running_loop()
        with self._listening, contextlib.suppress(OSError):  # BlockingIOError: that was all
            while True:
                accepted, _ = self._listening.accept()
                await loop.connect_accepted_socket(self._new_protocol, accepted)

    def _new_protocol(self) -> asyncio.StreamReaderProtocol:
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(), self._connected)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        connection = Connection(self._app, loop, self._config, self._context, self._state, reader, writer)
        connection.group = self._group_of(writer)
        if exceeded := self._exceeded(connection.group):
            metrics.limited(exceeded).inc()
            if self._turned_away >= _MOST_TURNED_AWAY:
                connection.abort()
                return
            connection.turned_away_with = _TOO_MANY[exceeded]
            self._turned_away += 1
        elif connection.group:
            self._of_one[connection.group] += 1
        task = loop.create_task(connection.run())
        self._running[task] = connection
        metrics.CONNECTIONS.inc()
        task.add_done_callback(self._disconnected)

    def _group_of(self, writer: asyncio.StreamWriter) -> str:
        """Return whose share of connections one is of. A trusted proxy has none: it has everyone behind it."""
        name = writer.get_extra_info("peername")
        if not self._most_of_one or not name:
            return ""  # no limit, or gone already
        peer = self._callers.peer(name[0])
        return "" if peer.is_trusted else peer.caller.group

    def _exceeded(self, group: str) -> str:
        """Return the limit that one more connection would exceed, if any."""
        if len(self._running) - self._turned_away >= self._most:
            return "max_connections"
        if group and self._of_one[group] >= self._most_of_one:
            return "max_connections_per_address"
        return ""

    def _disconnected(self, task: asyncio.Task[None]) -> None:
        connection = self._running.pop(task)
        if connection.turned_away_with:
            self._turned_away -= 1
        elif connection.group:
            self._of_one[connection.group] -= 1
            if not self._of_one[connection.group]:
                del self._of_one[connection.group]
        metrics.CONNECTIONS.dec()
        if not task.cancelled() and (error := task.exception()):
            _log.error("a connection failed", exc_info=error)
