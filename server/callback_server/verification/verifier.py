"""Interface of the kinds of profiles: how a kind verifies requests. Handshakes are separate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from callback_server.domain.call import Request
from callback_server.verification.profile import VerifiedMessage


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a verifier finds in a request, for the operator. Nothing of it is for a caller or for a log."""

    secret_file: str = ""
    """Setting that names the file with the secret or key that matches, such as `secret_files[1]`. Empty: none does."""
    signed: bytes | None = None
    """Bytes that the sender must have signed. None: the kind has no signature."""


class Verifier(Protocol):
    """Verifier with its current secrets."""

    challenge: str
    """See `Profile.challenge`."""
    reads_body: bool
    """See `Profile.reads_body`."""

    def verify(self, request: Request, url: str, now: float) -> VerifiedMessage:
        """Verify a request, as `Profile.verify` does. `now` is the time in seconds since 1970."""

    def redacted(self, request: Request) -> Request:
        """Return the redacted request, as `Profile.redacted` does. By default, nothing in it is a secret."""
        return request

    def explain(self, request: Request, url: str) -> Explanation:
        """Return what the verifier finds in a request. Raise VerificationError if it cannot be told."""
        return Explanation()
