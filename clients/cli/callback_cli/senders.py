"""Commands for verification profiles. They import the server only when they run."""

import sys
import time
from datetime import datetime
from pathlib import Path

import click

from callback_cli import json_view
from callback_cli.errors import EXIT_REFUSED
from callback_cli.options import examples
from callback_cli.processes import config_option, needs_extra


@click.command(epilog=examples("callback profiles", "callback profiles --json"))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def profiles(as_json: bool) -> None:
    """List the providers that a verification profile can name.

    `kind = "provider:NAME"` in a table [profiles.…] of the configuration verifies the messages of a provider. A
    provider is proven if a message from the provider passes in the tests of Callback.
    """
    from callback_server.verification.providers import PROVIDERS

    if as_json:
        shown: list[json_view.Json] = [
            {"kind": f"provider:{name}", "title": each.title, "source": each.source, "proven": each.is_proven}
            for name, each in PROVIDERS.items()
        ]
        click.echo(json_view.dumps(shown))
        return
    width = max(map(len, PROVIDERS))
    for name, each in PROVIDERS.items():
        click.echo(
            f"provider:{name:{width}}  {'proven  ' if each.is_proven else 'unproven'}  {each.title}  {each.source}"
        )


@click.command(
    epilog=examples(
        "callback verify payments < request.txt", "callback call CALL --json | callback verify payments --at START_TIME"
    )
)
@click.argument("profile")
@config_option
@click.option("--url", help="The URL as the sender knows it. Default: the Host and the path of the request.")
@click.option("--at", help="When the request arrived, as in 2026-01-31T23:59:59Z. Default: now.")
@click.option("--show-signed", is_flag=True, help="Print the bytes that the sender must have signed.")
def verify(profile: str, config: Path | None, url: str | None, at: str | None, show_signed: bool) -> None:
    """Try a verification PROFILE on a request from standard input, offline.

    The request is an HTTP request (first line, headers, an empty line, the body), or the output of `callback call
    --json`. The result says why the request does not pass, and which secret matches. It exits with code 1 if the
    request does not pass.
    """
    with needs_extra("server"):
        from callback_process.credentials import CredentialsError
        from callback_process.settings import SettingsError
        from callback_server.settings import ServerSettings
        from callback_server.verification.trial import RequestFormatError, read_request, try_request
    try:
        now = time.time() if at is None else datetime.fromisoformat(at).astimezone().timestamp()
    except ValueError:
        raise click.BadParameter("must be a time, as in 2026-01-31T23:59:59Z", param_hint="--at") from None
    try:
        declared = ServerSettings.load(config).profiles
        if profile not in declared:
            raise click.UsageError(f"no such profile; declared: {', '.join(sorted(declared)) or 'none'}")
        request, found = read_request(sys.stdin.buffer.read())
        trial = try_request(profile, declared[profile], request, url or found, now)
    except (SettingsError, CredentialsError, RequestFormatError) as error:
        raise click.UsageError(str(error)) from None
    if trial.passes:
        click.echo("passes: " + ("a handshake" if trial.is_handshake else "a call"))
    else:
        click.echo(f"refused: {trial.why}")
    secret_file, signed = trial.found.secret_file, trial.found.signed
    if secret_file:
        click.echo(f"secret: {secret_file}")
    if trial.message_id:
        click.echo(f"message id: {trial.message_id}")
    if signed is not None:
        shown = repr(signed)[1:] if show_signed else f"{len(signed)} bytes; --show-signed prints them"
        click.echo(f"signed: {shown}")
    if not trial.passes:
        sys.exit(EXIT_REFUSED)
