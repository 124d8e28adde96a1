"""Hypercorn's configuration and context, as the edge uses them."""

import logging
import time

from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config

from callback_edge.callers import CallerResolver
from callback_edge.http.parser import FIXED_FIELDS, MAX_HEAD_BYTES, date
from callback_edge.pages.pages import Pages


class EdgeConfig(Config):
    """Hypercorn's configuration."""

    accesslog = None  # paths contain states
    errorlog = logging.getLogger("hypercorn.error")  # goes through the process's own logs
    h11_max_incomplete_size = MAX_HEAD_BYTES
    include_server_header = False
    max_app_queue_size = 2  # parts of a body that wait for the exchange, which decides when it reads
    keep_alive_timeout = 5  # seconds; also limits a slow head, from the connection's first byte
    access_log_sample: float = 0
    """Part of all requests to log, from 0 to 1."""

    def response_headers(self, protocol: str) -> list[tuple[bytes, bytes]]:
        """Return the headers of every answer, also of Hypercorn's own."""
        return [(b"date", date(time.time())), *FIXED_FIELDS]


class EdgeContext(WorkerContext):
    """State of the process that all connections share.

    Args:
        callers: Finds the caller of a request.
        pages: Answers what no application sees.
    """

    def __init__(self, callers: CallerResolver, pages: Pages) -> None:
        super().__init__(max_requests=None)
        self.callers = callers
        self.pages = pages
        self.is_draining = False
        """Whether each answer is the last of its connection."""
