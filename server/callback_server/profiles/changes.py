"""Changes of the profiles of an owner, each with its entry of the audit, which names secrets by their ids alone."""

from __future__ import annotations

import contextlib
import secrets as randomness
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import msgspec

from callback_process.credentials import CredentialsError
from callback_server import errors
from callback_server.access.audit_log import AuditLog
from callback_server.domain.audit import AuditAction, Change
from callback_server.domain.own_profile import MAX_BYTES, MAX_SECRETS, OwnProfile, ProfileSecret, encode_profile
from callback_server.errors import InvalidRequestError, Violation
from callback_server.profiles.own_profiles import (
    CurrentKeyring,
    OwnProfiles,
    UnusableProfileError,
    decode_stored,
    open_secrets,
    place_of,
    profile_of_secrets,
)
from callback_server.sealing.envelope import SealedValueError
from callback_server.sealing.keyring import Keyring
from callback_server.store.connection.resend import resend
from callback_server.store.queries.read_profiles import read_profile
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.change_profile import ProfileChange, change_profile
from callback_server.verification.settings.own import secrets_setting

_ID_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class ProfileUpdate:
    """What changes of a profile."""

    settings: str | None
    """All settings but the kind, as a JSON object. None: they stay as they are."""
    added: Sequence[bytes]
    """Secrets to add."""
    retired: Sequence[str]
    """The ids of secrets to retire."""
    retire_time_ms: int | None
    """When they become invalid, in milliseconds since the epoch. None: now."""


@dataclass(eq=False, slots=True)
class ProfileChanges:
    """Creates, changes and deletes the profiles of owners. The owner makes each change itself."""

    scripts: Scripts
    audit: AuditLog
    own: OwnProfiles
    keyring: CurrentKeyring
    max_profiles: int
    """How many profiles an owner can have."""

    async def create(self, owner: str, name: str, kind: str, settings: str, secrets: Sequence[bytes]) -> OwnProfile:
        """Store a profile and return it, or the one that is there if it is the same.

        Raises:
            CallbackError: It is not valid, or cannot be stored.
            StoreError: It is not known whether it was stored.
        """
        keyring, now_ms = self._keyring(), _now_ms()
        distinct = list(dict.fromkeys(secrets))
        _check(kind, settings, distinct)
        while True:
            content = await self._read(owner, name)
            if (stored := decode_stored(owner, name, content)) is not None:
                return self._same(stored, owner, name, kind, settings, distinct)
            sealed = self._sealed(keyring, owner, name, distinct, now_ms)
            profile = OwnProfile(kind, settings, sealed, create_time_ms=now_ms, update_time_ms=now_ms)
            details = {"kind": kind, "added_secrets": _ids(sealed)}
            if await self._change(AuditAction.PROFILE_CREATED, owner, name, content, profile, details):
                return profile

    async def update(self, owner: str, name: str, update: ProfileUpdate) -> OwnProfile:
        """Change a profile and return it.

        Raises:
            CallbackError: There is no such profile, or the change is not valid.
            StoreError: It is not known whether it was changed.
        """
        needs_keyring = update.added or update.settings is not None
        keyring = self._keyring() if needs_keyring else self.keyring()
        while True:
            content, now_ms = await self._read(owner, name), _now_ms()
            before = decode_stored(owner, name, content)
            if before is None:
                raise errors.ProfileNotFoundError
            after, details = self._updated(keyring, owner, name, before, update, now_ms)
            if not details:
                return before
            if await self._change(AuditAction.PROFILE_UPDATED, owner, name, content, after, details):
                return after

    async def get(self, owner: str, name: str) -> OwnProfile:
        """Return a profile as it is stored.

        Raises:
            ProfileNotFoundError: There is no such profile.
            StoreError: The store did not answer.
        """
        stored = decode_stored(owner, name, await self._read(owner, name))
        if stored is None:
            raise errors.ProfileNotFoundError
        return stored

    async def delete(self, owner: str, name: str) -> None:
        """Delete a profile, if it is there.

        Raises:
            StoreError: It is not known whether it was deleted.
        """
        while (content := await self._read(owner, name)) is not None:
            if await self._change(AuditAction.PROFILE_DELETED, owner, name, content, None, {}):
                return

    def problem(self, owner: str, name: str, profile: OwnProfile) -> str:
        """Return why this server cannot use a profile. Empty: it can."""
        try:
            opened = open_secrets(self.keyring(), owner, name, profile, _now_ms())
            profile_of_secrets(profile.kind, profile.settings, opened)
        except (UnusableProfileError, CredentialsError, ValueError) as error:
            return str(error)
        return ""

    def _keyring(self) -> Keyring:
        keyring = self.keyring()
        if keyring is None:
            raise errors.KeyringMissingError
        return keyring

    async def _read(self, owner: str, name: str) -> bytes | None:
        return await resend(lambda: read_profile(self.scripts, owner, name))

    def _same(
        self, stored: OwnProfile, owner: str, name: str, kind: str, settings: str, secrets: Sequence[bytes]
    ) -> OwnProfile:
        """Return the stored profile if it is the one to create. Raises ProfileExistsError."""
        try:
            opened = open_secrets(self.keyring(), owner, name, stored, _now_ms())
        except UnusableProfileError:
            opened = []
        if (stored.kind, stored.settings, opened) != (kind, settings, list(secrets)):
            raise errors.ProfileExistsError
        return stored

    def _sealed(
        self, keyring: Keyring, owner: str, name: str, secrets: Sequence[bytes], now_ms: int
    ) -> list[ProfileSecret]:
        sealed = []
        for secret in secrets:
            secret_id = randomness.token_hex(_ID_BYTES)
            place = place_of(owner, name, secret_id)
            fingerprint = keyring.fingerprint(replace(place, id=""), secret)
            sealed.append(ProfileSecret(secret_id, fingerprint, now_ms, keyring.seal(place, secret)))
        return sealed

    def _updated(
        self, keyring: Keyring | None, owner: str, name: str, before: OwnProfile, update: ProfileUpdate, now_ms: int
    ) -> tuple[OwnProfile, dict[str, str]]:
        """Return the profile after a change, and what the audit says of it: nothing if it stays as it is."""
        valid = list(before.valid_secrets(now_ms))
        unknown = set(update.retired) - {each.id for each in before.secrets}
        if unknown:
            raise _refusal("retired_secret_ids", "unknown", f"the profile has no secret {min(unknown)}")
        retire_time_ms = now_ms if update.retire_time_ms is None else max(update.retire_time_ms, now_ms)
        opened = _opened(keyring, owner, name, valid)
        # One that is given again stays valid, so that a rotation can be made again, or taken back.
        given = {secret_id for secret_id, secret in opened.items() if secret in update.added}
        retire_times = dict.fromkeys(update.retired, retire_time_ms) | dict.fromkeys(given)
        kept = [
            msgspec.structs.replace(each, retire_time_ms=retire_times.get(each.id, each.retire_time_ms))
            for each in valid
        ]
        changed = [now for now, then in zip(kept, valid, strict=True) if now != then]
        new = [each for each in dict.fromkeys(update.added) if each not in opened.values()]
        added = self._sealed(keyring, owner, name, new, now_ms) if keyring is not None else []
        secrets = [*added, *kept]
        still_valid = [each for each in secrets if not each.is_retired(now_ms)]
        if len(still_valid) > MAX_SECRETS:
            problem = f"at most {MAX_SECRETS} secrets can be valid at a time; retire some now"
            raise _refusal("added_secrets", "too_many", problem)
        settings = before.settings if update.settings is None else update.settings
        if new or settings != before.settings:
            secrets_now = [*new, *opened.values()]
            if not secrets_now:
                raise _refusal("settings", "no_secret", "none of its secrets is valid and can be opened; add one")
            _check(before.kind, settings, secrets_now, field="added_secrets")
        changes = {
            "added_secrets": _ids([*added, *(each for each in changed if each.id in given)]),
            "retired_secrets": _ids(each for each in changed if each.id not in given),
            "settings": "replaced" if settings != before.settings else "",
        }
        details = {what: said for what, said in changes.items() if said}
        return msgspec.structs.replace(before, settings=settings, secrets=secrets, update_time_ms=now_ms), details

    async def _change(
        self,
        action: AuditAction,
        owner: str,
        name: str,
        known: bytes | None,
        profile: OwnProfile | None,
        details: dict[str, str],
    ) -> bool:
        """Make a change, and return whether the profile was still the known one."""
        try:
            result = await self.audit.record(
                Change(action, owner, owner=owner, verification_profile=name, details=details),
                partial(
                    change_profile,
                    self.scripts,
                    owner,
                    name,
                    known=known,
                    content=None if profile is None else encode_profile(profile),
                    max_profiles=self.max_profiles,
                ),
                is_recorded=lambda result: result is ProfileChange.OK,
            )
        finally:
            self.own.forget(owner, name)
        if result is ProfileChange.FULL:
            raise errors.TooManyProfilesError(self.max_profiles, owner)
        return result is ProfileChange.OK


def _check(kind: str, settings: str, secrets: Sequence[bytes], *, field: str = "secrets") -> None:
    """Check that a profile can be made. Raises InvalidRequestError.

    Args:
        kind: Its kind.
        settings: Its other settings, as a JSON object.
        secrets: Its secrets or keys.
        field: The field of the request that has secrets.
    """
    if len(settings.encode()) + sum(map(len, secrets)) > MAX_BYTES:
        raise _refusal(field, "too_large", f"settings and secrets have more than {MAX_BYTES} bytes together")
    try:
        secrets_setting(kind)
    except ValueError as error:
        raise _refusal("kind", "kind", str(error)) from None
    try:
        profile_of_secrets(kind, settings, secrets)
    except CredentialsError as error:
        raise _refusal(field, "unusable", str(error)) from None
    except ValueError as error:
        raise _refusal("settings", "settings", str(error)) from None


def _opened(keyring: Keyring | None, owner: str, name: str, valid: Iterable[ProfileSecret]) -> Mapping[str, bytes]:
    """Return those secrets that can be opened, by id."""
    opened: dict[str, bytes] = {}
    if keyring is None:
        return opened
    for each in valid:
        with contextlib.suppress(SealedValueError):
            opened[each.id] = keyring.open(place_of(owner, name, each.id), each.sealed)
    return opened


def _refusal(field: str, rule: str, problem: str) -> InvalidRequestError:
    return InvalidRequestError([Violation(field, rule, problem)])


def _ids(secrets: Iterable[ProfileSecret]) -> str:
    return ", ".join(each.id for each in secrets)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
