"""The command that drives a worker or client program in any language through the scenarios of the contract: conform."""

import sys
from pathlib import Path

import click

from callback_cli import options
from callback_cli.processes import needs_extra


@options.command(
    "callback conform -- python worker.py",
    "callback conform --client --format tap -- ./driver",
    context_settings={"ignore_unknown_options": True},
)
@click.argument("command", metavar="-- COMMAND…", nargs=-1, type=click.UNPROCESSED)
@click.option("--client", "is_client", is_flag=True, help="COMMAND is a client driver. Default: a worker.")
@click.option("--handlers", "is_handlers", is_flag=True, help="COMMAND is a handler server.")
@click.option("--list", "is_list", is_flag=True, help="Print the rules and the name of each scenario, and run none.")
@click.option(
    "--only",
    "names",
    metavar="NAME",
    multiple=True,
    help="Run this scenario alone: its name, or a beginning that no other one has. Repeatable.",
)
@click.option(
    "--known-failures",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The names of the scenarios that are known to fail, one a line. They run too.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["table", "tap"]),
    default="table",
    show_default=True,
    help="A table, or TAP version 14 for programs.",
)
def conform(
    command: tuple[str, ...],
    is_client: bool,
    is_handlers: bool,
    is_list: bool,
    names: tuple[str, ...],
    known_failures: Path | None,
    format_: str,
) -> None:
    """Drive a worker, client or handler server in any language through the scenarios of the contract.

    A scripted server on loopback starts COMMAND, with its address in the environment, and speaks the real protocol.
    With --handlers it calls COMMAND, which listens at the address that it is given.
    README.md in the folder of the package callback_conform says what the program has to do. The exit code is 1 if a
    scenario fails that is not a known failure, or if a known failure passes.
    """
    if is_client and is_handlers:
        raise click.UsageError("--client and --handlers cannot be combined.")
    with needs_extra("client-names"):
        from callback_conform.main import known_failures_of, list_scenarios, run
        from callback_conform.program import CommandError
    kind = "client" if is_client else "handlers" if is_handlers else "worker"
    if is_list:
        click.echo(list_scenarios(kind))
        return
    if not command:
        raise click.UsageError("Missing argument '-- COMMAND…'.")
    try:
        known = [] if known_failures is None else known_failures_of(known_failures)
        sys.exit(run(command, kind=kind, names=names, known=known, format_=format_))
    except UnicodeDecodeError:
        raise click.UsageError(f"{known_failures} is not UTF-8") from None
    except (LookupError, CommandError) as error:
        raise click.UsageError(str(error)) from None
