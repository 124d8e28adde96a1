"""The edge's settings."""

import ipaddress
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator
from pydantic_settings import SettingsConfigDict

from callback.targets import is_local, target_problem
from callback_process.addresses import IPNetwork, parse_bind, parse_network
from callback_process.effective import mask_url
from callback_process.settings import Bind, LogLevel, ProcessSettings, StopSeconds, TlsSettings


def _grpc_target(text: str) -> str:
    """Return a target as gRPC writes it: `A:1,B:2` is `ipv4:A:1,B:2` there. A list of names it does not have."""
    parts = text.removeprefix("ipv4:").removeprefix("ipv6:").split(",")
    if len(parts) == 1:
        if problem := target_problem(text):
            raise ValueError(problem)
        return text
    try:
        addresses = [parse_bind(part.strip()) for part in parts]
        (version,) = {ipaddress.ip_address(address.host).version for address in addresses}
    except ValueError:
        raise ValueError(
            "must have the IP addresses of several servers, all of one kind, as in 10.0.0.1:50051,10.0.0.2:50051,"
            " or one name that stands for all of them"
        ) from None
    return f"ipv{version}:{','.join(str(address) for address in addresses)}"


Folder = Annotated[Path, WithJsonSchema({"type": "string", "format": "directory-path"})]
"""A setting that is the path of a folder."""


_Network = Annotated[
    IPNetwork,
    BeforeValidator(lambda value: parse_network(str(value))),
    WithJsonSchema({"type": "string", "format": "ADDRESS/BITS"}),
]


class EdgeSettings(ProcessSettings):
    """What one edge process needs to know: table `[edge]` of the file, `CALLBACK_EDGE_…` in the environment."""

    table: ClassVar[str] = "edge"
    model_config = SettingsConfigDict(env_prefix="CALLBACK_EDGE_")

    bind: Bind = "127.0.0.1:8080"
    """Where callers reach the edge, in HTTP/1.1. Port 0 picks one. Not used if systemd passes a socket."""
    admin_bind: Bind = "127.0.0.1:8081"
    """Where `/healthz`, `/readyz` and `/metrics` answer. Keep it away from callers. Port 0 picks one."""
    server_target: Annotated[str, Field(min_length=1), AfterValidator(_grpc_target)] = "127.0.0.1:50051"
    """The servers: `HOST:PORT`, where a host may stand for several addresses, or `IP:PORT,IP:PORT`. Calls are spread
    over those that serve. A name is looked up again when a connection is lost."""
    server_token_file: Path | None = None
    """Holds the token of a principal with the role `edge`; read again when it changes. None: no token is sent."""
    server_tls: TlsSettings | None = None
    """TLS to the servers; `{}` trusts the system's authorities. Needs a `server_name` where `server_target` has several
    addresses. Its files are read again when they change: the new ones take over once a connection with them stands.
    None: plain text."""
    allow_plaintext: bool = False
    """Whether requests, and the token, may go to servers on other machines without TLS: where a mesh or a sidecar
    encrypts."""
    body_limit_bytes: Annotated[int, Field(ge=0, le=8 * 1024 * 1024)] = 1024 * 1024
    """The largest request body; beyond it a caller gets a 413. At most 8 MiB: it travels in one message."""
    body_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 10
    """How long a whole request body may take to arrive, in seconds; beyond it a caller gets a 408."""
    invoke_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 330
    """How long to wait for the server's answer, in seconds. No lease is longer than 310."""
    drain_s: StopSeconds = 2
    """How long, after a signal to stop, `/readyz` says 503 while everything is still accepted and served, in seconds:
    long enough for a proxy in front to notice."""
    grace_s: StopSeconds = 25
    """How long calls that are running may go on after that, in seconds."""
    trusted_proxies: list[_Network] | None = None
    """The proxies in front of the edge, as addresses or networks (`10.0.0.0/24`). Whom they name in `X-Forwarded-For`
    and `X-Forwarded-Proto` is the caller; from anyone else these headers count for nothing. `[]`: there are none, and
    callers connect themselves. None: not known. Then each peer counts as the caller, and as it may be a proxy with
    everyone behind it, the limits per address do not hold."""
    max_connections: Annotated[int, Field(ge=1)] = 4096
    """How many connections may be open at a time; beyond, a new one gets a 503 and is closed."""
    max_body_bytes_in_flight: Annotated[int, Field(ge=1)] = 256 * 1024 * 1024
    """How many bytes of request bodies may be held at a time, all callers' together; a body for which there is no room
    gets a 503 before more of it is read. At least `body_limit_bytes`."""
    max_connections_per_address: Annotated[int, Field(ge=0)] = 512
    """How many connections one address, or a /64 of IPv6, may have open at a time; beyond, a new one gets a 429 and is
    closed. Holds where `trusted_proxies` is set, and never for a proxy that it names. 0: any number."""
    max_requests_in_flight: Annotated[int, Field(ge=1)] = 2000
    """How many requests may be with the servers at a time, those of callers who have hung up included; beyond, callers
    get a 503."""
    max_requests_in_flight_per_address: Annotated[int, Field(ge=0)] = 200
    """How many requests of one caller may be handled at a time, each from its head to the end of its answer; beyond, it
    gets a 429. A caller is an IPv4 address or a /64 of IPv6. Holds where `trusted_proxies` is set. 0: any number."""
    unknown_states_per_minute_per_address: Annotated[int, Field(ge=0, le=1_000_000)] = 600
    """How many URLs that lead to no callback one caller may try in a minute, and all callers of a /48 of IPv6 together
    16 times as many; beyond, it gets a 429 for whatever it asks, until a moment has passed. An `OPTIONS` that asks for
    leave to call counts as one, whatever it leads to. Nobody can guess a state; this spares the store. Holds where
    `trusted_proxies` is set. 0: any number."""
    access_log_sample: Annotated[float, Field(ge=0, le=1)] = 0
    """Which part of all requests to log, from 0 to 1; unless it is 0, all that failed with a 5xx as well. Paths and
    queries are never logged; the client's address is."""
    templates_dir: Folder | None = None
    """A folder with pages of your own: `page.html`, `style.css` and `texts.LANGUAGE.toml` take the place of ours. Read
    at the start. None: ours."""
    log_level: LogLevel = "INFO"
    """The least level to log."""

    @model_validator(mode="after")
    def _two_ports(self) -> Self:
        if self.bind == self.admin_bind and parse_bind(self.bind).port != 0:
            raise ValueError(f"bind and admin_bind are the same address, {self.bind}")
        return self

    @model_validator(mode="after")
    def _has_room_for_a_body(self) -> Self:
        if self.max_body_bytes_in_flight < self.body_limit_bytes:
            raise ValueError(
                f"max_body_bytes_in_flight is {self.max_body_bytes_in_flight}, and a body may have"
                f" {self.body_limit_bytes} bytes (body_limit_bytes)"
            )
        return self

    @model_validator(mode="after")
    def _names_whom_to_trust(self) -> Self:
        if self.server_tls and self.server_tls.server_name is None and "," in self.server_target:
            raise ValueError("server_tls needs a server_name where server_target has several addresses")
        return self

    @model_validator(mode="after")
    def _guards_what_it_sends(self) -> Self:
        if self.server_tls is None and not self.allow_plaintext and not is_local(self.server_target):
            raise ValueError(
                f"server_target {mask_url(self.server_target)} is not on this machine, and states and the token would"
                " travel readable; set server_tls, or allow_plaintext where a mesh encrypts"
            )
        return self
