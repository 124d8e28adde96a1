"""Commands about senders and their signatures: profiles, verify, send. They import the server only when they run."""

import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlsplit

import click

from callback_cli import options
from callback_cli.errors import EXIT_REFUSED, EXIT_UNAVAILABLE
from callback_cli.json_output import dumps
from callback_cli.processes import config_option, needs_extra

if TYPE_CHECKING:
    from http.client import HTTPResponse

_SEND_TIMEOUT_S = 330.0
"""How long `send` waits for a response, in seconds: longer than any call is held before its caller is told to wait."""


@options.command("callback profiles", "callback profiles --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def profiles(as_json: bool) -> None:
    """List the providers that a verification profile can name.

    `kind = "provider:NAME"` in a table [profiles.…] of the configuration verifies the messages of a provider. A
    provider is proven if a message from the provider passes in the tests of Callback.
    """
    from callback_server.verification.providers import PROVIDERS

    if as_json:
        shown = [
            {"kind": f"provider:{name}", "title": each.title, "source": each.source, "proven": each.is_proven}
            for name, each in PROVIDERS.items()
        ]
        click.echo(dumps(shown))
        return
    width = max(map(len, PROVIDERS))
    for name, each in PROVIDERS.items():
        click.echo(
            f"provider:{name:{width}}  {'proven  ' if each.is_proven else 'unproven'}  {each.title}  {each.source}"
        )


@options.command(
    "callback verify payments < request.txt",
    "callback call CALL --json | callback verify payments --at START_TIME",
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
        from callback_cli.verification.trial import read_request, try_request
        from callback_process.credentials import CredentialsError
        from callback_process.settings import SettingsError
        from callback_server.settings import ServerSettings
        from callback_server.verification.request_text import RequestFormatError
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


@options.command(
    "callback send URL --provider stripe --secret-file stripe.secret",
    "callback send URL --provider github --secret-file github.secret --body-file push.json",
    "callback send URL --provider oidc-return",
    "callback send URL --provider saml --secret-file idp.key --value audience=https://shop.example",
    "callback send URL --provider stripe --secret-file stripe.secret --dry-run | callback verify payments",
)
@click.argument("url", callback=options.http_url)
@click.option(
    "--provider",
    metavar="NAME",
    required=True,
    help="The sender: a provider of `callback profiles`, without `provider:`, or oidc-return, oidc-form-post, saml or "
    "ideal, for a browser that returns from a login or a payment.",
)
@click.option(
    "--secret-file",
    metavar="FILE",
    type=click.File("rb"),
    help="A file with the secret of the profile, or for a sender that signs with a private key a key of yours in PEM "
    "form: the profile then has its public key in `key_files`.",
)
@click.option("--body-file", metavar="FILE", type=click.File("rb"), help="The body; - is standard input.")
@click.option(
    "--value",
    "values",
    metavar="NAME=VALUE",
    multiple=True,
    callback=options.labels,
    help="A value of the message. Can be repeated. oidc-return: code, iss, error; oidc-form-post: also aud, sub, "
    "nonce; saml: audience, issuer, in_response_to, name_id; ideal: trxid, ec; paypal: receiver_id.",
)
@click.option("--dry-run", is_flag=True, help="Print the request, for `callback verify`, instead of sending it.")
@click.option("--json", "as_json", is_flag=True, help="Print the response as JSON.")
def send(
    url: str,
    provider: str,
    secret_file: BinaryIO | None,
    body_file: BinaryIO | None,
    values: dict[str, str],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Call a callback's URL as a provider does, with a valid signature, and show the response.

    The message is an example of the provider with the present time and a new id. For a provider without ids, the same
    body again is a repeat of the first message. The exit code is 1 if the response is neither 2xx nor 3xx.
    """
    with needs_extra("server"):
        from callback_cli.verification.sample_message import SENDERS, SampleError, sample_message
    from http.client import responses as http_reasons

    if provider not in SENDERS:
        raise click.BadParameter(f"{provider!r} is unknown; known: {', '.join(SENDERS)}", param_hint="--provider")
    secret = b"" if secret_file is None else secret_file.read()
    body = None if body_file is None else body_file.read()
    try:
        message = sample_message(provider, url, secret, time.time(), body=body, values=values)
    except SampleError as error:
        raise click.UsageError(str(error)) from None
    request = _Request(message.url, message.method.upper(), message.headers, message.body)
    if dry_run:
        click.echo(request.as_bytes(), nl=False)
        return
    response, content = request.send()
    headers = response.getheaders()
    if as_json:
        view = {"responseCode": response.status, "responseHeaders": headers, "responseBody": content.decode("latin-1")}
        click.echo(dumps(view))
    else:
        click.echo(f"{response.status} {http_reasons.get(response.status, '')}".rstrip())
        for name, value in headers:
            click.echo(f"{name}: {value}")
        click.echo()
        click.echo(content.decode("utf-8", "replace"))
    if response.status >= 400:
        sys.exit(EXIT_REFUSED)


@dataclass(frozen=True, slots=True)
class _Request:
    """An HTTP request."""

    url: str
    method: str
    """In upper case."""
    headers: list[tuple[str, str]]
    """Without those of the connection."""
    body: bytes

    @property
    def target(self) -> str:
        """The path, with the query."""
        _, slash, path = self.url.partition("://")[2].partition("/")
        return f"{slash or '/'}{path}"

    @property
    def all_headers(self) -> list[tuple[str, str]]:
        """The headers with those of the connection."""
        length = [("Content-Length", str(len(self.body)))] if self.method == "POST" else []
        return [("Host", urlsplit(self.url).netloc), *self.headers, *length]

    def as_bytes(self) -> bytes:
        """Return the request as text for `callback verify`.

        If the URL is not https, the target is the whole URL, as in a request to a proxy (RFC 9112, 3.2.2): nothing else
        of the text would tell the scheme.
        """
        target = self.target if urlsplit(self.url).scheme == "https" else self.url.partition("#")[0]
        head = [f"{self.method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in self.all_headers)]
        return "\r\n".join([*head, "", ""]).encode("latin-1") + self.body

    def send(self) -> tuple["HTTPResponse", bytes]:
        """Send the request, and return the response and its body. Exit if there is none."""
        import http.client  # no other command of this module needs it

        parts = urlsplit(self.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=_SEND_TIMEOUT_S)
        try:
            connection.putrequest(self.method, self.target, skip_host=True, skip_accept_encoding=True)
            for name, value in self.all_headers:
                connection.putheader(name, value.encode("latin-1"))
            connection.endheaders(self.body or None)
            response = connection.getresponse()
            return response, response.read()
        except (OSError, http.client.HTTPException) as error:
            click.echo(f"Error: {parts.netloc} gave no response: {error or type(error).__name__}", err=True)
            sys.exit(EXIT_UNAVAILABLE)
        finally:
            connection.close()
