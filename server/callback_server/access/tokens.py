"""New tokens, and their addition to the principals file without other changes to it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import tempfile
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import tomlkit
from pydantic import ValidationError
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT, InlineTable

from callback_process.settings import SettingsError, in_plain_words
from callback_server.access.principals import NAME, PrincipalEntry, TokenEntry, parse, read_text
from callback_server.access.roles import Role

TOKEN_PREFIX: Final = "callback_"  # noqa: S105  # the prefix of every token is not secret
"""The prefix of each token, by which secret scanners recognize it."""


def new_token() -> str:
    """Return a new token: the prefix, then 43 characters for 32 random bytes."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def check_name(name: str) -> str:
    """Return the name after validation.

    Raises:
        ValueError: It cannot be the name of a principal.
    """
    if re.fullmatch(NAME, name) is None:
        raise ValueError("has 1 to 63 lower-case letters, digits, '.', '_' or '-', the first a letter or digit")
    return name


def add_token(
    path: Path,
    name: str,
    roles: Collection[Role],
    expires: datetime | None,
    *,
    activities: Collection[str] = (),
    answers: bool = False,
) -> str:
    """Add a token to a principal in the file. Create the principal and the file as needed.

    The rest of the file stays as it is, with its comments. Two processes that add a token wait for each other.

    Args:
        path: The file.
        name: The principal.
        roles: Its roles. Empty: those that it has.
        expires: When the token stops working. None: never.
        activities: The activities that a worker may serve, or to which an owner is limited. Empty: those that it has.
        answers: Whether a new worker may answer the callbacks of its activities.

    Returns:
        The token. It is not stored anywhere.

    Raises:
        ValueError: The name cannot be the name of a principal.
        SettingsError: The file cannot be read or written, is wrong, or has the principal with other roles or
            activities, without `answers`, or revoked. Or the principal is new and the call gives no roles, or what does
            not belong to its roles.
    """
    check_name(name)
    path = path.resolve()  # replaces the file, not a link to it
    token = new_token()
    try:
        with _alone_in(path.parent):
            given = _Given(name, frozenset(roles), frozenset(activities), answers)
            text = _with_token(path, given, token_entry(token, expires))
            _replace(path, text)
    except OSError as error:
        raise SettingsError([f"{path}: cannot be written: {error.strerror}"]) from None
    return token


def token_entry(token: str, expires: datetime | None) -> dict[str, str | datetime]:
    """Return the entry of a token in the file."""
    entry: dict[str, str | datetime] = {
        "sha256": hashlib.sha256(token.encode()).hexdigest(),
        "created": datetime.now(UTC).replace(microsecond=0),
    }
    if expires is not None:
        entry["expires"] = expires.astimezone(UTC).replace(microsecond=0)
    return entry


def token_toml(
    name: str,
    roles: Collection[Role],
    entry: Mapping[str, str | datetime],
    *,
    activities: Collection[str] = (),
    answers: bool = False,
) -> str:
    """Return the entry as TOML, to add to the file by hand. Without roles it is for a principal in the file."""
    document = tomlkit.document()
    _add(document, _Given(name, frozenset(roles), frozenset(activities), answers), entry)
    return tomlkit.dumps(document)


class _Given(NamedTuple):
    """A principal that gets a token, as it is given. Without roles it is in the file."""

    name: str
    roles: frozenset[Role]
    activities: frozenset[str]
    answers: bool


def _with_token(path: Path, given: _Given, entry: Mapping[str, str | datetime]) -> str:
    """Return the text of the file with one more token."""
    text = read_text(path) if path.exists() else ""
    # A file without principals is fine here. To the server it is an error, because it may be half written.
    known = parse(path, text).entries if _has_principals(text) else {}
    name, roles, activities, answers = given
    old = known.get(name)
    if old is None and not roles:
        raise SettingsError([f"{path}: {name} is not in the file yet: give its roles"])
    if old is not None and old.revoked:
        raise SettingsError([f"{path}: {name} is revoked, so no token of it works; remove revoked = true there"])
    if old is not None and roles and old.roles != roles:
        raise SettingsError([f"{path}: {name} has other roles: {', '.join(sorted(old.roles))}; change them there"])
    if old is not None and activities and old.activities != activities:
        listed = ", ".join(sorted(old.activities)) or "none"
        raise SettingsError([f"{path}: {name} has other activities: {listed}; change them there"])
    if old is not None and answers and not old.answers:
        raise SettingsError([f"{path}: {name} has no answers = true; change it there"])
    added = TokenEntry.model_validate(entry)
    if old is not None:
        new = old.model_copy(update={"tokens": (*old.tokens, added)})
    else:
        try:
            new = PrincipalEntry(roles=roles, activities=activities, answers=answers, tokens=(added,))
        except ValidationError as error:
            problems = [in_plain_words(each) for each in error.errors(include_input=False)]
            raise SettingsError([f"{path}: {name}: {each}" for each in problems]) from None
    try:
        document = tomlkit.parse(text)
        _add(document, given, entry)
        changed = tomlkit.dumps(document)
        as_meant = parse(path, changed).entries == {**known, name: new}
    except (SettingsError, ValueError, TOMLKitError):
        as_meant = False
    if not as_meant:  # TOML has many ways to write a table, and tomlkit cannot add to all of them
        raise SettingsError(
            [f"{path}: a token cannot be added to this layout; give each principal a table [principals.NAME]"]
        )
    return changed


def _has_principals(text: str) -> bool:
    return re.sub(r"(?m)#.*$|^\[principals\]", "", text).strip() != ""


def _add(document: tomlkit.TOMLDocument, given: _Given, entry: Mapping[str, str | datetime]) -> None:
    name, roles, activities, answers = given
    everyone = document.setdefault("principals", tomlkit.table(is_super_table=True))
    if name not in everyone:
        everyone[name] = tomlkit.table()
        if roles:
            everyone[name]["roles"] = sorted(roles)
        if activities:
            everyone[name]["activities"] = sorted(activities)
        if answers:
            everyone[name]["answers"] = True
    inline = isinstance(everyone[name], InlineTable)
    tokens = everyone[name].setdefault("tokens", tomlkit.array() if inline else tomlkit.aot())
    table = tomlkit.table() if isinstance(tokens, AoT) else tomlkit.inline_table()
    table.update(entry)
    if isinstance(tokens, AoT):
        table.trivia.indent = "\n"  # writes an empty line above the table
    tokens.append(table)


@contextlib.contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Hold the lock on a directory that every use of this function takes."""
    import fcntl  # does not exist on Windows, where a server can run

    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(path: Path, text: str) -> None:
    """Write the file in one step: a concurrent reader sees the old text or the new one."""
    old = path.stat() if path.exists() else None
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # readable by its owner alone
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            if old is not None:
                # The server must still be able to read the file if another user, such as root, writes it.
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
