"""Hypercorn's configuration and context, as a listener uses them."""

import logging
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config

from callback_process.http.callers import CallerResolver
from callback_process.http.parser import MAX_HEAD_BYTES, date
from callback_process.http.service import HttpLimits, Service


class HttpConfig(Config):
    """Hypercorn's configuration, and the settings of a connection."""

    accesslog = None  # paths contain states
    errorlog = logging.getLogger("hypercorn.error")  # goes through the process's own logs
    h11_max_incomplete_size = MAX_HEAD_BYTES
    include_server_header = False
    max_app_queue_size = 2  # parts of a body that wait for the service, which decides when it reads

    def __init__(self, limits: HttpLimits, fixed_headers: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self.body_limit_bytes = limits.body_limit_bytes
        self.head_timeout_s = limits.head_timeout_s
        self.keep_alive_timeout_s = limits.keep_alive_timeout_s
        self.fixed_fields = tuple((name.encode(), value.encode()) for name, value in fixed_headers)

    def response_headers(self, protocol: str) -> list[tuple[bytes, bytes]]:
        """Return the headers of every answer, also of Hypercorn's own."""
        return [(b"date", date(time.time())), *self.fixed_fields]


class IdleConnection(Protocol):
    """Connection that waits for a request, and can be closed to make room for another one."""

    group: str
    """Group of callers whose limit includes it. Empty if there is none."""
    is_counted: bool
    """Whether the limits count it."""

    def has_unread_bytes(self) -> bool:
        """Return whether a request has arrived by now."""

    def close_idle(self) -> None:
        """Close it."""


class HttpContext(WorkerContext):
    """State of the process that all connections share.

    Args:
        callers: Finds the caller of a request.
        service: What answers the requests.
    """

    def __init__(self, callers: CallerResolver, service: Service) -> None:
        super().__init__(max_requests=None)
        self.callers = callers
        self.service = service
        self.turns = service.turns
        self.is_draining = False
        """Whether each answer is the last of its connection."""
        self.idle: OrderedDict[IdleConnection, float] = OrderedDict()
        """Connections that may be closed to make room for others, with the time (of the loop) since when they are idle,
        in that order."""
