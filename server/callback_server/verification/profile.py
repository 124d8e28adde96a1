"""Result of a verification: the verified message, or why there is none."""

from __future__ import annotations

import enum
from dataclasses import dataclass


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

    def __init__(
        self,
        text: str,
        reason: FailureReason = FailureReason.MALFORMED,
        *,
        keys_url: str = "",
        is_notice: bool = False,
    ) -> None:
        super().__init__(text)
        self.reason = reason
        self.keys_url = keys_url
        """With the reason KEYS: the URL of the keys that are not known, which `Profile.want_keys` has fetched."""
        self.is_notice = is_notice
        """Whether the request is a call that is not verified, because the settings allow it without proof."""


@dataclass(frozen=True, slots=True)
class VerifiedMessage:
    """Result of a successful verification."""

    message_id: str = ""
    """Id that the sender gave the message, at most 200 characters. Empty if there is none."""
    window_ms: int = 0
    """Time in which a message with this id is a repeat, in milliseconds: twice the tolerance."""
    sender: str = ""
    """Who the request proves that it is from, if it proves more than a secret of the profile: the issuer and the
    subject of a token, or a user name. It is the same whichever key or secret matched. An equal request of another
    sender is not the same request."""
