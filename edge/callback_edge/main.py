"""Edge process, from start to stop."""

import asyncio
import contextlib
import resource
import socket
import sys
from typing import Final

from callback_edge.app import create_app
from callback_edge.http.activation import passed_socket
from callback_edge.http.listener import HttpListener
from callback_edge.pages.page_cache import PageCache
from callback_edge.pages.template_errors import TemplatesError
from callback_edge.pages.views import PageViews
from callback_edge.settings import EdgeSettings
from callback_edge.upstream.client import ServerClient
from callback_process import logs
from callback_process import loop as event_loop
from callback_process.admin import AdminServer
from callback_process.credentials import CredentialsError
from callback_process.listener import address_of, listen
from callback_process.settings import SettingsError
from callback_process.stop import hard_exit_after, stop_on_signals

_OTHER_FILES: Final = 512
"""Open files besides the connections up to the limit: refused connections, and the process's own files."""
_HARD_EXIT_S: Final = 1.8
"""How long after the grace period the process exits in any case, in seconds: it ends by drain + grace + 2 s."""


def main() -> int:
    """Run the edge with the settings of the environment and the configuration file. Return the exit code."""
    try:
        settings = EdgeSettings.load()
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return run(settings)


def run(settings: EdgeSettings) -> int:
    """Run the edge until a signal stops it. Call this on the main thread.

    Returns:
        The exit code: 0 after a stop, 1 if an address or a file cannot be used.
    """
    logs.configure("edge", settings.log_level)
    _allow_open_files(settings.max_connections + _OTHER_FILES)
    with contextlib.ExitStack() as stack:
        try:
            views = PageViews(PageCache(settings.templates_dir))
            upstream = ServerClient(settings)
            public = stack.enter_context(passed_socket() or listen(settings.bind))
            admin = stack.enter_context(listen(settings.admin_bind))
        except (TemplatesError, CredentialsError, OSError) as error:
            sys.stderr.write(f"callback edge: {error}\n")
            return 1
        event_loop.run(_serve(settings, views, upstream, public, admin))
    return 0


def _allow_open_files(wanted: int) -> None:
    """Raise the limit of open files, as far as the system allows: the usual 1,024 are too few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        logs.get_logger().warning(
            "open_files_limited", allowed=allowed, to_do="allow more open files, or lower max_connections"
        )


async def _serve(
    settings: EdgeSettings, views: PageViews, upstream: ServerClient, public: socket.socket, admin: socket.socket
) -> None:
    log = logs.get_logger()
    loop = asyncio.get_running_loop()
    stopping = stop_on_signals()

    async def why_not_ready() -> str:
        return "stopping" if stopping.is_set() else upstream.why_not_ready()

    async with upstream:
        listener = HttpListener(create_app(settings, upstream), views, settings)
        addresses = {"edge": str(address_of(public)), "admin": str(address_of(admin))}
        await listener.start(public)
        with AdminServer(admin, why_not_ready):
            log.info("ready", **addresses)
            if settings.trusted_proxies is None:
                log.warning("address_limits_off", to_do="set trusted_proxies to the proxies in front, or to []")

            await stopping.wait()  # from here on /readyz answers 503
            log.info("stopping", drain_s=settings.drain_s, grace_s=settings.grace_s)
            hard_exit_after(settings.drain_s + settings.grace_s + _HARD_EXIT_S)
            listener.drain()
            await asyncio.sleep(settings.drain_s)
            end = loop.time() + settings.grace_s
            loop.call_at(end, upstream.give_up)
            await listener.stop(settings.grace_s)
            await upstream.wait_idle(max(0, end - loop.time()))  # calls whose callers hung up
    log.info("stopped")
