"""Strict HTTP/1.1 parser: h11 with stricter checks.

h11 accepts input that a proxy in front may read differently. Two parsers that disagree about where a request ends can
see different requests (request smuggling), so ambiguous input is refused. h11 has no settings for that: this module
uses internals of h11 0.16, which is pinned for that reason. `protocol` has the numbered rules.
"""

import re
import time
from functools import lru_cache
from typing import Any, Final
from wsgiref.handlers import format_date_time

import h11
from h11._headers import normalize_and_validate
from h11._receivebuffer import ReceiveBuffer

MAX_HEAD_BYTES: Final = 16 * 1024
"""Largest head: request line and header fields together."""
MAX_HEAD_LINES: Final = 512
"""Most lines of a head, or of trailers. To parse thousands of fields takes longer than a call."""

_COMMON_FIELDS: Final = frozenset((b"content-type", b"content-length"))
"""Fields that most responses have, without any other. They have no secret, so their check can be cached."""
_HEAD_END: Final = re.compile(rb"\n\r?\n")
_BARE_LF_OR_FOLD: Final = re.compile(rb"(?<!\r)\n|\n[ \t]")
_HTTP_URL: Final = re.compile(rb"(?i:https?)://[A-Za-z0-9._~%!$&'()*+,;=:\[\]-]+([/?].*)?")
"""Absolute form. An authority with user information is refused (RFC 9110, section 4.2.4)."""
_MAX_CHUNK_SIZE_DIGITS: Final = 20
_NOT_IN_LINE: Final = re.compile(rb"(?<!\r)\n|\r(?=[^\n])|\x00")


class StrictConnection(h11.Connection):
    """h11's connection with strict reading (rules 1, 3, 5 and 6), and a faster way to send a complete response.

    Args:
        body_limit_bytes: Largest body with its chunk extensions and trailers.
        fixed_fields: Fields of every complete answer, besides the date, unless it has one of the same name.
    """

    _receive_buffer: "_StrictBuffer"

    def __init__(self, body_limit_bytes: int, fixed_fields: tuple[tuple[bytes, bytes], ...]) -> None:
        super().__init__(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._receive_buffer = _StrictBuffer()
        self._body_limit_bytes = body_limit_bytes
        self._fixed_fields = fixed_fields
        self.body_bytes = 0
        """Bytes of the current request's body that were read."""
        self._may_skip_empty_line = True

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the client."""
        if data and self.their_state in (h11.MUST_CLOSE, h11.CLOSED):
            return  # rule 6; to keep them would need memory without a limit
        super().receive_data(data)

    def start_next_cycle(self) -> None:
        """Get ready for the next request."""
        super().start_next_cycle()
        self._may_skip_empty_line = not self._receive_buffer.skip_empty_line()

    def next_event(self) -> Any:
        """Return the next event of h11."""
        state = self.their_state
        if state in (h11.MUST_CLOSE, h11.CLOSED):
            return h11.NEED_DATA  # rule 6
        if state is h11.IDLE and self._may_skip_empty_line:  # rule 3
            self._may_skip_empty_line = not self._receive_buffer.skip_empty_line()
            if self._may_skip_empty_line and self._receive_buffer.is_half_of_empty_line:
                return h11.NEED_DATA
        event = super().next_event()
        if isinstance(event, h11.Request):
            self.body_bytes = self._receive_buffer.other_bytes = 0
            self._cstate.pending_switch_proposals.clear()  # rule 1: else h11 reads nothing more until the answer
        elif isinstance(event, h11.Data):
            self.body_bytes += len(event.data)
            self._check_size()
        elif isinstance(event, h11.EndOfMessage):
            self._check_size()
        return event

    def _check_size(self) -> None:
        others = self._receive_buffer.other_bytes
        if others and self.body_bytes + others > self._body_limit_bytes:
            self._process_error(h11.CLIENT)
            raise h11.RemoteProtocolError("chunk extensions and trailers are too large", error_status_hint=413)

    @property
    def they_are_waiting_for_100_continue(self) -> bool:
        """Return False: Hypercorn would invite the body before anything has decided to read it."""
        return False

    @property
    def is_request_complete(self) -> bool:
        """Whether the whole current request has arrived."""
        return self.their_state is not h11.SEND_BODY

    @property
    def has_pipelined(self) -> bool:
        """Whether bytes of a further request have arrived before the response to the current one."""
        return self.is_request_complete and len(self._receive_buffer) > 0

    @property
    def has_part_of_head(self) -> bool:
        """Whether a part of the next request's head has arrived."""
        return self.their_state is h11.IDLE and len(self._receive_buffer) > 0

    def complete_answer(
        self, status_code: int, fields: list[tuple[bytes, bytes]], body: bytes, *, is_last: bool = False
    ) -> bytes:
        """Return a complete response as it is sent. h11 needs three events for it, and takes five times as long.

        Args:
            status_code: 200 or more.
            fields: The answer's own fields, with `content-length` unless the status has none.
            body: As long as `content-length` says, or empty if it answers a HEAD.
            is_last: Whether the connection ends with it, which the answer says (RFC 9112, section 9.6). The connection
                may have to end in any case.

        Raises:
            LocalProtocolError: No answer is due, or a field is malformed.
        """
        names = {name for name, _ in fields}
        if names <= _COMMON_FIELDS:
            _check_fields(tuple(fields))
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
        fixed = tuple(field for field in self._fixed_fields if field[0] not in names)
        return b"".join((*lines, _common_lines(int(time.time()), fixed), b"\r\n", body))

    @property
    def answers_head(self) -> bool:
        """Whether the current request is a HEAD, whose response has no body."""
        return self._request_method == b"HEAD"


class _StrictBuffer(ReceiveBuffer):
    """Buffer that refuses lines before h11 normalizes them (rules 3 and 5)."""

    def __init__(self) -> None:
        super().__init__()
        self.other_bytes = 0
        """Bytes of the current message in heads, chunk extensions and trailers."""

    def skip_empty_line(self) -> bool:
        """Discard an empty line at the beginning. Return whether there is one."""
        is_empty = self._data.startswith(b"\r\n")
        if is_empty:
            super().maybe_extract_lines()
        return is_empty

    @property
    def is_half_of_empty_line(self) -> bool:
        """Whether the only byte is a CR."""
        return self._data == b"\r"

    def maybe_extract_lines(self) -> list[bytearray] | None:
        """Take a head, or the trailers after the last chunk, which may be absent."""
        if self._data.startswith(b"\n"):
            raise h11.RemoteProtocolError("bare LF")
        if not self._data.startswith(b"\r\n") and (end := _HEAD_END.search(self._data)):
            if end.end() > MAX_HEAD_BYTES or self._data.count(b"\n", 0, end.end()) > MAX_HEAD_LINES:
                raise h11.RemoteProtocolError("head too large", error_status_hint=431)
            if _BARE_LF_OR_FOLD.search(self._data, 0, end.end()):
                raise h11.RemoteProtocolError("bare LF or folded line")
            self.other_bytes += end.end()
        return super().maybe_extract_lines()

    def maybe_extract_next_line(self) -> bytearray | None:
        """Take the line before a chunk."""
        end = self._data.find(b"\r\n")
        if _NOT_IN_LINE.search(self._data, 0, len(self._data) if end < 0 else end):
            raise h11.RemoteProtocolError("bare CR, bare LF or NUL before a chunk")
        self.other_bytes += max(0, end - _MAX_CHUNK_SIZE_DIGITS)
        return super().maybe_extract_next_line()


def origin_form(target: bytes) -> bytes:
    """Return a target without scheme and authority, if it is a URL of http or https (rule 4)."""
    if target.startswith(b"/"):
        return target
    match = _HTTP_URL.fullmatch(target)
    if match is None:
        return target
    rest = match[1] or b""
    return rest if rest.startswith(b"/") else b"/" + rest


def head_problem(request: h11.Request, target: bytes, names: set[bytes]) -> int | None:
    """Return the status that refuses a head that h11 accepts (rules 2 and 4). Return None if nothing is wrong.

    Args:
        request: The head.
        target: Its target in origin form.
        names: Names of its fields, in lower case.
    """
    if request.method == b"CONNECT" or request.method != request.method.upper():
        return 405
    if request.http_version not in (b"1.0", b"1.1"):
        return 505
    if b"transfer-encoding" in names and (b"content-length" in names or request.http_version == b"1.0"):
        return 400
    if not target.startswith(b"/"):
        return 400
    return None


def date(seconds: float) -> bytes:
    """Return the value of `Date` at a time in seconds since 1970."""
    return format_date_time(seconds).encode()


@lru_cache(maxsize=4)
def _common_lines(second: int, fixed_fields: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """Return the lines that every response has, at a time in whole seconds."""
    fields = [(b"date", date(second)), *fixed_fields]
    return b"".join(b"%b: %b\r\n" % field for field in fields)


@lru_cache(maxsize=1024)
def _check_fields(fields: tuple[tuple[bytes, bytes], ...]) -> None:
    """Refuse fields that h11 would not send. The check is slow, and most responses have the fields of an earlier one.

    Raises:
        LocalProtocolError: A field is malformed.
    """
    normalize_and_validate(list(fields))
