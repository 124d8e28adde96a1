"""Metrics of an edge process, by Prometheus' conventions.

Labels are bounded: no label has a value that a caller or a handler can choose. Counters that alerts use exist from the
start with 0, because a series that starts at 1 has no rate.
"""

from functools import cache
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from callback_edge import problems
from callback_process.durations import SECONDS

_REQUESTS: Final = Counter(
    "callback_edge_requests",
    "Finished requests by method, family of addresses (cb, cbq, in, wait or other) and class of status, such as 2xx",
    ["method", "family", "status"],
)
_PROBLEMS: Final = Counter(
    "callback_edge_problems", "Requests that the edge answered with a problem, by its code", ["code"]
)
_ERRORS: Final = Counter(
    "callback_edge_errors",
    "Requests that failed by an error of Callback itself, by the code of the problem: not by one of a handler, whose "
    "failed calls servers count, nor by one that any caller can cause",
    ["code"],
)
REQUEST_SECONDS: Final = Histogram(
    "callback_edge_request_seconds",
    "Duration of requests, from the complete head to the end of the answer",
    buckets=SECONDS,
)
LOOK_UP_SECONDS: Final = Histogram(
    "callback_edge_look_up_seconds",
    "Duration of look-ups: requests that are sent without their body, before it is read",
    buckets=SECONDS,
)
INVOKE_SECONDS: Final = Histogram(
    "callback_edge_invoke_seconds",
    "Part of that duration that the server takes: from the sent call to its result",
    buckets=SECONDS,
)
REQUESTS_IN_FLIGHT: Final = Gauge("callback_edge_requests_in_flight", "Requests that the edge handles now")
CONNECTIONS: Final = Gauge("callback_edge_connections", "Open connections of callers and proxies")
REQUEST_BYTES: Final = Counter("callback_edge_request_body_bytes", "Bytes of request bodies that the edge has read")
BODY_BYTES_IN_FLIGHT: Final = Gauge(
    "callback_edge_body_bytes_in_flight", "Bytes of bodies in flight: being read, sent to a server, or sent to a caller"
)
RESPONSE_BYTES: Final = Counter("callback_edge_response_body_bytes", "Bytes of response bodies that the edge has sent")
SERVER_UP: Final = Gauge("callback_edge_server_up", "1 while a server accepts calls from this edge, else 0")
_LIMITED: Final = Counter(
    "callback_edge_limited",
    "Requests and connections that a limit refused, by the setting of that limit",
    ["limit"],
)
RELOADS_FAILED: Final = Counter(
    "callback_edge_reloads_failed",
    "Changed files that the edge cannot use; the earlier content stays in use",
    ["file"],
)
for file in ("server_token", "server_tls"):
    RELOADS_FAILED.labels(file)
_OWN_ERRORS: Final = {each.code: _ERRORS.labels(each.code) for each in problems.OWN_ERRORS}


@cache
def requests(method: str, family: str, status: str) -> Counter:
    """Return the counter of one kind of request."""
    return _REQUESTS.labels(method, family, status)


@cache
def limited(limit: str) -> Counter:
    """Return the counter of one limit, by its setting."""
    return _LIMITED.labels(limit)


def count_problem(code: str) -> None:
    """Count a problem, by its code."""
    _of_problem(code).inc()
    if code in _OWN_ERRORS:
        _OWN_ERRORS[code].inc()


@cache
def _of_problem(code: str) -> Counter:
    return _PROBLEMS.labels(code)
