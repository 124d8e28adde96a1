"""Commands that start processes: up, server, edge, console. They import the process only when they run."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from callback_cli import options
from callback_cli.errors import EXIT_UNAVAILABLE, EXIT_USAGE

config_option = click.option(
    "--config",
    metavar="FILE",
    envvar="CALLBACK_CONFIG",
    show_envvar=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The TOML file with the settings.",
)


@options.command(
    "callback up",
    "callback up --demo --edge 127.0.0.1:0 --grpc 127.0.0.1:0",
    "callback up --box-url https://abc.tunnel.example --platform-url https://shop.example",
)
@click.option(
    "--data-dir",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="The data directory.  [env var: CALLBACK_DATA_DIR; default: ~/.local/state/callback]",
)
@click.option("--edge", metavar="HOST:PORT", help="The listen address for calls.  [default: 127.0.0.1:8080]")
@click.option("--grpc", metavar="HOST:PORT", help="The listen address of the server.  [default: 127.0.0.1:50051]")
@click.option("--console", metavar="HOST:PORT", help="The listen address of the console.  [default: 127.0.0.1:8083]")
@click.option("--no-console", is_flag=True, help="Run no console.")
@click.option(
    "--box-url",
    metavar="URL",
    help="The base of the generated URLs, such as the address of a tunnel to the edge.  [default: the edge's address]",
)
@click.option(
    "--platform-url",
    metavar="URL",
    help="The base of redirects to /path, such as https://shop.example. Without it, they are refused.",
)
@click.option("--demo", is_flag=True, help="Generate two callbacks, and print what to try.")
@click.option(
    "--until-eof",
    is_flag=True,
    help="Also stop at end of file on standard input. For programs that start this command.",
)
@click.option(
    "--test-clock",
    "has_test_clock",
    is_flag=True,
    help="For tests, with new data: as --until-eof, and each line `advance MILLISECONDS` there moves the time of all "
    "callbacks forward. The line `advanced` says that what was due has happened.",
)
@click.option(
    "--json/--no-json",
    "as_json",
    default=None,
    help="Print JSON, or text for people. Without this option, logs are text on a terminal and JSON elsewhere, and the "
    "line that begins with `ready` is the same everywhere.",
)
@config_option
def up(no_console: bool, console: str | None, **options: Any) -> None:
    """Run everything on this machine: store, server, edge and console.

    The data is kept across restarts. Port 0 selects a free port, and the line that begins with `ready` shows it. Ctrl-C
    stops everything.
    """
    with needs_extra("up"):
        from callback_up.main import run
    if no_console and console is not None:
        raise click.UsageError("--console and --no-console cannot be combined.")
    if options["as_json"] and options["demo"]:
        raise click.UsageError("--json and --demo cannot be combined: what to try is for people.")
    sys.exit(run(console=console, has_console=not no_console, **options))


@options.command("CALLBACK_STORE_URL=redis://store:6379/0 callback server --config callback.toml")
@config_option
@click.option("--grpc", metavar="HOST:PORT", help="The listen address.  [default: 127.0.0.1:50051]")
def server(config: Path | None, grpc: str | None) -> None:
    """Run one server process, for production.

    Other settings come from CALLBACK_… environment variables and the file. SIGTERM stops the process gracefully.
    """
    with needs_extra("server"):
        from callback_server.main import run
        from callback_server.settings import ServerSettings
    sys.exit(_run(lambda: run(ServerSettings.load(config, grpc_bind=grpc))))


@options.command("callback edge --bind 0.0.0.0:8080 --server 127.0.0.1:50051")
@config_option
@click.option("--bind", metavar="HOST:PORT", help="The listen address for calls.  [default: 127.0.0.1:8080]")
@click.option(
    "--admin", metavar="HOST:PORT", help="The listen address for probes and /metrics.  [default: 127.0.0.1:8081]"
)
@click.option("--server", metavar="HOST:PORT", help="The address of the server.  [default: 127.0.0.1:50051]")
def edge(config: Path | None, bind: str | None, admin: str | None, server: str | None) -> None:
    """Run one edge process, for production.

    Other settings come from CALLBACK_EDGE_… environment variables and the file. SIGTERM stops the process gracefully.
    """
    with needs_extra("server"):
        from callback_edge.main import run
        from callback_edge.settings import EdgeSettings
    sys.exit(_run(lambda: run(EdgeSettings.load(config, bind=bind, admin_bind=admin, server_target=server))))


@options.command("callback console --server 127.0.0.1:50051")
@config_option
@click.option(
    "--bind", metavar="HOST:PORT", help="The listen address for browsers and the API.  [default: 127.0.0.1:8083]"
)
@click.option(
    "--admin", metavar="HOST:PORT", help="The listen address for probes and /metrics.  [default: 127.0.0.1:8084]"
)
@click.option("--server", metavar="HOST:PORT", help="The address of the server.  [default: 127.0.0.1:50051]")
def console(config: Path | None, bind: str | None, admin: str | None, server: str | None) -> None:
    """Run the console: callbacks and calls in a browser, and JSON over HTTP.

    People sign in with their token, and see what the server lets them see. Programs without gRPC send their token with
    each request, a POST of JSON to /callback.v1.CallbacksService/NAME. Other settings come from CALLBACK_CONSOLE_…
    environment variables and the file. SIGTERM stops the process gracefully.
    """
    with needs_extra("server"):
        from callback_console.main import run
        from callback_console.settings import ConsoleSettings
    sys.exit(_run(lambda: run(ConsoleSettings.load(config, bind=bind, admin_bind=admin, server_target=server))))


def _run(process: Callable[[], int]) -> int:
    """Run a process, and return its exit code. Invalid settings give the exit code of invalid usage."""
    from callback_process.settings import SettingsError

    try:
        return process()
    except SettingsError as error:
        click.echo(f"Error: these settings are not valid:\n{error}", err=True)
        return EXIT_USAGE


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Report how to install a missing package of an optional extra."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("callback"):
            raise  # a bug in this package, not a missing one
        package, _, _ = error.name.partition(".")
        click.echo(
            f"Error: this command requires {package}: install Callback with its extra [{extra}], see docs/install.md",
            err=True,
        )
        sys.exit(EXIT_UNAVAILABLE)
