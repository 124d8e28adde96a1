"""Connection of one client: reads, writes, and limits how long a client can hold it.

1. A connection may be idle, without any byte of a request, for `keep_alive_timeout_s`. Then it closes: without a
   response after an answer, with a 408 if it has had no request.
2. A head that has begun has `head_timeout_s` to arrive. Then the client gets a 408.
3. The last answer ends this side of the connection. If it waits for its turn, the process drops what has arrived and
   reads nothing more until it is sent: many such connections need little memory, also if their clients are gone, which
   a connection that is not read does not notice. It then reads and discards what the client still sends, for
   `LINGER_S` at most. A socket that is closed with unread bytes resets its connection, and the client may never see
   the answer.
4. The process closes a connection whose client takes nothing for `WRITE_TIMEOUT_S`. Hypercorn waits for it without a
   limit, and so does its stop.

This module replaces internals of Hypercorn 0.18, which is pinned for that reason.
"""

import asyncio
import select
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.asyncio.tcp_server import MAX_RECV, TCPServer
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.typing import ConnectionState, LifespanState
from hypercorn.utils import parse_socket_addr

from callback_process import logs
from callback_process.http.config import HttpConfig, HttpContext
from callback_process.http.protocol import InputIgnored, StrictHttpProtocol

log = logs.get_logger()

WRITE_TIMEOUT_S: Final = 30
"""How long a client may take to read a response, in seconds, and again for its last 64 KiB."""
HANG_UP_DELAY_S: Final = 0.5
"""How long after the client half-closes the connection its request is cancelled, in seconds. A client may half-close
the connection when it has sent everything. With this delay a request that arrived completely becomes a call, and its
client gets an answer that takes no longer."""
LINGER_S: Final = 2
"""How long, in seconds, this side reads and discards what a client sends after the last answer."""
FIRST_REQUEST_S: Final = 0.5
"""How long a first request may take to arrive after the socket was closed, in seconds."""
_UNREAD_S: Final = 0.1
"""How long a busy process has to read a request that arrived before the time for it was over, in seconds."""


class _AppTasks(TaskGroup):
    """Hypercorn's task group, which also cancels the application when its caller disconnects.

    By ASGI the application has to wait for that beside its work, which needs another task for each request. One that
    does gets `http.disconnect` instead.

    Args:
        loop: The running loop.
        sends_disconnect: Whether the application does.
    """

    _ignores_body = False
    _received: asyncio.Queue[Any] | None = None
    """Messages for the application of the current request."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, sends_disconnect: bool) -> None:
        super().__init__(loop)
        self._sends_disconnect = sends_disconnect

    def ignore_body(self) -> None:
        """Drop the parts of the current body that the application has not taken, and those that still come."""
        self._ignores_body = True
        if self._received:
            _empty(self._received)

    async def spawn_app(self, app: Any, config: Any, scope: Any, send: Any) -> Callable[[Any], Awaitable[None]]:
        """Start the application, and return the function that gives it messages."""
        received = self._received = asyncio.Queue(config.max_app_queue_size)
        task = self._task_group.create_task(_run_app(app, scope, received.get, send))
        task.add_done_callback(lambda _: _empty(received))

        def tell() -> None:
            try:
                received.put_nowait({"type": "http.disconnect"})
            except asyncio.QueueFull:  # it reads nothing
                task.cancel()

        async def put(message: Any) -> None:
            if message["type"] != "http.disconnect":
                await received.put(message)
                if self._ignores_body:
                    _empty(received)
            elif task is not asyncio.current_task():  # else the end of its own answer
                self._loop.call_later(HANG_UP_DELAY_S, tell if self._sends_disconnect else task.cancel)

        return put


def _empty(received: asyncio.Queue[Any]) -> None:
    """Empty a queue that has no reader any more, so that its writer continues."""
    while not received.empty():
        received.get_nowait()


async def _run_app(app: Any, scope: Any, receive: Any, send: Any) -> None:
    try:
        await app(scope, receive, send)
    except Exception:
        log.exception("answer_not_sent")  # Hypercorn answers 500
    finally:
        await send(None)


class Connection(TCPServer):
    """Connection with strict HTTP, and limits on the time that it waits for its client.

    Args:
        loop: The running loop.
        config: The settings.
        context: What all connections share.
        accepted: The accepted socket.
        group: Group of callers whose limit includes this connection. Empty if there is none.
        refusal: Status that answers a connection beyond a limit, which then closes. 0: there is none.
    """

    config: HttpConfig
    context: HttpContext
    protocol: StrictHttpProtocol  # type: ignore[assignment]  # narrower than in the base class
    is_counted = False
    """Whether the limits count it."""
    _is_client_done = False
    _request_timer: asyncio.Handle | None = None
    """Closes the connection if no request comes. None while there is a request."""
    _has_head_begun = False
    """Whether that time is the time of a head."""
    _discards_input = False
    _is_output_ended = False
    _linger_timer: asyncio.TimerHandle | None = None
    """Closes the connection if its client does not."""
    _abort_timer: asyncio.TimerHandle | None = None
    """Aborts it if its client does not take the last bytes."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        config: HttpConfig,
        context: HttpContext,
        accepted: socket.socket,
        group: str,
        refusal: int,
    ) -> None:
        app: Any = None  # each request has its own: its exchange
        transport: Any = None  # until `run`
        super().__init__(app, loop, config, context, LifespanState(), asyncio.StreamReader(), transport)
        self._accepted = accepted
        self.group = group
        self.refusal = refusal

    async def run(self) -> None:
        """Serve the connection until it is closed."""
        try:
            transport, streams = await self.loop.connect_accepted_socket(
                lambda: asyncio.StreamReaderProtocol(self.reader), self._accepted
            )
        except OSError:
            self._accepted.close()  # the client is gone
            return
        self.writer = asyncio.StreamWriter(transport, streams, self.reader, self.loop)
        try:
            client = parse_socket_addr(self._accepted.family, self._accepted.getpeername())
            server = parse_socket_addr(self._accepted.family, self._accepted.getsockname())
            self._tasks = _AppTasks(self.loop, sends_disconnect=self.context.service.receives_disconnect)
            self.protocol = StrictHttpProtocol(
                self.app,
                self.config,
                self.context,
                self._tasks,
                ConnectionState(self.state.copy()),
                False,
                client,
                server,
                self.protocol_send,
            )
            try:
                async with self._tasks:
                    try:
                        if self.refusal:
                            await self.protocol.refuse_connection(self.refusal)
                        else:
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
            for timer in (self._linger_timer, self._abort_timer):
                if timer:
                    timer.cancel()

    def abort(self) -> None:
        """Close the connection at once, without sending what is left."""
        if self.writer:
            self.writer.transport.abort()

    def close_idle(self) -> None:
        """Close the connection, which waits for a request."""
        self._stop_request_timer()
        self._discards_input = True
        self._abort_timer = self.loop.call_later(WRITE_TIMEOUT_S, self.abort)
        self.writer.close()

    def shorten_wait(self) -> None:
        """Close the connection if it is idle between requests. Give a first request a short time to arrive."""
        if self._request_timer:
            self._start_request_timer()

    async def protocol_send(self, event: Event) -> None:
        """Handle an event of the protocol: send, close, or mark the connection as idle or busy."""
        if isinstance(event, RawData):
            await self._write(event.data)
        elif isinstance(event, Updated):
            self._stop_request_timer()
            if event.idle and not self._is_client_done:
                self._start_request_timer()
        elif isinstance(event, InputIgnored):
            self._drop_input()
        else:
            self._end_output()

    async def _read_data(self) -> None:
        while not self.reader.at_eof():
            try:
                if self._discards_input:
                    await self._discard()
                    continue
                data = await self.reader.read(MAX_RECV)
            except OSError:
                break
            if self._discards_input:  # since it waits
                continue
            await self.protocol.handle(RawData(data))
            del data  # it may wait now
            if self._request_timer and not self._has_head_begun and self.protocol.has_part_of_head:
                self._start_request_timer()
        await self.protocol.handle(Closed())

    def _drop_input(self) -> None:
        """Free what has arrived, and let nothing more into memory until the last answer is sent."""
        self._discards_input = True
        transport: Any = self.writer.transport
        self._empty_reader()
        if not transport.is_closing():
            transport.pause_reading()
        self._tasks.ignore_body()

    def _empty_reader(self) -> None:
        """Free what has arrived.

        A reader that believes that it has paused the transport would not pause it again once it is resumed, and so let
        a whole body into memory at once.
        """
        reader: Any = self.reader
        reader._buffer.clear()  # noqa: SLF001  # `read` may wait, or raise
        if not self.writer.transport.is_closing():
            reader._maybe_resume_transport()  # noqa: SLF001  # as `read` does

    async def _discard(self) -> None:
        """Read and discard what has arrived, in the turn of the caller. Meanwhile nothing more comes into memory."""
        transport: Any = self.writer.transport
        if not transport.is_closing():
            transport.pause_reading()
        await self.context.turns.wait(self.protocol.caller.group)
        if not transport.is_closing():
            transport.resume_reading()
        await self.reader.read(1)
        self._empty_reader()

    async def _write(self, data: bytes) -> None:
        if self.writer.transport.is_closing():
            self.protocol.is_client_gone = True
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
            self.protocol.is_client_gone = True
            self.abort()  # which ends the reader too

    def _end_output(self) -> None:
        if self._is_output_ended:
            return
        self._is_output_ended = self._discards_input = True
        self._stop_request_timer()
        transport: Any = self.writer.transport
        try:
            if not transport.is_closing():
                self._empty_reader()
                transport.resume_reading()
            transport.write_eof()
        except (OSError, RuntimeError):
            self.abort()
        self._linger_timer = self.loop.call_later(LINGER_S, self.writer.close)
        self._abort_timer = self.loop.call_later(WRITE_TIMEOUT_S, self.abort)

    def _start_request_timer(self) -> None:
        self._stop_request_timer()
        self._has_head_begun = self.protocol.has_part_of_head
        timeout_s = self.config.head_timeout_s if self._has_head_begun else self.config.keep_alive_timeout_s
        if self.context.terminated.is_set():
            timeout_s = 0 if self._is_between_requests else FIRST_REQUEST_S
        self._request_timer = self.loop.call_later(timeout_s, self._request_timed_out)
        if not self._has_head_begun and not self.protocol.peer.is_trusted:
            self.context.idle[self] = self.loop.time()

    def _stop_request_timer(self) -> None:
        if self._request_timer:
            self._request_timer.cancel()
            self._request_timer = None
            self.context.idle.pop(self, None)

    @property
    def _is_between_requests(self) -> bool:
        return self.protocol.has_started and not self._has_head_begun

    def _request_timed_out(self) -> None:
        if self.has_unread_bytes():  # a busy process can be late
            self._request_timer = self.loop.call_later(_UNREAD_S, self._request_timed_out)
        else:
            self._request_timer = self.loop.call_soon(self._end_wait)  # after the reader, if it has just got bytes

    def _end_wait(self) -> None:
        if self._is_between_requests:
            self.close_idle()
        else:
            self._stop_request_timer()
            self._discards_input = True
            self._tasks.spawn(self.protocol.refuse_connection, 408)

    def has_unread_bytes(self) -> bool:
        """Return whether bytes, or the end of the connection, wait for the reader."""
        if self.writer.transport.is_closing():
            return True
        poll = select.poll()
        poll.register(self._accepted, select.POLLIN)
        return bool(poll.poll(0))

    async def _close(self) -> None:
        # A cancellation leaves the timer: the last bytes may still wait for a client that does not take them.
        self._abort_timer = self._abort_timer or self.loop.call_later(WRITE_TIMEOUT_S, self.abort)
        with suppress(OSError):  # the client is gone; uvloop raises errors that Hypercorn does not expect
            await super()._close()
