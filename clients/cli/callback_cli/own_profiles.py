"""The commands of `callback profile`: verification profiles that an owner makes while the servers run."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import click

from callback import CallbackClient, CheckOutcome, Profile, ProfileCheck, ProfileSecret
from callback_cli import options
from callback_cli.connection import Connection, server_command, with_connection
from callback_cli.errors import EXIT_REFUSED
from callback_cli.reading import read_command
from callback_cli.text_view import TextView

PREFIX = "own/"
"""What the names of these profiles begin with. It can be left out in a command."""


def _own(_context: click.Context, _parameter: click.Parameter, name: str) -> str:
    return name if name.startswith(PREFIX) else f"{PREFIX}{name}"


def _secrets(_context: click.Context, parameter: click.Parameter, paths: tuple[str, ...]) -> list[str]:
    """Return the text of each file, without the line break at its end."""
    secrets = []
    for path in paths:
        with click.open_file(path, "rb") as file:
            content = file.read()
        try:
            secrets.append(content.decode().rstrip("\r\n"))
        except UnicodeDecodeError:
            raise click.BadParameter(f"{path} is not UTF-8 text.", param=parameter) from None
    return secrets


_name = click.argument("name", callback=_own)
_secret_files = click.option(
    "--secret-file",
    "secrets",
    required=True,
    multiple=True,
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    callback=_secrets,
    help="A file with a secret or key; - is standard input. Can be repeated.",
)


@click.group(
    epilog="\b\nExamples:\n"
    "  callback profile create shop-17 --kind provider:stripe --secret-file stripe.secret\n"
    "  callback profile rotate shop-17 --secret-file new.secret --overlap 24h"
)
def profile() -> None:
    """Make and change verification profiles of your own, for senders that come and go.

    A callback names one with --verification-profile own/NAME. Servers need a keyring_file. Profiles that the operator
    declares are in the settings of the servers.
    """


@server_command(
    "callback profile create shop-17 --kind provider:stripe --secret-file stripe.secret",
    'callback profile create partner --kind shared-secret --settings \'{"header": "x-token"}\' --secret-file token',
)
@_name
@click.option("--kind", required=True, help="The kind, such as hmac, or provider:NAME of the list of providers.")
@click.option("--settings", metavar="JSON", default="", help="The other settings of the kind, as a JSON object.")
@_secret_files
@with_connection
def create(connection: Connection, *, name: str, kind: str, settings: str, secrets: list[str]) -> None:
    """Make a profile. The same again shows the one that is there."""
    _show(connection, lambda client: client.create_profile(name, kind, secrets, settings=settings))


@server_command("callback profile show shop-17")
@_name
@with_connection
def show(connection: Connection, *, name: str) -> None:
    """Show a profile: since when and until when each secret is valid, and never the secrets."""
    _show(connection, lambda client: client.get_profile(name))


list_profiles = read_command("list", "ListProfiles", "List your profiles.", "callback profile list")


@server_command(
    "callback profile rotate shop-17 --secret-file new.secret --overlap 24h",
    "callback profile rotate shop-17 --secret-file new.secret --overlap 0s",
)
@_name
@_secret_files
@click.option(
    "--overlap",
    metavar="DURATION",
    default="24h",
    show_default=True,
    callback=options.duration,
    help="How long the present secrets stay valid.",
)
@with_connection
def rotate(connection: Connection, *, name: str, secrets: list[str], overlap: timedelta) -> None:
    """Add a new secret to a profile, and retire the present ones later."""

    def rotated(client: CallbackClient) -> Profile:
        old = [each.secret_id for each in client.get_profile(name).secrets if each.retire_time is None]
        retire_time = datetime.now(UTC) + overlap
        return client.update_profile(name, added_secrets=secrets, retired_secret_ids=old, retire_time=retire_time)

    _show(connection, rotated)


@server_command(
    "callback profile retire shop-17 4f1d2c3b", "callback profile retire shop-17 4f1d2c3b --at 2027-01-31T00:00:00Z"
)
@_name
@click.argument("secret")
@click.option("--at", metavar="TIME", callback=options.time, help="From when on it is not valid. Default: now.")
@with_connection
def retire(connection: Connection, *, name: str, secret: str, at: datetime | None) -> None:
    """Retire a secret of a profile, by the id that `callback profile show` shows."""
    _show(connection, lambda client: client.update_profile(name, retired_secret_ids=[secret], retire_time=at))


@server_command("callback profile check CALL", "callback profile check CALL --profile shop-18 --json")
@click.argument("call")
@click.option("--profile", "name", metavar="NAME", help="The profile. Default: that of the callback of the call.")
@click.option("--url", default="", help="The URL of the request with its query. Give it if the sender signs the URL.")
@with_connection
def check(connection: Connection, *, call: str, name: str | None, url: str) -> None:
    """Say whether the request of a call passes a profile, and by which secret, or why not.

    It is checked by the secrets that are valid now, as if it had just arrived. Secrets that a sender sends in plain
    text are not recorded: the outcome is then redacted. The exit code is 1 if the request does not pass.
    """

    def checked(client: CallbackClient) -> ProfileCheck:
        own = name
        if own is None:
            own = client.get_callback(call.partition("-")[0]).verification_profile
            if not own.startswith(PREFIX):
                raise click.UsageError("The callback of this call has no profile of yours; give one with --profile.")
        return client.check_profile(own if own.startswith(PREFIX) else f"{PREFIX}{own}", call_id=call, url=url)

    found = connection.run(checked)
    connection.show(found, TextView().value)
    if found.outcome not in (CheckOutcome.PASSES, CheckOutcome.HANDSHAKE):
        raise click.exceptions.Exit(EXIT_REFUSED)


@server_command("callback profile delete shop-17")
@_name
@with_connection
def delete(connection: Connection, *, name: str) -> None:
    """Delete a profile with its secrets. Callers of callbacks that name it get a 503 from then on."""

    def deleted(client: CallbackClient) -> None:
        client.get_profile(name)  # a name that is wrong must not seem to be deleted
        client.delete_profile(name)

    connection.run(deleted)
    connection.show({"name": name}, lambda _: click.echo(f"{name} is deleted."))


def _show(connection: Connection, run: Callable[[CallbackClient], Profile]) -> None:
    def view(found: Profile) -> None:
        text = TextView()
        text.value(found)
        secrets: tuple[ProfileSecret, ...] = found.secrets
        click.echo()
        text.values(secrets)

    connection.show(connection.run(run), view)


for _command in (create, list_profiles, show, rotate, retire, delete, check):
    profile.add_command(options.in_utf_8(_command))
