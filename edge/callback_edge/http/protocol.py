"""HTTP/1.1, read strictly, on Hypercorn 0.18 and h11 0.16.

Both read generously where a proxy in front may read otherwise; two who disagree on where a request ends can be made to
see different requests. So what is ambiguous is refused before the application hears of it. Hypercorn has no settings
for this: what is used here is internal to it and to h11, and both are pinned for that reason.

1. HTTP/2 can not be reached: nothing makes one of its connections. The `PRI` preface is a 505; `Upgrade`, to h2c or to
   websocket, is a 400.
2. A message's length is said once: `Transfer-Encoding` beside `Content-Length`, or in HTTP/1.0, is a 400.
3. Lines end in CR LF and are not folded (RFC 9112, sections 2.2 and 5.2), those between chunks too; anything else is a
   400.
4. The target begins with `/`. Absolute form, authority form and `*` are a 400. CONNECT is a 405 before the application
   hears of it (a 2xx to it leaks a connection), and so is a method in lower case, which Hypercorn would change.
5. A head has at most 16 KiB, however it arrives (431). h11's own limit holds only for a head that comes in pieces.
6. What comes after a request that says `Connection: close` is dropped; h11 would answer 400 while that request runs.
7. Every refusal is a problem like the application's, and every answer carries the four fixed headers and no `Server`.

Each request, refused or not, has its `Record`, from its head until the stream of its answer ends.
"""

import logging
import re
import time
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final
from wsgiref.handlers import format_date_time

import h11
from h11._headers import normalize_and_validate
from h11._receivebuffer import ReceiveBuffer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.events import Closed, RawData
from hypercorn.protocol.events import Event, Request, Response
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream

from callback_edge import problems
from callback_edge.call.answer import FIXED_HEADERS, Answer
from callback_edge.call.request import ALLOW
from callback_edge.call.request_record import Record
from callback_edge.limits.callers import Callers
from callback_edge.limits.per_address import BUSY_RETRY_S
from callback_edge.pages.views import Problems

MAX_HEAD_BYTES: Final = 16 * 1024
"""Request line and header fields together."""

_FIXED_FIELDS: Final = [(name.encode(), value.encode()) for name, value in FIXED_HEADERS]
_OF_MOST_ANSWERS: Final = frozenset((b"content-type", b"content-length"))
"""The fields that most answers have and no others. They hold no secret, and may be remembered."""
_HEAD_END: Final = re.compile(rb"\n\r?\n")
_BARE_LF_OR_FOLD: Final = re.compile(rb"(?<!\r)\n|\n[ \t]")
_NO_PART_OF_A_LINE: Final = re.compile(rb"(?<!\r)\n|\r(?=[^\n])|\x00")


class EdgeConfig(Config):
    """Hypercorn's configuration, as the edge uses it."""

    accesslog = None  # paths hold states
    errorlog = logging.getLogger("hypercorn.error")  # through the process's own logs
    h11_max_incomplete_size = MAX_HEAD_BYTES
    include_server_header = False
    keep_alive_timeout = 5  # seconds; bounds a slow head as well, from its connection's first byte
    access_log_sample: float = 0
    """Which part of all requests to log, from 0 to 1."""

    def response_headers(self, protocol: str) -> list[tuple[bytes, bytes]]:
        """Return what every answer carries, Hypercorn's own included."""
        return [(b"date", format_date_time(time.time()).encode()), *_FIXED_FIELDS]


@lru_cache(maxsize=1)
def _common_lines(second: int) -> bytes:
    """Return the same as lines, at a time of so many whole seconds."""
    fields = [(b"date", format_date_time(second).encode()), *_FIXED_FIELDS]
    return b"".join(b"%b: %b\r\n" % field for field in fields)


@lru_cache(maxsize=1024)
def _require_well_formed(fields: tuple[tuple[bytes, bytes], ...]) -> None:
    """Refuse what h11 would not send. It takes long to look, and most answers have the fields of one before.

    Raises:
        LocalProtocolError: a field is malformed.
    """
    normalize_and_validate(list(fields))


class EdgeContext(WorkerContext):
    """What all connections know of the process."""

    def __init__(self, callers: Callers) -> None:
        super().__init__(max_requests=None)
        self.callers = callers
        self.is_draining = False
        """Whether each answer is the last of its connection."""


class _StrictBuffer(ReceiveBuffer):
    """Refuses lines before h11 has made them look orderly (rules 3 and 5)."""

    def maybe_extract_lines(self) -> list[bytearray] | None:
        """Take a head, or the trailers after the last chunk: of those there may be none."""
        if self._data.startswith(b"\n"):
            raise h11.RemoteProtocolError("bare LF")
        if not self._data.startswith(b"\r\n") and (end := _HEAD_END.search(self._data)):
            if end.end() > MAX_HEAD_BYTES:
                raise h11.RemoteProtocolError("head too large", error_status_hint=431)
            if _BARE_LF_OR_FOLD.search(self._data, 0, end.end()):
                raise h11.RemoteProtocolError("bare LF or folded line")
        return super().maybe_extract_lines()

    def maybe_extract_next_line(self) -> bytearray | None:
        """Take the line before a chunk."""
        end = self._data.find(b"\r\n")
        if _NO_PART_OF_A_LINE.search(self._data, 0, len(self._data) if end < 0 else end):
            raise h11.RemoteProtocolError("bare CR, bare LF or NUL before a chunk")
        return super().maybe_extract_next_line()


class _StrictConnection(h11.Connection):
    def __init__(self) -> None:
        super().__init__(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._receive_buffer = _StrictBuffer()
        self.body_bytes = 0
        """How much of the current request's body was read."""

    def receive_data(self, data: bytes) -> None:
        if data and self.their_state in (h11.MUST_CLOSE, h11.CLOSED):
            return  # rule 6; kept, it could be any amount
        super().receive_data(data)

    def next_event(self) -> Any:
        if self.their_state in (h11.MUST_CLOSE, h11.CLOSED):
            return h11.NEED_DATA  # rule 6
        event = super().next_event()
        if isinstance(event, h11.Request):
            self.body_bytes = 0
        elif isinstance(event, h11.Data):
            self.body_bytes += len(event.data)
        return event

    def send_whole(
        self, status_code: int, fields: list[tuple[bytes, bytes]], body: bytes, *, is_last: bool = False
    ) -> bytes:
        """Return an answer as it is sent, whole; h11 takes three events for that, and five times as long.

        Args:
            status_code: 200 or more.
            fields: the answer's own, `content-length` among them unless the status has none.
            body: as long as that says, or empty if it answers a HEAD.
            is_last: whether the connection ends with it, which it says (RFC 9112, section 9.6). It may have to anyway.

        Raises:
            LocalProtocolError: no answer is due, or a field is malformed.
        """
        if {name for name, _ in fields} <= _OF_MOST_ANSWERS:
            _require_well_formed(tuple(fields))
        else:
            normalize_and_validate(fields)
        before = self.states
        if is_last:
            self._cstate.process_keep_alive_disabled()
        self._cstate.process_event(h11.SERVER, h11.Response)
        self._cstate.process_event(h11.SERVER, h11.EndOfMessage)
        self.client_is_waiting_for_100_continue = False
        self._respond_to_state_changes(before)
        lines = [b"HTTP/1.1 %d \r\n" % status_code, *(b"%b: %b\r\n" % field for field in fields)]
        if not self._cstate.keep_alive:
            lines.append(b"connection: close\r\n")
        return b"".join((*lines, _common_lines(int(time.time())), b"\r\n", body))

    @property
    def answers_head(self) -> bool:
        """Whether the request being answered is a HEAD, whose answer has no body."""
        return self._request_method == b"HEAD"


class StrictHTTP(H11Protocol):
    """One connection's HTTP, by the rules above."""

    connection: _StrictConnection
    config: EdgeConfig
    context: EdgeContext

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.connection = _StrictConnection()
        self._peer = self.context.callers.peer(self.client[0] if self.client else "")
        self._record: Record | None = None
        self.connection_state["answer"] = self.answer

    async def turn_away(self, problem: problems.Problem) -> None:
        """Refuse a connection that is one too many, whatever it would ask."""
        await self._refuse(problem, retry_after_s=BUSY_RETRY_S)
        await self.send(Closed())

    @property
    def has_begun(self) -> bool:
        """Whether anything was asked on this connection yet."""
        return self.keep_alive_requests > 0

    async def answer(self, answer: Answer, *, is_last: bool = False) -> None:
        """Answer the request that is being handled. What its application says after that by other ways is not heard.

        Args:
            answer: what to send.
            is_last: whether the connection ends with it. It may for other reasons too.
        """
        body = b"" if self.connection.answers_head else answer.body
        is_last |= self.context.is_draining or self.keep_alive_requests >= self.config.keep_alive_max_requests
        try:
            data = self.connection.send_whole(answer.status, answer.fields, body, is_last=is_last)
        except h11.LocalProtocolError:
            if self.connection.their_state is not h11.ERROR:  # else it was refused before
                raise
            return
        if self.stream:
            self.stream.state = ASGIHTTPState.CLOSED
        record = self._record
        if record:
            record.answered(answer.status, len(body))
        await self.send(RawData(data))
        if record:
            record.sent()

    async def stream_send(self, event: Event) -> None:
        """Do what the stream says: that it is over, or what Hypercorn answers for an application that did not."""
        if isinstance(event, Response) and self._record:
            self._record.answered(event.status_code, 0)
        await super().stream_send(event)

    def end_record(self) -> None:
        """Count the request that is being handled, if there is one: nothing more comes of it."""
        if self._record:
            record, self._record = self._record, None
            record.end(self.connection.body_bytes, self.config.access_log_sample)

    async def _close_stream(self) -> None:
        answered = self.stream is not None and self.stream.state is ASGIHTTPState.CLOSED
        await super()._close_stream()
        if answered:  # else its peer has ended its side, and may yet get an answer
            self.end_record()

    async def _check_protocol(self, event: h11.Request) -> None:
        """Offer no other protocol (rule 1)."""

    async def _create_stream(self, request: h11.Request) -> None:
        headers = [(name.lower(), value) for name, value in request.headers.raw_items()]
        method = request.method.decode("ascii")
        self._record = Record(self._peer.caller_of(headers), method, request.target)
        if problem := _fault(request, {name for name, _ in headers}):
            await self._refuse(problem, headers)
            await self.send(Closed())
            return
        self.stream = HTTPStream(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        self.connection_state["record"] = self._record
        version = request.http_version.decode()
        self.keep_alive_requests += 1
        await self.stream.handle(Request(STREAM_ID, headers, version, method, request.target, self.connection_state))

    async def _send_error_response(self, status_code: int) -> None:
        known = {431: problems.HEAD_TOO_LARGE, 501: problems.NOT_IMPLEMENTED}
        await self._refuse(known.get(status_code, problems.BAD_REQUEST))

    async def _refuse(
        self,
        problem: problems.Problem,
        asked: Iterable[tuple[bytes, bytes]] = (),
        *,
        retry_after_s: int | None = None,
    ) -> None:
        headers = [("allow", ALLOW)] if problem is problems.METHOD_NOT_ALLOWED else []
        views: Problems = self.connection_state["problems"]
        answer = views.answer(problem, asked, retry_after_s=retry_after_s, headers=headers)
        self._record = self._record or Record(self._peer.caller)
        self._record.refused(problem)
        await self.answer(answer, is_last=True)
        self.end_record()


def _fault(request: h11.Request, names: set[bytes]) -> problems.Problem | None:
    """Return what is wrong with a head that h11 accepts, or None."""
    if request.method == b"CONNECT" or request.method != request.method.upper():
        return problems.METHOD_NOT_ALLOWED
    if request.http_version not in (b"1.0", b"1.1"):
        return problems.VERSION_NOT_SUPPORTED
    if b"transfer-encoding" in names and (b"content-length" in names or request.http_version == b"1.0"):
        return problems.BAD_REQUEST
    if not request.target.startswith(b"/") or b"upgrade" in names:
        return problems.BAD_REQUEST
    return None
