"""What the settings of several kinds have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, Field, model_validator

from callback_server.verification.settings.handshakes import HandshakeSettings, signs_challenges
from callback_server.verification.settings.table import SettingsTable


class CommonSettings(SettingsTable):
    """Settings of every profile."""

    handshake: HandshakeSettings | None = None
    """Handshake by which the sender asks whether the URL accepts its calls. The answer to it is not a call. None: no
    handshake."""
    enforce: bool = True
    """Whether a request that does not pass is refused. False: it is counted and logged, and becomes a call that is not
    verified, to try a profile on real messages."""

    @model_validator(mode="after")
    def _has_secret_for_challenges(self) -> Self:
        if signs_challenges(self.handshake) and self.kind != "hmac" and not self.kind.startswith("provider:"):
            raise ValueError("only the kind hmac can sign a challenge ({hmac} in the answer of its handshake)")
        return self


class WithSecrets(CommonSettings):
    """Settings of a kind with shared secrets."""

    secret_files: list[Path] = Field(min_length=1)
    """Files, each with one secret. All of them are valid, so a new secret can be added before the old one is removed.
    Changed files are reloaded. A line break at the end is ignored."""


class WithTolerance(CommonSettings):
    """Settings of a kind whose messages have a time or an id."""

    tolerance_s: int = Field(default=300, ge=1, le=24 * 3600)
    """Allowed difference between the clocks of sender and server, in seconds. A message that arrives again within twice
    this time after it succeeded gets the same answer, and is not handled again."""


def check_one_source(settings: BaseModel, *names: str) -> None:
    """Raise ValueError if not exactly one of these settings is given: with two, it is unclear which keys count."""
    if sum(bool(getattr(settings, name)) for name in names) != 1:
        raise ValueError(f"needs one of {', '.join(names)}")
