"""Verification profiles that owners keep while servers run, as they are stored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

PREFIX: Final = "own/"
"""What the name of such a profile begins with. No profile of the configuration has a `/` in its name."""
MAX_SECRETS: Final = 4
"""How many secrets of a profile can be valid, or become invalid later."""
MAX_BYTES: Final = 16 * 1024
"""The maximum size of the settings and secrets of a profile, in bytes."""


def is_own(name: str) -> bool:
    """Return whether a name is that of a profile of an owner."""
    return name.startswith(PREFIX)


class ProfileSecret(msgspec.Struct, frozen=True):
    """A secret or key of a profile."""

    id: str
    fingerprint: str
    create_time_ms: int
    sealed: bytes
    """The secret, sealed for its profile and id."""
    retire_time_ms: int | None = None
    """When it becomes invalid, in milliseconds since the epoch. None: never."""

    def is_retired(self, now_ms: int) -> bool:
        """Return whether it is invalid now."""
        return self.retire_time_ms is not None and self.retire_time_ms <= now_ms


class OwnProfile(msgspec.Struct, frozen=True):
    """A profile of an owner. It is identified by owner and name. Add fields with a default."""

    kind: str
    settings: str
    """The settings besides the kind, as a JSON object."""
    secrets: list[ProfileSecret]
    create_time_ms: int
    update_time_ms: int

    def valid_secrets(self, now_ms: int) -> Iterator[ProfileSecret]:
        """Yield the secrets that are not retired."""
        return (secret for secret in self.secrets if not secret.is_retired(now_ms))

    def next_retirement_ms(self, now_ms: int) -> int | None:
        """Return when the next secret becomes invalid, in milliseconds since the epoch. None: none does."""
        return min(
            (each.retire_time_ms for each in self.valid_secrets(now_ms) if each.retire_time_ms is not None),
            default=None,
        )


encode_profile = msgspec.msgpack.Encoder().encode
decode_profile = msgspec.msgpack.Decoder(OwnProfile).decode
