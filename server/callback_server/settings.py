"""Settings of the control plane. Units are in the names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_settings import SettingsConfigDict

from callback.v1 import callback_pb2
from callback_process.addresses import parse_bind
from callback_process.settings import (
    Bind,
    IssuerUrl,
    LogLevel,
    Network,
    ProcessSettings,
    StopSeconds,
    TlsSettings,
    parsed_by,
)
from callback_server.contract.converters import content_attributes
from callback_server.contract.validation import violations
from callback_server.domain.activity import Activity
from callback_server.domain.case import FORM, RECORD
from callback_server.domain.cookies import CookieDomains
from callback_server.domain.endpoint import ENDPOINT_NAME, Endpoint, parse_location
from callback_server.domain.http_target import is_url, parse_http_target
from callback_server.domain.retries import Retries
from callback_server.domain.url import host_of, normalize_origin
from callback_server.limits.quotas import Quota
from callback_server.store.connection.store_url import (
    Topology,
    check_url,
    parse_store_url,
    with_password,
    with_sentinel_password,
)
from callback_server.store.recording import Recording
from callback_server.store.safety import Durability
from callback_server.verification.settings.profiles import NAME, ProfileSettings, declared_settings
from callback_server.verification.settings.values import PublicKeyAlgorithm
from callback_server.verification.signed_parts import is_proven
from callback_shared.targets import has_several, target_problem

_BOX_URL: Final = re.compile(r"https?://[^/?#@\s]+", re.IGNORECASE)
_ALTERNATIVE_DOMAIN: Final = re.compile(r"https://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", re.IGNORECASE)
_PLATFORM_URL: Final = re.compile(r"https?://[^/?#@\s]+(/[^?#\s]*[^/?#\s])?", re.IGNORECASE)
_HOST_IN_A_URL: Final = re.compile(r"(?:[a-z]+://)?([^/?#@\s:]+(?::[0-9]+)?)(?:[/?#][^@\s]*)?", re.IGNORECASE)


def _url(pattern: re.Pattern[str], rule: str) -> AfterValidator:
    """Return the check of a URL. Its error says what to write, and repeats only a host: a URL can have a password."""

    def check(text: str) -> str:
        if pattern.fullmatch(text):
            return text
        found = _HOST_IN_A_URL.fullmatch(text)
        raise ValueError(f"must be {rule}" + (f", as in https://{found[1].lower()}" if found else ""))

    return AfterValidator(check)


_NORMALIZED: Final = AfterValidator(normalize_origin)
_AS_URL: Final = Field(json_schema_extra={"format": "URL"})
BoxUrl = Annotated[
    str,
    _url(_BOX_URL, "http(s)://host or http(s)://host:port, without a path, because the edge serves /cb/ at the root"),
    _NORMALIZED,
    _AS_URL,
]
AlternativeDomain = Annotated[
    str, _url(_ALTERNATIVE_DOMAIN, "https://host or https://host:port, without a path"), _NORMALIZED, _AS_URL
]
_BROWSER_SCHEMES: Final = frozenset(
    ("http", "https", "javascript", "data", "file", "blob", "vbscript", "about", "filesystem", "view-source")
)
"""The schemes that the contract refuses for targets, or that are always allowed."""


def _redirect_scheme(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9+.-]{0,62}", text):
        raise ValueError("must be the scheme of a URL in lower case, without a colon, as in shopapp")
    if text in _BROWSER_SCHEMES:
        raise ValueError("is always allowed" if text.startswith("http") else "is never allowed")
    return text


RedirectScheme = Annotated[str, AfterValidator(_redirect_scheme)]
PlatformUrl = Annotated[
    str, _url(_PLATFORM_URL, "an http(s) URL without user, query, fragment, or a slash at its end"), _AS_URL
]


def _handler_target(text: str) -> str:
    if is_url(text):
        parse_http_target(text)
    elif problem := target_problem(text):
        raise ValueError(problem)
    return text


_OURS: Final = re.compile(r"callback-.*|webhook-.*|traceparent")
"""Headers of a request to an HTTP handler that only the server sets."""
_OF_THE_EXCHANGE: Final = frozenset((
    *("host", "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te"),
    *("trailer", "transfer-encoding", "upgrade", "content-length", "content-type", "expect", "accept-encoding"),
    "user-agent",
))  # fmt: skip
"""Headers that each request to an HTTP handler has, or that belong to a connection."""


def _request_header(text: str) -> str:
    name = _header_name(text)
    if name in _OF_THE_EXCHANGE or _OURS.fullmatch(name):
        raise ValueError("is a header that the server sets itself, or that belongs to a connection")
    return name


def _response_header(text: str) -> str:
    name = _header_name(text)
    if name.startswith("callback-"):
        raise ValueError("is a header for the server, which no caller gets")
    if broken := violations(callback_pb2.ResponseHeader(name=name)):
        raise ValueError(broken[0].message)
    return name


def _header_name(text: str) -> str:
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}", text):
        raise ValueError("must be the name of a header, as in x-request-id")
    return text.lower()


RequestHeader = Annotated[str, AfterValidator(_request_header)]
ResponseHeader = Annotated[str, AfterValidator(_response_header)]


_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class RetrySettings(BaseModel):
    """Retries of a failed delivery: a call of an ACK case, a call after a fallback, or a replayed call."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    initial_s: float = Field(default=1, gt=0, le=86_400)
    """The longest wait after the first attempt, in seconds. It doubles with each attempt. Each wait is a random part of
    it, so that retries spread over time."""
    max_s: float = Field(default=3600, gt=0, le=86_400)
    """The longest wait after any attempt, in seconds."""
    max_attempts: int | None = Field(default=None, ge=1)
    """The number of attempts after which a delivery is dead. Only attempts in which a handler was asked count. None: no
    limit."""
    max_age_s: float = Field(default=3 * 24 * 3600, gt=0, le=31_536_000)
    """The time after its call, or its replay, after which a delivery is dead, in seconds."""

    def retries(self) -> Retries:
        """Return the same in milliseconds."""
        return Retries(
            initial_ms=round(self.initial_s * 1000),
            max_ms=round(self.max_s * 1000),
            max_attempts=self.max_attempts,
            max_age_ms=round(self.max_age_s * 1000),
        )


class HttpSettings(BaseModel):
    """An [HTTP handler](http-handlers.md): the server sends each call to the URL that is the `target`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    secret_files: list[Path] = Field(min_length=1, max_length=2)
    """Files with the secrets that sign each request (`whsec_…`, Standard Webhooks); read again when they change. Two
    while the secret is changed: the handler accepts a request if it knows one of them."""
    request_headers: list[RequestHeader] = []
    """Headers of the caller that the handler gets, besides `content-type`."""
    response_headers: list[ResponseHeader] = []
    """Headers of the handler's answer that the caller gets, besides `content-type`."""
    notifications: bool = False
    """Whether the handler takes reminders and expiries. Otherwise they wait, with the failure `NO_HANDLER`."""
    max_in_flight: int = Field(default=100, ge=1, le=10_000)
    """Maximum number of requests of this process to the handler at a time. Further ones wait, for at most
    `connect_timeout_s`."""
    private_networks: list[Network] = []
    """Networks that are not public and in which the host of the target may be, as in `10.20.0.0/16`. Empty: only public
    addresses are reached."""


class ActivitySettings(BaseModel):
    """An activity, with its push handler if it has one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: Annotated[str, AfterValidator(_handler_target)] | None = None
    """The address of the handler: `host:port`, several as `host:port,host:port`, or a gRPC target
    (`dns:///orders:50051`). The server spreads calls over all addresses that can be reached, and looks the names up
    every 5 seconds. Or the URL of an [HTTP handler](http-handlers.md), `https://orders.example/callback`; `http://` is
    only for a handler on this machine. None: workers serve it."""
    deadline_s: float | None = Field(default=None, gt=0, le=300)
    """The deadline of the handler, in seconds. None: 8."""
    connect_timeout_s: float = Field(default=2, gt=0, le=60)
    """The longest wait for a connection, in seconds; after it the handler counts as not started."""
    tls: TlsSettings | None = None
    """TLS to the handler; `{}` trusts the system's authorities. When its files change, a new connection is made with
    them, which takes over once it is ready. None: plain text, or for an `https` URL as `{}`."""
    http: HttpSettings | None = None
    """Settings of an HTTP handler: required for a `target` that is a URL, and refused for any other."""
    retry: RetrySettings = RetrySettings()
    """The retries of a failed delivery."""

    @property
    def deadline_ms(self) -> int | None:
        """The deadline in milliseconds."""
        return None if self.deadline_s is None else round(self.deadline_s * 1000)

    @model_validator(mode="after")
    def _tls_of_target(self) -> ActivitySettings:
        if self.tls is not None and self.target is None:
            raise ValueError("tls needs target: it is for the connection to the handler; workers connect to the server")
        target = self.target or ""
        has_one = is_url(target) or not has_several(target)
        if self.tls is not None and self.tls.server_name is None and not has_one:
            raise ValueError("tls needs a server_name, because target has several addresses")
        return self

    @model_validator(mode="after")
    def _http_of_target(self) -> ActivitySettings:
        target = self.target or ""
        if is_url(target) and self.http is None:
            raise ValueError("a target that is a URL needs http.secret_files, with the secret that signs each request")
        if self.http is not None and not is_url(target):
            raise ValueError("http needs a target that is a URL, as in https://orders.example/callback")
        if self.tls is not None and target.lower().startswith("http:"):
            raise ValueError("tls needs an https target")
        return self


def _as_list(given: object) -> object:
    return [given] if isinstance(given, str) else given


class EndpointSettings(BaseModel):
    """An endpoint: one URL, `{box_url}/in/NAME`, for the events of many callbacks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    owner: str = Field(min_length=1, max_length=200)
    """The owner of the callbacks that its events reach: the name of a principal. Without principals, `local`."""
    profile: str
    """The verification profile, of `[profiles.NAME]`, that each event must pass. It must not only report."""
    correlation_key: Annotated[
        list[Annotated[str, parsed_by(parse_location)]], BeforeValidator(_as_list), Field(min_length=1, max_length=10)
    ]
    """Place of the correlation key, or a list of places of which the first that has one counts: `json:POINTER` (RFC
    6901, as in `json:/data/id`), `header:NAME`, `query:NAME`, `form:NAME`, `form-json:NAME/POINTER` (in the JSON in a
    field of a form), or `segment:1` (the first path segment behind NAME). It must be in a part of the request that the
    profile proves."""
    unmatched_code: int = Field(default=202, ge=200, le=599)
    """The code of the answer to an event that no callback waits for: 200 to 299, or 400 to 599 if the sender shall send
    it again."""

    @field_validator("unmatched_code")
    @classmethod
    def _is_no_redirect(cls, code: int) -> int:
        if 300 <= code < 400:
            raise ValueError("must be 200 to 299, or 400 to 599")
        return code


class IssuerSettings(BaseModel):
    """OpenID provider whose ID tokens are tokens of the server. NAME is its URL, as its tokens have it in `iss`.

    The principals file says who gets in, by the subjects of its entries.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    audiences: list[Annotated[str, Field(min_length=1, max_length=500)]] = Field(min_length=1)
    """The accepted audiences: a token must have one of them as `aud`, and no other as `azp`. For the people who sign in
    to the console, its `client_id`; for services, the audience for which they get their tokens."""
    algorithms: list[PublicKeyAlgorithm] = Field(default=["RS256"], min_length=1)
    """The allowed algorithms of the signature."""
    ca_file: Path | None = None
    """Certificate authorities that must have issued its certificate, PEM, read at the start. None: those of the
    system."""
    private_networks: list[Network] = []
    """Networks that are not public and in which its hosts may be, as in `10.20.0.0/16`. With these, the server connects
    to it without `key_proxy`. Empty: only public addresses are reached."""


class ServerSettings(ProcessSettings):
    """Settings of `callback server`."""

    table: ClassVar[str] = "server"
    shared_tables: ClassVar[frozenset[str]] = frozenset({"activities", "profiles", "endpoints"})
    model_config = SettingsConfigDict(env_prefix="CALLBACK_")

    grpc_bind: Bind = "127.0.0.1:50051"
    """Address of the gRPC services. Port 0 picks a free port."""
    principals_file: Path | None = None
    """A TOML file with the principals, their roles, tokens, certificates and subjects; read again when it changes.
    None: every client may do everything, so the port must be on loopback."""
    issuers: dict[IssuerUrl, IssuerSettings] = Field(default_factory=dict)
    """OpenID providers whose ID tokens are tokens of the server, by their URL. They need a `principals_file`."""
    tls_cert_file: Path | None = None
    """The certificate of the gRPC port with its intermediate certificates, PEM; read again when it changes. None: plain
    text."""
    tls_key_file: Path | None = None
    """The key of that certificate, PEM."""
    tls_client_ca_file: Path | None = None
    """Authorities of client certificates, PEM; every client must then have one. None: clients need no certificate."""
    allow_plaintext: bool = False
    """Whether requests and tokens may come from other machines without TLS. Set it only if a mesh or a sidecar
    encrypts."""
    admin_bind: Bind = "127.0.0.1:8082"
    """Address of `/healthz`, `/readyz` and `/metrics`. Callers must not reach it. Port 0 picks a free port."""
    box_url: BoxUrl = "http://127.0.0.1:8080"
    """The base of the generated URLs: the public address of the edge."""
    platform_url: PlatformUrl | None = None
    """The base of redirects to `/path`. None: such redirects are refused."""
    redirect_schemes: list[RedirectScheme] = Field(default_factory=list)
    """The schemes besides `http` and `https` that redirects and links may have, such as `shopapp` for an app that opens
    `shopapp://paid`. Any owner may use them, and any app on a device can claim one. Never `javascript`, `data`, `file`,
    `blob` and others that a browser acts on itself."""
    alternative_domains: list[AlternativeDomain] | None = None
    """The allowed alternative domains, as in `https://pay.example`. None: any."""
    cookie_domains: dict[AlternativeDomain, Annotated[str, Field(min_length=1)]] = Field(default_factory=dict)
    """Alternative domains that are reserved for one owner each, by its name. Only there may responses set cookies. The
    callbacks of all owners can be called there, and their handlers get the cookies that a browser sends: reserve a
    host only among owners that trust each other."""
    state_key: SecretStr | None = None
    """The key that the URL of a `request_id` is derived from, at least 32 characters. None: `request_id` is refused."""
    state_key_file: Path | None = None
    """A file with the bytes of `state_key`, at least 32."""
    other_state_key_file: Path | None = None
    """A file with a second `state_key`, during [a change of it](operations.md#change-the-state_key): the audit is
    verified with both."""
    keyring_file: Path | None = None
    """A file with the keys that [seal](operations.md#keyring) what owners give to the server in secret. It is the same
    on all servers, and is reloaded when it changes."""
    store_url: Annotated[str, parsed_by(check_url)] = "redis://127.0.0.1:6379/0"
    """The store: `redis://`, `unix:///path`, `redis+sentinel://h1,h2,h3/NAME` or `redis+cluster://h1,h2,h3`; with
    `rediss` over TLS. [Failover](operations.md#failover) explains them."""
    store_password_file: Path | None = None
    """A file with the store's password, if `store_url` has none. A newline at its end is ignored."""
    store_sentinel_password_file: Path | None = None
    """A file with the password of the Sentinels, if they have one. A newline at its end is ignored."""
    store_durability: Annotated[
        str,
        parsed_by(Durability.parse),
        Field(json_schema_extra={"format": "always, everysec, unchecked or replicated:N"}),
    ] = "always"
    """The required durability of the store: `always`, `everysec`, or `unchecked` if it hides its settings. With
    `replicated:N`, the N replicas of each primary have every acknowledged step on disk too
    ([Replicas](operations.md#replicas))."""
    store_epochs_file: Path | None = None
    """A file in which this server remembers what primaries the store has had, so that after a restart it recognizes an
    old one ([An old primary](operations.md#an-old-primary-that-comes-back)). The server writes it. Each server has its
    own. None: it remembers while it runs."""
    default_time_to_live_s: int | None = Field(default=None, ge=1)
    """Time to live of a callback that is generated without one, in seconds. None: it does not expire."""
    max_time_to_live_s: int | None = Field(default=None, ge=1)
    """Longest time to live of a callback, in seconds; also for a callback that is generated without one. None: no
    limit."""
    max_hold_time_s: int = Field(default=30 * 24 * 3600, ge=1, le=365 * 24 * 3600)
    """Longest time that a held call may wait for its answer, in seconds: the maximum of the `hold_time` of a callback,
    whose default is 300 seconds or this time if that is shorter."""
    max_open_cases_per_owner: int | None = Field(default=None, ge=1)
    """Maximum number of callbacks of an owner that are open or in progress. Further ones are not generated. Several
    servers together can exceed it by the number of callbacks that they generate within 10 seconds. None: no limit."""
    max_profiles_per_owner: int = Field(default=1000, ge=0)
    """Maximum number of [verification profiles](verification.md#profiles-that-owners-make) that an owner can make. They
    need a `keyring_file`."""
    max_calls_per_minute_per_case: int | None = Field(default=None, ge=1)
    """Maximum calls per minute of one callback. A burst may use the whole limit. Further callers get a 429. None: no
    limit."""
    max_calls_per_minute_per_owner: int | None = Field(default=None, ge=1)
    """Maximum calls per minute of all callbacks of an owner together, if its
    [quota](operations.md#quotas-of-owners) does not say it. Each server counts for itself, and calls that arrive at the
    same moment can exceed it. None: no limit."""
    retention_s: int = Field(default=7 * 24 * 3600, ge=0)
    """Time for which closed callbacks and ended calls are kept, in seconds."""
    audit_retention_s: int = Field(default=400 * 24 * 3600, ge=0)
    """Time for which entries of the [audit](operations.md#audit) are kept, in seconds."""
    recorded_calls_per_case: int = Field(default=100, ge=1)
    """Maximum number of ended calls of a callback that are kept."""
    recorded_bytes_per_case: int = Field(default=16 * 1024 * 1024, ge=0)
    """Maximum number of bytes of ended calls of a callback that are kept."""
    max_recorded_bytes: int | None = Field(default=None, ge=1)
    """Maximum number of bytes of the calls of all callbacks that are kept, unfinished ones included, on all servers.
    Above it the [oldest bodies are dropped](operations.md#recorded-bytes). None: no limit."""
    max_recorded_bytes_per_owner: int | None = Field(default=None, ge=1)
    """The same of one owner, if its quota does not say it. None: no limit."""
    repeat_bytes_per_case: int = Field(default=16 * 1024 * 1024, ge=0)
    """Maximum number of bytes of the answers that a callback keeps for repeats: the same request, or a message with the
    same id. Answers are kept whole, whatever `record_bodies` and `record_headers` say, and only for the window of
    their call. Those whose windows end first are dropped first: a repeat then gets the code without a body."""
    record_bodies: bool = True
    """Whether the bodies of requests and of handlers' decisions are recorded. Handlers and callers still receive them.
    The complete request of a held call is kept until the call ends, so that it can be read and answered. That of a
    delivery is kept until the delivery succeeds; if the delivery is dead, until retention ends, so that it can be
    replayed."""
    record_headers: bool = True
    """Whether the headers of requests and of handlers' decisions are recorded, in the same way. Query strings are
    always recorded."""
    record_handler_errors: bool = False
    """Whether the class and the message of the error with which a handler fails are recorded in the `failure_detail` of
    the call, for its owner, and in the log of the server. A message can contain data of a request, or a secret of the
    handler, so the default leaves both in the log of the handler."""
    max_in_flight_calls: int = Field(default=1000, ge=1)
    """Maximum number of calls that this process runs at a time, without held calls. Further callers get a 503. Its last
    slots are kept for [other owners](operations.md#quotas-of-owners), and so are those of the next two."""
    max_in_flight_calls_per_owner: int | None = Field(default=None, ge=1)
    """The same of one owner, if its quota does not say it. Further callers get a 429. None: no limit."""
    max_in_flight_held_calls: int = Field(default=5000, ge=1)
    """Maximum number of held calls whose callers wait in this process. Further callers get a 503. A held call counts no
    more once its caller is gone, or waits at the address of the call."""
    max_in_flight_held_calls_per_owner: int | None = Field(default=None, ge=1)
    """The same of one owner, if its quota does not say it. Further callers get a 429. None: no limit."""
    max_in_flight_waits: int = Field(default=1000, ge=1)
    """Maximum number of requests that wait in this process for the answer of a call: at its address, or as its repeats.
    A further one gets a 503; the page of a browser asks again. Each asks the store once a second."""
    max_in_flight_waits_per_owner: int | None = Field(default=None, ge=1)
    """The same of one owner, if its quota does not say it. A further one gets a 429. None: no limit."""
    max_worker_slots_per_owner: int | None = Field(default=None, ge=1)
    """Maximum number of slots of workers that the calls of one owner use at a time, for each activity, if its quota
    does not say it. Further calls wait. None: no limit."""
    max_body_bytes_in_flight: int = Field(default=256 * 1024 * 1024, ge=1)
    """Maximum bytes of request bodies of the calls that this process runs at a time. Further callers get a 503. At
    least the `body_limit_bytes` of the edges. A held call does not count once it is stored."""
    max_body_bytes_in_flight_per_owner: int = Field(default=128 * 1024 * 1024, ge=0)
    """Maximum bytes of request bodies of the calls of one owner that this process runs at a time. Further requests with
    a body get a 429. Calls that arrive at the same moment can exceed it. Without principals there is one owner, and
    this is its limit. 0: no limit."""
    max_in_flight_deliveries: int = Field(default=100, ge=1)
    """Maximum number of deliveries of calls that this process runs at a time, and the same of notifications (reminders,
    expiries). Further ones wait."""
    max_deliveries_per_second: int = Field(default=300, ge=1)
    """Maximum number of deliveries of calls that this process takes from the store in a second: those that have waited,
    retries, and those of ordered callbacks. Further ones wait. Each takes about a millisecond of the processor from the
    calls, of this process and of the store."""
    max_notifications_per_second: int = Field(default=300, ge=1)
    """Maximum number of notifications that this process starts in a second. Further ones wait. Each takes about a
    millisecond of the processor from the calls, of this process and of the store."""
    drain_s: StopSeconds = 2
    """Time after a stop signal in which the server still accepts calls, while edges move to other servers, in
    seconds."""
    grace_s: StopSeconds = 25
    """Time for running calls to finish after `drain_s`, in seconds. Less than 0.6 counts as 0.6: calls that no handler
    has are recorded and answered."""
    reflection: bool = False
    """Whether gRPC reflection is served, for development."""
    check_workers: bool = False
    """Whether the server confirms the first call of each worker only after 0.2 seconds, for development. If the worker
    does not wait for that, the call fails, and `worker_did_not_wait` in the log names the worker. With several servers
    such a worker would run calls that another one has."""
    tracing: bool = False
    """Whether to send traces by OpenTelemetry (OTLP over gRPC), to where the variables `OTEL_…` of the environment say.
    It needs the extra `otel`."""
    log_level: LogLevel = "INFO"
    """The lowest level of log events that are written."""
    activities: dict[str, ActivitySettings] = Field(default_factory=dict)
    """Activities by name: those with a push handler, and those with other deadlines or retries than the defaults."""
    profiles: dict[str, ProfileSettings] = Field(default_factory=dict)
    """Verification profiles by name: how senders authenticate their requests. A callback names one of them."""
    endpoints: dict[str, EndpointSettings] = Field(default_factory=dict)
    """Endpoints by name: URLs that many callbacks share."""
    key_proxy: Annotated[str, Field(pattern=r"^http://[A-Za-z0-9.-]+:[0-9]{1,5}$")] | None = None
    """The HTTP proxy through which the server fetches the keys of profiles and issuers, as in
    `http://proxy.example:3128`. The proxy resolves the names, so it must refuse private addresses. None: the server
    connects to public addresses itself."""

    @field_validator("cookie_domains", mode="before")
    @classmethod
    def _each_domain_once(cls, domains: object) -> object:
        """Refuse two spellings of a domain, which become one key."""
        if isinstance(domains, Mapping) and len({normalize_origin(str(domain)) for domain in domains}) < len(domains):
            raise ValueError("a domain is reserved twice, in different spellings (upper case, or the port 443)")
        return domains

    @field_validator("activities")
    @classmethod
    def _activities(cls, activities: dict[str, ActivitySettings]) -> dict[str, ActivitySettings]:
        for name in activities:
            if name in (RECORD, FORM):
                raise ValueError(f"{name} is built in and cannot be declared")
            if not 1 <= len(name) <= 200 or _CONTROL.search(name):
                raise ValueError("the name of an activity has 1 to 200 characters, and no control characters")
        return activities

    @field_validator("profiles")
    @classmethod
    def _profiles(cls, profiles: dict[str, ProfileSettings]) -> dict[str, ProfileSettings]:
        for name in profiles:
            if not NAME.fullmatch(name):
                raise ValueError(
                    f"the name of a profile is 1 to 63 of a-z, 0-9, '.', '_' and '-', a-z or 0-9 first, not {name!r}"
                )
        return profiles

    @field_validator("endpoints")
    @classmethod
    def _endpoints(cls, endpoints: dict[str, EndpointSettings]) -> dict[str, EndpointSettings]:
        for name in endpoints:
            if not ENDPOINT_NAME.fullmatch(name):
                raise ValueError(
                    f"the name of an endpoint is 1 to 63 of a-z, 0-9, '_' and '-', a-z or 0-9 first, not {name!r}"
                )
        return endpoints

    @field_validator("state_key")
    @classmethod
    def _state_key(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and len(key.get_secret_value()) < 32:
            raise ValueError("must have at least 32 characters")
        return key

    def conflicts(self) -> Iterator[str]:
        """Yield each problem between several settings."""
        owners = {host_of(self.box_url): "every owner (box_url)"}
        for domain, owner in self.cookie_domains.items():
            if owners.setdefault(host_of(domain), owner) != owner:
                yield (
                    f"cookie_domains: the host of {domain} is also that of {owners[host_of(domain)]}, and a cookie goes"
                    " to every port of its host; give each owner a host of its own"
                )
        yield from self._endpoint_conflicts()
        if self.state_key is not None and self.state_key_file is not None:
            yield "state_key and state_key_file exclude each other"
        if self.other_state_key_file is not None and self.state_key is None and self.state_key_file is None:
            yield "other_state_key_file needs a state_key_file"
        store = parse_store_url(self.store_url)
        if self.store_password_file is not None and "password" in store.options:
            yield "store_password_file and a password in store_url exclude each other"
        if self.store_sentinel_password_file is not None:
            if store.topology is not Topology.SENTINEL:
                yield "store_sentinel_password_file needs a store_url with Sentinels"
            if "password" in store.sentinel_options:
                yield "store_sentinel_password_file and sentinel_password in store_url exclude each other"
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            yield "tls_cert_file and tls_key_file belong together"
        if self.tls_client_ca_file is not None and self.tls_cert_file is None:
            yield "tls_client_ca_file needs tls_cert_file and tls_key_file"
        if self.issuers and self.principals_file is None:
            yield "issuers needs principals_file, whose entries say who gets in"
        if self.grpc_bind == self.admin_bind and parse_bind(self.grpc_bind).port != 0:
            yield f"grpc_bind and admin_bind are the same address, {self.grpc_bind}"
        if parse_bind(self.grpc_bind).is_loopback:
            return
        if self.principals_file is None:
            yield (
                f"grpc_bind {self.grpc_bind} can be reached from other machines, and every client could do everything;"
                " set principals_file, or bind to loopback, as in 127.0.0.1:50051"
            )
        if self.tls_cert_file is None and not self.allow_plaintext:
            yield (
                f"grpc_bind {self.grpc_bind} can be reached from other machines, and tokens would travel in plain text;"
                " set tls_cert_file and tls_key_file, or allow_plaintext where a mesh encrypts"
            )

    def _endpoint_conflicts(self) -> Iterator[str]:
        for name, endpoint in self.endpoints.items():
            profile = self.profiles.get(endpoint.profile)
            if profile is None:
                yield f"endpoints.{name}.profile is {endpoint.profile!r}, which is not one of [profiles.NAME]"
            elif not profile.enforce:
                yield f"endpoints.{name}.profile is {endpoint.profile!r}, which only reports; remove enforce = false"
            else:
                for each in endpoint.correlation_key:
                    if not is_proven(parse_location(each), declared_settings(profile)):
                        yield (
                            f"endpoints.{name}.correlation_key {each} is not signed by messages of the profile"
                            f" {endpoint.profile!r}, so a captured message could be sent again with another key"
                        )

    def to_endpoints(self) -> dict[str, Endpoint]:
        """Return the declared endpoints by name."""
        return {
            name: Endpoint(
                name,
                each.owner,
                each.profile,
                tuple(map(parse_location, each.correlation_key)),
                each.unmatched_code,
            )
            for name, each in self.endpoints.items()
        }

    def to_activities(self) -> dict[str, Activity]:
        """Return the declared activities by name."""
        return {
            name: Activity(name, deadline_ms=activity.deadline_ms, retries=activity.retry.retries())
            for name, activity in self.activities.items()
        }

    def to_quota(self) -> Quota:
        """Return the quota of an owner that has none."""
        return Quota(
            max_in_flight_calls=self.max_in_flight_calls_per_owner,
            max_in_flight_held_calls=self.max_in_flight_held_calls_per_owner,
            max_in_flight_waits=self.max_in_flight_waits_per_owner,
            max_calls_per_minute=self.max_calls_per_minute_per_owner,
            max_worker_slots=self.max_worker_slots_per_owner,
            max_recorded_bytes=self.max_recorded_bytes_per_owner,
        )

    def to_durability(self) -> Durability:
        """Return the required durability of the store."""
        return Durability.parse(self.store_durability)

    def to_recording(self) -> Recording:
        """Return what is recorded of calls."""
        return Recording(
            calls_per_case=self.recorded_calls_per_case,
            bytes_per_case=self.recorded_bytes_per_case,
            repeat_bytes_per_case=self.repeat_bytes_per_case,
            unrecorded=content_attributes(bodies=not self.record_bodies, headers=not self.record_headers),
        )

    def to_cookie_domains(self) -> CookieDomains:
        """Return the domains that are reserved for one owner each."""
        return CookieDomains(self.cookie_domains)

    def read_store_url(self) -> str:
        """Return `store_url`, with the passwords of `store_password_file` and `store_sentinel_password_file`, if any.

        Raises:
            ValueError: A file cannot be read, or is empty.
        """
        url = self.store_url
        if self.store_password_file is not None:
            url = with_password(url, _password("store_password_file", self.store_password_file))
        if self.store_sentinel_password_file is not None:
            password = _password("store_sentinel_password_file", self.store_sentinel_password_file)
            url = with_sentinel_password(url, password)
        return url

    def read_state_key(self) -> bytes | None:
        """Return the key for `request_id`, or None if none is configured.

        Raises:
            ValueError: The file cannot be read, or is too short.
        """
        if self.state_key is not None:
            return self.state_key.get_secret_value().encode()
        return _state_key("state_key_file", self.state_key_file)

    def read_other_state_key(self) -> bytes | None:
        """Return the second key during a change, or None if none is configured.

        Raises:
            ValueError: The file cannot be read, or is too short.
        """
        return _state_key("other_state_key_file", self.other_state_key_file)


def _state_key(setting: str, path: Path | None) -> bytes | None:
    """Return the key in a file, if there is one. Raises ValueError."""
    if path is None:
        return None
    try:
        key = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{setting} {path}: {error.strerror}") from error
    if len(key) < 32:
        raise ValueError(f"{setting} {path}: has {len(key)} bytes, needs at least 32")
    return key


def _password(setting: str, path: Path) -> str:
    """Return the password in a file. Raises ValueError."""
    try:
        password = path.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise ValueError(f"{setting} {path}: {error.strerror}") from error
    except ValueError:
        raise ValueError(f"{setting} {path}: is not UTF-8") from None
    if not password:
        raise ValueError(f"{setting} {path}: is empty")
    return password
