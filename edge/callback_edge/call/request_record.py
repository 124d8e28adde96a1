"""Record of a request for operators: metrics, a line in the access log, and what traces need.

It never has a path, a query or a state.
"""

import random
import secrets
import time
from collections.abc import Callable
from typing import Final

from callback_edge import metrics
from callback_edge.call.request import CALL_METHODS
from callback_edge.problems import Problem
from callback_process import logs
from callback_process.http.callers import Caller

log = logs.get_logger()

_METHODS: Final = frozenset((*CALL_METHODS, "HEAD", "OPTIONS"))
_FAMILIES: Final = frozenset(("cb", "cbq", "in", "wait"))
"""Families of addresses, by the first segment of the path."""
_CALLER_GONE: Final = 499
"""Status of a request whose caller disconnected before the response. It is never sent; nginx uses the same."""
_in_flight: Final[set["RequestRecord"]] = set()
"""Records of the requests that have not ended."""
metrics.REQUESTS_IN_FLIGHT.set_function(lambda: len(_in_flight))


class RequestRecord:
    """Record of one request, from its head to the end of its response. The connection creates it.

    Args:
        caller: The caller.
        access_log_sample: Part of all requests to log, from 0 to 1. Unless it is 0, every 5xx is logged.
        method: The method, in upper case. Empty if the request could not be read.
        path: The raw path. Empty if the request could not be read.
    """

    def __init__(self, caller: Caller, access_log_sample: float, method: str = "", path: bytes = b"") -> None:
        self._logs_errors = access_log_sample > 0
        self._is_in_sample = self._logs_errors and random.random() < access_log_sample  # noqa: S311  # no secret
        self._method = method if method in _METHODS else "other"
        first = path[1:].partition(b"/")[0].decode("latin-1")
        self._family = first if first in _FAMILIES else "other"
        self.caller = caller
        """Caller of the request."""
        self._started_at = self._answered_at = time.perf_counter()
        self.status = 0
        """Status of the response. 0: there is none yet."""
        self.code = ""
        """Code of the problem that is the response. Empty: the response is none."""
        self._reference = ""
        self._response_bytes = 0
        self.call_id = ""
        """ID of the call, once it is known."""
        self.repeated_call_id = ""
        """ID of the call that the request is a repeat of. Empty if it is none."""
        self.is_sent = False
        """Whether the complete response was given to the client's connection."""
        self.traceparent = ""
        """Trace context of the request. Empty: it is not traced."""
        self.creator_traceparent = ""
        """Trace context that generated the callback of the call. Empty: unknown."""
        self.on_end: Callable[[RequestRecord], None] | None = None
        """Called at the end."""
        _in_flight.add(self)

    @property
    def waits_for_turn(self) -> bool:
        """Whether the answer waits for its turn: it is not that of a call."""
        return not self.call_id

    def set_problem(self, problem: Problem, *, is_logged: bool = False) -> str:
        """Record that the response is this problem, and return the reference that its caller gets.

        It is the ID of the call if there is one, so that its owner finds the call. Otherwise it is a new one that
        stands in the log. A request that is not logged has none, because it would lead nowhere.

        Args:
            problem: The problem.
            is_logged: Whether the caller of this method logs the reference, also if the access log does not.
        """
        self.code = problem.code
        if problem.status >= 400 and not self.call_id and (is_logged or self._has_log_line(problem.status)):
            self._reference = secrets.token_hex(4)
        return self.call_id if problem.status >= 400 and self.call_id else self._reference

    def _has_log_line(self, status: int) -> bool:
        return self._is_in_sample or (self._logs_errors and status >= 500)

    def set_answer(self, status: int, size: int) -> None:
        """Record the status of the response and the size of its body."""
        self.status = status
        self._response_bytes = size
        self._answered_at = time.perf_counter()

    def set_sent(self) -> None:
        """Record that the complete response was sent."""
        self._answered_at = time.perf_counter()
        self.is_sent = True

    def end(self, request_bytes: int) -> None:
        """Count the request, and log it if the sample includes it.

        Args:
            request_bytes: Bytes of its body that were read.
        """
        if self.on_end is not None:
            self.on_end(self)
        if not self.status:
            self.status, self.code, self._answered_at = _CALLER_GONE, "caller_gone", time.perf_counter()
        seconds = self._answered_at - self._started_at
        _in_flight.discard(self)
        metrics.REQUEST_SECONDS.observe(seconds)
        if request_bytes:
            metrics.REQUEST_BYTES.inc(request_bytes)
        if self._response_bytes:
            metrics.RESPONSE_BYTES.inc(self._response_bytes)
        metrics.requests(self._method, self._family, f"{self.status // 100}xx").inc()
        if self.code:
            metrics.count_problem(self.code)
        if self._has_log_line(self.status):
            log.info(
                "request_ended",
                method=self._method,
                family=self._family,
                status=self.status,
                code=self.code,
                duration_ms=round(seconds * 1000, 1),
                request_bytes=request_bytes,
                response_bytes=self._response_bytes,
                call_id=self.call_id,
                **({"reference": self._reference} if self._reference else {}),
                **({"repeated_call_id": self.repeated_call_id} if self.repeated_call_id else {}),
                client=self.caller.address,
                scheme="https" if self.caller.is_https else "http",
            )
