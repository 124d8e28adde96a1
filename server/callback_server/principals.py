"""The file of principals: who is known, by which tokens and certificates. Read again whenever it changes.

1. Tokens are not in it, only their SHA-256: 32 random bytes need no slow hash, and nobody can make a token from one.
2. A principal can have several tokens and certificates, so that a new one works before the old one goes.
3. A file that can not be read, or is wrong, changes nothing: those who were known stay known, and the log says so.
   Only a start refuses it.

::

    [principals.orders]
    roles = ["owner"]
    certificates = ["spiffe://shop.example/orders"]

    [[principals.orders.tokens]]
    sha256 = "d2a8…"
    created = 2026-11-25T10:00:00Z
    expires = 2027-11-25T10:00:00Z
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import secrets
import tempfile
import time
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import tomlkit
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT, InlineTable

from callback_process.logs import get_logger
from callback_process.settings import SettingsError
from callback_server import metrics
from callback_server.domain.principal import Principal, Role
from callback_server.errors import UnauthenticatedError

log = get_logger()

TOKEN_PREFIX: Final = "callback_"  # noqa: S105  # of every token, and no secret
"""What each token begins with, so that a scanner for secrets can know one."""
WATCH_INTERVAL_S: Final = 1.0
"""How often the file is looked at, in seconds."""

_NAME: Final = r"^[a-z0-9][a-z0-9._-]{0,62}$"
Name = Annotated[str, StringConstraints(pattern=_NAME)]


class TokenEntry(BaseModel):
    """One token of a principal."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """The SHA-256 of the token's text, in hexadecimal."""
    created: AwareDatetime | None = None
    """When it was made. For people."""
    expires: AwareDatetime | None = None
    """When it stops working. None: never."""


class PrincipalEntry(BaseModel):
    """One principal."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    roles: frozenset[Role] = Field(min_length=1)
    """What it may do."""
    certificates: tuple[str, ...] = ()
    """Names in the client certificates that prove it: URIs or DNS names of the subject's alternative names."""
    tokens: tuple[TokenEntry, ...] = ()
    """The tokens that prove it."""


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    principals: dict[Name, PrincipalEntry]


class Principals:
    """Everyone who is known at one moment."""

    def __init__(self, entries: dict[str, PrincipalEntry]) -> None:
        """Raises ValueError if two principals share a token or a certificate's name."""
        self.entries = entries
        self._by_token: dict[bytes, tuple[Principal, float | None]] = {}
        self._by_certificate: dict[str, Principal] = {}
        for name, entry in entries.items():
            principal = Principal(name, entry.roles)
            for token in entry.tokens:
                digest = bytes.fromhex(token.sha256)
                if digest in self._by_token:
                    raise ValueError(f"principals.{name}: a token of it is listed twice")
                self._by_token[digest] = principal, token.expires.timestamp() if token.expires else None
            for certificate in entry.certificates:
                if certificate in self._by_certificate:
                    raise ValueError(f"principals.{name}: the certificate {certificate} is listed twice")
                self._by_certificate[certificate] = principal

    def of_token(self, token: str) -> Principal:
        """Who a token proves.

        Raises:
            UnauthenticatedError: nobody, or it has expired.
        """
        # What is looked up is a hash of what came in: how long that takes tells nothing about the tokens there are.
        principal, expires = self._by_token.get(hashlib.sha256(token.encode()).digest(), (None, None))
        if principal is None:
            raise UnauthenticatedError("the token is not known")
        if expires is not None and expires <= time.time():
            raise UnauthenticatedError("the token has expired")
        return principal

    def of_certificate(self, names: Iterable[str]) -> Principal:
        """Who a client certificate with these names proves.

        Raises:
            UnauthenticatedError: nobody, or more than one.
        """
        found = {self._by_certificate[name] for name in names if name in self._by_certificate}
        if len(found) == 1:
            return found.pop()
        raise UnauthenticatedError(
            "the certificate's names belong to several principals" if found else "the certificate is not known"
        )


def read_principals(path: Path) -> Principals:
    """Read the file.

    Raises:
        SettingsError: it can not be read, or is wrong; one line for each problem.
    """
    return _parse(path, _text(path))


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise SettingsError([f"{path}: can not be read: {error.strerror}"]) from None
    except ValueError:
        raise SettingsError([f"{path}: is not UTF-8"]) from None


def _parse(path: Path, text: str) -> Principals:
    try:
        return Principals(_File(**tomllib.loads(text)).principals)
    except ValidationError as error:
        problems = [
            f"{path}: {'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors(include_input=False)
        ]
        raise SettingsError(problems) from None
    except ValueError as error:  # not TOML, or listed twice
        raise SettingsError([f"{path}: {error}"]) from None


class PrincipalsFile:
    """The file, and who is known by it at this moment."""

    def __init__(self, path: Path) -> None:
        """Raises SettingsError if it can not be read, or is wrong."""
        self._path = path
        self._seen = _stamp(path)
        self.current = read_principals(path)

    async def watch_for_ever(self) -> None:
        """Reads the file again whenever it has changed, until it is cancelled."""
        while True:
            await asyncio.sleep(WATCH_INTERVAL_S)
            stamp = _stamp(self._path)
            if stamp == self._seen:
                continue
            self._seen = stamp
            try:
                self.current = read_principals(self._path)
            except SettingsError as error:
                metrics.RELOADS_FAILED.labels("principals").inc()
                log.error("principals_not_read", error=str(error), still_known=len(self.current.entries))
            else:
                log.info("principals_read", known=sorted(self.current.entries))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes when the file does, or who may read it; through links, which is how orchestrators replace files."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ctime_ns, status.st_size, status.st_ino


def new_token() -> str:
    """A token: the prefix, then 43 characters for 32 random bytes."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def check_name(name: str) -> str:
    """Return the name of a principal.

    Raises:
        ValueError: it can not be one.
    """
    if re.fullmatch(_NAME, name) is None:
        raise ValueError("has 1 to 63 lower-case letters, digits, '.', '_' or '-', the first a letter or digit")
    return name


def add_token(path: Path, name: str, roles: Collection[Role], expires: datetime | None) -> str:
    """Add a token to a principal in the file, and the principal to the file, and the file, as needed.

    What else is in the file stays as it is, comments too. Two that add at the same time wait for each other.

    Args:
        path: The file.
        name: The principal.
        roles: What it may do. Empty: what it may already.
        expires: When the token stops working. None: never.

    Returns:
        The token. It is kept nowhere.

    Raises:
        ValueError: the name can not be one.
        SettingsError: the file can not be read or written, is wrong, has the principal with other roles, or the
            principal is new and no roles are given.
    """
    check_name(name)
    path = path.resolve()  # it is the file that is replaced, not a link to it
    token = new_token()
    try:
        with _alone_in(path.parent):
            text = _with_token(path, name, roles, token_entry(token, expires))
            _replace(path, text)
    except OSError as error:
        raise SettingsError([f"{path}: can not be written: {error.strerror}"]) from None
    return token


def token_entry(token: str, expires: datetime | None) -> dict[str, str | datetime]:
    """What the file says about a token."""
    entry: dict[str, str | datetime] = {
        "sha256": hashlib.sha256(token.encode()).hexdigest(),
        "created": datetime.now(UTC).replace(microsecond=0),
    }
    if expires is not None:
        entry["expires"] = expires.astimezone(UTC).replace(microsecond=0)
    return entry


def token_toml(name: str, roles: Collection[Role], entry: Mapping[str, str | datetime]) -> str:
    """The same as text, to be put into a file by hand. Without roles it is for a principal that is there."""
    document = tomlkit.document()
    _add(document, name, roles, entry)
    return tomlkit.dumps(document)


def _with_token(path: Path, name: str, roles: Collection[Role], entry: Mapping[str, str | datetime]) -> str:
    """The file's text with one more token in it."""
    text = _text(path) if path.exists() else ""
    # Nothing but comments is a file that begins now. To the server it is wrong: it may be about to be written.
    known = _parse(path, text).entries if _has_values(text) else {}
    old = known.get(name)
    if old is None and not roles:
        raise SettingsError([f"{path}: {name} is not known yet: say what it may do"])
    if old is not None and roles and old.roles != frozenset(roles):
        raise SettingsError([f"{path}: {name} has other roles: {', '.join(sorted(old.roles))}; change them there"])
    new = PrincipalEntry(
        roles=old.roles if old else frozenset(roles),
        certificates=old.certificates if old else (),
        tokens=(*(old.tokens if old else ()), TokenEntry.model_validate(entry)),
    )
    try:
        document = tomlkit.parse(text)
        _add(document, name, roles, entry)
        changed = tomlkit.dumps(document)
        as_meant = _parse(path, changed).entries == {**known, name: new}
    except (SettingsError, ValueError, TOMLKitError):
        as_meant = False
    if not as_meant:  # there are many ways to write a table, and not all can be added to
        raise SettingsError([f"{path}: can not be added to as it is written; give each a table [principals.NAME]"])
    return changed


def _has_values(text: str) -> bool:
    return any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines())


def _add(
    document: tomlkit.TOMLDocument, name: str, roles: Collection[Role], entry: Mapping[str, str | datetime]
) -> None:
    everyone = document.setdefault("principals", tomlkit.table(is_super_table=True))
    if name not in everyone:
        everyone[name] = tomlkit.table()
        if roles:
            everyone[name]["roles"] = sorted(roles)
    inline = isinstance(everyone[name], InlineTable)
    tokens = everyone[name].setdefault("tokens", tomlkit.array() if inline else tomlkit.aot())
    table = tomlkit.table() if isinstance(tokens, AoT) else tomlkit.inline_table()
    table.update(entry)
    if isinstance(tokens, AoT):
        table.trivia.indent = "\n"  # an empty line above it
    tokens.append(table)


@contextlib.contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Wait until nobody else changes files in the directory by this function."""
    import fcntl  # not there on Windows, where a server can run

    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(path: Path, text: str) -> None:
    """Write the file as a whole: who reads it meanwhile sees the old one or the new one."""
    old = path.stat() if path.exists() else None
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # for its owner alone
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            if old is not None:
                # The server must be able to read it as before, though another user, such as root, writes it.
                if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(descriptor, old.st_uid, old.st_gid)
                os.fchmod(descriptor, old.st_mode & 0o777)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise
