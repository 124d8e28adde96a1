"""Connection of one client: reads, writes, and limits how long a client can hold it.

Hypercorn waits for a slow reader without a limit, and its stop waits for it too. Here the edge closes a connection
whose client takes nothing for `WRITE_TIMEOUT_S`. This module replaces internals of Hypercorn 0.18, which is pinned for
that reason.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.asyncio.tcp_server import MAX_RECV, TCPServer
from hypercorn.events import Event, RawData, Updated
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr

from callback_edge import problems
from callback_edge.http.protocol import StrictHttpProtocol
from callback_edge.http_answer import LINGER_S
from callback_process import logs

log = logs.get_logger()

WRITE_TIMEOUT_S: Final = 30
"""How long a client may take to read a response, in seconds, and again for its last 64 KiB."""
_HANG_UP_DELAY_S: Final = 0.1
"""How long after the client half-closes the connection its request is cancelled, in seconds. A client may half-close
the connection when it has sent everything. With this delay a request that arrived completely becomes a call."""
_FIRST_REQUEST_S: Final = 0.5
"""How long a first request may take to arrive after the socket was closed, in seconds."""


class _AppTasks(TaskGroup):
    """Hypercorn's task group, which also cancels the application when its caller disconnects.

    By ASGI the application has to wait for that beside its work, which needs another task for each request.
    """

    async def spawn_app(self, app: Any, config: Any, scope: Any, send: Any) -> Callable[[Any], Awaitable[None]]:
        """Start the application, and return the function that gives it messages."""
        received: asyncio.Queue[Any] = asyncio.Queue(config.max_app_queue_size)
        task = self._task_group.create_task(_run_app(app, scope, received.get, send))
        task.add_done_callback(lambda _: _empty(received))

        async def put(message: Any) -> None:
            if message["type"] != "http.disconnect":
                await received.put(message)
            elif task is not asyncio.current_task():  # else the end of its own answer
                self._loop.call_later(_HANG_UP_DELAY_S, task.cancel)

        return put


def _empty(received: asyncio.Queue[Any]) -> None:
    """Empty a queue that has no reader any more, so that its writer continues."""
    while not received.empty():
        received.get_nowait()


async def _run_app(app: Any, scope: Any, receive: Any, send: Any) -> None:
    try:
        await app(scope, receive, send)
    except Exception:
        log.exception("application_failed")  # Hypercorn cuts the connection: half an answer must not look complete
    finally:
        await send(None)


class Connection(TCPServer):
    """Connection with strict HTTP, and limits on the time that it waits for its client."""

    protocol: StrictHttpProtocol  # type: ignore[assignment]  # narrower than in the base class
    group = ""
    """Group of callers whose limit includes this connection. Empty if there is none."""
    refusal: problems.Problem | None = None
    """Problem that answers a connection beyond a limit, which then closes."""
    _request_timer: asyncio.TimerHandle | None = None
    """Closes the connection if no request comes."""
    _abort_timer: asyncio.TimerHandle | None = None
    """Aborts it if its client does not take the last bytes."""

    async def run(self) -> None:
        """Serve the connection until it is closed."""
        peer = self.writer.get_extra_info("socket")
        self._reader_task = asyncio.current_task()
        self._is_client_done = False
        try:
            client = parse_socket_addr(peer.family, peer.getpeername())
            server = parse_socket_addr(peer.family, peer.getsockname())
            tasks = _AppTasks(self.loop)
            self.protocol = StrictHttpProtocol(
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
                        if self.refusal:
                            await self.protocol.refuse_connection(self.refusal)
                            return
                        self._start_request_timer()
                        await self._read_data()
                        self._is_client_done = True
                    finally:
                        self._stop_request_timer()
            finally:
                self.protocol.end_record()
        except OSError:
            pass  # the client is gone
        finally:
            await self._close()
            if self._abort_timer:
                self._abort_timer.cancel()

    def abort(self) -> None:
        """Close the connection at once, without sending what is left."""
        self.writer.transport.abort()

    async def protocol_send(self, event: Event) -> None:
        """Handle an event of the protocol: send, close, or mark the connection as idle or busy."""
        if isinstance(event, RawData):
            await self._write(event.data)
        elif isinstance(event, Updated):
            self._stop_request_timer()
            if event.idle and not self._is_client_done:
                self._start_request_timer()
        else:
            if asyncio.current_task() is self._reader_task:
                await self._linger()  # the protocol refused it; the exchange does this for the application
            await self._close()

    async def _write(self, data: bytes) -> None:
        if self.writer.transport.is_closing():
            return  # requests that arrived before are still served, but no client reads the answers
        try:
            self.writer.write(data)
            if self.writer.transport.get_write_buffer_size():  # else there is nothing to wait for
                async with self.send_lock, asyncio.timeout(WRITE_TIMEOUT_S):
                    await self.writer.drain()
        except asyncio.CancelledError:
            self.abort()  # half an answer may be sent: nothing can follow it
            raise
        except (OSError, RuntimeError):  # TimeoutError is an OSError
            self.abort()  # which ends the reader too

    async def _linger(self) -> None:
        try:
            self.writer.write_eof()
            async with asyncio.timeout(LINGER_S):
                while await self.reader.read(MAX_RECV):
                    pass
        except (OSError, RuntimeError):
            pass

    def shorten_wait(self) -> None:
        """Close the connection if it is idle between requests. Give a first request a short time to arrive."""
        if self._request_timer:
            self._stop_request_timer()
            self._start_request_timer()

    def _start_request_timer(self) -> None:
        timeout_s: float = self.config.keep_alive_timeout
        if self.context.terminated.is_set():
            timeout_s = 0 if self.protocol.has_started else _FIRST_REQUEST_S
        self._request_timer = self.loop.call_later(timeout_s, self._request_timed_out)

    def _request_timed_out(self) -> None:
        self._abort_timer = self.loop.call_later(WRITE_TIMEOUT_S, self.abort)
        self.writer.close()

    def _stop_request_timer(self) -> None:
        if self._request_timer:
            self._request_timer.cancel()
            self._request_timer = None

    async def _close(self) -> None:
        # A cancellation leaves the timer: the last bytes may still wait for a client that does not take them.
        self._abort_timer = self._abort_timer or self.loop.call_later(WRITE_TIMEOUT_S, self.abort)
        await super()._close()
