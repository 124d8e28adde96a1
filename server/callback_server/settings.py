"""The settings of the control plane. Units are in the names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, ClassVar, Final
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    field_validator,
    model_validator,
)
from pydantic_settings import SettingsConfigDict

from callback.targets import target_problem
from callback_process.addresses import parse_bind
from callback_process.settings import Bind, LogLevel, ProcessSettings, StopSeconds, TlsSettings
from callback_server.domain.activity import Activity
from callback_server.domain.case import FORM, RECORD
from callback_server.domain.retries import Retries
from callback_server.store.connection.client import check_url, with_password
from callback_server.store.retention import Retention
from callback_server.store.safety import Durability
from callback_server.verification.settings import NAME, ProfileSettings

Origin = Annotated[
    str,
    StringConstraints(pattern=r"^https?://[^/?#@\s]+(/[^?#\s]*[^/?#\s])?$"),
    Field(json_schema_extra={"format": "URL"}),
]


def _grpc_target(text: str) -> str:
    if problem := target_problem(text):
        raise ValueError(problem)
    return text


_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class RetrySettings(BaseModel):
    """When a delivery that failed is tried again: a call of an ACK case, or one that was replayed."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    initial_s: float = Field(default=1, gt=0, le=86_400)
    """The longest wait after the first attempt, in seconds. It doubles with each attempt; each wait is a random part of
    it, so that many do not come back at once."""
    max_s: float = Field(default=3600, gt=0, le=86_400)
    """The longest wait after any attempt, in seconds."""
    max_attempts: int | None = Field(default=None, ge=1)
    """After how many attempts a delivery is dead. None: any number."""
    max_age_s: float = Field(default=3 * 24 * 3600, gt=0, le=31_536_000)
    """How long after its call, or its replay, a delivery is tried at all, in seconds; then it is dead."""

    def retries(self) -> Retries:
        """The same in milliseconds."""
        return Retries(
            initial_ms=round(self.initial_s * 1000),
            max_ms=round(self.max_s * 1000),
            max_attempts=self.max_attempts,
            max_age_ms=round(self.max_age_s * 1000),
        )


class ActivitySettings(BaseModel):
    """An activity, and its push handler if it has one."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    target: Annotated[str, AfterValidator(_grpc_target)] | None = None
    """Where the handler listens: `host:port` or a gRPC target (`dns:///orders:50051`). None: workers serve it."""
    deadline_s: float | None = Field(default=None, gt=0, le=300)
    """How long the handler may take, and a held call waits for its answer, in seconds. None: 8, and a held call 300."""
    connect_timeout_s: float = Field(default=2, gt=0, le=60)
    """How long to wait for a connection before the handler counts as not started, in seconds."""
    tls: TlsSettings | None = None
    """TLS to the handler; `{}` trusts the system's authorities. Its files are read again when they change: the new ones
    take over once a connection with them stands. None: plain text."""
    retry: RetrySettings = RetrySettings()
    """When a delivery is tried again."""

    @property
    def deadline_ms(self) -> int | None:
        """The same in milliseconds."""
        return None if self.deadline_s is None else round(self.deadline_s * 1000)

    @model_validator(mode="after")
    def _tls_of_target(self) -> ActivitySettings:
        if self.tls is not None and self.target is None:
            raise ValueError("tls is to the handler at target; without one, workers connect to the server")
        return self


class ServerSettings(ProcessSettings):
    """Settings of `callback server`."""

    table: ClassVar[str] = "server"
    shared_tables: ClassVar[frozenset[str]] = frozenset({"activities", "profiles"})
    model_config = SettingsConfigDict(env_prefix="CALLBACK_")

    grpc_bind: Bind = "127.0.0.1:50051"
    """Where the gRPC services listen. Port 0 picks one."""
    principals_file: Path | None = None
    """Who may do what, by token or certificate: a TOML file, read again when it changes. None: everyone who reaches the
    port may do everything, so it must be on loopback."""
    tls_cert_file: Path | None = None
    """The certificate of the gRPC port, PEM, with those between it and its authority; read again when it changes. None:
    plain text."""
    tls_key_file: Path | None = None
    """The key of that certificate, PEM."""
    tls_client_ca_file: Path | None = None
    """Authorities of client certificates, PEM; then everyone must show a certificate. None: nobody is asked for one."""
    allow_plaintext: bool = False
    """Whether the gRPC port may be reached from other machines without TLS: where a mesh or a sidecar encrypts."""
    admin_bind: Bind = "127.0.0.1:8082"
    """Where `/healthz`, `/readyz` and `/metrics` answer. Keep it away from callers. Port 0 picks one."""
    box_url: Origin = "http://127.0.0.1:8080"
    """The base of the URLs that are generated: where the edge is reached from outside."""
    platform_url: Origin | None = None
    """Where a redirect to `/path` leads. None: such redirects are refused."""
    alternative_domains: list[str] | None = None
    """The alternative domains that may be used. None: any."""
    state_key: SecretStr | None = None
    """The key from which the URL of a `request_id` is made, at least 32 characters. None: `request_id` is refused."""
    state_key_file: Path | None = None
    """A file that holds `state_key`, byte for byte: at least 32 bytes."""
    store_url: str = "redis://127.0.0.1:6379/0"
    """The store: `redis://`, `rediss://`, `unix:///path` or `redis+cluster://`."""
    store_password_file: Path | None = None
    """A file with the store's password, where `store_url` has none; a newline at its end does not count."""
    store_durability: Durability = Durability.ALWAYS
    """What is accepted of the store: `always`, `everysec`, or `unchecked` if it hides its settings."""
    default_time_to_live_s: int | None = Field(default=None, ge=1)
    """When a case expires that does not say so, in seconds. None: never."""
    max_time_to_live_s: int | None = Field(default=None, ge=1)
    """The longest time to live of a case, in seconds; a case that asks for none gets it. None: no bound."""
    max_open_cases_per_owner: int | None = Field(default=None, ge=1)
    """How many callbacks of an owner may be open or in progress at a time; beyond, none is generated. One server alone
    keeps it; several together can exceed it by what they generate within 10 seconds. None: any number."""
    max_calls_per_minute_per_case: int | None = Field(default=None, ge=1)
    """How many calls of a callback are let through in a minute, all at once or evenly; beyond, callers get a 429. None:
    any number."""
    max_calls_per_minute_per_owner: int | None = Field(default=None, ge=1)
    """The same for all callbacks of an owner together. Each server counts for itself, and lets through all that come at
    the same moment. None: any number."""
    retention_s: int = Field(default=7 * 24 * 3600, ge=0)
    """How long closed cases and ended calls are kept, in seconds."""
    recorded_calls_per_case: int = Field(default=100, ge=1)
    """How many ended calls of a case are kept."""
    recorded_bytes_per_case: int = Field(default=16 * 1024 * 1024, ge=0)
    """How many bytes of ended calls of a case are kept."""
    record_bodies: bool = True
    """Whether the bodies of requests, and of what handlers answer, are kept. Handlers and callers get them anyway. A
    request that is yet to be delivered is whole until it is; and one that is dead, which can be replayed, while it is
    kept."""
    record_headers: bool = True
    """Whether the headers of requests, and of what handlers answer, are kept, in the same way. Query strings are kept
    anyway."""
    max_in_flight_calls: int = Field(default=1000, ge=1)
    """How many calls this process runs at a time; beyond, callers get a 503."""
    max_in_flight_deliveries: int = Field(default=100, ge=1)
    """How many deliveries this process runs at a time, of acknowledged and replayed calls; beyond, they wait."""
    drain_s: StopSeconds = 2
    """How long, after a signal to stop, everything is still served while edges are told to go elsewhere, in seconds."""
    grace_s: StopSeconds = 25
    """How long running calls may go on after that, in seconds."""
    reflection: bool = False
    """Whether gRPC reflection is on. For development."""
    log_level: LogLevel = "INFO"
    """The least severe log events that are written."""
    activities: dict[str, ActivitySettings] = Field(default_factory=dict)
    """Activities by name: those that push handlers serve, and those whose deadline or retries are not the defaults."""
    profiles: dict[str, ProfileSettings] = Field(default_factory=dict)
    """How callers prove who they are, by the name that a case gives as its `verification_profile`."""

    @field_validator("store_url")
    @classmethod
    def _store_url(cls, url: str) -> str:
        check_url(url)
        return url

    @field_validator("activities")
    @classmethod
    def _activities(cls, activities: dict[str, ActivitySettings]) -> dict[str, ActivitySettings]:
        for name in activities:
            if name in (RECORD, FORM):
                raise ValueError(f"{name} is built in and can not be declared")
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

    @field_validator("state_key")
    @classmethod
    def _state_key(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and len(key.get_secret_value()) < 32:
            raise ValueError("must have at least 32 characters")
        return key

    @model_validator(mode="after")
    def _one_key(self) -> ServerSettings:
        if self.state_key is not None and self.state_key_file is not None:
            raise ValueError("state_key and state_key_file exclude each other")
        return self

    @model_validator(mode="after")
    def _one_password(self) -> ServerSettings:
        if self.store_password_file is not None and urlsplit(self.store_url).password is not None:
            raise ValueError("store_password_file and a password in store_url exclude each other")
        return self

    @model_validator(mode="after")
    def _tls(self) -> ServerSettings:
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("tls_cert_file and tls_key_file belong together")
        if self.tls_client_ca_file is not None and self.tls_cert_file is None:
            raise ValueError("tls_client_ca_file needs tls_cert_file and tls_key_file")
        return self

    @model_validator(mode="after")
    def _two_ports(self) -> ServerSettings:
        if self.grpc_bind == self.admin_bind and parse_bind(self.grpc_bind).port != 0:
            raise ValueError(f"grpc_bind and admin_bind are the same address, {self.grpc_bind}")
        return self

    @model_validator(mode="after")
    def _guarded(self) -> ServerSettings:
        if parse_bind(self.grpc_bind).is_loopback:
            return self
        if self.principals_file is None:
            raise ValueError(
                f"grpc_bind {self.grpc_bind} can be reached from other machines, and everyone there could do anything;"
                " set principals_file, or bind to loopback, as in 127.0.0.1:50051"
            )
        if self.tls_cert_file is None and not self.allow_plaintext:
            raise ValueError(
                f"grpc_bind {self.grpc_bind} can be reached from other machines, and tokens would travel readable;"
                " set tls_cert_file and tls_key_file, or allow_plaintext where a mesh encrypts"
            )
        return self

    def to_activities(self) -> dict[str, Activity]:
        """Return the declared activities by name."""
        return {
            name: Activity(name, deadline_ms=activity.deadline_ms, retries=activity.retry.retries())
            for name, activity in self.activities.items()
        }

    def to_retention(self) -> Retention:
        """Return what is kept of calls, and for how long."""
        return Retention(
            time_ms=self.retention_s * 1000,
            calls_per_case=self.recorded_calls_per_case,
            bytes_per_case=self.recorded_bytes_per_case,
            bodies=self.record_bodies,
            headers=self.record_headers,
        )

    def read_store_url(self) -> str:
        """`store_url`, with the password of `store_password_file` if there is one.

        Raises:
            ValueError: the file can not be read, or is empty.
        """
        if self.store_password_file is None:
            return self.store_url
        try:
            password = self.store_password_file.read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:
            raise ValueError(f"store_password_file {self.store_password_file}: {error.strerror}") from error
        except ValueError:
            raise ValueError(f"store_password_file {self.store_password_file}: is not UTF-8") from None
        if not password:
            raise ValueError(f"store_password_file {self.store_password_file}: is empty")
        return with_password(self.store_url, password)

    def read_state_key(self) -> bytes | None:
        """The key for `request_id`, or None if none is configured.

        Raises:
            ValueError: the file can not be read, or is too short.
        """
        if self.state_key is not None:
            return self.state_key.get_secret_value().encode()
        if self.state_key_file is None:
            return None
        try:
            key = self.state_key_file.read_bytes()
        except OSError as error:
            raise ValueError(f"state_key_file {self.state_key_file}: {error.strerror}") from error
        if len(key) < 32:
            raise ValueError(f"state_key_file {self.state_key_file}: has {len(key)} bytes, needs at least 32")
        return key
