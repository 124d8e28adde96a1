"""What a handler is to the call's path, and how it can fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from callback.v1 import callback_handler_service_pb2 as handler_pb2
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


@dataclass(frozen=True, slots=True)
class Reply:
    """What a handler said: a decision, if it is a sound one."""

    answer: handler_pb2.HandleCallbackResponse
    refuse: Callable[[handler_pb2.RefuseAnswerRequest], None]
    """Tells the handler that it is not. Waits for nothing, and promises nothing."""


class HandlerError(Exception):
    """There is no decision. `detail` is for the case's owner and never reaches the caller."""

    def __init__(self, failure: CallFailure, detail: str) -> None:
        super().__init__(detail)
        self.failure = failure
        self.detail = detail


class Handler(Protocol):
    """Decides what happens on the calls of one activity."""

    async def handle(self, grant: Grant, request: Request, *, timeout_s: float) -> Reply:
        """Decides one call. Asked at most once for each, and not cancelled.

        Raises:
            HandlerError: it failed, was lost, was late, or was never started.
        """
        ...
