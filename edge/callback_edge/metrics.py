"""The figures of an edge process, by Prometheus' conventions.

Labels are bounded: none takes a value that a caller, or a handler, could make up. What alerts count stands at 0 from
the start: a series that begins at 1 has no rate.
"""

from functools import cache
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

_REQUESTS: Final = Counter(
    "callback_edge_requests",
    "Requests that ended, by method, by family of addresses (cb, cbq or other) and by class of status, such as 2xx",
    ["method", "family", "status"],
)
_PROBLEMS: Final = Counter(
    "callback_edge_problems", "Requests that were answered by the edge with a problem, by its code", ["code"]
)
REQUEST_SECONDS: Final = Histogram(
    "callback_edge_request_seconds",
    "How long a request took, from its whole head to the end of its answer",
    buckets=_SECONDS,
)
INVOKE_SECONDS: Final = Histogram(
    "callback_edge_invoke_seconds", "How much of that was the server's: from asking it to its answer", buckets=_SECONDS
)
REQUESTS_IN_FLIGHT: Final = Gauge("callback_edge_requests_in_flight", "Requests that are being handled")
CONNECTIONS: Final = Gauge("callback_edge_connections", "Connections that callers, or proxies, have open")
REQUEST_BYTES: Final = Counter("callback_edge_request_body_bytes", "Bytes of request bodies that were read")
BODY_BYTES_IN_FLIGHT: Final = Gauge(
    "callback_edge_body_bytes_in_flight", "Bytes of request bodies that are held: on their way, or with the servers"
)
RESPONSE_BYTES: Final = Counter("callback_edge_response_body_bytes", "Bytes of response bodies that were sent")
SERVER_UP: Final = Gauge("callback_edge_server_up", "1 while there is a connection to a server that serves, else 0")
_LIMITED: Final = Counter(
    "callback_edge_limited",
    "Requests and connections that were refused because of a limit, by the setting that has it",
    ["limit"],
)
RELOADS_FAILED: Final = Counter(
    "callback_edge_reloads_failed",
    "Files that changed and could not be taken over; what held before still holds",
    ["file"],
)
for file in ("server_token", "server_tls"):
    RELOADS_FAILED.labels(file)


@cache
def requests(method: str, family: str, status: str) -> Counter:
    """Return the counter of one kind of request."""
    return _REQUESTS.labels(method, family, status)


@cache
def limited(limit: str) -> Counter:
    """Return the counter of one limit, by its setting."""
    return _LIMITED.labels(limit)


@cache
def problems(code: str) -> Counter:
    """Return the counter of one problem."""
    return _PROBLEMS.labels(code)
