"""`callback up`: from the options to the exit code."""

import asyncio
import contextlib
import json
import os
import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from callback_launcher.child import Child
from callback_launcher.errors import LaunchError
from callback_process import logs
from callback_process.addresses import Address, parse_bind
from callback_process.settings import SettingsError
from callback_process.stop import stop_on_signals
from callback_up import children, data, moved_time
from callback_up.demo import make_demo
from callback_up.people import readable
from callback_up.ports import reserve
from callback_up.supervisor import Supervisor


def run(
    data_dir: Path | None = None,
    edge: str | None = None,
    grpc: str | None = None,
    console: str | None = None,
    has_console: bool = True,
    demo: bool = False,
    until_eof: bool = False,
    has_test_clock: bool = False,
    box_url: str | None = None,
    platform_url: str | None = None,
    as_json: bool | None = None,
    config: Path | None = None,
) -> int:
    """Run store, server, edge and console until SIGTERM or SIGINT. Call it on the main thread.

    Print `ready edge=HOST:PORT grpc=HOST:PORT console=HOST:PORT` on standard output when all are healthy. Logs go to
    standard error, as text for people if it is a terminal, and else as JSON.

    Args:
        data_dir: Directory of all data; None means `data.default_path()`.
        edge: Address for callers, `HOST:PORT`; None means the setting, else 127.0.0.1:8080. Port 0 picks a free port.
        grpc: Address of the gRPC services; None means the setting, else 127.0.0.1:50051. Port 0 picks a free port.
        console: Address of the console, `HOST:PORT`; None means the setting, else 127.0.0.1:8083. Port 0 picks a free
            port.
        has_console: Whether there is a console.
        demo: Generate two callbacks when ready, and print how to try them.
        until_eof: Also stop when standard input ends.
        has_test_clock: As `until_eof`, and lines on standard input move the clock (see moved_time.py). The data must be
            new.
        box_url: The base of the generated URLs; None means the setting, else the address of the edge.
        platform_url: The base of redirects to `/path`; None means the setting.
        as_json: Whether the logs and the ready line are JSON. None: the logs are, unless standard error is a terminal,
            and the ready line is not.
        config: Settings file of all processes; None means the file that CALLBACK_CONFIG names, if any.

    Returns:
        The exit code: 0 after a stop, 1 if a process cannot start or continue, 2 if a setting is wrong. Problems are
        printed to standard error.
    """
    for option, given in (("--edge", edge), ("--grpc", grpc), ("--console", console)):
        try:
            if given is not None:
                parse_bind(given)
        except ValueError as error:
            _print_error(f"{option} {error}")
            return 2
    try:
        server_settings = children.UpServerSettings.load(
            config, grpc_bind=grpc, box_url=box_url, platform_url=platform_url
        )
        edge_settings = children.UpEdgeSettings.load(config, bind=edge)
        console_settings = children.UpConsoleSettings.load(config, bind=console)
    except SettingsError as error:
        for problem in error.problems:
            _print_error(problem)
        return 2
    for_people = sys.stderr.isatty() if as_json is None else not as_json
    logs.configure("up", server_settings.log_level, readable if for_people else None)
    try:
        with contextlib.ExitStack() as held:
            directory = held.enter_context(data.open_directory(data_dir or data.default_path()))
            if has_test_clock:
                moved_time.require_new(directory.store)
            taken = list[Address]()

            def take(option: str, bind: str) -> Address:
                address, socket = reserve(parse_bind(bind), option)
                held.enter_context(socket)
                if address in taken:  # the system allows a second bind by the same process
                    raise LaunchError(f"{option} {address} is used twice; each address needs its own port")
                taken.append(address)
                return address

            def serving(settings: children.UpSettings, **given: object) -> Child:
                admin = take(f"{settings.model_config['env_prefix']}ADMIN_BIND", settings.admin_bind)
                return children.serving(settings, admin, config, store, **given)

            edge_address = take("--edge", edge_settings.bind)
            grpc_address = take("--grpc", server_settings.grpc_bind)
            store = children.store(directory)
            of_server = children.server_settings(server_settings, directory, edge_address)
            server = serving(server_settings, GRPC_BIND=grpc_address, **of_server)
            kept = [
                store,
                server,
                serving(edge_settings, BIND=edge_address, SERVER_TARGET=grpc_address),
            ]
            ready = {"edge": str(edge_address), "grpc": str(grpc_address)}
            if has_console:
                address = take("--console", console_settings.bind)
                kept.append(serving(console_settings, BIND=address, SERVER_TARGET=grpc_address))
                ready["console"] = str(address)
            on_line = _print_readable if for_people else None
            supervisor = Supervisor(kept, inherit=[directory.lock], on_line=on_line)
            obey = partial(moved_time.obey, directory=directory, server=server) if has_test_clock else None
            line = _ready_line(ready, as_json=bool(as_json))
            asyncio.run(_run(supervisor, line, grpc_address, demo=demo, until_eof=until_eof, obey=obey))
    except LaunchError as error:
        _print_error(str(error))
        return error.exit_code
    return 0


async def _run(
    supervisor: Supervisor,
    ready: str,
    grpc: Address,
    *,
    demo: bool,
    until_eof: bool,
    obey: Callable[[str], str] | None,
) -> None:
    async def when_ready() -> None:
        print(ready, flush=True)  # noqa: T201  # the ready line, for the caller
        if demo:
            print(await make_demo(grpc), flush=True)  # noqa: T201  # the output of --demo

    stopping = stop_on_signals()
    if until_eof or obey is not None:
        _set_at_eof(stopping, obey)
    await supervisor.run(stopping, when_ready)


def _ready_line(addresses: Mapping[str, str], *, as_json: bool) -> str:
    if as_json:
        return json.dumps({"event": "ready", **addresses})
    return " ".join(["ready", *(f"{name}={address}" for name, address in addresses.items())])


def _print_readable(line: str) -> None:
    sys.stderr.write(readable(line) + "\n")
    sys.stderr.flush()


def _set_at_eof(stopping: asyncio.Event, obey: Callable[[str], str] | None) -> None:
    """Set the event when standard input ends, as it does when the process at its other end ends.

    Read in a thread, because an event loop cannot wait for every kind of file. `obey` gets each line before that, and
    returns the one to print.
    """
    loop = asyncio.get_running_loop()

    def read() -> None:
        with contextlib.suppress(OSError):  # it is closed or unreadable
            unread = b""
            while read := os.read(0, 4096):
                if obey is not None:
                    *lines, unread = (unread + read).split(b"\n")
                    for line in lines:
                        print(obey(line.decode(errors="replace")), flush=True)  # noqa: T201  # the caller waits for it
        with contextlib.suppress(RuntimeError):  # the loop has ended already
            loop.call_soon_threadsafe(stopping.set)

    threading.Thread(target=read, name="stdin", daemon=True).start()


def _print_error(problem: str) -> None:
    sys.stderr.write(f"callback up: {problem}\n")
