"""Metrics of a console process, by Prometheus' conventions."""

from functools import cache
from typing import Final

from prometheus_client import Counter, Gauge

CONNECTIONS: Final = Gauge("callback_console_connections", "Open connections of browsers, programs and proxies")
_LIMITED: Final = Counter(
    "callback_console_limited",
    "Requests of pages and connections that a limit refused, by that limit: identity, console, sign_ins,"
    " max_connections or max_connections_per_address",
    ["limit"],
)


@cache
def limited(limit: str) -> Counter:
    """Return the counter of one limit."""
    return _LIMITED.labels(limit)
