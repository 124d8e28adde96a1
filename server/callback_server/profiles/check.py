"""Checks of requests by a profile of an owner: whether one passes, and why not.

A check is no oracle: it is of the owner's own profile, limited, and in the audit.
"""

from __future__ import annotations

import contextlib
import enum
import math
import re
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from callback_process.credentials import CredentialsError
from callback_process.rate_limiter import RateLimiter
from callback_server import errors
from callback_server.access.audit_log import AuditLog
from callback_server.domain.audit import AuditAction, Change
from callback_server.domain.call import Call, Request
from callback_server.domain.own_profile import OwnProfile
from callback_server.profiles.changes import ProfileChanges
from callback_server.profiles.own_profiles import UnusableProfileError, open_secrets, profile_of_secrets
from callback_server.store import keys
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.append_audit import append_audit
from callback_server.verification.profile import FailureReason, VerificationError
from callback_server.verification.profiles import Profile
from callback_server.verification.secret import Basic, SharedSecret

MAX_CHECKS_PER_MINUTE: Final = 60
"""How many checks of an owner a server makes in a minute."""
_INDEX: Final = re.compile(r"\[(\d+)\]$")


class CheckOutcome(enum.StrEnum):
    """The outcome of a check."""

    PASSES = "PASSES"
    HANDSHAKE = "HANDSHAKE"
    FAILS = "FAILS"
    REDACTED = "REDACTED"
    """It cannot be told, because not all of the request was recorded."""


@dataclass(frozen=True, slots=True)
class ProfileCheck:
    """The result of a check."""

    outcome: CheckOutcome
    why: str = ""
    """Why it does not pass."""
    secret_id: str = ""
    """The id of the secret by which it passes, if that can be told."""
    message_id: str = ""


@dataclass(frozen=True, slots=True)
class _Usable:
    """A profile with the ids of its valid secrets, in their order."""

    profile: Profile
    secret_ids: list[str]


@dataclass(eq=False, slots=True)
class ProfileChecks:
    """Checks requests for owners."""

    scripts: Scripts
    audit: AuditLog
    changes: ProfileChanges
    _limiter: RateLimiter = field(default_factory=lambda: RateLimiter(MAX_CHECKS_PER_MINUTE))

    def charge(self, owner: str) -> None:
        """Count a check of an owner. Raise TooManyChecksError if it is one too many."""
        now = time.monotonic_ns()
        if wait_ns := self._limiter.wait_ns(owner, now):
            raise errors.TooManyChecksError(MAX_CHECKS_PER_MINUTE, math.ceil(wait_ns / 1e9))
        self._limiter.charge(owner, now)

    async def check(self, owner: str, name: str, request: Request, url: str, now: float) -> ProfileCheck:
        """Check a request that is there whole.

        Args:
            owner: The owner of the profile.
            name: The name of the profile.
            request: The request.
            url: Its URL, as the sender knows it. Empty: it is not known.
            now: When it arrived, in seconds since 1970.

        Raises:
            ProfileNotFoundError: There is no such profile.
            ProfileUnusableError: This server cannot use the profile.
            StoreError: The profile could not be read, or it is not known whether the audit has the check.
        """
        usable = self._usable(owner, name, await self.changes.get(owner, name), now)
        result = _result(usable, request, url)
        await self._record(owner, name, result)
        return result

    async def check_call(self, owner: str, name: str, call: Call, url: str) -> ProfileCheck:
        """Check the request of a call, as far as it was recorded. Raise what `check` raises."""
        usable = self._usable(owner, name, await self.changes.get(owner, name), call.start_time_ms / 1000)
        result = ProfileCheck(CheckOutcome.REDACTED, "the body or the headers of the call are not recorded")
        is_whole = not call.erased and call.request.headers and call.request_body_size == len(call.request.body)
        if is_whole:
            result = _result(usable, call.request, url)
        if result.outcome is CheckOutcome.FAILS and isinstance(usable.profile.verifier, SharedSecret | Basic):
            result = ProfileCheck(CheckOutcome.REDACTED, "secrets that are sent in plain text are not recorded")
        await self._record(owner, name, result, call.id)
        return result

    def _usable(self, owner: str, name: str, stored: OwnProfile, now: float) -> _Usable:
        now_ms = time.time_ns() // 1_000_000
        try:
            secrets = open_secrets(self.changes.keyring(), owner, name, stored, now_ms)
            profile = profile_of_secrets(stored.kind, stored.settings, secrets, lambda: now)
        except (UnusableProfileError, CredentialsError, ValueError) as error:
            raise errors.ProfileUnusableError(f"this server cannot use the profile: {error}") from None
        return _Usable(profile, [each.id for each in stored.valid_secrets(now_ms)])

    async def _record(self, owner: str, name: str, result: ProfileCheck, call_id: str = "") -> None:
        change = Change(
            AuditAction.PROFILE_CHECKED,
            owner,
            owner=owner,
            call_id=call_id,
            verification_profile=name,
            details={"outcome": result.outcome},
        )
        append = partial(append_audit, self.scripts, keys.partition_of_owner(owner))
        await self.audit.record(change, append, is_recorded=lambda _none: True)


def _result(usable: _Usable, request: Request, url: str) -> ProfileCheck:
    profile = usable.profile
    try:
        if profile.handshake(request, url) is not None:
            return ProfileCheck(CheckOutcome.HANDSHAKE)
        message = profile.verify(request, url)
    except VerificationError as error:
        hint = "" if url or error.reason is not FailureReason.SIGNATURE else "; give the URL if the sender signs it"
        return ProfileCheck(CheckOutcome.FAILS, f"{error}{hint}")
    except Exception:  # as for a call: it refuses the request, and its text may have a part of it
        return ProfileCheck(CheckOutcome.FAILS, "the verification itself failed")
    secret_id = ""
    with contextlib.suppress(VerificationError):
        found = _INDEX.search(profile.verifier.explain(request, url).secret_file)
        secret_id = usable.secret_ids[int(found[1])] if found else ""
    return ProfileCheck(CheckOutcome.PASSES, "", secret_id, message.message_id)
