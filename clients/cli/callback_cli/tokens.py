"""The command that creates a token. It imports the server only when it runs."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from callback_cli import options
from callback_cli.errors import EXIT_USAGE
from callback_cli.processes import config_option, needs_extra

ROLES = ("owner", "edge", "admin", "worker")
"""The roles of a principal: a copy of the server's list, which is imported only when needed."""


@options.command(
    "callback token orders --role owner --file principals.toml",
    "(umask 077; callback token edge-1 --role edge --expires 90d > edge-1.token)",
    "callback token order-handlers --role worker --activity order-paid --activity order-refunded --answers",
    "callback token orders    # a further token, to remove the old one later",
)
@click.argument("name")
@click.option(
    "--role",
    "roles",
    type=click.Choice(ROLES),
    multiple=True,
    help="A role of NAME. Required for a new NAME; can be repeated.",
)
@click.option(
    "--activity",
    "activities",
    metavar="NAME",
    multiple=True,
    help="An activity that the worker may handle, or * for all; or to which the owner is limited. Required with "
    "--role worker; can be repeated.",
)
@click.option(
    "--answers",
    is_flag=True,
    help="The worker may also read, answer, resolve and close the callbacks of its activities, of every owner.",
)
@click.option(
    "--file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The principals file. It is created if it does not exist.  [default: `principals_file` of the settings]",
)
@click.option(
    "--expires",
    metavar="90d",
    callback=options.duration,
    help="The token expires after this time: 12h, 90d.  [default: never]",
)
@config_option
def token(
    name: str,
    roles: tuple[str, ...],
    activities: tuple[str, ...],
    answers: bool,
    file: Path | None,
    expires: timedelta | None,
    config: Path | None,
) -> None:
    """Create a bearer token for a principal.

    The token is printed only this once, alone on standard output. Its SHA-256 is added to the principals file, together
    with NAME if it is new. A running server reads the change within about two seconds. A principal can have several
    tokens. To end one, remove its entry: workers that use it finish their calls. `revoked = true` in the entry
    disconnects them at once. If the settings name no principals file, the entry to add is printed on standard error.

    Roles: an owner generates callbacks and sees its own; an edge passes calls to the server; an admin may do everything
    that an owner may do, on the callbacks of every owner, and pauses, resumes and lists paused activities; a worker
    handles the calls of its activities, and with --answers also reads, answers and closes their callbacks.
    """
    with needs_extra("server"):
        from callback_process.settings import SettingsError
        from callback_server.access.roles import Role
        from callback_server.access.tokens import add_token, check_name, new_token, token_entry, token_toml
        from callback_server.settings import ServerSettings
    given = [Role(role) for role in roles]
    if activities and roles and not {"worker", "owner"} & {*roles}:
        raise click.UsageError("--activity requires --role worker or --role owner.")
    if answers and roles and "worker" not in roles:
        raise click.UsageError("--answers requires --role worker.")
    if "worker" in roles and not activities:
        raise click.UsageError("--role worker requires --activity NAME, or --activity '*' for all activities.")
    if any(not 1 <= len(each) <= 200 for each in activities):
        raise click.BadParameter("the name of an activity has 1 to 200 characters.", param_hint="--activity")
    end = None if expires is None else datetime.now(UTC) + expires
    if expires is not None and not expires:
        raise click.BadParameter("the time must be longer than 0.", param_hint="--expires")
    try:
        check_name(name)
    except ValueError as error:
        raise click.BadParameter(f"{name!r}: a name {error}", param_hint="NAME") from None
    try:
        path = file or ServerSettings.load(config).principals_file
        made = (
            new_token() if path is None else add_token(path, name, given, end, activities=activities, answers=answers)
        )
    except SettingsError as error:
        click.echo(f"Error: {error}", err=True)
        raise click.exceptions.Exit(EXIT_USAGE) from None
    until = "" if end is None else f" It expires at {end:%Y-%m-%d %H:%M} UTC."
    if path is None:
        click.echo("The settings name no principals_file. Add this entry to one:", err=True)
        entry = token_toml(name, given, token_entry(made, end), activities=activities, answers=answers)
        click.echo(f"\n{entry}", err=True)
    else:
        click.echo(f"Added a token for {name} to {path}.{until}", err=True)
    click.echo("The token, which is not stored anywhere:", err=True)
    click.echo(made)
