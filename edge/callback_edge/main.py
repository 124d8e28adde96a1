"""The edge process, from start to stop."""

import asyncio
import contextlib
import resource
import socket
import sys
from typing import Final

from callback_edge.app import create_app
from callback_edge.http.activation import passed_socket
from callback_edge.http.listener import HttpServer
from callback_edge.pages.page_cache import Pages, TemplatesError
from callback_edge.pages.views import Problems
from callback_edge.settings import EdgeSettings
from callback_edge.upstream.client import Upstream
from callback_process import logs
from callback_process import loop as event_loop
from callback_process.admin import AdminServer
from callback_process.credentials import CredentialsError
from callback_process.listener import address_of, listen
from callback_process.settings import SettingsError
from callback_process.stop import hard_exit_after, stop_on_signals

_OTHER_FILES: Final = 512
"""How many files there are besides the connections that may be open: those that are turned away, and our own."""
_HARD_EXIT_S: Final = 1.8
"""How long after its grace a stop is cut: a process is gone by drain + grace + 2 s."""


def main() -> int:
    """Run the edge with the settings of the environment and the configuration file. Returns the exit code."""
    try:
        settings = EdgeSettings.load()
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return run(settings)


def run(settings: EdgeSettings) -> int:
    """Run the edge until it is asked to stop. On the main thread.

    Returns:
        The exit code: 0 after a stop, 1 if an address can not be listened on or a file can not be used.
    """
    logs.configure("edge", settings.log_level)
    _allow_open_files(settings.max_connections + _OTHER_FILES)
    with contextlib.ExitStack() as stack:
        try:
            problems = Problems(Pages(settings.templates_dir))
            upstream = Upstream(settings)
            public = stack.enter_context(passed_socket() or listen(settings.bind))
            admin = stack.enter_context(listen(settings.admin_bind))
        except (TemplatesError, CredentialsError, OSError) as error:
            sys.stderr.write(f"callback edge: {error}\n")
            return 1
        event_loop.run(_serve(settings, problems, upstream, public, admin))
    return 0


def _allow_open_files(wanted: int) -> None:
    """Let this process have so many files open, as far as the system lets it: the usual 1,024 are soon used up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        logs.get_logger().warning("max_connections is more than open files are allowed", allowed=allowed)


async def _serve(
    settings: EdgeSettings, problems: Problems, upstream: Upstream, public: socket.socket, admin: socket.socket
) -> None:
    log = logs.get_logger()
    loop = asyncio.get_running_loop()
    stopping = stop_on_signals()

    async def why_not_ready() -> str:
        return "stopping" if stopping.is_set() else upstream.why_not_ready()

    async with upstream:
        server = HttpServer(create_app(settings, upstream), problems, settings)
        addresses = {"edge": str(address_of(public)), "admin": str(address_of(admin))}
        await server.start(public)
        with AdminServer(admin, why_not_ready):
            log.info("ready", **addresses)
            if settings.trusted_proxies is None:
                log.warning("no limit per address holds", to_do="set trusted_proxies: the proxies in front, or []")

            await stopping.wait()  # /readyz says so from here on
            log.info("stopping", drain_s=settings.drain_s, grace_s=settings.grace_s)
            hard_exit_after(settings.drain_s + settings.grace_s + _HARD_EXIT_S)
            server.drain()
            await asyncio.sleep(settings.drain_s)
            over = loop.time() + settings.grace_s
            loop.call_at(over, upstream.give_up)
            await server.stop(settings.grace_s)
            await upstream.finish(max(0, over - loop.time()))  # calls whose callers hung up
    log.info("stopped")
