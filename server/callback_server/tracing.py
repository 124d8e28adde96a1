"""Traces of a server: spans for generating a callback, for a call, and for each attempt to have a handler decide on it.

1. The span of a call continues the trace of the edge, and is linked to the trace context that generated the callback.
   That context is the one in the metadata of GenerateCallbackUrl, and is stored with the case. The trace context of the
   call is stored with its request.
2. The first attempt to ask a handler is a child of the call. Each later one is a root, because it can come days later
   and in another process, with links to the call and to the context that generated the callback. So is an attempt of a
   notification, which has no call.
3. The handler gets the trace context of its attempt, also if it is not sampled.
4. No attribute holds anything of a request or a response, nor the text of an error.

The router of RPCs makes each GenerateCallbackUrl and GenerateCallbackUrls by `Tracing.around_generation`, the invoker
starts each call by `around_call`, and the dispatcher of handlers makes each attempt by `around_attempt`.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from google.rpc import code_pb2
from msgspec.structs import replace

from callback.v1 import callbacks_service_pb2 as pb2
from callback_process.traces import (
    Span,
    SpanKind,
    Traces,
    add_link,
    current_span,
    is_sampled,
    running,
    set_failed,
    traceparent_of,
    well_formed,
)
from callback_server import errors
from callback_server.calls.active_call import ActiveCall, CallAnswer
from callback_server.domain.call import Grant, Outcome, Request
from callback_server.domain.http_target import is_url, parse_http_target
from callback_server.domain.ids import case_id_of_call
from callback_server.domain.notification import CallReason
from callback_server.handlers.dispatch import HandlerResult
from callback_server.handlers.messages import attempt_of
from callback_server.rpc.new_case import creator_traceparent
from callback_server.rpc.status import internal_error, status_of

if TYPE_CHECKING:
    import grpc
    from google.rpc import status_pb2

    from callback_server.handlers.dispatch import Attempt
    from callback_server.settings import ActivitySettings

_CALLBACKS: Final = "callback.v1.CallbacksService"
_INVOKE: Final = "callback.v1.EdgeService/StreamInvocations"
_HANDLE: Final = "callback.v1.CallbackHandlerService/HandleCallback"
_NOTIFY: Final = "callback.v1.CallbackHandlerService/HandleNotification"
_FAULTS: Final = frozenset(
    (
        code_pb2.UNKNOWN,
        code_pb2.DEADLINE_EXCEEDED,
        code_pb2.UNIMPLEMENTED,
        code_pb2.INTERNAL,
        code_pb2.UNAVAILABLE,
        code_pb2.DATA_LOSS,
    )
)
"""The codes that are a fault of the server, by the conventions for gRPC."""


class Tracing(Traces):
    """The traces of a server, and what makes its spans."""

    def __init__(self, declared: Mapping[str, ActivitySettings]) -> None:
        """Create the traces. The declared activities have the targets of push handlers."""
        super().__init__("callback-server")
        self._targets = {name: activity.target for name, activity in declared.items() if activity.target is not None}

    async def around_attempt(self, ask: Attempt, grant: Grant, request: Request) -> HandlerResult:
        """Ask a handler in a span: the first attempt of a call as a child of the call, any other one as a root."""
        creator = grant.settings.traceparent
        parent = "" if grant.is_retry or grant.reason is not CallReason.CALL else request.traceparent
        if parent and not is_sampled(parent):
            return await ask(grant, request)
        links = () if parent else (request.traceparent, creator) if grant.is_retry else (creator,)
        target = self._targets.get(grant.activity)
        if target is None:
            name, kind, attributes = f"send {grant.activity}", SpanKind.PRODUCER, _message(grant)
        elif is_url(target):
            method = request.method.upper() if grant.reason is CallReason.CALL else "POST"
            name, kind, attributes = method, SpanKind.CLIENT, {"http.request.method": method, **_of_url(target)}
        else:
            method = _HANDLE if grant.reason is CallReason.CALL else _NOTIFY
            name, kind, attributes = method, SpanKind.CLIENT, {**_rpc(method), **_of_target(target)}
        span = self.start(name, kind, {**attributes, **_of_call(grant, attempt_of(grant))}, parent=parent, links=links)
        try:
            result = await ask(grant, replace(request, traceparent=traceparent_of(span)))
            if span.is_recording():
                _set_result(span, result)
            return result
        finally:
            span.end()

    def around_call(
        self, invoke: Callable[..., ActiveCall], state: str, parameter: str, request: Request, **options: bool
    ) -> ActiveCall:
        """Start a call in a span, which ends with its answer."""
        if self.drops(request.traceparent):
            return invoke(state, parameter, request, **options)
        span = self.start(_INVOKE, SpanKind.SERVER, _INVOKE_ATTRIBUTES, parent=request.traceparent)
        request = replace(request, traceparent=traceparent_of(span))
        if not span.is_recording():
            return invoke(state, parameter, request, **options)
        try:
            with running(span):
                call = invoke(state, parameter, request, **options)
        except Exception as error:
            _end_call(span, error)
            raise
        call.answer.add_done_callback(functools.partial(_answered, span))
        return call

    def call_claimed(self, call: ActiveCall, grant: Grant) -> None:
        """Link the span of a call, in whose task this is, and that of the edge to what generated the callback."""
        call.creator_traceparent = grant.settings.traceparent
        span = current_span()
        if span.is_recording():
            span.set_attributes(_of_call(grant, grant.call_number))
            add_link(span, grant.settings.traceparent)

    async def around_generation(
        self,
        method: str,
        generate: Callable[..., Awaitable[Any]],
        request: pb2.GenerateCallbackUrlRequest | pb2.GenerateCallbackUrlsRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> Any:
        """Generate callbacks in a span. Their cases keep the trace context in the metadata.

        Args:
            method: The name of the RPC.
            generate: Makes it.
            request: Its request.
            context: Its context.
        """
        given = next((value for key, value in context.invocation_metadata() or () if key == "traceparent"), "")
        creator = well_formed(given) if isinstance(given, str) else ""
        name = f"{_CALLBACKS}/{method}"
        span = self.start(name, SpanKind.SERVER, _rpc(name), parent=creator)
        token = creator_traceparent.set(creator)
        code = code_pb2.CANCELLED
        try:
            reply = await generate(request, context)
            code = code_pb2.OK
            if span.is_recording() and isinstance(request, pb2.GenerateCallbackUrlRequest):
                span.set_attribute("callback.activity", request.callback_activity)
                span.set_attribute("callback.case_id", reply.callback_case_id)
            return reply
        except Exception:
            refused = context.code()  # it was refused by `abort`
            code = refused.value[0] if refused else code_pb2.UNKNOWN
            raise
        finally:
            creator_traceparent.reset(token)
            _end_rpc(span, code)


def _rpc(method: str) -> dict[str, str | int | bool]:
    return {"rpc.system.name": "grpc", "rpc.method": method}


_INVOKE_ATTRIBUTES: Final = _rpc(_INVOKE)


def _of_target(target: str) -> dict[str, str | int | bool]:
    """Return the address of a push handler, which is `HOST:PORT`, with or without a scheme of gRPC."""
    host, _, port = target.rpartition("/")[2].rpartition(":")
    if not port.isdecimal():
        return {"server.address": target}
    return {"server.address": host.strip("[]"), "server.port": int(port)}


def _of_url(target: str) -> dict[str, str | int | bool]:
    """Return the address of an HTTP handler. Its path and query are left out: they may be a secret."""
    parsed = parse_http_target(target)
    return {"server.address": parsed.host, "server.port": parsed.port}


def _message(grant: Grant) -> dict[str, str | int | bool]:
    return {
        "messaging.system": "callback",
        "messaging.operation.name": "offer",
        "messaging.operation.type": "send",
        "messaging.destination.name": grant.activity,
        "messaging.message.id": grant.call_id,
    }


def _of_call(grant: Grant, attempt: int) -> dict[str, str | int | bool]:
    return {
        "callback.activity": grant.activity,
        "callback.case_id": case_id_of_call(grant.call_id),
        "callback.call_id": grant.call_id,
        "callback.attempt": attempt,
        "callback.reason": grant.reason.value,
    }


def _set_result(span: Span, result: HandlerResult) -> None:
    decided = result.decision
    if result.worker:
        span.set_attribute("callback.worker", result.worker)
    if not isinstance(decided, Outcome):
        span.set_attribute("callback.verdict", "ACCEPTED" if decided.accepted else "REJECTED")
    elif decided.failure is not None:
        set_failed(span, decided.failure.value)


def _answered(span: Span, answer: asyncio.Future[CallAnswer]) -> None:
    if answer.cancelled():
        _end_rpc(span, code_pb2.CANCELLED)
    else:
        _end_call(span, answer.exception())


def _end_call(span: Span, error: BaseException | None) -> None:
    if error is None:
        _end_rpc(span, code_pb2.OK)
        return
    reason = error.reason if isinstance(error, errors.CallbackError) else "INTERNAL"
    status: status_pb2.Status = status_of(error) if isinstance(error, errors.CallbackError) else internal_error()
    span.set_attribute("callback.error_reason", reason)
    _end_rpc(span, status.code, reason)


def _end_rpc(span: Span, code: int, reason: str = "") -> None:
    if span.is_recording():
        name = code_pb2.Code.Name(code)  # one of gRPC, too
        span.set_attribute("rpc.response.status_code", name)
        if code in _FAULTS:
            set_failed(span, reason or name)
    span.end()
