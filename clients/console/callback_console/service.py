"""Service of the listener: who may send how much, before anything of a body is read.

1. A stranger, who has no session, sends no body but that of the form to sign in, of at most `MAX_TOKEN_FORM_BYTES`.
   Sign-ins run a few at a time, because each asks the server, and those of one address leave the others room.
2. A person who signed in has `admission`: a number of requests and of bytes at once. Live pages have limits of their
   own: how many are opened in a minute, and in `sessions` how many there are. They have no body.
3. A form is complete before Quart sees the request, and has few fields, as the headers have few cookies and languages:
   the time to read them grows with their number. A header that decides whose a request is, or how its form is read,
   comes once: of two, Quart could take the other one.
4. A refusal waits for a moment: a caller that tries again at once costs little.
5. The API has rules of its own. It comes first, and reads no cookie.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, ClassVar, Final

from werkzeug.sansio.http import parse_cookie

from callback_api import admission
from callback_api.admission import (
    Admission,
    Admitted,
    CallerGoneError,
    FullError,
    TooLargeError,
    read_message,
)
from callback_console import metrics
from callback_console.sessions import Sessions
from callback_process.http.answer import HttpAnswer
from callback_process.http.callers import Caller
from callback_process.http.service import Client, Receive, Send
from callback_process.rate_limiter import RateLimiter

MAX_FORM_BYTES: Final = 2 * 1024 * 1024
"""Largest form. The body of a response has at most 1 MiB."""
MAX_TOKEN_FORM_BYTES: Final = 16 * 1024
"""Largest form of a stranger. A token has at most 4,096 characters."""
MAX_FIELDS: Final = 1000
"""Maximum number of fields of a form, and of a query."""
MAX_HEADER_ITEMS: Final = 300
"""Maximum number of commas and semicolons in the headers of a request. A browser sends at most 180 cookies, and some
dozens of languages and media types. To read thousands of them takes a hundred milliseconds."""
LIVE_PAGES_PER_MINUTE: Final = 600
"""How many live pages an owner of sessions may open in a minute: all of them again after a restart of the server."""
SIGN_INS: Final = 2
"""How many sign-ins run at once. Others wait."""
MAX_WAITING_SIGN_INS: Final = 64
"""How many of these wait. A further one is refused."""
MAX_WAITING_SIGN_INS_EACH: Final = 16
"""The same of one address, which can have more connections than all sign-ins that wait."""
_API: Final = "/callback.v1."
_SIGN_IN: Final = "/sign-in"
_EVENTS: Final = "/events"
_FORM: Final = b"application/x-www-form-urlencoded"
_ONCE: Final = (b"cookie", b"content-type", b"origin")
"""Headers of which a browser sends at most one."""
_TEXTS: Final = {
    400: "this is no request that the console can read",
    405: "the console has no such method",
    408: "the request did not arrive in time",
    411: "the console takes a body only from its forms",
    413: "the form is too large",
    415: "the console takes forms as application/x-www-form-urlencoded; its API is at /callback.v1.SERVICE/RPC",
    429: "too many requests at once: try again",
    431: "the head of the request is too large",
    501: "the console does not know this transfer coding",
    503: "too many requests at once: try again",
    505: "the console speaks HTTP/1.1",
}
"""Text of each refusal."""


class ConnectionRecord:
    """Record of a request: only whose it is."""

    waits_for_turn: Final = True

    def __init__(self, caller: Caller) -> None:
        self.caller = caller

    def set_answer(self, status: int, size: int) -> None:
        """Record nothing."""

    def set_sent(self) -> None:
        """Record nothing."""

    def end(self, request_bytes: int) -> None:
        """Record nothing."""


class ConsoleService:
    """The pages and the API, behind what may be in flight.

    Args:
        app: The ASGI application.
        sessions: The sessions.
        admitted: What each identity may have at once.
        cookie_name: Returns the name of the cookie, by the port of the `Host`.
    """

    fixed_headers: ClassVar[Sequence[tuple[str, str]]] = ()
    receives_disconnect: ClassVar = True
    takes_pipelined: ClassVar = False

    def __init__(self, app: Any, sessions: Sessions, admitted: Admission, cookie_name: Any) -> None:
        self._app = app
        self._sessions = sessions
        self._admission = admitted
        self._cookie_name = cookie_name
        self._sign_ins = asyncio.Semaphore(SIGN_INS)
        self._waiting_sign_ins: Counter[str] = Counter()
        """Sign-ins that run or wait, by address."""
        self._live_pages = RateLimiter(LIVE_PAGES_PER_MINUTE)
        self.turns = admitted.turns

    def start(self, caller: Caller, method: str = "", target: bytes = b"") -> ConnectionRecord:
        """Return the record of a request."""
        return ConnectionRecord(caller)

    def refuse(self, status: int, record: ConnectionRecord, headers: Sequence[tuple[bytes, bytes]] = ()) -> HttpAnswer:
        """Return a refusal as text."""
        own = [("retry-after", "1")] if status in (429, 503) else []
        return HttpAnswer(
            status,
            [
                ("content-type", "text/plain; charset=utf-8"),
                ("cache-control", "no-store"),
                ("x-content-type-options", "nosniff"),
                *own,
            ],
            f"{_TEXTS[status]}\n".encode(),
        )

    async def serve(self, record: ConnectionRecord, scope: Any, receive: Receive, send: Send, client: Client) -> None:
        """Answer a request."""

        async def receive_invited() -> Any:
            if client.awaits_continue:
                await client.send_continue()
            return await receive()

        if scope["path"].startswith(_API):
            await self._app(scope, receive_invited, send)
            return
        try:
            await self._serve_page(scope, receive_invited, send, record.caller.group)
        except _RefusedError as refused:
            if refused.limit:
                self.count_limited(refused.limit)
            await asyncio.sleep(admission.REFUSAL_S)
            await client.answer(self.refuse(refused.status, record))
        except CallerGoneError:
            pass

    async def _serve_page(self, scope: Any, receive: Receive, send: Send, group: str) -> None:
        headers = dict(scope["headers"])
        names = [name for name, _ in scope["headers"]]
        if any(names.count(name) > 1 for name in _ONCE):
            raise _RefusedError(400)
        items = sum(value.count(b",") + value.count(b";") for _, value in scope["headers"])
        if items > MAX_HEADER_ITEMS or scope["query_string"].count(b"&") > MAX_FIELDS:
            raise _RefusedError(400)
        has_body = headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers
        session = self._session_of(headers)
        is_sign_in = scope["path"].startswith(_SIGN_IN)
        is_live_page = session is not None and scope["path"] == _EVENTS
        if is_live_page and has_body:
            raise _RefusedError(411)
        if not has_body and not is_sign_in and (session is None or is_live_page):
            if session is not None:
                self._count_live_page(repr(session.owner))
            await self._app(scope, receive, send)  # it costs little, or has a limit of its own
            return
        if has_body:
            _check_form(headers, MAX_FORM_BYTES if session is not None else MAX_TOKEN_FORM_BYTES)
        with ExitStack() as places:
            if session is None or is_sign_in:
                if has_body and not is_sign_in:
                    raise _RefusedError(411)
                await self._sign_in(scope, receive, send, group, has_body=has_body)
                return
            try:
                admitted = places.enter_context(Admitted(self._admission, session.owner))
                if has_body:
                    receive = _complete(await admitted.read(receive, MAX_FORM_BYTES), receive)
            except (FullError, TooLargeError, TimeoutError) as error:
                raise _as_refusal(error) from None
            await self._app(scope, receive, send)

    def _count_live_page(self, owner: str) -> None:
        now = time.monotonic_ns()
        if self._live_pages.wait_ns(owner, now):
            raise _RefusedError(429, "identity")
        self._live_pages.charge(owner, now)

    async def _sign_in(self, scope: Any, receive: Receive, send: Send, group: str, *, has_body: bool) -> None:
        """Answer a request of someone who may become a person with a session."""
        if has_body:
            try:
                content = await read_message(receive, MAX_TOKEN_FORM_BYTES, _count_nothing, self.turns, group)
                receive = _complete(content, receive)
            except (TooLargeError, TimeoutError) as error:
                raise _as_refusal(error) from None
        waiting = self._waiting_sign_ins
        if waiting[group] >= MAX_WAITING_SIGN_INS_EACH:
            raise _RefusedError(429, "sign_ins")
        if waiting.total() >= MAX_WAITING_SIGN_INS:
            raise _RefusedError(503, "sign_ins")
        waiting[group] += 1
        try:
            async with self._sign_ins:
                await self._app(scope, receive, send)
        finally:
            waiting[group] -= 1
            if not waiting[group]:
                del waiting[group]

    def _session_of(self, headers: dict[bytes, bytes]) -> Any:
        cookies = headers.get(b"cookie", b"").decode("latin-1")
        name = self._cookie_name(headers.get(b"host", b"").decode("latin-1"))
        return self._sessions.find(parse_cookie(cookies).get(name, "")) if name in cookies else None

    def count_connections(self, change: int) -> None:
        """Count connections that were opened, or closed."""
        metrics.CONNECTIONS.inc(change)

    def count_limited(self, limit: str) -> None:
        """Count a request or a connection that a limit refused."""
        metrics.limited(limit).inc()


class _RefusedError(Exception):
    """A request is refused before its body is read.

    Args:
        status: The status.
        limit: The limit that refuses it. Empty: none does.
    """

    def __init__(self, status: int, limit: str = "") -> None:
        super().__init__(status)
        self.status, self.limit = status, limit


def _as_refusal(error: Exception) -> _RefusedError:
    if isinstance(error, FullError):
        return _RefusedError(429 if error.is_own else 503, "identity" if error.is_own else "console")
    return _RefusedError(413 if isinstance(error, TooLargeError) else 408)


def _check_form(headers: dict[bytes, bytes], max_bytes: int) -> None:
    """Refuse a body that is no form, or says that it is too large."""
    if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != _FORM:
        raise _RefusedError(415)
    if int(headers.get(b"content-length", b"0")) > max_bytes:  # h11 ensures that it has only digits
        raise _RefusedError(413)


def _complete(content: bytes, receive: Receive) -> Receive:
    """Return a `receive` that returns this body, and after that what the connection says.

    Raises:
        _RefusedError: It has too many fields.
    """
    if content.count(b"&") > MAX_FIELDS:
        raise _RefusedError(413)
    body: list[dict[str, object]] = [{"type": "http.request", "body": content, "more_body": False}]

    async def receive_complete() -> Any:
        return body.pop() if body else await receive()

    return receive_complete


def _count_nothing(_size: int) -> None:
    """Count no bytes: the connections limit those of strangers."""
