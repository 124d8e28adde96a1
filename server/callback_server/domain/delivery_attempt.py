"""An attempt of a delivery: it asks a handler, after the caller of the call got its response or the fallback."""

from __future__ import annotations

from dataclasses import dataclass

from callback_server.domain.call import Grant, Request


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """An attempt of a delivery, to be run now."""

    grant: Grant
    request: Request
    fencing_token: int
    """The number of the attempt among all that have started. The end of an attempt counts only if no attempt with a
    higher token has started."""
    number_since_start: int = 1
    """The number of the attempt since the delivery started or was replayed."""
    not_asked_since_start: int = 0
    """How many of the attempts before it asked no handler."""
    age_ms: int = 0
    """How long ago the delivery started or was replayed, in milliseconds."""
    is_call_running: bool = False
    """Whether the end of the delivery ends its call, because the caller got a fallback."""

    @property
    def asked_before(self) -> int:
        """In how many of the attempts before it a handler was asked, since the delivery started or was replayed."""
        return self.number_since_start - self.not_asked_since_start - 1
