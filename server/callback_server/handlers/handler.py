"""The interface of a handler, and its failures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from callback.v1 import callback_handler_service_pb2 as handler_pb2
from callback_server.domain.call import CallFailure, Grant, Request


class Reply(msgspec.Struct, frozen=True):
    """The reply of a handler. It is a decision only if it is valid."""

    answer: handler_pb2.HandleCallbackResponse
    refuse: Callable[[handler_pb2.RefuseAnswerRequest], None]
    """Reports to the handler that its decision cannot be rendered. It does not wait, and delivery is not guaranteed."""
    worker: str = ""
    """The name of the worker that ran the handler. Empty: it has no name, or it is no worker."""


class HandlerError(Exception):
    """There is no decision. `detail` is for the case's owner and never reaches the caller."""

    def __init__(self, failure: CallFailure, detail: str, worker: str = "") -> None:
        """Create it; `worker` is the name of the worker that had the call, as in `Reply`."""
        super().__init__(detail)
        self.failure = failure
        self.detail = detail
        self.worker = worker


class Handler(Protocol):
    """Decides what happens on the calls of one activity, and takes its notifications or refuses them."""

    async def handle(self, grant: Grant, request: Request, *, timeout_s: float) -> Reply:
        """Decide on one call or notification. It is called at most once for each attempt, and not cancelled.

        Raises:
            HandlerError: The handler failed, was lost, was late, or was never started; or it takes no notifications.
        """
        ...
