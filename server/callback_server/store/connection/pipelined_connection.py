"""One pipelined connection to the store: batches of commands in, their replies out, without redis-py's streams."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import hiredis
from redis.exceptions import AuthenticationError, BusyLoadingError, InvalidResponse, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from callback_server.store.connection.client import SOCKET_TIMEOUT_S, StoreConnection
from callback_server.store.connection.errors import reply_error

PackedCommand = tuple[bytes, "asyncio.Future[Any]"]
"""A command as it is written, and the future of its reply."""
_REFUSALS: Final = (ResponseError, AuthenticationError, BusyLoadingError)
"""The errors that redis-py makes of a reply. Its other errors concern the connection."""
_INCOMPLETE: Final = object()
"""Stands for a reply that has not arrived completely."""


class PipelinedConnection(asyncio.Protocol):
    """A connection that redis-py has made, and the commands that were sent on it. It reads and writes by itself.

    redis-py takes several turns of the event loop, a timer and a task for what is one write and one read here.
    """

    def __init__(
        self,
        connection: StoreConnection,
        *,
        on_free: Callable[[], None],
        on_closed: Callable[[PipelinedConnection], None],
    ) -> None:
        """Take over a connection.

        Args:
            connection: A connection that is connected.
            on_free: Called when every command has its reply.
            on_closed: Called once, when the connection is closed.

        Raises:
            NotSentError: The store has closed the connection already.
        """
        self.connection = connection
        self._on_free = on_free
        self._on_closed = on_closed
        self._sent = deque[PackedCommand]()
        """The commands that have no reply yet."""
        self._reader = hiredis.Reader(protocolError=InvalidResponse, replyError=reply_error, notEnoughData=_INCOMPLETE)
        self.sent_at = 0.0
        """When commands were sent last, by the clock of the event loop."""
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._transport, self._streams = connection.hand_over(self)

    @property
    def is_free(self) -> bool:
        """Whether commands can be sent now."""
        return not self._sent and not self._transport.is_closing()

    def send(self, commands: Sequence[PackedCommand]) -> None:
        """Send commands in one write. Call it only while the connection is free."""
        loop = asyncio.get_running_loop()
        self._sent.extend(commands)
        self.sent_at = loop.time()
        if self._timer is None:
            self._timer = loop.call_at(self.sent_at + SOCKET_TIMEOUT_S, self._check_timeout)
        self._transport.write(b"".join([packed for packed, _ in commands]))

    def close(self) -> None:
        """Close the connection, on which no command is under way."""
        self._close(RedisConnectionError("closed"))

    def data_received(self, data: bytes) -> None:
        """Set the replies that have arrived."""
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not _INCOMPLETE:
                self._set_reply(reply)
        except (RedisConnectionError, InvalidResponse) as error:
            self._close(error)
            return
        if not self._sent:
            self._on_free()

    def eof_received(self) -> None:
        """Close the connection after the store has closed its side."""
        self._close(RedisConnectionError("the store has closed the connection"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the commands that have no reply."""
        self._streams.connection_lost(exc)  # redis-py waits for this when it closes the connection
        self._close(exc or RedisConnectionError("the connection was closed"))

    def _set_reply(self, value: Any) -> None:
        if isinstance(value, hiredis.PushNotification):
            return
        if not self._sent:
            raise InvalidResponse("a reply without a command")
        if isinstance(value, Exception) and not isinstance(value, _REFUSALS):
            raise value
        _, reply = self._sent.popleft()
        if reply.done():  # the sender was cancelled
            return
        if isinstance(value, Exception):
            reply.set_exception(value)
        else:
            reply.set_result(value)

    def _check_timeout(self) -> None:
        """Close the connection if replies are late. One timer serves all commands that are sent while it runs."""
        self._timer = None
        if not self._sent:
            return
        loop = asyncio.get_running_loop()
        late_at = self.sent_at + SOCKET_TIMEOUT_S
        if loop.time() < late_at:
            self._timer = loop.call_at(late_at, self._check_timeout)
        else:
            self._close(TimeoutError("no reply in time"))

    def _close(self, error: Exception) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._transport.abort()
        self.connection.release()
        fail(self._sent, error, RedisConnectionError)
        self._on_closed(self)


def fail(commands: Iterable[PackedCommand], error: BaseException, kind: type[RedisConnectionError]) -> None:
    """Fail commands with an error of this kind, or cancel them if the error is not an `Exception`."""
    for _, reply in commands:
        if reply.done():
            continue
        if isinstance(error, Exception):
            failure = kind(str(error))
            failure.__cause__ = error
            reply.set_exception(failure)
        else:
            reply.cancel()
