"""The command that makes a token. What it needs of the server is imported only then."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from callback_cli import options
from callback_cli.failures import EXIT_USAGE
from callback_cli.options import examples
from callback_cli.processes import config_option, needs_extra

ROLES = ("owner", "edge", "admin", "worker")
"""What a principal may do. The server has the same list, which is not imported until it is needed."""


@click.command(
    epilog=examples(
        "callback token orders --role owner --file principals.toml",
        "(umask 077; callback token edge-1 --role edge --expires 90d > edge-1.token)",
        "callback token order-handlers --role worker --activity order-paid --activity order-refunded",
        "callback token orders    # one more, to take the old one out when nobody uses it any more",
    )
)
@click.argument("name")
@click.option("--role", "roles", type=click.Choice(ROLES), multiple=True, help="What NAME may do; repeat. Needed once.")
@click.option(
    "--activity",
    "activities",
    metavar="NAME",
    multiple=True,
    help="What a worker may work on, or * for everything; repeat. Needed once with --role worker.",
)
@click.option(
    "--file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file of principals; made if it is not there.  [default: `principals_file` of the settings]",
)
@click.option(
    "--expires",
    metavar="90d",
    callback=options.duration,
    help="The token stops working after this time: 12h, 90d.  [default: never]",
)
@config_option
def token(
    name: str,
    roles: tuple[str, ...],
    activities: tuple[str, ...],
    file: Path | None,
    expires: timedelta | None,
    config: Path | None,
) -> None:
    """Make a token that proves who asks.

    The token is printed this once, alone on standard output. The file of principals gets its SHA-256, and NAME itself
    if it is new; a server that runs sees that within a second. A principal can have several tokens. Where the settings
    name no file, what belongs into one is printed on standard error.

    Roles: an owner generates callbacks, and sees its own; an edge hands over calls; an admin may do what an owner may,
    with everyone's; a worker handles the calls of its activities.
    """
    with needs_extra("server"):
        from callback_process.settings import SettingsError
        from callback_server.access.roles import Role
        from callback_server.access.tokens import add_token, check_name, new_token, token_entry, token_toml
        from callback_server.settings import ServerSettings
    given = [Role(role) for role in roles]
    if activities and roles and "worker" not in roles:
        raise click.UsageError("--activity is what a worker may work on: it needs --role worker")
    if "worker" in roles and not activities:
        raise click.UsageError("--role worker needs --activity NAME, or --activity '*' for everything")
    if any(not 1 <= len(each) <= 200 for each in activities):
        raise click.BadParameter("the name of an activity has 1 to 200 characters", param_hint="--activity")
    try:
        end = None if expires is None else datetime.now(UTC) + expires
    except OverflowError:
        raise click.BadParameter("that is too long a time", param_hint="--expires") from None
    if expires is not None and not expires:
        raise click.BadParameter("it would never work", param_hint="--expires")
    try:
        check_name(name)
    except ValueError as error:
        raise click.BadParameter(f"{name!r}: a name {error}", param_hint="NAME") from None
    try:
        path = file or ServerSettings.load(config).principals_file
        made = new_token() if path is None else add_token(path, name, given, end, activities=activities)
    except SettingsError as error:
        click.echo(f"Error: {error}", err=True)
        raise click.exceptions.Exit(EXIT_USAGE) from None
    until = "" if end is None else f" It works until {end:%Y-%m-%d %H:%M} UTC."
    if path is None:
        click.echo("The settings name no principals_file. Put this into one:", err=True)
        click.echo(f"\n{token_toml(name, given, token_entry(made, end), activities=activities)}", err=True)
    else:
        click.echo(f"{name} has one more token in {path}.{until}", err=True)
    click.echo("The token, which is kept nowhere:", err=True)
    click.echo(made)
