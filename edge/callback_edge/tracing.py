"""Traces of an edge: a span for each request at the address of a callback or a call, and its context for the server.

1. A span is a root. A `traceparent` of the caller, who is not trusted, is only ever a link.
2. No attribute holds anything of the request but its method. The path of an address is a secret, so that only its form
   is recorded.
3. The span is linked to the trace context that generated the callback, which a server returns with the result.
"""

from typing import Any, Final

from quart import Quart

from callback.v1 import edge_service_pb2
from callback_edge import problems
from callback_edge.call.exchange import Exchange, ExchangeFactory
from callback_edge.call.request import CALL_METHODS, Target
from callback_edge.settings import EdgeSettings
from callback_edge.upstream.client import ServerClient
from callback_edge.upstream.unanswered import UnansweredCall
from callback_process.traces import (
    Span,
    SpanKind,
    Traces,
    add_link,
    current_span,
    running,
    set_failed,
    traceparent_of,
)

_ROUTES: Final = {
    b"cb": "/cb/{state}",
    b"cbq": "/cbq/{state_query_parameter}",
    b"wait": "/wait/{call_id}/{token}",
}
"""The form of each address with a span, by the first segment of its path."""
_METHODS: Final = frozenset((*CALL_METHODS, "HEAD", "OPTIONS"))


class Tracing(Traces):
    """The traces of an edge, and its parts that trace."""

    def __init__(self) -> None:
        super().__init__("callback-edge")

    def client(self, settings: EdgeSettings) -> ServerClient:
        """Return a client of the servers."""
        return _TracedServerClient(settings)

    def exchanges(self, upstream: ServerClient, settings: EdgeSettings) -> ExchangeFactory:
        """Return a factory of exchanges."""
        return _TracedExchangeFactory(upstream, settings, self)


class _TracedExchangeFactory(ExchangeFactory):
    """Creates exchanges with a span for the addresses of callbacks and calls, and others for the rest."""

    def __init__(self, upstream: ServerClient, settings: EdgeSettings, traces: Traces) -> None:
        super().__init__(upstream, settings)
        self.traces = traces

    def __call__(self, app: Quart, scope: Any) -> Exchange:
        """Create the exchange of one request."""
        route = _ROUTES.get(scope["raw_path"][1:].partition(b"/")[0])
        return Exchange(self, app, scope) if route is None else _TracedExchange(self, app, scope, route)


class _TracedExchange(Exchange):
    """Exchange of one request with a span."""

    _traceparent = ""

    def __init__(self, shared: _TracedExchangeFactory, app: Quart, scope: Any, route: str) -> None:
        super().__init__(shared, app, scope)
        self._traces = shared.traces
        self._route = route

    async def __call__(self, receive: Any, send: Any) -> None:
        """Answer the request, in its span."""
        method = self.scope["method"] if self.scope["method"] in _METHODS else "_OTHER"
        given = [value.decode("latin-1") for name, value in self._headers if name == b"traceparent"]
        span = self._traces.start(
            f"{method} {self._route}",
            SpanKind.SERVER,
            {"http.request.method": method, "http.route": self._route},
            links=(given[0],) if len(given) == 1 else (),
        )
        self._traceparent = traceparent_of(span)
        if not span.is_recording():
            await super().__call__(receive, send)
            return
        try:
            with running(span):
                await super().__call__(receive, send)
        finally:
            self._end(span)

    def _message(self, target: Target, *, look_up: bool = False) -> edge_service_pb2.StreamInvocationsRequest:
        message = super()._message(target, look_up=look_up)
        message.invocations[0].request.traceparent = self._traceparent
        return message

    def _end(self, span: Span) -> None:
        record, (host, port) = self._record, self.scope["server"] or ("", None)
        span.set_attributes(
            {
                "url.scheme": "https" if record.caller.is_https else "http",
                "network.protocol.version": self.scope["http_version"],
                "server.address": host,
                **({} if port is None else {"server.port": port}),
                **({"callback.call_id": record.call_id} if record.call_id else {}),
                **({"callback.repeated_call_id": record.repeated_call_id} if record.repeated_call_id else {}),
                **({"callback.problem": record.code} if record.code else {}),
                **({"http.response.status_code": record.status} if record.status else {}),
            }
        )
        if not record.status:
            set_failed(span, "caller_gone")
        elif record.status >= 500:
            set_failed(span, record.code or str(record.status))
        span.end()


class _TracedServerClient(ServerClient):
    """Client of the servers that links the span of a request to the trace context that generated its callback."""

    def __init__(self, settings: EdgeSettings) -> None:
        super().__init__(settings)
        self._spans: dict[int, Span] = {}
        """The spans of the requests without a result, by the number of the call."""

    def call_ended(self, call: UnansweredCall, result: edge_service_pb2.InvocationResult) -> None:
        """End a call with the server's result."""
        if result.creator_traceparent and (span := self._spans.get(call.number)) is not None:
            add_link(span, result.creator_traceparent)
        super().call_ended(call, result)

    def _enqueue(self, call: UnansweredCall) -> None:
        span = current_span()  # of the request, unless the call is queued again
        if span.is_recording():
            self._spans.setdefault(call.number, span)
        super()._enqueue(call)

    def _end(
        self,
        call: UnansweredCall,
        result: edge_service_pb2.InvokeResponse | problems.ProblemError | None,
        *,
        is_gone_known: bool = False,
    ) -> None:
        self._spans.pop(call.number, None)
        super()._end(call, result, is_gone_known=is_gone_known)
