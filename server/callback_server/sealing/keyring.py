"""The keyring: the keys that seal what lies in the store. They are in a file, never in the store or its backups.

::

    current = "2026-12"

    [keys]
    2026-12 = "Zk5j…="
    2026-06 = "9PqA…="

The current key seals; each of the keys opens what it has sealed. A changed file is reloaded. One that cannot be used
changes nothing: the last valid keys stay in effect, and the problem is logged. At startup such a file is an error. A
key that is missing is an error of the values that it sealed alone.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from callback_process.credentials import Contents, CredentialsError, FileReloader, reload_logger
from callback_process.settings import in_plain_words
from callback_server import metrics
from callback_server.sealing.envelope import (
    KEY_BYTES,
    Place,
    SealedValueError,
    fingerprint,
    key_id_of,
    open_sealed,
    seal,
)

RELOAD_INTERVAL_S: Final = 1.0
"""Interval in which the file is read again, in seconds."""
_SETTING: Final = "keyring_file"


class KeyMissingError(SealedValueError):
    """The keyring does not have the key under which a value is sealed."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"the keyring has no key {key_id}, under which it is sealed")


def _key(text: str) -> str:
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error:
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError(f"must be {KEY_BYTES} bytes in base64, as from: head -c {KEY_BYTES} /dev/urandom | base64")
    return text


KeyId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    current: KeyId
    keys: dict[KeyId, Annotated[str, AfterValidator(_key)]] = Field(min_length=1)

    @model_validator(mode="after")
    def _current_is_there(self) -> _File:
        if self.current not in self.keys:
            raise ValueError(f"current names {self.current}, which is not one of the keys")
        return self


class Keyring:
    """Keys by id, of which one is current."""

    def __init__(self, keys: Mapping[str, bytes], current: str) -> None:
        self._keys = keys
        self.current: Final = current
        """The id of the key that seals."""

    @property
    def ids(self) -> list[str]:
        """The ids of all keys, sorted."""
        return sorted(self._keys)

    def seal(self, place: Place, plain: bytes) -> bytes:
        """Return a value sealed under the current key. It opens only at its place."""
        return seal(self.current, self._keys[self.current], place, plain)

    def open(self, place: Place, sealed: bytes) -> bytes:
        """Return what was sealed for this place.

        Raises:
            KeyMissingError: The keyring does not have its key.
            SealedValueError: It is damaged, or was sealed for another place.
        """
        key_id = key_id_of(sealed)
        if (key := self._keys.get(key_id)) is None:
            raise KeyMissingError(key_id)
        return open_sealed(key, place, sealed)

    def fingerprint(self, place: Place, plain: bytes) -> str:
        """Return 8 hexadecimal digits by which equal values of a place are recognized, under the current key."""
        return fingerprint(self._keys[self.current], place, plain)


class KeyringFile:
    """The keyring in a file, which is reloaded when it changes.

    Raises:
        CredentialsError: The file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        def make(contents: Contents) -> Keyring:
            return _parse(path, contents[_SETTING] or b"")

        report = reload_logger(metrics.RELOADS_FAILED.labels("keyring"), "keyring_read", "keyring_not_read")
        self._reloader = FileReloader({_SETTING: path}, make, report)

    @property
    def keyring(self) -> Keyring:
        """The present keyring."""
        return self._reloader.value

    def reload(self) -> None:
        """Reload the file if it has changed. Call it on one thread at a time."""
        self._reloader.reload()

    async def run(self) -> None:
        """Reload the file whenever it has changed, until cancelled."""
        while True:
            await asyncio.sleep(RELOAD_INTERVAL_S)
            await asyncio.to_thread(self.reload)


def _parse(path: Path, content: bytes) -> Keyring:
    """Return the keyring in the content of a file. Raises CredentialsError, whose text has no part of a key."""
    try:
        file = _File.model_validate(tomllib.loads(content.decode()))
    except ValidationError as error:
        detail = error.errors(include_input=False)[0]
        place = ".".join(str(each) for each in detail["loc"] if each != "[key]")
        problem = f"{place}: {in_plain_words(detail)}" if place else in_plain_words(detail)
    except UnicodeDecodeError:
        problem = "is not UTF-8"
    except tomllib.TOMLDecodeError as error:
        problem = f"is not TOML: {error}"
    except RecursionError:
        problem = "is nested too deeply"
    else:
        return Keyring({name: base64.b64decode(key) for name, key in file.keys.items()}, file.current)
    raise CredentialsError(f"{_SETTING} {path}: {problem}")
