"""Settings of the console."""

from pathlib import Path
from typing import Annotated, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_settings import SettingsConfigDict

from callback_process.addresses import Address, parse_bind
from callback_process.settings import Bind, IssuerUrl, LogLevel, Network, ProcessSettings, StopSeconds, TlsSettings
from callback_shared.targets import DEFAULT_TARGET, has_several, is_local, target_problem


def _target(text: str) -> str:
    if problem := target_problem(text):
        raise ValueError(problem)
    return text


def _origin(text: str) -> str:
    """Return an origin in lower case, without a port that its scheme implies, as browsers send it."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    rest = parts.path.rstrip("/") or parts.query or parts.fragment or parts.username
    if parts.scheme not in ("http", "https") or not parts.hostname or rest:
        raise ValueError("must be https://HOST or https://HOST:PORT, without a path")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    implied = 80 if parts.scheme == "http" else 443
    return f"{parts.scheme}://{host}" + ("" if port in (None, implied) else f":{port}")


class OpenIdSettings(BaseModel):
    """OpenID provider at which people sign in to the console. The server must have it as one of its `issuers`, too."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: IssuerUrl
    """URL of the issuer, as its tokens have it in `iss`. Its configuration is at `/.well-known/openid-configuration`
    below it."""
    client_id: str = Field(min_length=1, max_length=500)
    """Id with which the console is registered there. It is one of the `audiences` of the server. The redirect URI to
    register is `/sign-in/return` at the URL of the console; after a sign-out, `/sign-in`."""
    client_secret_file: Path | None = None
    """File with the secret of the client, read at the start and at each sign-in, so a new secret needs no restart. A
    newline at its end is ignored. None: a public client, which has none."""
    ca_file: Path | None = None
    """Certificate authorities that must have issued the issuer's certificate, PEM, read at the start. None: those of
    the system."""


class ConsoleSettings(ProcessSettings):
    """Settings of one console process: table `[console]` of the file, `CALLBACK_CONSOLE_…` in the environment."""

    table: ClassVar[str] = "console"
    model_config = SettingsConfigDict(env_prefix="CALLBACK_CONSOLE_")

    bind: Bind = "127.0.0.1:8083"
    """Address for browsers and the API (HTTP). Port 0 picks a free port. Not on loopback, it needs a `public_url`."""
    admin_bind: Bind = "127.0.0.1:8084"
    """Address of `/healthz`, `/readyz` and `/metrics`. Port 0 picks a free port."""
    public_url: Annotated[str, AfterValidator(_origin)] | None = None
    """URL of the console in a browser, as in `https://console.example`, if a proxy with TLS is in front. Give it a host
    of its own: browsers send a cookie to every port of a host, so also to an edge there. Requests with another `Host`
    are refused. None: `http://` and the address of `bind`."""
    server_target: Annotated[str, Field(min_length=1), AfterValidator(_target)] = DEFAULT_TARGET
    """Server: `HOST:PORT`, where a host may resolve to several addresses, or several as `HOST:PORT,HOST:PORT`: the
    first one that can be reached is used. While it is in use, the console looks the names up every 5 seconds."""
    server_tls: TlsSettings | None = None
    """TLS to the server. `{}` trusts the system's certificate authorities. Without a client certificate: each request
    has the identity of the person who signed in. None: plain text."""
    allow_plaintext: bool = False
    """Whether tokens may go to a server on another machine without TLS. Set it only if a mesh or a sidecar encrypts."""
    trusted_proxies: list[Network] | None = None
    """Proxies in front of the console, as addresses or networks (`10.0.0.0/24`), whose `X-Forwarded-For` names the
    caller. `[]`: there is no proxy. None: unknown. Then the limit of connections per address does not apply."""
    openid: OpenIdSettings | None = None
    """OpenID provider at which people can sign in, besides the sign-in with a token. None: with a token only."""
    session_s: Annotated[int, Field(ge=60, le=30 * 24 * 3600)] = 12 * 3600
    """Time after which a person has to sign in again, in seconds. Sessions also end when the console stops, and with
    the ID token of an OpenID provider."""
    grace_s: StopSeconds = 5
    """Time limit for running requests after a signal to stop, in seconds."""
    log_level: LogLevel = "INFO"
    """Lowest level to log."""

    @property
    def is_https(self) -> bool:
        """Whether browsers use https."""
        return (self.public_url or "").startswith("https:")

    def cookie_name(self, host: str) -> str:
        """Return the name of the cookie of a session, by the `Host` of a request.

        Browsers send a cookie to every port of a host, so it has the port.
        """
        return "__Host-callback_console" if self.is_https else f"callback_console_{host.rpartition(':')[2]}"

    @property
    def is_local(self) -> bool:
        """Whether only browsers on this machine can use it."""
        host = urlsplit(self.public_url).hostname if self.public_url else None
        return parse_bind(self.bind).is_loopback and (host is None or Address(host, 0).is_loopback)

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.bind == self.admin_bind and parse_bind(self.bind).port != 0:
            raise ValueError(f"bind and admin_bind are the same address, {self.bind}")
        if not self.is_local and not self.is_https:
            raise ValueError(
                "tokens would travel in plain text: bind to loopback, or set public_url to the https URL of the proxy"
            )
        if self.server_tls and self.server_tls.server_name is None and has_several(self.server_target):
            raise ValueError("server_tls needs a server_name, because server_target has several addresses")
        if self.server_tls is None and not self.allow_plaintext and not is_local(self.server_target):
            raise ValueError(
                "server_target is on another machine, and tokens would travel in plain text; set server_tls, or"
                " allow_plaintext if a mesh encrypts"
            )
        if self.server_tls is not None and self.server_tls.cert_file is not None:
            raise ValueError("server_tls must have no cert_file: the console acts for the person who signed in")
        return self
