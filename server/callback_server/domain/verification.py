"""What the verification of a request found, for its claim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Verification:
    """What the verification of a request found, before its claim."""

    profile: str = ""
    """The verification profile that the request has passed. Empty: none."""
    message_sha256: str = ""
    """Digest of the message id, and of the sender if the message proves it (`message_digest`). Empty: messages have no
    id."""
    window_ms: int = 0
    """How long after the end of its call a message with this id is the same one, in milliseconds."""


UNVERIFIED: Final = Verification()
