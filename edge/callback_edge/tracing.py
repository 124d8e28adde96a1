"""Traces of an edge: a span for each request at the address of a callback or a call, and its context for the server.

1. A span is a root. A `traceparent` of the caller, who is not trusted, is only ever a link.
2. No attribute holds anything of the request but its method. The path of an address is a secret, so that only its form
   is recorded.
3. The span is linked to the trace context that generated the callback, which a server returns with the result.
"""

from functools import partial
from typing import Any, Final

from callback_edge.call.request import CALL_METHODS
from callback_edge.call.request_record import RequestRecord
from callback_process.traces import Span, SpanKind, Traces, add_link, set_failed, traceparent_of

_ROUTES: Final = {
    b"cb": "/cb/{state}",
    b"cbq": "/cbq/{state_query_parameter}",
    b"in": "/in/{endpoint}",
    b"wait": "/wait/{call_id}/{token}",
}
"""The form of each address with a span, by the first segment of its path."""
_METHODS: Final = frozenset((*CALL_METHODS, "HEAD", "OPTIONS"))


class Tracing(Traces):
    """The traces of an edge."""

    def __init__(self) -> None:
        super().__init__("callback-edge")

    def start_request(self, record: RequestRecord, scope: Any) -> None:
        """Start the span of a request, if its address has one. It ends with the record."""
        route = _ROUTES.get(scope["raw_path"][1:].partition(b"/")[0])
        if route is None:
            return
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        given = [value.decode("latin-1") for name, value in scope["headers"] if name == b"traceparent"]
        span = self.start(
            f"{method} {route}",
            SpanKind.SERVER,
            {"http.request.method": method, "http.route": route},
            links=(given[0],) if len(given) == 1 else (),
        )
        record.traceparent = traceparent_of(span)
        if span.is_recording():
            record.on_end = partial(_end, span, scope)


def _end(span: Span, scope: Any, record: RequestRecord) -> None:
    host, port = scope["server"] or ("", None)
    span.set_attributes(
        {
            "url.scheme": "https" if record.caller.is_https else "http",
            "network.protocol.version": scope["http_version"],
            "server.address": host,
            **({} if port is None else {"server.port": port}),
            **({"callback.call_id": record.call_id} if record.call_id else {}),
            **({"callback.repeated_call_id": record.repeated_call_id} if record.repeated_call_id else {}),
            **({"callback.problem": record.code} if record.code else {}),
            **({"http.response.status_code": record.status} if record.status else {}),
        }
    )
    add_link(span, record.creator_traceparent)
    if not record.status:
        set_failed(span, "caller_gone")
    elif record.status >= 500:
        set_failed(span, record.code or str(record.status))
    span.end()
