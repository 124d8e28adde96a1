"""A connection of HTTP/1.1 to a handler, by h11: one request at a time, each sent once.

1. Informational answers (1xx) are read and ignored, up to a limit. The size of an answer is limited.
2. An answer whose end is not known for certain is none: a connection that broke, one that TLS did not end, or two
   lengths.
3. A connection is used again only if the answer before was complete, the handler wants to keep it, and nothing more has
   come over it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import Final, cast

import h11
import msgspec

MAX_BODY_BYTES: Final = 1024 * 1024
"""Largest body of an answer, in bytes: that of a response in the contract."""
MAX_HEAD_BYTES: Final = 32 * 1024
"""Largest head of an answer, in bytes."""
MAX_INFORMATIONAL: Final = 16
"""Most informational answers (1xx) before an answer."""


class BrokenConnectionError(Exception):
    """The connection ended before the whole answer was there. The handler may have run."""


class AnswerError(Exception):
    """What came is not an answer of HTTP, or not one that is read. The text says why, and repeats nothing of it."""


class HttpRequest(msgspec.Struct, frozen=True):
    """A request to a handler."""

    method: str
    """In upper case."""
    path: str
    """Path and query."""
    headers: Sequence[tuple[str, str]]
    """With `host`; without those of the framing. Each character of a value is one byte."""
    body: bytes


class HandlerAnswer(msgspec.Struct, frozen=True):
    """A complete answer of a handler."""

    status: int
    headers: Sequence[tuple[str, str]]
    """Names in lower case. Each byte of a value is one character."""
    body: bytes

    def values(self, name: str) -> list[str]:
        """Return the values of a header. `name` is in lower case."""
        return [value for each, value in self.headers if each == name]


class Connection(asyncio.Protocol):
    """A connection, as the protocol of a transport of asyncio."""

    def __init__(self) -> None:
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._received = bytearray()
        self._is_ended = False
        """The handler has sent everything, and said so."""
        self._is_end_read = False
        self._is_lost = False
        self._woken = asyncio.Event()
        self._is_in_use = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Implement `asyncio.BaseProtocol`."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Implement `asyncio.Protocol`."""
        self._received += data
        if not self._is_in_use:
            self._transport.abort()  # an answer to nothing
        self._woken.set()

    def eof_received(self) -> None:
        """Implement `asyncio.Protocol`. The transport then closes itself."""
        self._is_ended = _is_end_of_tls(self._transport)
        self._woken.set()

    def connection_lost(self, error: Exception | None) -> None:
        """Implement `asyncio.BaseProtocol`."""
        self._is_lost = True
        self._woken.set()

    @property
    def is_usable(self) -> bool:
        """Whether one more request can be sent now, of an idle connection."""
        return not (self._received or self._is_ended or self._is_lost or self._transport.is_closing())

    def end_exchange(self) -> bool:
        """Say that the exchange has ended. Return whether there can be another one later."""
        self._is_in_use = False
        if self._http.trailing_data[0] or self._transport.get_write_buffer_size():
            return False  # more than one answer, or one that came before the whole request was sent
        if (self._http.our_state, self._http.their_state) == (h11.DONE, h11.DONE):
            self._http.start_next_cycle()
        return self._http.our_state is h11.IDLE and self.is_usable

    def close(self) -> None:
        """Close the connection, whatever is under way."""
        self._transport.abort()

    async def exchange(self, request: HttpRequest) -> HandlerAnswer:
        """Send a request once, and return the answer.

        Raises:
            BrokenConnectionError: The connection ended first.
            AnswerError: The answer cannot be read.
        """
        self._is_in_use = True
        self._send(request)
        try:
            head = await self._head()
            body = await self._body()
        except h11.RemoteProtocolError as error:
            if self._is_end_read:
                raise BrokenConnectionError("the connection ended before the whole answer") from error
            raise AnswerError("the answer is not valid HTTP/1.1") from error
        headers = [(name.decode("ascii"), value.decode("latin-1")) for name, value in head.headers]
        return HandlerAnswer(head.status_code, headers, body)

    def _send(self, request: HttpRequest) -> None:
        headers = list(request.headers)
        if request.body or request.method in ("POST", "PUT", "PATCH"):
            headers.append(("content-length", str(len(request.body))))
        encoded = [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers]
        head = self._http.send(h11.Request(method=request.method, target=request.path, headers=encoded))
        self._transport.write(head or b"")
        if request.body:
            self._transport.write(self._http.send(h11.Data(data=request.body)) or b"")
        self._http.send(h11.EndOfMessage())

    async def _head(self) -> h11.Response:
        for _ in range(MAX_INFORMATIONAL + 1):
            event = await self._event()
            if isinstance(event, h11.Response):
                names = {name for name, _ in event.headers}
                if {b"content-length", b"transfer-encoding"} <= names:
                    raise AnswerError("the answer has two lengths: Content-Length and Transfer-Encoding")
                return event
        raise AnswerError(f"more than {MAX_INFORMATIONAL} informational answers (1xx) came before the answer")

    async def _body(self) -> bytes:
        body = bytearray()
        while isinstance(event := await self._event(), h11.Data):
            body += event.data
            if len(body) > MAX_BODY_BYTES:
                raise AnswerError(f"the body of the answer is larger than {MAX_BODY_BYTES:,} bytes")
        return bytes(body)

    async def _event(self) -> h11.Event:
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Event):
                return event
            if event is not h11.NEED_DATA:
                raise AnswerError("the answer changes the protocol")
            self._http.receive_data(await self._receive())

    async def _receive(self) -> bytes:
        """Return what has come. Empty: the handler has sent everything."""
        while not self._received:
            if self._is_ended:
                self._is_end_read = True
                return b""
            if self._is_lost:
                raise BrokenConnectionError("the connection broke before the whole answer")
            self._woken.clear()
            await self._woken.wait()
        received = bytes(self._received)
        self._received.clear()
        return received


def _is_end_of_tls(transport: asyncio.Transport) -> bool:
    """Return whether TLS, if there is any, has ended in order too: anyone on the way can end a connection of TCP."""
    of_tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    try:
        return of_tls is None or of_tls.read(1) == b""
    except ssl.SSLError:  # it waits for more
        return False
