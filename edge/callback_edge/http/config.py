"""Hypercorn's configuration and context, as the edge uses them."""

import logging
import time
from collections import OrderedDict
from typing import Protocol

from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config

from callback_edge.call.exchange import Exchanges
from callback_edge.callers import CallerResolver
from callback_edge.http.parser import FIXED_FIELDS, MAX_HEAD_BYTES, date
from callback_edge.settings import EdgeSettings


class EdgeConfig(Config):
    """Hypercorn's configuration, and the settings of a connection."""

    accesslog = None  # paths contain states
    errorlog = logging.getLogger("hypercorn.error")  # goes through the process's own logs
    h11_max_incomplete_size = MAX_HEAD_BYTES
    include_server_header = False
    max_app_queue_size = 2  # parts of a body that wait for the exchange, which decides when it reads

    def __init__(self, settings: EdgeSettings) -> None:
        super().__init__()
        self.access_log_sample = settings.access_log_sample
        self.body_limit_bytes = settings.body_limit_bytes
        self.head_timeout_s = settings.head_timeout_s
        self.keep_alive_timeout_s = settings.keep_alive_timeout_s

    def response_headers(self, protocol: str) -> list[tuple[bytes, bytes]]:
        """Return the headers of every answer, also of Hypercorn's own."""
        return [(b"date", date(time.time())), *FIXED_FIELDS]


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


class EdgeContext(WorkerContext):
    """State of the process that all connections share.

    Args:
        callers: Finds the caller of a request.
        exchanges: What the exchanges use. Its pages and its turns are also those of refusals that no exchange sees.
    """

    def __init__(self, callers: CallerResolver, exchanges: Exchanges) -> None:
        super().__init__(max_requests=None)
        self.callers = callers
        self.exchanges = exchanges
        self.pages = exchanges.pages
        self.turns = exchanges.turns
        self.is_draining = False
        """Whether each answer is the last of its connection."""
        self.idle: OrderedDict[IdleConnection, float] = OrderedDict()
        """Connections that may be closed to make room for others, with the time (of the loop) since when they are idle,
        in that order."""
