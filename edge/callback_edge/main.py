"""The edge process, from start to stop."""

import asyncio
import socket
import sys
from typing import Final

from callback_edge.admin import create_admin_app
from callback_edge.app import create_app
from callback_edge.server import HttpServer
from callback_edge.settings import EdgeSettings
from callback_edge.upstream import Upstream
from callback_process import logs
from callback_process import loop as event_loop
from callback_process.addresses import Address, parse_bind
from callback_process.settings import SettingsError
from callback_process.stop import hard_exit_after, stop_on_signals

_HARD_EXIT_S: Final = 1.8
"""How long after its grace a stop is cut: a process is gone by grace + 2 s."""


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
        The exit code: 0 after a stop, 1 if an address can not be listened on.
    """
    logs.configure("edge", settings.log_level)
    try:
        with _listen(settings.bind) as public, _listen(settings.admin_bind) as admin:
            event_loop.run(_serve(settings, public, admin))
    except _CanNotListenError as error:
        sys.stderr.write(f"callback edge: {error}\n")
        return 1
    return 0


class _CanNotListenError(Exception):
    pass


def _listen(bind: str) -> socket.socket:
    """Take an address; nothing is accepted yet."""
    host, port = parse_bind(bind)
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of an earlier run do not count
        listening.bind((host, port))
        listening.listen()  # with that option two may bind an address: this finds out
    except OSError as error:
        listening.close()
        raise _CanNotListenError(f"can not listen on {bind}: {error.strerror}") from None
    return listening


async def _serve(settings: EdgeSettings, public: socket.socket, admin: socket.socket) -> None:
    log = logs.get_logger()
    loop = asyncio.get_running_loop()
    stopping = stop_on_signals()
    async with Upstream(settings.server_target, invoke_timeout_s=settings.invoke_timeout_s) as upstream:
        edge_server = HttpServer(create_app(settings, upstream))
        admin_server = HttpServer(create_admin_app(upstream, stopping))
        addresses = {"edge": _name(public), "admin": _name(admin)}
        await edge_server.start(public)
        await admin_server.start(admin)
        log.info("ready", **addresses)

        await stopping.wait()  # /readyz says so from here on
        log.info("stopping", grace_s=settings.grace_s)
        hard_exit_after(settings.grace_s + _HARD_EXIT_S)
        over = loop.time() + settings.grace_s
        loop.call_at(over, upstream.give_up)
        await edge_server.stop(settings.grace_s)
        await upstream.finish(max(0, over - loop.time()))  # calls whose callers hung up
        await admin_server.stop(0)
    log.info("stopped")


def _name(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return str(Address(host, port))
