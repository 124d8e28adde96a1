"""The commands for who operates it: what is set, and whether it works. What they ask is imported only then."""

import asyncio
import dataclasses
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import click

from callback_cli import json_view
from callback_cli.failures import EXIT_REFUSED, EXIT_USAGE
from callback_cli.options import examples
from callback_cli.processes import config_option, needs_extra
from callback_cli.screen import Screen

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command("config", epilog=examples("callback config", "callback config --config callback.toml --json"))
@config_option
@_json
def show_config(config: Path | None, as_json: bool) -> None:
    """Show the settings that hold here, and where each came from.

    It reads what `callback server` and `callback edge` would read, in the same environment, and masks what is secret.
    What it prints is TOML; docs/settings.md says what each setting means.
    """
    with needs_extra("server"):
        from callback_edge.settings import EdgeSettings
        from callback_process.effective import effective_settings
        from callback_process.settings import SettingsError
        from callback_server.settings import ServerSettings
    found: list[dict[str, Any]] = []
    problems: list[str] = []
    for process in (ServerSettings, EdgeSettings):
        try:
            settings, origins = process.load_with_origins(config)
        except SettingsError as error:
            problems += error.problems
        else:
            found += [dataclasses.asdict(each) for each in effective_settings(settings, origins)]
    if as_json:
        click.echo(json_view.dumps(found))
    else:
        Screen().settings(found)
    if problems:
        click.echo("Error: these settings are wrong:\n" + "\n".join(dict.fromkeys(problems)), err=True)
        sys.exit(EXIT_USAGE)


@click.command(epilog=examples("callback doctor", "callback doctor edge --config callback.toml"))
@click.argument("process", type=click.Choice(["server", "edge"]), required=False)
@config_option
@_json
def doctor(process: str | None, config: Path | None, as_json: bool) -> None:
    """Look whether server and edge can work here, and say what to do.

    It looks at settings, files, certificates, principals, the store, handlers and connections: of a server, an edge, or
    both if none is named. Run it as the user that runs the process, in the same environment. It says what to do about
    each problem, changes nothing, and ends with 1 if there is one.
    """
    with needs_extra("server"):
        from callback_edge import doctor as of_edge
        from callback_server import doctor as of_server
    screen = Screen()
    found: list[dict[str, str]] = []

    async def examine(name: str, findings: AsyncIterator[Any]) -> None:
        async for finding in findings:
            found.append({"process": name, **dataclasses.asdict(finding)})
            if not as_json:
                screen.finding(**dataclasses.asdict(finding))

    async def examine_all() -> None:
        if process != "edge":
            await examine("server", of_server.diagnose(config))
        if process != "server":
            await examine("edge", of_edge.diagnose(config))

    asyncio.run(examine_all())
    if as_json:
        click.echo(json_view.dumps(found))
    if any(each["level"] == "problem" for each in found):
        sys.exit(EXIT_REFUSED)
