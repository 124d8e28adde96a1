"""Interface of verification profiles."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Protocol

from callback_server.domain.call import Request
from callback_server.domain.response import Response


class FailureReason(enum.StrEnum):
    """Reason of a failed verification, in the metric."""

    MISSING = "missing"
    """A value is missing."""
    SIGNATURE = "signature"
    """The signature, the secret or the token is wrong, or the address is."""
    TIME = "time"
    """The message is too old, or from the future."""
    MALFORMED = "malformed"
    """The request does not have the form that the profile describes."""
    KEYS = "keys"
    """The keys of the profile are not known yet, so the request can be neither accepted nor refused for good."""
    FAULT = "fault"
    """The verification itself failed, which is a bug."""


class VerificationError(Exception):
    """A request does not pass. The text is the reason for the log, without secrets and without request content."""

    def __init__(self, text: str, reason: FailureReason = FailureReason.MALFORMED) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class VerifiedMessage:
    """Result of a successful verification."""

    message_id: str = ""
    """Id that the sender gave the message, at most 200 characters. Empty if there is none."""
    window_ms: int = 0
    """Time in which a message with this id is a repeat, in milliseconds: twice the tolerance."""


class Profile(Protocol):
    """A verification profile with its secrets.

    Any exception refuses the request. An exception other than VerificationError is a bug.
    """

    challenge: str
    """Value of `WWW-Authenticate` for a request that does not pass (RFC 9110, 11.6.1)."""
    enforce: bool
    """Whether a request that does not pass is refused. False: it is counted and logged only."""
    reads_body: bool
    """Whether the body of a request can decide what it is: verified, or a handshake."""

    def handshake(self, request: Request, url: str) -> Response | None:
        """Return the answer to a handshake (see `handshakes`), or None if the request is not one.

        Args:
            request: The request; its method can be `options`.
            url: URL of the request, as the sender knows it, with its query.

        Raises:
            VerificationError: The request is a handshake without a valid proof.
        """

    def verify(self, request: Request, url: str) -> VerifiedMessage:
        """Verify a request.

        Args:
            request: The request, with its body exactly as it arrived.
            url: As for `handshake`.

        Raises:
            VerificationError: The request does not pass, or with the reason KEYS: it cannot be verified now.
        """

    def redacted(self, request: Request) -> Request:
        """Return the request without a secret that was sent in plain text, for the handler and the record."""
