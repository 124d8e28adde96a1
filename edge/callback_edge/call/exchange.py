"""Exchange of one request and its response: the rules for every request, and the path of a call.

1. A body has a limit, with or without a `Content-Length`, and the edge never holds more of it. All bodies together have
   a limit too.
2. A caller has a limit of requests in flight.
3. A response before the end of its request says `Connection: close`. The edge then reads and discards the rest for a
   moment before it closes the connection; without that the client may get a reset in place of the response.
4. A response is complete before its first byte is sent.
5. Every error, also one in the framework, becomes a problem response.

A call is answered here, directly from its ASGI scope: Quart's request object costs several times as much as the rest.
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
from callback_edge.call.answer import render
from callback_edge.call.exchange_context import context_of
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
from callback_edge.http_answer import LINGER_S, HttpAnswer
from callback_edge.limits.body_budget import BodyBudget, BodyReservation
from callback_edge.limits.per_address import BUSY_RETRY_S, AddressLimits
from callback_edge.pages.views import ProblemResponse
from callback_edge.settings import EdgeSettings
from callback_edge.upstream.client import ServerClient
from callback_process import logs

log = logs.get_logger()
_Message = dict[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]

_METHODS: Final = frozenset((*CALL_METHODS, "OPTIONS"))
_NOT_LOGGED: Final = (problems.PREFETCH_REFUSED, problems.TOO_MANY_CALLS)
"""Problems that are expected; metrics count them, and they are not logged: under overload a log line each would be
expensive."""


class ExchangeFactory:
    """Creates the exchanges, in place of Quart's own class: `app.asgi_http_class = ExchangeFactory(…)`.

    Args:
        upstream: Makes the calls.
        settings: The limits.
    """

    def __init__(self, upstream: ServerClient, settings: EdgeSettings) -> None:
        self.upstream = upstream
        self.limits = AddressLimits(settings)
        self.body_budget = BodyBudget(settings.max_body_bytes_in_flight)
        self.body_limit_bytes = settings.body_limit_bytes
        self.body_timeout_s = settings.body_timeout_s

    def __call__(self, app: Quart, scope: Any) -> "Exchange":
        """Create the exchange of one request."""
        return Exchange(self, app, scope)


class Exchange(ASGIHTTPConnection):
    """Exchange of one request, until the end of its response. It is cancelled when its caller disconnects."""

    _receive: _Receive
    _send: _Send

    def __init__(self, shared: ExchangeFactory, app: Quart, scope: Any) -> None:
        super().__init__(app, scope)
        self._shared = shared
        context = context_of(scope)
        self._record, self._pages, self._send_to_caller = context.record, context.pages, context.send_answer
        self._body = BodyReservation(shared.body_budget)
        headers = dict(scope["headers"])
        self._declared_bytes = int(headers.get(b"content-length", b"0"))  # h11 ensures that it has only digits
        self._is_complete = not self._declared_bytes and b"transfer-encoding" not in headers

    async def __call__(self, receive: Any, send: Any) -> None:
        """Answer the request."""
        self._receive, self._send = receive, send
        with self._shared.limits.request_in_flight(self._record.caller.group) as is_allowed:
            if is_allowed:
                try:
                    await self._send_answer(await self._answer())
                finally:
                    self._body.release()
        if not is_allowed:
            await self._send_answer(self._answer_problem(problems.TOO_MANY_REQUESTS, retry_after_s=BUSY_RETRY_S))

    async def _answer(self) -> HttpAnswer:
        try:
            if self._declared_bytes > self._shared.body_limit_bytes:
                raise problems.ProblemError(problems.BODY_TOO_LARGE)
            target = parse_path(self.scope["raw_path"])
            return await (self._call(target) if target else self._view())
        except problems.ProblemError as error:
            return self._answer_error(error)
        except Exception:
            log.exception("request_failed", call_id=self._record.call_id)
            return self._answer_problem(problems.INTERNAL)

    async def _call(self, target: Target) -> HttpAnswer:
        """Respond to a request at a callback URL: without a server if possible, else read the body and call one."""
        method, headers = self.scope["method"], cast(list[tuple[bytes, bytes]], self.scope["headers"])
        if method == "HEAD":
            return HttpAnswer(200)
        if method == "OPTIONS" and not is_handshake(headers):
            return HttpAnswer(204, [("allow", ALLOW)])
        if method not in _METHODS:
            return self._answer_problem(problems.METHOD_NOT_ALLOWED, headers=[("allow", ALLOW)])
        if is_prefetch(headers):
            raise problems.ProblemError(problems.PREFETCH_REFUSED)
        caller, shared = self._record.caller, self._shared
        body = b"" if self._is_complete else await self._read_body()
        request = HttpRequest(method, headers, self.scope["query_string"], body, caller.address)
        try:
            shared.limits.check_unknown_states(caller)
            if method == "OPTIONS":
                shared.limits.count_unknown_state(
                    caller
                )  # for any state, so that a later 429 does not reveal whether the state exists
            invoked = await shared.upstream.invoke(to_invoke(target, request), self._body)
            self._record.call_id = invoked.call_id
            return _handshake_answer(invoked) if method == "OPTIONS" else render(invoked, method)
        except problems.ProblemError as error:
            if method == "OPTIONS":
                return HttpAnswer(
                    204, [("allow", ALLOW)]
                )  # as without a handshake: it does not reveal whether the state exists
            error.problem = problems.visible_problem(error.problem, is_shared_address=target.is_shared)
            if error.problem is problems.STATE_UNKNOWN:
                shared.limits.count_unknown_state(caller)  # by the visible problem, so that a later 429 reveals no more
            raise

    async def _view(self) -> HttpAnswer:
        """Answer a request at any other address by Quart's routes and views."""
        request = self._create_request_from_scope(cast(Any, self._send))
        request.body.set_complete()  # no view reads a body
        response = cast(Response, await self.app.handle_request(request))
        if isinstance(response, ProblemResponse):
            self._record.set_problem(response.problem)
        headers = [(name.lower(), value) for name, value in response.headers if name.lower() != "content-length"]
        return HttpAnswer(response.status_code, headers, await response.get_data(as_text=False))

    async def _read_body(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._shared.body_timeout_s):
                while not self._is_complete:
                    part = await self._receive_part()
                    size += len(part)
                    if size > self._shared.body_limit_bytes:
                        raise problems.ProblemError(problems.BODY_TOO_LARGE)
                    if not self._body.add(len(part)):
                        raise problems.ProblemError(problems.TOO_MANY_CALLS, retry_after_s=BUSY_RETRY_S)
                    parts.append(part)
        except TimeoutError:
            raise problems.ProblemError(problems.BODY_TIMEOUT) from None
        return b"".join(parts)

    async def _receive_part(self) -> bytes:
        message = await self._receive()
        self._is_complete = not message["more_body"]
        part: bytes = message["body"]
        return part

    def _answer_error(self, error: problems.ProblemError) -> HttpAnswer:
        if error.call_id:
            self._record.call_id = error.call_id
        if error.problem.status >= 500 and error.problem not in _NOT_LOGGED:
            log.warning("call_refused", code=error.problem.code, call_id=error.call_id)
        headers = [("www-authenticate", error.challenge)] if error.challenge else []
        return self._answer_problem(error.problem, retry_after_s=error.retry_after_s, headers=headers)

    def _answer_problem(
        self, problem: problems.Problem, *, retry_after_s: int | None = None, headers: Sequence[tuple[str, str]] = ()
    ) -> HttpAnswer:
        self._record.set_problem(problem)
        request_headers = cast(list[tuple[bytes, bytes]], self.scope["headers"])
        return self._pages.answer(problem, request_headers, retry_after_s=retry_after_s, headers=headers)

    async def _send_answer(self, answer: HttpAnswer) -> None:
        await self._send_to_caller(answer, is_last=not self._is_complete)
        if not self._is_complete:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINGER_S):
                    while not self._is_complete:
                        await self._receive_part()


def _handshake_answer(invoked: edge_service_pb2.InvokeResponse) -> HttpAnswer:
    answer = render(invoked, "OPTIONS")
    others = [(name, value) for name, value in answer.headers if name != "allow"]
    return replace(answer, headers=[*others, ("allow", ALLOW)])
