"""What every kind of verification profile does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from callback_server.domain.call import Request
from callback_server.domain.response import Response


class VerificationError(Exception):
    """A request does not pass. The text says why, for the log: it has no secret and nothing of what was sent."""


@dataclass(frozen=True, slots=True)
class VerifiedMessage:
    """What a request has proven."""

    message_id: str = ""
    """The sender's own name for what was sent, at most 200 characters. Empty if there is none."""
    window_ms: int = 0
    """For how long a message with this id is the same one: twice the tolerance, in milliseconds."""


class Profile(Protocol):
    """One profile. It holds secrets. Any exception refuses the request; one other than VerificationError is a bug."""

    challenge: str
    """What `WWW-Authenticate` says where a request does not pass (RFC 9110, 11.6.1)."""

    def handshake(self, request: Request, url: str) -> Response | None:
        """The answer to a request with which a sender asks whether this URL wants to be called. None: it is no such.

        Args:
            request: the request; its method can be `options`.
            url: the URL of the request, as the sender knows it, with its query.

        Raises:
            VerificationError: it is one, and proves the wrong thing.
        """

    def verify(self, request: Request, url: str) -> VerifiedMessage:
        """What the request proves.

        Args:
            request: the request, its body exactly as it came.
            url: as for `handshake`.

        Raises:
            VerificationError: it does not pass.
        """

    def redacted(self, request: Request) -> Request:
        """The request as it is handed on and recorded: without a secret that was sent as it is."""
