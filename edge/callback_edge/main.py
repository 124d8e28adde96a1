"""Edge process: settings in, exit code out."""

import resource
from typing import Final

from callback_edge.edge import Edge
from callback_edge.settings import EdgeSettings
from callback_process import logs
from callback_process.entry_point import run_process
from callback_process.stop import hard_exit_after, stop_on_signals
from callback_process.version import VERSION

log = logs.get_logger()

_OTHER_FILES: Final = 512
"""Open files besides the connections up to the limit: refused connections, and the process's own files."""
HARD_EXIT_S: Final = 1.8
"""How long after the grace period the process exits in any case, in seconds: it ends by drain + grace + 2 s."""


def run(settings: EdgeSettings) -> int:
    """Serve until SIGTERM or SIGINT. Call this on the main thread.

    Returns:
        The exit code: 0 after a stop, 1 with a line on standard error if an address or a file cannot be used.
    """
    return run_process("edge", settings, _serve(settings))


async def _serve(settings: EdgeSettings) -> None:
    stop_requested = stop_on_signals()
    _allow_open_files(settings.max_connections + _OTHER_FILES)
    async with Edge(settings) as edge:
        log.info("ready", version=VERSION, edge=str(edge.address), admin=str(edge.admin_address))
        if settings.trusted_proxies is None:
            log.warning("address_limits_off", to_do="set trusted_proxies to the proxies in front, or to []")
        await stop_requested.wait()
        log.info("stopping", drain_s=settings.drain_s, grace_s=settings.grace_s)
        hard_exit_after(settings.drain_s + settings.grace_s + HARD_EXIT_S)
        await edge.stop()
    log.info("stopped")


def _allow_open_files(wanted: int) -> None:
    """Raise the limit of open files, as far as the system allows: the usual 1,024 are too few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        log.warning("open_files_limited", allowed=allowed, to_do="allow more open files, or lower max_connections")
