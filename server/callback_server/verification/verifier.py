"""What a kind of profile brings: how it verifies, beside the handshakes that any kind can have."""

from __future__ import annotations

from typing import Protocol

from callback_server.domain.call import Request
from callback_server.verification.profile import VerifiedMessage


class Verifier(Protocol):
    """A way to verify, made of the secrets that hold now."""

    challenge: str
    """As of `Profile`."""

    def verify(self, request: Request, url: str, now: float) -> VerifiedMessage:
        """As of `Profile`; `now` is the time in seconds since 1970. Raises VerificationError."""

    def redacted(self, request: Request) -> Request:
        """As of `Profile`."""
