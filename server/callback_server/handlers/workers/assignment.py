"""One call at one worker: offered, accepted, confirmed, completed. Local and remote workers use the same protocol.

1. The coordinator offers the call, and the worker accepts it. Until the call is confirmed, the handler has not started:
   if the worker declines, does not reply in time, or is lost, the call may go to another worker.
2. The coordinator confirms the call once, and the worker runs its handler. From then on the worker's result decides. If
   the worker is lost, the result is lost too. A confirmed call never goes to another worker.
3. At the deadline the coordinator withdraws the call. A later result has no effect.

The coordinator is the process that holds the claim of the call. Where the worker is connected to another replica, that
replica runs the same protocol with the worker, and requests the confirmation from the coordinator.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

from callback.v1 import callback_handler_service_pb2 as handler_pb2
from callback.v1 import worker_service_pb2 as worker_pb2
from callback_server.domain.call import CallFailure
from callback_server.handlers.handler import HandlerError

STEP_TIMEOUT_S: Final = 5.0
"""How long a worker may take to accept an offer, in seconds; and then the coordinator to confirm it."""


class NotConfirmedError(Exception):
    """The call was not confirmed, so the handler did not run and will not: the call may go to another worker."""

    def __init__(self, *, is_stream_lost: bool) -> None:
        super().__init__("the call was not confirmed")
        self.is_stream_lost = is_stream_lost
        """Whether the stream of the worker was lost meanwhile. The call may be the cause."""


class Assignment(ABC):
    """One call that occupies one slot of a worker.

    The coordinator calls `offer`, `confirm` and `withdraw`; the worker's messages call `accept` and `complete`. Each
    method acts at once, and not in the task that waits for the result: so messages that arrive together are answered
    together, in one batch.
    """

    def __init__(self, call_id: str) -> None:
        self._loop = asyncio.get_running_loop()
        self.call_id = call_id
        self.request_confirm: Callable[[], object] | None = None
        """Requests the confirmation: from the coordinator, or after a delay. None: an accepted call is confirmed at
        once."""
        self.accepted = False
        self.confirmed = False
        self.worker_name = ""
        """The name of the worker, once it has accepted the call. Empty: it has none."""
        self.is_stream_lost = False
        """Whether the stream of the worker broke before the call was completed. Not if the server ended it."""
        self.completed: asyncio.Future[worker_pb2.Result | None] = self._loop.create_future()
        """The result. None: the worker was lost, or the call was withdrawn."""
        self.step_deadline = 0.0
        """When the next step must have happened, by the clock of the event loop."""
        self._call_deadline = 0.0

    @abstractmethod
    def _send_offer(self, request: handler_pb2.HandleCallbackRequest, timeout_s: float) -> None:
        """Send the call to the worker. It ends after `timeout_s` seconds."""

    @abstractmethod
    def _send_confirm(self) -> None:
        """Tell the worker to run its handler."""

    @abstractmethod
    def _send_withdraw(self) -> None:
        """Tell the worker that the call is withdrawn."""

    @abstractmethod
    def give_back(self) -> None:
        """Free the slot of a call that was not offered."""

    @abstractmethod
    def refuse_answer(self, refusal: handler_pb2.RefuseAnswerRequest) -> None:
        """Tell the worker that its decision cannot be rendered."""

    def offer(self, request: handler_pb2.HandleCallbackRequest, timeout_s: float) -> None:
        """Offer the call, which ends after `timeout_s` seconds."""
        now = self._loop.time()
        self._call_deadline = now + timeout_s
        self.step_deadline = now + min(STEP_TIMEOUT_S, timeout_s)
        if not self.completed.done():  # the worker may have lost its right to work since it got the call
            self._send_offer(request, timeout_s)

    def accept(self) -> None:
        """Record that the worker accepts the call."""
        if not (self.accepted or self.completed.done()):
            self.accepted = True
            self.step_deadline = min(self._loop.time() + STEP_TIMEOUT_S, self._call_deadline)
            if self.request_confirm is None:
                self.confirm()
            else:
                self.request_confirm()

    def confirm(self) -> None:
        """Confirm an accepted call: the worker runs its handler."""
        if self.accepted and not (self.confirmed or self.completed.done()):
            self.confirmed = True
            self.step_deadline = self._call_deadline
            self._send_confirm()

    def complete(self, result: worker_pb2.Result | None) -> None:
        """Record the worker's result; None if the worker was lost."""
        if not self.completed.done():
            self.completed.set_result(result)

    def lose(self, *, by_server: bool) -> None:
        """Record that the stream of the worker has ended: the server ended it, or it broke."""
        if not self.completed.done():
            self.is_stream_lost = not by_server
            self.completed.set_result(None)

    def withdraw(self) -> None:
        """Take the call back, unless it is completed. No later message of the worker has an effect."""
        if not self.completed.done():
            self.completed.set_result(None)
            self._send_withdraw()


async def wait_for_result(assignment: Assignment) -> worker_pb2.Result:
    """Wait for the result of an offered call, at most until its deadline.

    Raises:
        NotConfirmedError: The call was not confirmed.
        HandlerError: The call was confirmed, and there is no result.
    """
    loop = asyncio.get_running_loop()
    try:
        while not assignment.completed.done() and (left_s := assignment.step_deadline - loop.time()) > 0:
            await asyncio.wait((assignment.completed,), timeout=left_s)
        is_late = not assignment.completed.done()
    finally:
        assignment.withdraw()
    result = assignment.completed.result()
    if result is not None and result.WhichOneof("outcome") != "declined":
        if not assignment.confirmed:
            # The handler may have run without a confirmation, so no other worker may get the call.
            raise HandlerError(CallFailure.HANDLER_ERROR, "the worker sent a result before the call was confirmed")
        if result.WhichOneof("outcome") is None:
            raise HandlerError(CallFailure.HANDLER_ERROR, "the worker sent a result without an outcome")
        return result
    if not assignment.confirmed:
        raise NotConfirmedError(is_stream_lost=assignment.is_stream_lost)
    if is_late:
        raise HandlerError(CallFailure.DEADLINE_EXCEEDED, "the worker sent no result before the deadline")
    raise HandlerError(CallFailure.HANDLER_LOST, "the worker was lost after the call was confirmed")
