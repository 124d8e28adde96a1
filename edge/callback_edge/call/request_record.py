"""What operators learn of a request: figures, and a line in the access log. Never its path, its query or its state."""

import random
import time
from typing import Any, Final

from callback_edge import metrics
from callback_edge.call.request import CALL_METHODS
from callback_edge.limits.callers import Caller
from callback_edge.problems import Problem
from callback_process import logs

_log = logs.get_logger()

_METHODS: Final = frozenset((*CALL_METHODS, "HEAD", "OPTIONS"))
_CALLER_GONE: Final = 499
"""Stands for the status of a request whose caller hung up before its answer: never sent, but known from nginx."""


class Record:
    """One request, from its head to the end of its answer. The connection makes it, and the application adds to it."""

    def __init__(self, caller: Caller, method: str = "", path: bytes = b"") -> None:
        """Begin. Without a method and a path, for a request that could not be read."""
        self._method = method if method in _METHODS else "other"
        self._family = "cb" if path.startswith(b"/cb/") else "cbq" if path.startswith(b"/cbq/") else "other"
        self.caller = caller
        """Who sent it."""
        self._began = self._answered = time.perf_counter()
        self._status = 0
        self._code = ""
        self._response_bytes = 0
        self.call_id = ""
        """The call that the server made of it, once that is known."""
        metrics.REQUESTS_IN_FLIGHT.inc()

    def refused(self, problem: Problem) -> None:
        """Note that this problem is the answer."""
        self._code = problem.code

    def answered(self, status: int, size: int) -> None:
        """Note the answer, and the size of its body."""
        self._status = status
        self._response_bytes = size
        self._answered = time.perf_counter()

    def sent(self) -> None:
        """Note that all of the answer has left."""
        self._answered = time.perf_counter()

    def end(self, request_bytes: int, access_log_sample: float) -> None:
        """Count the request, and log it if it is its turn.

        Args:
            request_bytes: how much of its body was read.
            access_log_sample: which part of all requests to log, from 0 to 1. Unless it is 0, what failed on our side
                (5xx) is always logged.
        """
        if not self._status:
            self._status, self._code, self._answered = _CALLER_GONE, "caller_gone", time.perf_counter()
        seconds = self._answered - self._began
        metrics.REQUESTS_IN_FLIGHT.dec()
        metrics.REQUEST_SECONDS.observe(seconds)
        metrics.REQUEST_BYTES.inc(request_bytes)
        metrics.RESPONSE_BYTES.inc(self._response_bytes)
        metrics.requests(self._method, self._family, f"{self._status // 100}xx").inc()
        if self._code:
            metrics.problems(self._code).inc()
        if access_log_sample and (self._status >= 500 or random.random() < access_log_sample):  # noqa: S311 - no secret
            _log.info(
                "request",
                method=self._method,
                family=self._family,
                status=self._status,
                code=self._code,
                duration_ms=round(seconds * 1000, 1),
                request_bytes=request_bytes,
                response_bytes=self._response_bytes,
                call_id=self.call_id,
                client=self.caller.address,
                scheme="https" if self.caller.is_https else "http",
            )


def record_of(scope: Any) -> Record:
    """Return the record of the request that has this ASGI scope."""
    record: Record = scope["state"]["record"]
    return record
