"""Commands for operators: config, doctor, repair and losses. They import server and edge only when they run."""

import asyncio
import dataclasses
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import click

from callback_cli import options
from callback_cli.errors import EXIT_REFUSED, EXIT_USAGE
from callback_cli.json_output import dumps
from callback_cli.processes import config_option, needs_extra
from callback_cli.text_view import TextView

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_MENDED = {"missing_entry": "made", "entry_without_case": "removed"}
"""What a repair does about a fault, by its kind."""


@options.command("callback config", "callback config --config callback.toml --json", name="config")
@config_option
@_json
def show_config(config: Path | None, as_json: bool) -> None:
    """Show the effective settings, and the origin of each.

    It reads the same sources as `callback server`, `callback edge` and `callback console`, in the current environment,
    and masks secrets.
    The output is TOML. docs/settings.md explains each setting.
    """
    with needs_extra("server"):
        from callback_console.settings import ConsoleSettings
        from callback_edge.settings import EdgeSettings
        from callback_process.effective import effective_settings
        from callback_process.settings import SettingsError
        from callback_server.settings import ServerSettings
    found: list[dict[str, Any]] = []
    problems: list[str] = []
    for process in (ServerSettings, EdgeSettings, ConsoleSettings):
        try:
            settings, origins = process.load_with_origins(config)
        except SettingsError as error:
            problems += error.problems
        else:
            found += [dataclasses.asdict(each) for each in effective_settings(settings, origins)]
    if as_json:
        click.echo(dumps(found))
    else:
        TextView().settings(found)
    if problems:
        click.echo("Error: these settings are not valid:\n" + "\n".join(dict.fromkeys(problems)), err=True)
        sys.exit(EXIT_USAGE)


@options.command("callback doctor", "callback doctor edge --config callback.toml")
@click.argument("process", type=click.Choice(["server", "edge", "console"]), required=False)
@config_option
@_json
def doctor(process: str | None, config: Path | None, as_json: bool) -> None:
    """Check whether server, edge and console can run here, and suggest repairs.

    It checks the settings, files, certificates, principals, store, handlers and connections of one process. By default,
    it checks server and edge, and the console if there are settings for one. Run it as the user of the process, in the
    same environment. It suggests a repair for each problem, changes nothing, and exits with code 1 if there is a
    problem. If the settings name no store, it checks that of the `callback up` that runs here.
    """
    with needs_extra("server"):
        from callback_console import doctor as of_console
        from callback_edge import doctor as of_edge
        from callback_server.operations import doctor as of_server
        from callback_up.running import server_settings
    view = TextView()
    found: list[dict[str, str]] = []

    async def examine(name: str, findings: AsyncIterator[Any]) -> None:
        async for finding in findings:
            found.append({"process": name, **dataclasses.asdict(finding)})
            if not as_json:
                view.finding(**dataclasses.asdict(finding))

    async def examine_all() -> None:
        if process in (None, "server"):
            await examine("server", of_server.diagnose(config, server_settings(config)))
        if process in (None, "edge"):
            await examine("edge", of_edge.diagnose(config))
        if process == "console" or (process is None and of_console.has_settings(config)):
            await examine("console", of_console.diagnose(config))

    asyncio.run(examine_all())
    if as_json:
        click.echo(dumps(found))
    if any(each["level"] == "problem" for each in found):
        sys.exit(EXIT_REFUSED)


@options.command("callback repair --check", "callback repair --config callback.toml")
@click.option("--check", is_flag=True, help="Only report, change nothing.")
@config_option
@_json
def repair(check: bool, config: Path | None, as_json: bool) -> None:
    """Find and mend differences between the lists of the store and its callbacks and calls.

    It makes the entries that a callback or call lacks, and removes entries whose callback or call does not exist. It
    uses the settings of the server, or the store of the `callback up` that runs here if they name none, and works while
    servers run. A partition whose slot moves to another node is not examined: run it again afterwards. A callback of
    which a key has a wrong type, or which is in progress with a call that does not exist, is named and left as it is.
    It exits with code 1 if something was not examined or not mended.
    """
    with needs_extra("server"):
        from callback_server.operations import repair as of_server
        from callback_server.operations.store_access import StoreAccessError
        from callback_up.running import server_settings
    steps = of_server.repair(config, server_settings(config), changes=not check)
    try:
        found = asyncio.run(_repair(steps, of_server.Step(), changes=not check, as_json=as_json))
    except StoreAccessError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(EXIT_REFUSED)
    if as_json:
        click.echo(dumps([dataclasses.asdict(fault) for fault in found.faults]))
    for partition, reason in found.not_examined.items():
        click.echo(f"Error: partition {partition} was not examined: {reason}", err=True)
    if found.not_examined or any(check or fault.kind not in _MENDED for fault in found.faults):
        sys.exit(EXIT_REFUSED)


@options.command("callback losses", "callback losses --accept --config callback.toml")
@click.option("--accept", "accepts", is_flag=True, help="Accept what the store has now, and give up what it lacks.")
@config_option
@_json
def losses(accepts: bool, config: Path | None, as_json: bool) -> None:
    """List the acknowledged steps that were lost when the primary of the store changed.

    A step is a change of a callback or call. Servers note a loss when they meet the next primary. The command uses the
    settings of the server, or the store of the `callback up` that runs here if they name none.

    With --accept, servers that refuse the store because it is older than what they have seen take it as it is, for
    example after you restored a backup on purpose. What the store lacks is given up: later callbacks are unknown, and a
    single-use callback that was called later can be called again.
    """
    with needs_extra("server"):
        from callback_server.operations.store_access import StoreAccessError, open_store
        from callback_server.store.epochs.losses import accept_store, read_losses
        from callback_up.running import server_settings

    async def read() -> list[Any]:
        async with open_store(config, server_settings(config)) as scripts:
            if accepts:
                await accept_store(scripts)
            return list(await read_losses(scripts.client))

    try:
        found = asyncio.run(read())
    except StoreAccessError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(EXIT_REFUSED)
    if as_json:
        click.echo(dumps([{**dataclasses.asdict(each), "noticed": each.noticed.isoformat()} for each in found]))
        return
    for each in found:
        click.echo(f"{each.noticed:%Y-%m-%d %H:%M:%S}Z  partition {each.partition}  {each.steps} steps lost")
    click.echo(f"{sum(each.steps for each in found)} steps lost")
    if accepts:
        click.echo("What the store has now is accepted. What it lacks is given up.")


async def _repair(steps: AsyncIterator[Any], whole: Any, *, changes: bool, as_json: bool) -> Any:
    done = _MENDED if changes else {}
    async for step in steps:
        whole.add(step)
        for fault in () if as_json else step.faults:
            click.echo(f"{fault.kind}  {fault.listed_in}  {fault.name}  {done.get(fault.kind, 'found')}")
    if not as_json:
        click.echo(f"{whole.examined} callbacks and lists examined, {len(whole.faults)} faults")
    return whole
