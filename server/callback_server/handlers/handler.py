"""The interface of a handler, and its failures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from callback.v1 import callback_handler_service_pb2 as handler_pb2
from callback_server.domain.call import CallFailure, Grant, Request
from callback_server.domain.response import Response
from callback_server.errors import Violation


class Decision(msgspec.Struct, frozen=True):
    """The decision of a handler on a call."""

    accepted: bool
    """False: incorrect data was sent."""
    override: Response
    """The attributes that replace those of the case's response; None for each that does not."""
    keep_open: bool = False
    """Whether to keep the case open after this success."""
    close: bool = False
    """Whether to close the case with this success."""
    no_repeat: bool = False
    """Whether the answer must not be given twice."""

    def problems(self) -> list[Violation]:
        """Return why the decision contradicts itself; empty if it does not."""
        if self.close and self.keep_open:
            return [Violation("close", "exclusive", "cannot be combined with keep_open")]
        if self.close and not self.accepted:
            return [Violation("close", "verdict", "needs the verdict ACCEPTED")]
        return []


class Reply(msgspec.Struct, frozen=True):
    """The reply of a handler. It is a decision only if it is valid."""

    answer: handler_pb2.HandleCallbackResponse
    refuse: Callable[[handler_pb2.RefuseAnswerRequest], None]
    """Reports to the handler that its decision cannot be rendered. It does not wait, and delivery is not guaranteed."""


class HandlerError(Exception):
    """There is no decision. `detail` is for the case's owner and never reaches the caller."""

    def __init__(self, failure: CallFailure, detail: str) -> None:
        super().__init__(detail)
        self.failure = failure
        self.detail = detail


class Handler(Protocol):
    """Decides what happens on the calls of one activity, and takes its notifications or refuses them."""

    async def handle(self, grant: Grant, request: Request, *, timeout_s: float) -> Reply:
        """Decide on one call or notification. It is called at most once for each attempt, and not cancelled.

        Raises:
            HandlerError: The handler failed, was lost, was late, or was never started; or it takes no notifications.
        """
        ...
