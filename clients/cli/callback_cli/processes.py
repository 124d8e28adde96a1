"""The commands that start processes: up, server, edge. What they run is imported only then."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from callback_cli.failures import EXIT_UNAVAILABLE, EXIT_USAGE
from callback_cli.options import examples

config_option = click.option(
    "--config",
    metavar="FILE",
    envvar="CALLBACK_CONFIG",
    show_envvar=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The TOML file with settings and activities.",
)


@click.command(epilog=examples("callback up", "callback up --demo --edge 127.0.0.1:0 --grpc 127.0.0.1:0"))
@click.option(
    "--data-dir",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the state here.  [env var: CALLBACK_DATA_DIR; default: ~/.local/state/callback]",
)
@click.option("--edge", metavar="HOST:PORT", help="Where calls arrive.  [default: 127.0.0.1:8080]")
@click.option("--grpc", metavar="HOST:PORT", help="Where the server listens.  [default: 127.0.0.1:50051]")
@click.option("--demo", is_flag=True, help="Make two callbacks and print what to try.")
@click.option("--until-eof", is_flag=True, help="Stop when standard input ends too: for programs that start it.")
@config_option
def up(
    data_dir: Path | None, edge: str | None, grpc: str | None, demo: bool, until_eof: bool, config: Path | None
) -> None:
    """Run everything on this machine: store, server and edge.

    The state is kept over restarts. Port 0 picks a free one; the line that begins with `ready` says which. Ctrl-C stops
    it.
    """
    with needs_extra("up"):
        from callback_up.main import run
    sys.exit(run(data_dir=data_dir, edge=edge, grpc=grpc, demo=demo, until_eof=until_eof, config=config))


@click.command(epilog=examples("CALLBACK_STORE_URL=redis://store:6379/0 callback server --config callback.toml"))
@config_option
@click.option("--grpc", metavar="HOST:PORT", help="Where to listen.  [default: 127.0.0.1:50051]")
def server(config: Path | None, grpc: str | None) -> None:
    """Run one server process, for production.

    Its other settings come from CALLBACK_… in the environment and from the file. SIGTERM stops it in good order.
    """
    with needs_extra("server"):
        from callback_server.main import run
        from callback_server.settings import ServerSettings
    sys.exit(_run(lambda: run(ServerSettings.load(config, grpc_bind=grpc))))


@click.command(epilog=examples("callback edge --bind 0.0.0.0:8080 --server 127.0.0.1:50051"))
@config_option
@click.option("--bind", metavar="HOST:PORT", help="Where calls arrive.  [default: 127.0.0.1:8080]")
@click.option("--admin", metavar="HOST:PORT", help="Where probes and /metrics are.  [default: 127.0.0.1:8081]")
@click.option("--server", metavar="HOST:PORT", help="The server to ask.  [default: 127.0.0.1:50051]")
def edge(config: Path | None, bind: str | None, admin: str | None, server: str | None) -> None:
    """Run one edge process, for production.

    Its other settings come from CALLBACK_EDGE_… in the environment and from the file. SIGTERM stops it in good order.
    """
    with needs_extra("server"):
        from callback_edge.main import run
        from callback_edge.settings import EdgeSettings
    sys.exit(_run(lambda: run(EdgeSettings.load(config, bind=bind, admin_bind=admin, server_target=server))))


def _run(process: Callable[[], int]) -> int:
    """Run a process and return its exit code; settings that are wrong are wrong usage."""
    from callback_process.settings import SettingsError

    try:
        return process()
    except SettingsError as error:
        click.echo(f"Error: these settings are wrong:\n{error}", err=True)
        return EXIT_USAGE


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Say how to install what an import lacks."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("callback"):
            raise  # a fault of ours, not a package that is missing
        click.echo(f"Error: this needs {error.name}, which is not installed: pip install 'callback[{extra}]'", err=True)
        sys.exit(EXIT_UNAVAILABLE)
