"""HTTP protocol of a connection: Hypercorn's, with strict parsing and without its other protocols.

Hypercorn has no settings for these rules: this module uses internals of Hypercorn 0.18, which is pinned for that
reason.

1. HTTP/2 is unreachable: nothing creates its connections. The `PRI` preface gets a 505. `Upgrade`, to whatever
   protocol, is ignored (RFC 9110, section 7.8).
2. A message has one length: `Transfer-Encoding` beside `Content-Length`, or in HTTP/1.0, gets a 400.
3. Lines end in CR LF and are not folded (RFC 9112, sections 2.2 and 5.2), also between chunks. Anything else gets a
   400. One empty line before a request is ignored (section 2.2).
4. The target begins with `/`, or is a URL of http or https, whose authority is ignored like `Host` (RFC 9112,
   section 3.2.2). Authority form and `*` get a 400. CONNECT gets a 405 before the application sees it, because a 2xx
   to it leaks a connection. A lower-case method also gets a 405, because Hypercorn would change it to upper case.
5. A head has at most 16 KiB and 512 lines (431), however it arrives. h11's own limit applies only to a head that
   arrives in pieces. Chunk extensions and trailers count as bytes of the body (413).
6. Bytes after a request that says `Connection: close` are discarded. h11 would answer 400 while that request runs.
7. A client that waits for a 100 (Continue) gets it when the body is read.
8. A response before the end of its request says `Connection: close`.
9. A complete answer that matters less waits for its turn (`turns`). If it is the last one, the client's input is
   ignored meanwhile.
10. Every refusal is the service's, like its other answers. Every response has the fixed headers of the service and no
    `Server`.

Each request, refused or not, has its `Record` from its head until the stream of its response ends.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import h11
from hypercorn.events import Closed, RawData
from hypercorn.events import Event as ConnectionEvent
from hypercorn.protocol.events import Event, Request, Response
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream

from callback_process.http.answer import HttpAnswer
from callback_process.http.config import HttpConfig, HttpContext
from callback_process.http.parser import StrictConnection, head_problem, origin_form
from callback_process.http.service import Record


class InputIgnored(ConnectionEvent):
    """The client's input is ignored from now on: its last answer waits for its turn."""


class StrictHttpProtocol(H11Protocol):
    """HTTP of one connection, by the rules above."""

    connection: StrictConnection
    config: HttpConfig
    context: HttpContext

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.connection = StrictConnection(self.config.body_limit_bytes, self.config.fixed_fields)
        self.peer = self.context.callers.peer(self.client[0] if self.client else "")
        """Other end of the connection."""
        self._record: Record | None = None
        self.is_client_gone = False
        """Whether the connection was closed before it took an answer."""
        self.caller = self.peer.caller
        """Caller of the last request. Before the first one, the peer."""

    async def refuse_connection(self, status: int) -> None:
        """Send a refusal on a connection without a complete request, and close it."""
        await self._refuse(status)
        await self.send(Closed())

    @property
    def has_started(self) -> bool:
        """Whether this connection has had a request."""
        return self.keep_alive_requests > 0

    @property
    def has_part_of_head(self) -> bool:
        """Whether a part of the next request's head has arrived."""
        return self.connection.has_part_of_head

    async def answer(self, answer: HttpAnswer, *, is_last: bool = False) -> None:
        """Send the response to the current request.

        Args:
            answer: The answer.
            is_last: Whether the connection ends with it. It may end for other reasons too.
        """
        record = self._record
        is_last |= not self.connection.is_request_complete  # rule 8
        if record and record.waits_for_turn:
            if is_last:
                await self.send(InputIgnored())
            await self.context.turns.wait(record.caller.group)
        body = b"" if self.connection.answers_head else answer.body
        is_last |= self._ends_connection
        try:
            data = self.connection.complete_answer(answer.status, answer.fields, body, is_last=is_last)
        except h11.LocalProtocolError:
            if self.connection.their_state is not h11.ERROR:  # else it was refused before
                raise
            return
        if self.stream:
            self.stream.state = ASGIHTTPState.CLOSED
        if record:
            record.set_answer(answer.status, len(body))
        await self.send(RawData(data))
        if record and not self.is_client_gone:
            record.set_sent()

    @property
    def awaits_continue(self) -> bool:
        """Whether the client sends the body only after a 100 (Continue), or after some time."""
        return self.connection.client_is_waiting_for_100_continue

    async def send_continue(self) -> None:
        """Send a 100 (Continue): the body will be read (RFC 9110, section 10.1.1)."""
        response = h11.InformationalResponse(status_code=100, headers=self.config.response_headers("h11"))
        await self.send(RawData(self.connection.send(response)))

    @property
    def _ends_connection(self) -> bool:
        """Whether the connection ends with the response to the current request, for a reason of this side."""
        return (
            self.context.is_draining
            or self.keep_alive_requests >= self.config.keep_alive_max_requests
            or (not self.context.service.takes_pipelined and self.connection.has_pipelined)
        )

    async def stream_send(self, event: Event) -> None:
        """Handle an event of the stream: an answer in parts, or Hypercorn's for an application that sent none."""
        if isinstance(event, Response):
            if self._record:
                self._record.set_answer(event.status_code, 0)
            if self._ends_connection or not self.connection.is_request_complete:
                event = replace(event, headers=[*event.headers, (b"connection", b"close")])
        await super().stream_send(event)

    def end_record(self) -> None:
        """End the record of the current request, if there is one."""
        if self._record:
            record, self._record = self._record, None
            record.end(self.connection.body_bytes)

    async def _close_stream(self) -> None:
        is_answered = self.stream is not None and self.stream.state is ASGIHTTPState.CLOSED
        await super()._close_stream()
        if is_answered:  # else the client has ended its side, and may still get an answer
            self.end_record()

    async def _check_protocol(self, event: h11.Request) -> None:
        """Offer no other protocol (rule 1)."""

    async def _create_stream(self, request: h11.Request) -> None:
        headers = [(name.lower(), value) for name, value in request.headers.raw_items()]
        method = request.method.decode("ascii")
        target = origin_form(request.target)
        self.caller = self.peer.caller_of(headers)
        self._record = self.context.service.start(self.caller, method, target)
        if status := head_problem(request, target, {name for name, _ in headers}):
            await self._refuse(status, headers)
            await self.send(Closed())
            return
        self.stream = HTTPStream(
            partial(self._serve, self._record),
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        version = request.http_version.decode()
        self.keep_alive_requests += 1
        await self.stream.handle(Request(STREAM_ID, headers, version, method, target, self.connection_state))

    async def _serve(self, record: Record, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request. To Hypercorn this is the application."""
        await self.context.service.serve(record, scope, receive, send, self)

    async def _send_error_response(self, status_code: int) -> None:
        await self._refuse(status_code if status_code in (413, 431, 501) else 400)

    async def _refuse(self, status: int, headers: list[tuple[bytes, bytes]] | tuple[()] = ()) -> None:
        record = self._record = self._record or self.context.service.start(self.peer.caller)
        await self.answer(self.context.service.refuse(status, record, headers), is_last=True)
        self.end_record()
