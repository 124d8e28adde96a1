"""Settings of the edge."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, WithJsonSchema
from pydantic_settings import SettingsConfigDict

from callback_edge import brand
from callback_process.addresses import parse_bind
from callback_process.effective import mask_url
from callback_process.settings import Bind, LogLevel, Network, ProcessSettings, StopSeconds, TlsSettings
from callback_shared.targets import has_several, is_local, target_problem


def _grpc_target(text: str) -> str:
    target = ",".join(part.strip() for part in text.split(","))
    if problem := target_problem(target):
        raise ValueError(problem)
    return target


Folder = Annotated[Path, WithJsonSchema({"type": "string", "format": "directory-path"})]
"""Path of a folder."""


class EdgeSettings(ProcessSettings):
    """Settings of one edge process: table `[edge]` of the file, `CALLBACK_EDGE_…` in the environment."""

    table: ClassVar[str] = "edge"
    model_config = SettingsConfigDict(env_prefix="CALLBACK_EDGE_")

    bind: Bind = "127.0.0.1:8080"
    """Address for callers (HTTP/1.1). Port 0 picks a free port. Not used if systemd passes a socket."""
    admin_bind: Bind = "127.0.0.1:8081"
    """Address of `/healthz`, `/readyz` and `/metrics`. Callers must not reach it. Port 0 picks a free port."""
    server_target: Annotated[str, Field(min_length=1), AfterValidator(_grpc_target)] = "127.0.0.1:50051"
    """Servers: `HOST:PORT`, where a host may resolve to several addresses, or several as `HOST:PORT,HOST:PORT`. The
    edge spreads calls over those that are serving. It looks the names up every 5 seconds, and after a failure."""
    server_token_file: Path | None = None
    """File with the token of a principal that has the role `edge`. The edge reads it again when it changes. None: the
    edge sends no token."""
    server_tls: TlsSettings | None = None
    """TLS to the servers. `{}` trusts the system's certificate authorities. A `server_target` with several addresses
    needs a `server_name`. The edge reads the files again when they change, and uses the new ones once a connection with
    them is ready. None: plain text."""
    allow_plaintext: bool = False
    """Whether requests and the token may go to servers on other machines without TLS. Set it only if a mesh or a
    sidecar encrypts."""
    keep_alive_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 75
    """Time for which a connection may be idle, before its first request or after a response, in seconds. Then the edge
    closes it. Longer than the idle time of a proxy or load balancer in front (60 seconds for most), so that it is the
    proxy that closes, and no request meets a closing connection. If all connections are in use, the edge closes those
    that have been idle for 5 seconds, except the proxies'."""
    head_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 10
    """Time for a complete head (request line and headers) to arrive after its first byte, in seconds. After that the
    caller gets a 408."""
    body_limit_bytes: Annotated[int, Field(ge=0, le=8 * 1024 * 1024)] = 1024 * 1024
    """Largest request body, in bytes, with its chunk extensions and trailers. A caller gets a 413 for a larger one. At
    most 8 MiB, because a body travels in one message."""
    body_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 10
    """Time for a complete request body to arrive, in seconds. After that the caller gets a 408."""
    invoke_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 330
    """Time for which the edge waits for the server's response, in seconds. The longest lease (deadline plus 10 s) is
    310 seconds."""
    drain_s: StopSeconds = 2
    """Time after a stop signal in which `/readyz` returns 503 while the edge still accepts and serves requests, in
    seconds. It must be long enough for a proxy in front to notice."""
    grace_s: StopSeconds = 25
    """Time for running calls to finish after `drain_s`, in seconds."""
    trusted_proxies: list[Network] | None = None
    """Proxies in front of the edge, as addresses or networks (`10.0.0.0/24`). The edge trusts `X-Forwarded-For` and
    `X-Forwarded-Proto` only from these. `[]`: there is no proxy, and callers connect directly. None: unknown. Then each
    peer counts as the caller, and the limits per address do not apply, because a peer may be a proxy for all
    callers."""
    nginx_location: Annotated[str, Field(pattern=r"^@[A-Za-z0-9_]+$")] | None = None
    """Named location of the nginx in front, such as `@next_edge`, that takes over a request while this edge has no
    server: its 503 then has an `X-Accel-Redirect` to it. No server has received such a request. None: the caller gets
    the 503. Other proxies follow `/readyz`, or pass the header on."""
    max_connections: Annotated[int, Field(ge=1)] = 4096
    """Maximum number of open connections. A further connection gets a 503 and is closed, unless another one has been
    idle for 5 seconds: then that one is closed."""
    max_body_bytes_in_flight: Annotated[int, Field(ge=1)] = 256 * 1024 * 1024
    """Maximum bytes of bodies in flight, of all callers: request bodies from their announcement until a server has
    them, and responses until they are sent. A request whose body does not fit gets a 503 before the edge reads it. At
    least `body_limit_bytes`."""
    max_body_bytes_in_flight_per_address: Annotated[int, Field(ge=0)] = 64 * 1024 * 1024
    """Maximum bytes of bodies in flight of one caller (an IPv4 address or a /64 of IPv6). A request whose body does not
    fit gets a 429 before the edge reads it. Applies only if `trusted_proxies` is set. At least `body_limit_bytes`. 0:
    no limit."""
    max_connections_per_address: Annotated[int, Field(ge=0)] = 512
    """Maximum number of open connections of one caller (an IPv4 address or a /64 of IPv6). A further connection gets a
    429 and is closed, unless another one of that caller has been idle for 5 seconds: then that one is closed. Applies
    only if `trusted_proxies` is set, and never to those proxies. 0: no limit."""
    max_requests_in_flight: Annotated[int, Field(ge=1)] = 2000
    """Maximum number of requests that wait for the servers, including those of callers that disconnected, without held
    calls. A further request gets a 503."""
    max_waits_in_flight: Annotated[int, Field(ge=1)] = 1000
    """Maximum number of requests that wait for the answer at the address of a call. `max_requests_in_flight` does not
    count them. A further one gets a 503; the page of a browser asks again."""
    max_requests_in_flight_per_address: Annotated[int, Field(ge=0)] = 200
    """Maximum requests in flight of one caller (an IPv4 address or a /64 of IPv6), each from its head to the end of its
    response. A further request gets a 429. Applies only if `trusted_proxies` is set. 0: no limit."""
    unknown_states_per_minute_per_address: Annotated[int, Field(ge=0, le=1_000_000)] = 600
    """Maximum unknown states per minute of one caller (an IPv4 address or a /64 of IPv6). The limit of a /48
    of IPv6 is 16 times as high. A caller beyond it gets a 429 for every call until some time has passed. A WebHook
    handshake (`OPTIONS` with `WebHook-Request-Origin`) counts too, for any state, and so does a preflight that is not
    permitted. A state cannot be guessed; this limit protects the store from load. Applies only if `trusted_proxies` is
    set. 0: no limit."""
    access_log_sample: Annotated[float, Field(ge=0, le=1)] = 0
    """Fraction of requests to log, from 0 to 1. Unless it is 0, the edge logs every 5xx too. The log has the client's
    address and the reference of an error, and never a path or a query."""
    templates_dir: Folder | None = None
    """Folder with your own templates: `page.html`, `confirmation.html`, `form.html`, `notice.html`, `error.html`,
    `again.html`, `answer.html`, `waiting.html`, `style.css` and `texts.LANGUAGE.toml` replace the built-in files. The
    edge reads it at the start. None: only the built-in files."""
    brand_name: Annotated[str, Field(max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    """Name of your organisation, on each page and in its title."""
    brand_url: Annotated[str, Field(max_length=2048, pattern=r"^(https?://[^\x00-\x20\x7f\"<>\\]+)?$")] = ""
    """Address of your website, to which the page of an error links. It needs a `brand_name`. Empty: no link."""
    brand_logo_file: Path | None = None
    """Logo on each page, in place of the name: an SVG, PNG or JPEG image of at most 32 KiB, shown 40 pixels high. The
    edge reads it at the start. `brand_name` is its alternative text. None: no logo."""
    brand_logo_dark_file: Path | None = None
    """Logo for the dark scheme of a browser. None: the same as `brand_logo_file`."""
    brand_color: Annotated[str, Field(pattern=r"^#[0-9A-Fa-f]{6}$")] | None = None
    """Colour of buttons and links that look like buttons, as `#rrggbb`. It needs a contrast of at least 3 to the page,
    which is white; the text on it becomes white or black. None: blue."""
    brand_color_dark: Annotated[str, Field(pattern=r"^#[0-9A-Fa-f]{6}$")] | None = None
    """The same colour for the dark scheme of a browser, where the page is `#1a2027`. None: `brand_color`, as light as
    it needs to be."""
    tracing: bool = False
    """Whether to send traces by OpenTelemetry (OTLP over gRPC), to where the variables `OTEL_…` of the environment say.
    It needs the extra `otel`."""
    log_level: LogLevel = "INFO"
    """Lowest level to log."""

    def conflicts(self) -> Iterator[str]:
        """Yield each problem between several settings."""
        if self.brand_url and not self.brand_name:
            yield "brand_url needs a brand_name"
        if self.brand_color_dark is not None and self.brand_color is None:
            yield "brand_color_dark needs a brand_color"
        if self.brand_logo_dark_file is not None and self.brand_logo_file is None:
            yield "brand_logo_dark_file needs a brand_logo_file"
        for name, color, ground in (
            ("brand_color", self.brand_color, brand.LIGHT_CARD),
            ("brand_color_dark", self.brand_color_dark, brand.DARK_CARD),
        ):
            if color is not None and (found := brand.contrast(color, ground)) < brand.MIN_CONTRAST:
                yield (
                    f"{name} {color} has a contrast of {found:.1f} to the page, which is {ground};"
                    f" at least {brand.MIN_CONTRAST:g} is needed"
                )
        if self.bind == self.admin_bind and parse_bind(self.bind).port != 0:
            yield f"bind and admin_bind are the same address, {self.bind}"
        for name, size in (
            ("max_body_bytes_in_flight", self.max_body_bytes_in_flight),
            ("max_body_bytes_in_flight_per_address", self.max_body_bytes_in_flight_per_address or math.inf),
        ):
            if size < self.body_limit_bytes:
                yield f"{name} is {size}, less than body_limit_bytes, {self.body_limit_bytes}"
        if self.server_tls and self.server_tls.server_name is None and has_several(self.server_target):
            yield "server_tls needs a server_name, because server_target has several addresses"
        if self.server_tls is None and not self.allow_plaintext and not is_local(self.server_target):
            yield (
                f"server_target {mask_url(self.server_target)} is on another machine, and states and the token would"
                " travel in plain text; set server_tls, or allow_plaintext if a mesh encrypts"
            )

    def load_brand(self) -> brand.Brand:
        """Return the brand of the pages, with the files that it names.

        Raises:
            BrandError: A file cannot be used.
        """
        return brand.load_brand(
            name=self.brand_name,
            url=self.brand_url,
            logo_file=self.brand_logo_file,
            logo_dark_file=self.brand_logo_dark_file,
            color=self.brand_color,
            color_dark=self.brand_color_dark,
        )
