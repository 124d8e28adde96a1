"""Exchange of one request and its response: the rules for every request, and the path of a call.

1. A body has a limit, with or without a `Content-Length`, and the edge never holds more of it. All bodies together have
   a limit too, and those of one caller. They count before they are read.
2. A caller has a limit of requests in flight.
3. A response is complete before its first byte is sent.
4. Every error, also one in the framework, becomes a problem response.
5. A large body is read only after a server was asked whether it refuses the request in any case, and so is one whose
   sender waits until it is invited (100 Continue). The body of a request that is refused is read and discarded, so that
   its sender gets the answer whenever it reads. One that was not invited is not sent.
6. Large bodies are read in turns, which leaves time for small calls.
7. No frame holds a body while a call runs: the client of the servers alone has it.

The connection creates an exchange with all that it needs, and sends the answer that it returns. A call is answered
here, directly from its ASGI scope: Quart's request object costs several times as much as the rest.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Final, cast

from quart import Quart

from callback.v1 import edge_service_pb2
from callback_edge import metrics, problems
from callback_edge.call.answer import FIXED_HEADERS, render
from callback_edge.call.cross_origin import (
    framed,
    is_in_frame,
    is_of_script,
    is_preflight,
    may_be_in_frame,
    permission,
    shared,
)
from callback_edge.call.request import (
    ALLOW,
    CALL_METHODS,
    Target,
    can_look_up,
    is_confirmation,
    is_handshake,
    is_navigation,
    is_prefetch,
    is_service_worker_script,
    parse_path,
    parse_wait_path,
    prefers_minimal,
    to_invocation,
)
from callback_edge.call.request_record import RequestRecord
from callback_edge.call.return_cookie import callback_of, clear_return_cookie, return_cookie
from callback_edge.limits.body_budget import BodyBudget, BodyReservation
from callback_edge.limits.per_address import BUSY_RETRY_S, AddressLimits
from callback_edge.page_content import PageContent
from callback_edge.pages import views
from callback_edge.pages.pages import AGAIN_QUERY, Again, Pages, prefers_page
from callback_edge.settings import EdgeSettings
from callback_edge.upstream.client import ServerClient
from callback_process import logs
from callback_process.http.answer import HttpAnswer
from callback_process.http.callers import Caller
from callback_process.http.service import Client, Receive, Send
from callback_process.http.turns import Turns
from callback_process.limited_event import LimitedEvent

log = logs.get_logger()

_LARGE_BODY_BYTES: Final = 64 * 1024
"""A request with a larger body is looked up before the rest of it is read. A larger answer counts as bytes in flight,
too."""
_METHODS: Final = frozenset((*CALL_METHODS, "OPTIONS"))
_REFUSED: Final = {problem: LimitedEvent(log.warning, "call_refused") for problem in problems.ALL}
"""The log event of each problem that is no call."""
_WITHOUT_SERVER: Final = (problems.SERVER_UNREACHABLE, problems.EDGE_REFUSED)
"""Problems of an edge whose request no server has received, so that another edge can send it."""
_BY_STATUS: Final = {
    each.status: each
    for each in (
        problems.BAD_REQUEST,
        problems.METHOD_NOT_ALLOWED,
        problems.HEAD_TIMEOUT,
        problems.BODY_TOO_LARGE,
        problems.TOO_MANY_REQUESTS,
        problems.HEAD_TOO_LARGE,
        problems.NOT_IMPLEMENTED,
        problems.TOO_MANY_CALLS,
        problems.VERSION_NOT_SUPPORTED,
    )
}
"""Problem for each status with which a request is refused before it has an exchange."""
_NOT_LOGGED: Final = (problems.PREFETCH_REFUSED, problems.TOO_MANY_CALLS)
"""Problems that are expected; metrics count them, and they are not logged: under overload a log line each would be
expensive."""


class Exchanges:
    """What all exchanges use. To the listener this is the service.

    Args:
        app: The views.
        pages: Answers to problems.
        upstream: Makes the calls.
        settings: The limits.
        observe: Called with the record of each request before its exchange, and with the ASGI scope. None: nothing is.
    """

    fixed_headers: ClassVar = FIXED_HEADERS
    receives_disconnect: ClassVar = False
    takes_pipelined: ClassVar = True

    def __init__(
        self,
        app: Quart,
        pages: Pages,
        upstream: ServerClient,
        settings: EdgeSettings,
        observe: Callable[[RequestRecord, Any], None] | None = None,
    ) -> None:
        self.app = app
        self.pages = pages
        self.upstream = upstream
        self.observe = observe
        self.limits = AddressLimits(settings)
        self.turns = Turns()
        """Turns of large bodies and refusals."""
        self.body_budget = BodyBudget(settings)
        self.nginx_location = settings.nginx_location
        self.body_limit_bytes = settings.body_limit_bytes
        self.body_timeout_s = settings.body_timeout_s
        self._access_log_sample = settings.access_log_sample

    def start(self, caller: Caller, method: str = "", target: bytes = b"") -> RequestRecord:
        """Return the record of a request."""
        return RequestRecord(caller, self._access_log_sample, method, target)

    def refuse(self, status: int, record: RequestRecord, headers: Sequence[tuple[bytes, bytes]] = ()) -> HttpAnswer:
        """Return the problem that a request is answered with before it has an exchange."""
        problem = _BY_STATUS[status]
        return self.pages.answer(
            problem,
            headers,
            retry_after_s=BUSY_RETRY_S if status in (429, 503) else None,
            headers=[("allow", ALLOW)] if problem is problems.METHOD_NOT_ALLOWED else [],
            reference=record.set_problem(problem),
        )

    async def serve(self, record: RequestRecord, scope: Any, receive: Receive, _send: Send, client: Client) -> None:
        """Answer a request by an exchange."""
        exchange = Exchange(self, record, scope, client, receive)
        try:
            await client.answer(await exchange.answer())
        finally:
            exchange.end()

    def count_connections(self, change: int) -> None:
        """Count connections that were opened, or closed."""
        metrics.CONNECTIONS.inc(change)

    def count_limited(self, limit: str) -> None:
        """Count a connection that a limit refused."""
        metrics.limited(limit).inc()


class Exchange:
    """Exchange of one request and its response. Its task is cancelled when its caller disconnects.

    Args:
        shared: What all exchanges use.
        record: The record of the request.
        scope: The request without its body, as ASGI has it.
        sender: Sends the body.
        receive: Returns the next part of the body, as ASGI has it.
    """

    def __init__(self, shared: Exchanges, record: RequestRecord, scope: Any, sender: Client, receive: Receive) -> None:
        self._shared = shared
        self._record = record
        self._scope = scope
        self._sender, self._receive = sender, receive
        self._body = self._new_reservation()
        self._body_time_left_s = shared.body_timeout_s
        self._body_bytes = 0
        """Bytes of the body that were read."""
        self._received = bytearray()
        """Body as far as it was read, until the request is sent to a server. Parts of one byte need no more memory than
        others."""
        self._headers: list[tuple[bytes, bytes]] = scope["headers"]
        self._opens_again = scope["method"] == "GET"
        """Whether opening the address again makes the same request, or shows the confirmation page again."""
        headers = dict(self._headers)
        self._is_in_frame = is_in_frame(headers)
        self._asks_origins = is_of_script(headers) or (may_be_in_frame(headers) and prefers_page(self._headers))
        """Whether a server is still to be asked which origins may use the case."""
        self._origins = edge_service_pb2.CaseOrigins()
        """The origins that may use the case, where a server was asked."""
        self._is_service_worker_script = is_service_worker_script(headers)
        self._declared_bytes = int(headers.get(b"content-length", b"0"))  # h11 ensures that it has only digits
        self._is_complete = not self._declared_bytes and b"transfer-encoding" not in headers
        if shared.observe is not None:
            shared.observe(record, scope)
        self._is_counted = shared.limits.start_request(record.caller.group)

    async def answer(self) -> HttpAnswer:
        """Return the answer. Call `end` once it is sent, or will not be."""
        return shared(await self._answer(), self._origins.allowed_origins, self._headers)

    async def _answer(self) -> HttpAnswer:
        if not self._is_counted:
            return self._answer_problem(problems.TOO_MANY_REQUESTS, retry_after_s=BUSY_RETRY_S)
        try:
            if self._declared_bytes > self._shared.body_limit_bytes:
                raise problems.ProblemError(problems.BODY_TOO_LARGE)
            if self._is_service_worker_script:
                raise problems.ProblemError(problems.SERVICE_WORKER_REFUSED)
            path = self._scope["raw_path"]
            if target := parse_path(path):
                answer = await self._call(target)
            elif waited := parse_wait_path(path):
                answer = await self._wait(waited)
            else:
                found = await views.answer(self._shared.app, self._scope)
                answer = self._answer_problem(found) if isinstance(found, problems.Problem) else found
        except problems.ProblemError as error:
            self._drop_body()  # the answer may have to wait
            if error.prompt is None:
                return self._answer_error(error)
            self._record.set_problem(error.problem)
            return await self._shared.pages.ask(error.problem, error.prompt, self._headers)
        except Exception:
            log.exception("request_failed", call_id=self._record.call_id)
            return self._answer_problem(problems.INTERNAL)
        if len(answer.body) > _LARGE_BODY_BYTES:
            self._body.count(len(answer.body))
        return answer

    def end(self) -> None:
        """Free what the request uses. Report the caller gone if it did not get the result of its call."""
        if self._is_counted:
            self._shared.limits.end_request(self._record.caller.group)
        self._drop_body()
        if self._record.call_id and not self._record.is_sent:
            self._shared.upstream.report_caller_gone(self._record.call_id)

    async def _call(self, target: Target) -> HttpAnswer:
        """Respond to a request at a callback URL: without a server if possible, else read the body and call one."""
        method, headers = self._scope["method"], self._headers
        if target.endpoint:  # the pages of no other site may use an endpoint
            self._asks_origins = False
        if method == "HEAD":
            return HttpAnswer(200)
        if method == "OPTIONS" and not is_handshake(headers):
            fields = []
            if not target.endpoint:
                fields = await self._preflight(CALL_METHODS, lambda: _origins_of(self._message(target)))
            return HttpAnswer(204, [("allow", ALLOW), *fields])
        if method not in _METHODS:
            return self._answer_problem(problems.METHOD_NOT_ALLOWED, headers=[("allow", ALLOW)])
        if is_prefetch(headers):
            raise problems.ProblemError(problems.PREFETCH_REFUSED)
        if method == "OPTIONS":
            return await self._handshake(target)
        try:
            result = await self._shared.upstream.invoke(await self._read_request(target), self._hand_over_body())
            invoked = result.response
            self._record.call_id, self._record.repeated_call_id = invoked.call_id, invoked.repeated_call_id
            self._record.creator_traceparent = result.creator_traceparent
            answer = await self._render(invoked)
            if invoked.wait_path and self._opens_again and prefers_page(self._headers):
                answer = replace(answer, headers=[*answer.headers, *return_cookie(invoked.wait_path, self._scope)])
            return answer
        except problems.ProblemError as error:
            error.problem = problems.visible_problem(error.problem, is_shared_address=target.is_shared)
            if error.problem is problems.STATE_UNKNOWN:
                error.call_id = ""  # it would reveal that the state exists
                # by the visible problem, so that a later 429 reveals no more
                self._shared.limits.count_unknown_state(self._record.caller)
            raise

    async def _wait(self, waited: edge_service_pb2.WaitRequest) -> HttpAnswer:
        """Answer a request for the answer to an earlier call, whose caller was told to wait. It makes no call."""
        method, limits, caller = self._scope["method"], self._shared.limits, self._record.caller
        if method == "HEAD":
            return HttpAnswer(200)
        if method != "GET":
            if fields := await self._preflight(["GET"], lambda: edge_service_pb2.OriginsRequest(wait=waited)):
                return HttpAnswer(204, fields)
            return self._answer_problem(problems.METHOD_NOT_ALLOWED, headers=[("allow", "GET, HEAD")])
        if is_prefetch(self._headers):
            raise problems.ProblemError(problems.PREFETCH_REFUSED)
        limits.check_unknown_states(caller)
        is_again = self._scope["query_string"] == AGAIN_QUERY and is_navigation(self._headers)
        if is_again and (callback := callback_of(self._scope["raw_path"], self._headers)):
            return HttpAnswer(303, [("location", callback), clear_return_cookie(self._scope["raw_path"])])
        waited.without_answer = prefers_minimal(self._headers)
        message = edge_service_pb2.StreamInvocationsRequest()
        message.invocations.add(wait=waited)
        try:
            if self._asks_origins:
                self._origins = await self._ask_origins(edge_service_pb2.OriginsRequest(wait=waited))
            invoked = (await self._shared.upstream.invoke(message)).response
            if waited.without_answer and not invoked.wait_path:
                return HttpAnswer(204, [("preference-applied", "return=minimal")])
            return await self._render(invoked)
        except problems.ProblemError as error:
            if error.problem is problems.STATE_UNKNOWN:
                error.call_id = ""  # it would reveal that the state exists
                limits.count_unknown_state(caller)
            raise

    async def _render(self, invoked: edge_service_pb2.InvokeResponse) -> HttpAnswer:
        if invoked.wait_path:
            return self._shared.pages.wait(invoked.wait_path, self._headers, self._origins.frame_origins)
        answer = render(invoked, self._scope["method"], self._headers)
        if isinstance(answer, PageContent):
            return await self._shared.pages.respond(answer, self._headers, self._origins.frame_origins)
        return framed(answer, self._origins.frame_origins)

    async def _handshake(self, target: Target) -> HttpAnswer:
        """Answer an OPTIONS that asks for permission to call, as one that does not if the server refuses it."""
        self._body.grow(self._declared_bytes)
        await self._read_parts(self._shared.body_limit_bytes)
        try:
            limits, caller = self._shared.limits, self._record.caller
            limits.check_unknown_states(caller)
            # for any state, so that a later 429 does not reveal whether the state exists
            limits.count_unknown_state(caller)
            message = self._message(target)
            return _handshake_answer((await self._shared.upstream.invoke(message, self._hand_over_body())).response)
        except problems.ProblemError:
            # as without a handshake: it does not reveal whether the state exists
            return HttpAnswer(204, [("allow", ALLOW)])

    async def _preflight(
        self, methods: Sequence[str], address: Callable[[], edge_service_pb2.OriginsRequest]
    ) -> list[tuple[str, str]]:
        """Return the fields that permit the request for which a preflight asks. It makes no call.

        They are empty where the request is no preflight or is not permitted, for a state that exists as for one that
        does not.

        Args:
            methods: The methods that a request can have.
            address: Returns the question which origins may use the case.
        """
        limits, caller = self._shared.limits, self._record.caller
        if not is_preflight(self._scope["method"], self._headers):
            return []
        try:
            limits.check_unknown_states(caller)
            origins = await self._ask_origins(address())
        except problems.ProblemError as error:
            if error.problem is problems.STATE_UNKNOWN:
                limits.count_unknown_state(caller)
            return []
        fields = permission(origins.allowed_origins, self._headers, methods)
        if not fields:
            limits.count_unknown_state(caller)  # as for one, so that a later 429 does not reveal whether it exists
        return fields

    async def _ask_origins(self, address: edge_service_pb2.OriginsRequest) -> edge_service_pb2.CaseOrigins:
        """Ask a server which origins may use a case."""
        self._asks_origins = False
        message = edge_service_pb2.StreamInvocationsRequest()
        message.invocations.add(origins=address)
        try:
            return (await self._shared.upstream.invoke(message)).origins
        except problems.ProblemError as error:
            if error.problem is not problems.FEATURE_UNAVAILABLE:
                raise
            return edge_service_pb2.CaseOrigins()  # a server of a release without origins has no case with any

    async def _read_request(self, target: Target) -> edge_service_pb2.StreamInvocationsRequest:
        """Read the body, and return the request as a message for a server (rule 5)."""
        if self._declared_bytes <= _LARGE_BODY_BYTES and not self._sender.awaits_continue:
            self._body.grow(self._declared_bytes)
            await self._read_parts(_LARGE_BODY_BYTES)
        self._shared.limits.check_unknown_states(self._record.caller)
        if not self._is_complete:
            if can_look_up(target, self._scope["method"], self._headers):
                await self._look_up(target)
            self._body.grow(self._declared_bytes)
            await self._read_parts(self._shared.body_limit_bytes)
        message = self._message(target)
        if self._asks_origins:
            self._origins = await self._ask_origins(_origins_of(message))
            message.invocations[0].request.prefers_page = self._shows_page
        return message

    async def _look_up(self, target: Target) -> None:
        """Let a server refuse the request before the rest of its body is read. Discard the body if it does."""
        try:
            message = self._message(target, look_up=True)
            if self._asks_origins:
                self._origins = await self._ask_origins(_origins_of(message))
            await self._shared.upstream.invoke(message)
        except problems.ProblemError:
            self._drop_body()
            if not self._sender.awaits_continue:
                with contextlib.suppress(problems.ProblemError):
                    await self._read_parts(self._shared.body_limit_bytes, keep=False)
            raise

    def _new_reservation(self) -> BodyReservation:
        return BodyReservation(self._shared.body_budget, self._record.caller.group)

    def _hand_over_body(self) -> BodyReservation | None:
        """Return the reservation of the body for the call that has it now. None: there is no body."""
        if not self._body.size:
            return None
        handed_over, self._body = self._body, self._new_reservation()
        return handed_over

    def _message(self, target: Target, *, look_up: bool = False) -> edge_service_pb2.StreamInvocationsRequest:
        """Return the request as a message: to look it up without its body, else with the body, which leaves here."""
        body = b""
        if not look_up:
            body = bytes(self._received)
            self._received.clear()
            self._opens_again = self._opens_again or is_confirmation(body)
        return to_invocation(
            target,
            method=self._scope["method"],
            headers=self._headers,
            query=self._scope["query_string"],
            body=body,
            client_address=self._record.caller.address,
            traceparent=self._record.traceparent,
            look_up=look_up,
            prefers_page=self._shows_page,
        )

    @property
    def _shows_page(self) -> bool:
        """Whether the caller is a browser that shows a page while it waits."""
        can_show = bool(self._origins.frame_origins) or not self._is_in_frame
        return can_show and prefers_page(self._headers)

    async def _read_parts(self, until_bytes: int, *, keep: bool = True) -> None:
        """Read the body until it is complete, or until more than so many of its bytes were read."""
        while not self._is_complete and self._body_bytes <= until_bytes:
            if self._body_bytes > _LARGE_BODY_BYTES or self._declared_bytes > _LARGE_BODY_BYTES:
                await self._shared.turns.wait(self._record.caller.group)  # not in the time of the sender
            part = await self._receive_part()
            if self._body_bytes > self._shared.body_limit_bytes:
                raise problems.ProblemError(problems.BODY_TOO_LARGE)
            if keep:
                self._body.grow(self._body_bytes)
                self._received += part
            del part

    async def _receive_part(self) -> bytes:
        if self._sender.awaits_continue:
            await self._sender.send_continue()
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(self._body_time_left_s):
                message = await self._receive()
        except TimeoutError:
            raise problems.ProblemError(problems.BODY_TIMEOUT) from None
        finally:
            self._body_time_left_s -= loop.time() - began
        self._is_complete = not message["more_body"]
        part: bytes = message["body"]
        self._body_bytes += len(part)
        return part

    def _answer_error(self, error: problems.ProblemError) -> HttpAnswer:
        if error.call_id:
            self._record.call_id, self._record.creator_traceparent = error.call_id, error.creator_traceparent
        is_logged = error.problem.status >= 500 and error.problem not in _NOT_LOGGED
        reference = self._record.set_problem(error.problem, is_logged=is_logged)
        if is_logged and error.call_id:
            log.warning("call_failed", code=error.problem.code, call_id=error.call_id)
        elif is_logged:
            _REFUSED[error.problem].log(code=error.problem.code, reference=reference)
        headers = [("www-authenticate", error.challenge)] if error.challenge else []
        if error.retry_after_s is not None and parse_wait_path(self._scope["raw_path"]):
            # A browser goes on waiting, also one without a script.
            headers.append(("refresh", str(error.retry_after_s)))
        if self._shared.nginx_location and error.problem in _WITHOUT_SERVER:
            headers.append(("x-accel-redirect", self._shared.nginx_location))
        return self._shared.pages.answer(
            error.problem,
            self._headers,
            retry_after_s=error.retry_after_s,
            headers=headers,
            reference=reference,
            frame_origins=self._origins.frame_origins,
            again=self._again(error.retry_after_s, callback_open=error.callback_open),
        )

    def _again(self, retry_after_s: int | None, *, callback_open: bool = False) -> Again | None:
        """Return how a person can try again what failed. None: that makes no sense."""
        if retry_after_s is None and not callback_open:
            return None
        if callback_open and parse_wait_path(self._scope["raw_path"]):
            return Again.AT_CALLBACK if callback_of(self._scope["raw_path"], self._headers) else Again.AT_SENDER
        return Again.AT_ADDRESS if self._opens_again else Again.AT_SENDER

    def _answer_problem(
        self, problem: problems.Problem, *, retry_after_s: int | None = None, headers: Sequence[tuple[str, str]] = ()
    ) -> HttpAnswer:
        reference = self._record.set_problem(problem)
        return self._shared.pages.answer(
            problem,
            self._headers,
            retry_after_s=retry_after_s,
            headers=headers,
            reference=reference,
            frame_origins=self._origins.frame_origins,
            again=self._again(retry_after_s),
        )

    def _drop_body(self) -> None:
        self._received.clear()
        self._body.free()


def _origins_of(message: edge_service_pb2.StreamInvocationsRequest) -> edge_service_pb2.OriginsRequest:
    """Return the question which origins may use the case of a request."""
    request = message.invocations[0].request
    return edge_service_pb2.OriginsRequest(state=request.state, state_query_parameter=request.state_query_parameter)


def _handshake_answer(invoked: edge_service_pb2.InvokeResponse) -> HttpAnswer:
    answer = cast(HttpAnswer, render(invoked, "OPTIONS"))  # no handshake is answered with a page
    others = [(name, value) for name, value in answer.headers if name != "allow"]
    return replace(answer, headers=[*others, ("allow", ALLOW)])
