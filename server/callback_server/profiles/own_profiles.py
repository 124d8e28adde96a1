"""The profiles of owners, read from the store when they are used.

A server keeps what it has read, also that there is no such profile, for at most `LIFETIME_S`. A profile whose secrets
cannot be opened is as one that is not there: its callers are told to try again later, and the log says why.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from callback_process.credentials import CredentialsError
from callback_process.logs import get_logger
from callback_server.domain.own_profile import OwnProfile, decode_profile, is_own
from callback_server.sealing.envelope import Place, SealedValueError
from callback_server.sealing.keyring import Keyring
from callback_server.store.connection.resend import resend
from callback_server.store.queries.read_profiles import read_profile
from callback_server.store.scripts import Scripts
from callback_server.verification.credential import Credential
from callback_server.verification.profiles import Clock, Profile, make_profile
from callback_server.verification.settings.own import own_settings, secrets_setting

log = get_logger()

LIFETIME_S: Final = 5.0
"""How long a server keeps a profile that it has read, or its absence, in seconds."""
MAX_KEPT: Final = 4096
"""How many profiles a server keeps at a time. The oldest go first."""

CurrentKeyring = Callable[[], Keyring | None]
"""Returns the present keyring. None: the server has none."""


class UnusableProfileError(Exception):
    """A profile cannot be used. The text says why, without any part of a secret."""


def place_of(owner: str, name: str, secret_id: str) -> Place:
    """Return what a sealed secret of a profile belongs to."""
    return Place(owner, "profile secret", f"{name}/{secret_id}")


def profile_of_secrets(kind: str, settings: str, secrets: Sequence[bytes], clock: Clock = time.time) -> Profile:
    """Return the profile of an owner.

    Args:
        kind: Its kind.
        settings: Its other settings, as a JSON object.
        secrets: Its secrets or keys.
        clock: Clock for the time of requests.

    Raises:
        ValueError: The settings are not valid.
        CredentialsError: A secret or key is not usable.
    """
    field = secrets_setting(kind)
    found = [Credential(f"secrets[{index}]", secret) for index, secret in enumerate(secrets)]
    return make_profile(own_settings(kind, settings, len(found)), lambda name: found if name == field else [], clock)


def open_secrets(keyring: Keyring | None, owner: str, name: str, profile: OwnProfile, now_ms: int) -> list[bytes]:
    """Return the secrets of a profile that are valid now.

    Raises:
        UnusableProfileError: One of them cannot be opened, or there is none.
    """
    if keyring is None:
        raise UnusableProfileError("this server has no keyring_file")
    try:
        secrets = [keyring.open(place_of(owner, name, each.id), each.sealed) for each in profile.valid_secrets(now_ms)]
    except SealedValueError as error:
        raise UnusableProfileError(f"a secret cannot be opened: {error}") from None
    if not secrets:
        raise UnusableProfileError("all of its secrets are retired")
    return secrets


def decode_stored(owner: str, name: str, content: bytes | None) -> OwnProfile | None:
    """Return a stored profile. None: there is none, or it is damaged."""
    try:
        return None if content is None else decode_profile(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        log.error("profile_damaged", owner=owner, profile=name)
        return None


@dataclass(frozen=True, slots=True)
class _Kept:
    profile: Profile | None
    """None: there is none, or it cannot be used."""
    is_there: bool
    until: float
    """The end of its time, by the monotonic clock."""


class OwnProfiles:
    """The profiles of owners, as this server knows them.

    Args:
        scripts: The scripts on the store.
        keyring: Returns the keyring.
        clock: Clock for the time of requests and of retirements, in seconds since 1970.
        monotonic: Clock that is never set, in seconds.
    """

    def __init__(
        self, scripts: Scripts, keyring: CurrentKeyring, clock: Clock = time.time, monotonic: Clock = time.monotonic
    ) -> None:
        self._scripts = scripts
        self._keyring = keyring
        self._clock = clock
        self._monotonic = monotonic
        self._kept: dict[tuple[str, str], _Kept] = {}
        self._reads: dict[tuple[str, str], asyncio.Task[_Kept]] = {}

    async def find(self, owner: str, name: str) -> Profile | None:
        """Return a profile. None: the owner has no such profile, or it cannot be used.

        Raises:
            StoreError: The store did not answer.
        """
        return (await self._current(owner, name)).profile

    async def exists(self, owner: str, name: str) -> bool:
        """Return whether an owner has a profile, also one that this server cannot use.

        Raises:
            StoreError: The store did not answer.
        """
        return (await self._current(owner, name)).is_there

    def forget(self, owner: str, name: str) -> None:
        """Read a profile again when it is used next, because it has changed."""
        self._kept.pop((owner, name), None)
        self._reads.pop((owner, name), None)

    async def _current(self, owner: str, name: str) -> _Kept:
        key = owner, name
        kept = self._kept.get(key)
        if kept is not None and self._monotonic() < kept.until:
            return kept
        read = self._reads.get(key)
        if read is None:
            read = self._reads[key] = asyncio.create_task(self._read(key))
            read.add_done_callback(lambda done: self._end(key, done))
        return await asyncio.shield(read)

    def _end(self, key: tuple[str, str], read: asyncio.Task[_Kept]) -> None:
        if self._reads.get(key) is read:
            del self._reads[key]
        if not read.cancelled():
            read.exception()  # each caller that still waits gets it

    async def _read(self, key: tuple[str, str]) -> _Kept:
        owner, name = key
        began, now = self._monotonic(), self._clock()
        content = await resend(lambda: read_profile(self._scripts, owner, name))
        profile, lifetime_s = None, LIFETIME_S
        if (stored := decode_stored(owner, name, content)) is not None:
            try:
                retire_time_ms = stored.next_retirement_ms(int(now * 1000))
                if retire_time_ms is not None:
                    lifetime_s = min(lifetime_s, retire_time_ms / 1000 - now)
                secrets = open_secrets(self._keyring(), owner, name, stored, int(now * 1000))
                profile = profile_of_secrets(stored.kind, stored.settings, secrets, self._clock)
            # ValueError: a release before or after this one has stored settings that this one does not know.
            except (UnusableProfileError, CredentialsError, ValueError) as error:
                log.error("profile_unusable", owner=owner, profile=name, why=str(error))
        kept = _Kept(profile, content is not None, began + lifetime_s)
        if self._reads.get(key) is asyncio.current_task():  # else it has changed meanwhile
            self._kept.pop(key, None)
            while len(self._kept) >= MAX_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = kept
        return kept


class VerificationProfiles:
    """All profiles: those that the configuration declares, and those of owners."""

    def __init__(self, declared: Mapping[str, Profile], own: OwnProfiles) -> None:
        self._declared = declared
        self._own = own

    async def find(self, owner: str, name: str) -> Profile | None:
        """Return the profile that a callback of an owner names. None: there is none, or it cannot be used.

        Raises:
            StoreError: The store did not answer.
        """
        return await self._own.find(owner, name) if is_own(name) else self._declared.get(name)
