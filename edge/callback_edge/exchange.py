"""One request and its answer, between Hypercorn and Quart: what must hold whatever the application does.

1. A body has its limit, with or without a `Content-Length`, and is never held beyond it; nor are all together beyond
   theirs. Quart 0.22 counts chunked bodies as they come, 0.23 only once they have come whole.
2. A caller has no more requests at a time than it may.
3. An answer given before its request has arrived says `Connection: close`, and what still arrives is dropped for a
   moment before the connection closes: otherwise the peer may get a reset in place of the answer.
4. Header values leave as ISO-8859-1, the bytes that were meant; Quart writes UTF-8.
5. An error in the framework itself is answered like any other.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from callback_edge import status
from callback_edge.bodies import Bodies, HeldBody, body_of
from callback_edge.limits import BUSY_RETRY_S, Limits
from callback_edge.problems import problems_of
from callback_edge.record import record_of
from callback_edge.server import LINGER_S
from callback_edge.settings import EdgeSettings
from callback_process import logs

_log = logs.get_logger()
_Message = dict[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_App = Callable[[Any, Any, Any], Awaitable[None]]


class Exchanges:
    """An ASGI application around another: `app.asgi_app = Exchanges(app.asgi_app, limits, settings)`."""

    def __init__(self, app: _App, limits: Limits, settings: EdgeSettings) -> None:
        self._app = app
        self._limits = limits
        self._bodies = Bodies(settings.max_body_bytes_in_flight)
        self._body_limit_bytes = settings.body_limit_bytes

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle one request. It is always HTTP: the connection refuses upgrades, and `HttpServer` uses no lifespan."""
        scope["state"]["body"] = body = HeldBody(self._bodies)
        exchange = _Exchange(scope, receive, send, self._body_limit_bytes)
        with self._limits.one_more(record_of(scope).caller.group) as may_be_served:
            if may_be_served:
                try:
                    await exchange.run(self._app)
                finally:
                    body.let_go()
        if not may_be_served:
            await exchange.refuse(status.TOO_MANY_REQUESTS, retry_after_s=BUSY_RETRY_S)


class _Exchange:
    def __init__(self, scope: Any, receive: _Receive, send: _Send, body_limit_bytes: int) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._limit = body_limit_bytes
        self._received_bytes = 0
        self._arrived = asyncio.Event()
        """The request has arrived whole, or its sender is gone."""
        self._answering = False
        """The head of the answer is out."""
        self._refused = False
        """The answer is ours, and whatever the application says now comes too late."""

        headers = dict(scope["headers"])
        self._declared = int(headers.get(b"content-length", b"0"))  # digits only: h11 has seen to that
        if self._declared == 0 and b"transfer-encoding" not in headers:
            self._arrived.set()

    async def run(self, app: _App) -> None:
        if self._declared > self._limit:
            await self.refuse(status.BODY_TOO_LARGE)
            return
        try:
            await app(self._scope, self._take, self._give)
        except Exception:
            _log.exception("the framework failed", call_id=record_of(self._scope).call_id)
            if self._answering:
                raise  # Hypercorn cuts the connection: half an answer must not look whole
            await self.refuse(status.INTERNAL)

    async def _take(self) -> _Message:
        """Receive, for the application."""
        message = await self._receive_counted()
        if not self._answering:
            if self._received_bytes > self._limit:
                await self.refuse(status.BODY_TOO_LARGE)
            elif not body_of(self._scope).add(len(message.get("body", b""))):
                await self.refuse(status.TOO_MANY_CALLS, retry_after_s=BUSY_RETRY_S)
        if self._refused:
            return {"type": "http.disconnect"}
        if self._answering and message["type"] == "http.request":
            message = {**message, "body": b""}  # nobody reads it any more
        return message

    async def _receive_counted(self) -> _Message:
        message = await self._receive()
        self._received_bytes += len(message.get("body", b""))
        if not message.get("more_body", False):
            self._arrived.set()
        return message

    async def _give(self, message: _Message) -> None:
        """Send, for the application."""
        if self._refused:
            return
        if message["type"] == "http.response.start":
            self._answering = True
            headers = [(name, value.decode().encode("latin-1")) for name, value in message["headers"]]
            await self._send({**message, "headers": self._closing(headers)})
            return
        if not message.get("more_body", False) and not self._arrived.is_set():
            await self._send({**message, "more_body": True})
            await self._linger(self._arrived.wait())  # the application goes on receiving meanwhile
            message = {**message, "body": b""}
        await self._send(message)

    async def refuse(self, problem: status.Problem, *, retry_after_s: int | None = None) -> None:
        self._answering = self._refused = True
        record_of(self._scope).refused(problem)
        answer = problems_of(self._scope).answer(problem, self._scope["headers"], retry_after_s=retry_after_s)
        headers = [(name.encode(), value.encode("latin-1")) for name, value in answer.framed_headers]
        await self._send({"type": "http.response.start", "status": answer.status, "headers": self._closing(headers)})
        await self._send({"type": "http.response.body", "body": answer.body, "more_body": True})
        await self._linger(self._drop_the_rest())
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def _closing(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        return headers if self._arrived.is_set() else [*headers, (b"connection", b"close")]

    async def _drop_the_rest(self) -> None:
        while not self._arrived.is_set():
            await self._receive_counted()

    async def _linger(self, until: Awaitable[object]) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(until, LINGER_S)
