"""What a handler is to the call's path, and how it can fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from callback_server.domain.call import CallFailure, Grant, Request
from callback_server.domain.response import Response


@dataclass(frozen=True, slots=True)
class Decision:
    """What a handler decided."""

    accepted: bool
    """False: incorrect data was sent."""
    override: Response
    """The attributes that it gives; None each that it does not."""
    keep_open: bool = False
    """The call succeeded, but it was not yet the one."""


class HandlerError(Exception):
    """There is no decision. `detail` is for the case's owner and never reaches the caller."""

    def __init__(self, failure: CallFailure, detail: str) -> None:
        super().__init__(detail)
        self.failure = failure
        self.detail = detail


class Handler(Protocol):
    """Decides what happens on the calls of one activity."""

    async def handle(self, grant: Grant, request: Request, *, timeout_s: float) -> Decision:
        """Decides one call. Asked at most once for each, and not cancelled.

        Raises:
            HandlerError: it failed, was lost, was late, or was never started.
        """
        ...
