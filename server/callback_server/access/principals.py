"""The principals file: the known principals with their tokens and certificates. It is read again when it changes.

1. It holds the SHA-256 of each token, not the token. A token is 32 random bytes, so it needs no slow hash.
2. A principal can have several tokens and certificates, so that a new one works before the old one is removed. It can
   have several subjects, too: people and services that an issuer of ID tokens knows.
3. A worker whose token is removed, or expires, gets no more calls, and finishes those that it has. One whose token or
   principal has `revoked = true` is disconnected at once.
4. If a changed file is unreadable or invalid, the last valid principals stay in effect, and the error is logged. At
   startup, such a file is an error.

::

    [principals.orders]
    roles = ["owner"]
    certificates = ["spiffe://shop.example/orders"]

    [principals.orders.quota]
    weight = 2
    max_in_flight_calls = 500

    [[principals.orders.tokens]]
    sha256 = "d2a8…"
    created = 2026-11-25T10:00:00Z
    expires = 2027-11-25T10:00:00Z

    [principals.alice]
    roles = ["admin"]
    [[principals.alice.subjects]]
    issuer = "https://login.example"
    subject = "248289761001"

    [principals.order-handlers]
    roles = ["worker"]
    activities = ["order-paid", "order-refunded"]
    answers = true
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
import tomllib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic_core import ErrorDetails

from callback_process.credentials import NO_DESCRIPTOR
from callback_process.logs import get_logger
from callback_process.settings import SettingsError, in_plain_words
from callback_server import metrics
from callback_server.access.roles import Principal, Role
from callback_server.errors import RevokedError, SubjectUnknownError, UnauthenticatedError
from callback_server.limits.quotas import Quota

log = get_logger()

WATCH_INTERVAL_S: Final = 0.5
"""Interval between two checks of the file, in seconds. A change holds after two of them."""

NAME: Final = r"^[a-z0-9][a-z0-9._-]{0,62}$"
"""The pattern of the name of a principal."""


class TokenEntry(BaseModel):
    """One token of a principal."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """The SHA-256 of the token's text, in hexadecimal."""
    created: AwareDatetime | None = None
    """The time of its creation, for readers of the file."""
    expires: AwareDatetime | None = None
    """The time of its expiry. None: never."""
    revoked: bool = False
    """Whether it is refused, and streams that use it end at once."""


class SubjectEntry(BaseModel):
    """A person or service of an issuer of ID tokens, by the two claims that identify it.

    Any other claim, such as an email address, can be given to another one later:
    https://openid.net/specs/openid-connect-core-1_0.html#ClaimStability
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: str = Field(min_length=1, max_length=500)
    """Its `iss`: the URL of an issuer in the settings of the server."""
    subject: str = Field(min_length=1, max_length=255)
    """Its `sub`."""


class PrincipalEntry(BaseModel):
    """One principal."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    roles: frozenset[Role] = Field(min_length=1)
    """Its roles."""
    activities: frozenset[Annotated[str, StringConstraints(min_length=1, max_length=200)]] = frozenset()
    """The activities that a worker may serve, and to which an owner is limited; `*` means all. Required with the role
    worker. An owner without them is not limited."""
    answers: bool = False
    """Whether a worker may read, answer and close the callbacks of its activities, of every owner."""
    certificates: tuple[str, ...] = ()
    """Names in its client certificates: URIs or DNS names among the subject alternative names."""
    tokens: tuple[TokenEntry, ...] = ()
    """Its tokens."""
    subjects: tuple[SubjectEntry, ...] = ()
    """The people and services whose ID tokens are tokens of this principal."""
    quota: Quota | None = None
    """What it may use of a server as an owner. None: the defaults in the settings."""
    revoked: bool = False
    """Whether everything above except the quota is refused, and streams that use it end at once."""

    @model_validator(mode="after")
    def _activities_of_roles(self) -> PrincipalEntry:
        if Role.WORKER in self.roles and not self.activities:
            raise ValueError('the role worker needs activities; activities = ["*"] are all')
        if self.activities and self.roles.isdisjoint((Role.WORKER, Role.OWNER)):
            raise ValueError("activities need the role worker or owner")
        if self.answers and Role.WORKER not in self.roles:
            raise ValueError("answers = true needs the role worker")
        if self.quota is not None and self.roles.isdisjoint((Role.OWNER, Role.ADMIN)):
            raise ValueError("a quota needs the role owner or admin")
        return self


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    principals: dict[Annotated[str, StringConstraints(pattern=NAME)], PrincipalEntry] = Field(min_length=1)


class Principals:
    """The known principals, indexed by token, certificate and subject."""

    def __init__(self, entries: dict[str, PrincipalEntry]) -> None:
        """Index the entries. Raises ValueError if a token, certificate or subject is listed twice."""
        self.entries = entries
        self._by_token: dict[bytes, Principal] = {}
        self._by_certificate: dict[str, Principal] = {}
        self._by_subject: dict[tuple[str, str], Principal] = {}
        for name, entry in entries.items():
            principal = Principal(name, entry.roles, entry.activities, entry.answers, revoked=entry.revoked)
            for token in entry.tokens:
                digest = bytes.fromhex(token.sha256)
                if digest in self._by_token:
                    raise ValueError(f"principals.{name}: a token of it is listed twice")
                expires = token.expires.timestamp() if token.expires else None
                revoked = entry.revoked or token.revoked
                self._by_token[digest] = replace(principal, expires=expires, revoked=revoked)
            for certificate in entry.certificates:
                if certificate in self._by_certificate:
                    raise ValueError(f"principals.{name}: the certificate {certificate} is listed twice")
                self._by_certificate[certificate] = principal
            for each in entry.subjects:
                if (each.issuer, each.subject) in self._by_subject:
                    raise ValueError(f"principals.{name}: the subject {each.subject} of {each.issuer} is listed twice")
                self._by_subject[each.issuer, each.subject] = principal

    @property
    def access_expires(self) -> float:
        """When the first principal loses its access because its last token expires, in seconds since 1970.

        It is infinite if no principal does. One with a certificate, a subject or a token that does not expire keeps its
        access.
        """
        return min(
            (
                max(token.expires.timestamp() if token.expires else math.inf for token in entry.tokens)
                for entry in self.entries.values()
                if entry.tokens and not entry.certificates and not entry.subjects
            ),
            default=math.inf,
        )

    def quota(self, owner: str) -> Quota | None:
        """Return the quota of an owner. None: it has none, or is not known any more."""
        entry = self.entries.get(owner)
        return None if entry is None else entry.quota

    def of_token(self, token: str) -> Principal:
        """Return the principal of a token.

        Raises:
            UnauthenticatedError: The token is unknown or expired. RevokedError: it is revoked.
        """
        # The lookup uses a hash of the token, so its duration reveals nothing about the known tokens.
        principal = self._by_token.get(hashlib.sha256(token.encode()).digest())
        if principal is None:
            raise UnauthenticatedError("the token is not known")
        _check_revoked(principal)
        if principal.expires is not None and principal.expires <= time.time():
            raise UnauthenticatedError("the token has expired")
        return principal

    def of_subject(self, issuer: str, subject: str) -> Principal:
        """Return the principal of a verified ID token.

        Raises:
            SubjectUnknownError: No principal has the subject.
            RevokedError: The principal is revoked.
        """
        principal = self._by_subject.get((issuer, subject))
        if principal is None:
            raise SubjectUnknownError(issuer, subject)
        _check_revoked(principal)
        return principal

    def of_certificate(self, names: Iterable[str]) -> Principal:
        """Return the principal of a client certificate with these names.

        Raises:
            UnauthenticatedError: The names belong to no principal, or to several. RevokedError: to a revoked one.
        """
        found = {self._by_certificate[name] for name in names if name in self._by_certificate}
        if len(found) == 1:
            principal = found.pop()
            _check_revoked(principal)
            return principal
        raise UnauthenticatedError(
            "the certificate's names belong to several principals" if found else "the certificate is not known"
        )


def _check_revoked(principal: Principal) -> None:
    if principal.revoked:
        raise RevokedError(f"the credential, or its principal {principal.name}, is revoked")


class UnreadableError(SettingsError):
    """The file cannot be read now. What it has is not known."""

    def __init__(self, problem: str, number: int | None) -> None:
        super().__init__([problem])
        self.lacks_descriptor = number in NO_DESCRIPTOR
        """Whether only a file descriptor to open it is missing, so nothing is wrong with the file."""


def read_principals(path: Path) -> Principals:
    """Read the file.

    Raises:
        SettingsError: The file cannot be read, or is wrong; it has one line for each problem.
    """
    return parse(path, read_text(path))


def read_text(path: Path) -> str:
    """Read the file's text. Raises SettingsError."""
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise UnreadableError(f"{path}: cannot be read: {error.strerror}", error.errno) from None
    except ValueError:
        raise SettingsError([f"{path}: is not UTF-8"]) from None


def parse(path: Path, text: str) -> Principals:
    """Return the principals in the text of a file; the path is for messages. Raises SettingsError."""
    try:
        return Principals(_File(**tomllib.loads(text)).principals)
    except ValidationError as error:
        problems = [_problem(each) for each in error.errors(include_input=False)]
        raise SettingsError([f"{path}: {each}" for each in problems]) from None
    except ValueError as error:  # not TOML, or listed twice
        raise SettingsError([f"{path}: {error}"]) from None
    except RecursionError:
        raise SettingsError([f"{path}: is nested too deeply"]) from None


def _problem(detail: ErrorDetails) -> str:
    *place, last = detail["loc"]
    if last == "[key]":  # pydantic's mark of a key that is wrong itself
        return f"{'.'.join(map(str, place))}: must be 1-63 lower-case letters, digits, '.', '_' or '-'"
    return f"{'.'.join(map(str, detail['loc']))}: {in_plain_words(detail)}"


class PrincipalsFile:
    """The principals file, with the principals that are known now."""

    def __init__(self, path: Path) -> None:
        """Read the file. Raises SettingsError if it cannot be read, or is wrong."""
        self._path = path
        self._seen = _stamp(path)
        self._read: tuple[int, int, int] | None = (-1, -1, -1)
        """The stamp of what was read. At first one that no file has: a change within a tick of the clock leaves the
        stamp as it is, so the file is read once more."""
        self._problem = ""
        """Why the file cannot be read now."""
        self._show(read_principals(path))
        self.changed = asyncio.Event()
        """Set when other principals are known."""

    async def run(self) -> None:
        """Read the file again whenever it has changed, until cancelled.

        A changed file is read only when two checks find it unchanged: half a file can mean something else than the
        whole. One that cannot be read is tried again at each check.
        """
        while True:
            await asyncio.sleep(WATCH_INTERVAL_S)
            stamp = await asyncio.to_thread(_stamp, self._path)
            if stamp != self._seen:
                self._seen = stamp
            elif stamp != self._read and await self._reload():
                self._read = stamp

    async def _reload(self) -> bool:
        """Read the file, and return whether that was possible, also if it is wrong."""
        try:
            read = await asyncio.to_thread(read_principals, self._path)
        except Exception as error:  # after any error, the next change must be noticed
            was_told, self._problem = self._problem, str(error) if isinstance(error, UnreadableError) else ""
            if not self._problem or self._problem != was_told:
                if not (isinstance(error, UnreadableError) and error.lacks_descriptor):
                    metrics.RELOADS_FAILED.labels("principals").inc()
                unforeseen = None if isinstance(error, SettingsError) else error
                log.error(
                    "principals_not_read", error=str(error), still_known=len(self.current.entries), exc_info=unforeseen
                )
            return not self._problem
        self._problem = ""
        if read.entries != self.current.entries:
            self._show(read)
            log.info("principals_read", known=sorted(read.entries))
            self.changed.set()
        return True

    def _show(self, read: Principals) -> None:
        self.current = read
        metrics.ACCESS_EXPIRES_TIME_SECONDS.set(read.access_expires)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Return values that change with the file or its permissions. Links are followed: orchestrators replace links."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ctime_ns, status.st_size, status.st_ino
