"""Interface of the kinds of profiles: how a kind verifies requests. Handshakes are separate."""

from __future__ import annotations

from typing import Protocol

from callback_server.domain.call import Request
from callback_server.verification.profile import VerifiedMessage


class Verifier(Protocol):
    """Verifier with its current secrets."""

    challenge: str
    """See `Profile.challenge`."""
    reads_body: bool
    """See `Profile.reads_body`."""

    def verify(self, request: Request, url: str, now: float) -> VerifiedMessage:
        """Verify a request, as `Profile.verify` does. `now` is the time in seconds since 1970."""

    def redacted(self, request: Request) -> Request:
        """Return the redacted request, as `Profile.redacted` does."""
