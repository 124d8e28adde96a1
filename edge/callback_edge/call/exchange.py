"""One request and its answer: what must hold for every one of them, and what becomes of a call.

1. A body has its limit, with or without a `Content-Length`, and is never held beyond it; nor are all together beyond
   theirs.
2. A caller has no more requests at a time than it may.
3. An answer given before its request has arrived says `Connection: close`, and what still arrives is dropped for a
   moment before the connection closes: otherwise the peer may get a reset in place of the answer.
4. An answer is whole before its first byte leaves.
5. An error, in the framework as well, is answered like any other.

A call is answered here, from its scope: what Quart makes of a request costs several times as much as all the rest.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, Final, cast

from quart import Quart, Response
from quart.asgi import ASGIHTTPConnection

from callback.v1 import edge_service_pb2
from callback_edge import problems
from callback_edge.call.answer import Answer, render
from callback_edge.call.request import (
    ALLOW,
    CALL_METHODS,
    HttpRequest,
    Target,
    is_handshake,
    is_prefetch,
    parse_path,
    to_invoke,
)
from callback_edge.call.request_record import record_of
from callback_edge.http.listener import LINGER_S
from callback_edge.limits.body_budget import Bodies, HeldBody
from callback_edge.limits.per_address import BUSY_RETRY_S, Limits
from callback_edge.pages.views import problems_of
from callback_edge.settings import EdgeSettings
from callback_edge.upstream.client import Upstream
from callback_process import logs

_log = logs.get_logger()
_Message = dict[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]

_METHODS: Final = frozenset((*CALL_METHODS, "OPTIONS"))
_UNLOGGED: Final = (problems.PREFETCH_REFUSED, problems.TOO_MANY_CALLS)
"""Nothing is wrong, and figures tell how often. Where too much is asked, a line each would be much of its cost."""


class Exchanges:
    """What all exchanges share. Makes them, in place of Quart's own class: `app.asgi_http_class = Exchanges(…)`."""

    def __init__(self, upstream: Upstream, settings: EdgeSettings) -> None:
        self.upstream = upstream
        self.limits = Limits(settings)
        self.bodies = Bodies(settings.max_body_bytes_in_flight)
        self.body_limit_bytes = settings.body_limit_bytes
        self.body_timeout_s = settings.body_timeout_s

    def __call__(self, app: Quart, scope: Any) -> "Exchange":
        """Begin the exchange of one request."""
        return Exchange(self, app, scope)


class Exchange(ASGIHTTPConnection):
    """One request, from its head to the end of its answer. It is cancelled when its caller hangs up."""

    _receive: _Receive
    _send: _Send

    def __init__(self, shared: Exchanges, app: Quart, scope: Any) -> None:
        super().__init__(app, scope)
        self._shared = shared
        self._record = record_of(scope)
        self._body = HeldBody(shared.bodies)
        headers = dict(scope["headers"])
        self._declared_bytes = int(headers.get(b"content-length", b"0"))  # digits only: h11 has seen to that
        self._has_arrived = not self._declared_bytes and b"transfer-encoding" not in headers

    async def __call__(self, receive: Any, send: Any) -> None:
        """Answer."""
        self._receive, self._send = receive, send
        with self._shared.limits.one_more(self._record.caller.group) as may_be_served:
            if may_be_served:
                try:
                    await self._give(await self._answer())
                finally:
                    self._body.let_go()
        if not may_be_served:
            await self._give(self._problem(problems.TOO_MANY_REQUESTS, retry_after_s=BUSY_RETRY_S))

    async def _answer(self) -> Answer:
        try:
            if self._declared_bytes > self._shared.body_limit_bytes:
                raise problems.Refusal(problems.BODY_TOO_LARGE)
            target = parse_path(self.scope["raw_path"])
            return await (self._call(target) if target else self._route())
        except problems.Refusal as refusal:
            return self._refused(refusal)
        except Exception:
            _log.exception("request failed", call_id=self._record.call_id)
            return self._problem(problems.INTERNAL)

    async def _call(self, target: Target) -> Answer:
        """Answer a request at an address of ours: what needs no look-up first, then its body, then the server."""
        method, headers = self.scope["method"], cast(list[tuple[bytes, bytes]], self.scope["headers"])
        if method == "HEAD":
            return Answer(200)
        if method == "OPTIONS" and not is_handshake(headers):
            return Answer(204, [("allow", ALLOW)])
        if method not in _METHODS:
            return self._problem(problems.METHOD_NOT_ALLOWED, headers=[("allow", ALLOW)])
        if is_prefetch(headers):
            raise problems.Refusal(problems.PREFETCH_REFUSED)
        caller, shared = self._record.caller, self._shared
        body = b"" if self._has_arrived else await self._read_body()
        request = HttpRequest(method, headers, self.scope["query_string"], body, caller.address)
        try:
            shared.limits.may_look_up(caller)
            if method == "OPTIONS":
                shared.limits.missed(caller)  # whatever it leads to: so a later 429 tells nothing of it either
            answered = await shared.upstream.invoke(to_invoke(target, request), self._body)
            self._record.call_id = answered.call_id
            return _handshake_answer(answered) if method == "OPTIONS" else render(answered, method)
        except problems.Refusal as refusal:
            if method == "OPTIONS":
                return Answer(204, [("allow", ALLOW)])  # as without a handshake: nothing is told of any state
            refusal.problem = problems.seen_from(refusal.problem, shared_address=target.is_shared)
            if refusal.problem is problems.STATE_UNKNOWN:
                shared.limits.missed(caller)  # as it is seen: a later 429 tells no more than this 404
            raise

    async def _route(self) -> Answer:
        """Have Quart's routes answer."""
        request = self._create_request_from_scope(cast(Any, self._send))
        request.body.set_complete()  # no view has use for one
        response = cast(Response, await self.app.handle_request(request))
        headers = [(name.lower(), value) for name, value in response.headers if name.lower() != "content-length"]
        return Answer(response.status_code, headers, await response.get_data(as_text=False))

    async def _read_body(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._shared.body_timeout_s):
                while not self._has_arrived:
                    part = await self._receive_part()
                    size += len(part)
                    if size > self._shared.body_limit_bytes:
                        raise problems.Refusal(problems.BODY_TOO_LARGE)
                    if not self._body.add(len(part)):
                        raise problems.Refusal(problems.TOO_MANY_CALLS, retry_after_s=BUSY_RETRY_S)
                    parts.append(part)
        except TimeoutError:
            raise problems.Refusal(problems.BODY_TIMEOUT) from None
        return b"".join(parts)

    async def _receive_part(self) -> bytes:
        message = await self._receive()
        self._has_arrived = not message["more_body"]
        part: bytes = message["body"]
        return part

    def _refused(self, refusal: problems.Refusal) -> Answer:
        if refusal.call_id:
            self._record.call_id = refusal.call_id
        if refusal.problem.status >= 500 and refusal.problem not in _UNLOGGED:
            _log.warning("call refused", code=refusal.problem.code, call_id=refusal.call_id)
        headers = [("www-authenticate", refusal.challenge)] if refusal.challenge else []
        return self._problem(refusal.problem, retry_after_s=refusal.retry_after_s, headers=headers)

    def _problem(
        self, problem: problems.Problem, *, retry_after_s: int | None = None, headers: Sequence[tuple[str, str]] = ()
    ) -> Answer:
        self._record.refused(problem)
        asked = cast(list[tuple[bytes, bytes]], self.scope["headers"])
        return problems_of(self.scope).answer(problem, asked, retry_after_s=retry_after_s, headers=headers)

    async def _give(self, answer: Answer) -> None:
        await self.scope["state"]["answer"](answer, is_last=not self._has_arrived)
        if not self._has_arrived:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINGER_S):
                    while not self._has_arrived:
                        await self._receive_part()


def _handshake_answer(answered: edge_service_pb2.InvokeResponse) -> Answer:
    answer = render(answered, "OPTIONS")
    others = [(name, value) for name, value in answer.headers if name != "allow"]
    return replace(answer, headers=[*others, ("allow", ALLOW)])
