"""One call with one worker: offered, started, begun, ended. The same whoever is in between.

1. The worker is offered the call, and says that it can start. Until then, and until it is told to begin, nothing has
   happened: if it declines, says nothing for a while, or is lost, the call may go to another one.
2. It is told to begin once, by the one who coordinates the call. What it says then decides; if it is lost, so is the
   call's end. A call that has begun goes to nobody else.
3. At the deadline the call is taken back. What the worker says after that changes nothing.

The coordinator is the process that holds the claim. Where the worker is connected to another replica, that one is in
between and runs the same conversation with it; what it may tell the worker to begin, it asks the coordinator.
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

START_S: Final = 5.0
"""How long a worker that was offered a call may take to say that it can start, in seconds; and the coordinator then, to
say that it may begin."""


class NotConfirmedError(Exception):
    """The worker did not begin, and will not: the call may go to another one."""


class Assignment(ABC):
    """A place at a worker that one call has taken.

    The coordinator says `open`, `go`, `give_up`; the worker `start`, `end`; to it is said `offer`, `begin`, `withdraw`.
    What follows is done at once, and not by who waits for the end: so what comes together is answered together.
    """

    def __init__(self, call_id: str) -> None:
        self._loop = asyncio.get_running_loop()
        self.call_id = call_id
        self.ask: Callable[[], None] | None = None
        """Asks the coordinator whether the worker may begin, who says so by `go`. None: it may."""
        self.started = False
        self.begun = False
        self.ended: asyncio.Future[worker_pb2.Result | None] = self._loop.create_future()
        """None: the worker is lost, or the call was taken back."""
        self.until = 0.0
        """How long the next step may take, by the loop's clock."""
        self._deadline = 0.0

    @abstractmethod
    def offer(self, question: handler_pb2.HandleCallbackRequest, timeout_s: float) -> None:
        """Sends the call. It is over after this time, in seconds."""

    @abstractmethod
    def begin(self) -> None:
        """Tells the worker to begin."""

    @abstractmethod
    def withdraw(self) -> None:
        """Takes the call back."""

    @abstractmethod
    def refuse(self, refusal: handler_pb2.RefuseAnswerRequest) -> None:
        """Tells the worker that its answer can not be rendered."""

    def open(self, question: handler_pb2.HandleCallbackRequest, timeout_s: float) -> None:
        """Offers the call."""
        now = self._loop.time()
        self._deadline = now + timeout_s
        self.until = now + min(START_S, timeout_s)
        self.offer(question, timeout_s)

    def start(self) -> None:
        """The worker says that it can start."""
        if not (self.started or self.ended.done()):
            self.started = True
            self.until = min(self._loop.time() + START_S, self._deadline)
            if self.ask is None:
                self.go()
            else:
                self.ask()

    def go(self) -> None:
        """The coordinator says that the worker may begin."""
        if self.started and not (self.begun or self.ended.done()):
            self.begun = True
            self.until = self._deadline
            self.begin()

    def end(self, result: worker_pb2.Result | None) -> None:
        """The worker says how the call ended, or is lost."""
        if not self.ended.done():
            self.ended.set_result(result)

    def give_up(self) -> None:
        """Takes the call back, unless it has ended: nothing that the worker says of it matters any more."""
        if not self.ended.done():
            self.ended.set_result(None)
            self.withdraw()


async def converse(seat: Assignment) -> worker_pb2.Result:
    """Waits for what becomes of a call that was offered, to its deadline at most.

    Raises:
        NotBegunError: it did not begin.
        HandlerError: it began, and there is no result.
    """
    loop = asyncio.get_running_loop()
    try:
        while not seat.ended.done() and (left_s := seat.until - loop.time()) > 0:
            await asyncio.wait((seat.ended,), timeout=left_s)
        is_late = not seat.ended.done()
    finally:
        seat.give_up()
    result = seat.ended.result()
    if result is not None and result.WhichOneof("outcome") != "declined":
        if not seat.begun:
            # It may well have done what it was not told to do: nobody else does it again.
            raise HandlerError(CallFailure.HANDLER_ERROR, "the worker answered before it was told to begin")
        return result
    if not seat.begun:
        raise NotConfirmedError
    if is_late:
        raise HandlerError(CallFailure.DEADLINE_EXCEEDED, "the worker did not answer until the deadline")
    raise HandlerError(CallFailure.HANDLER_LOST, "the worker was lost after it was told to begin")
