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
from collections.abc import Awaitable, Callable
from typing import Final

from callback.v1 import callback_handler_service_pb2 as handler_pb2
from callback.v1 import worker_service_pb2 as worker_pb2
from callback_server.domain.call import CallFailure
from callback_server.handlers.handler import HandlerError

START_S: Final = 5.0
"""How long a worker that was offered a call may take to say that it can start, in seconds."""


class NotBegunError(Exception):
    """The worker did not begin, and will not: the call may go to another one."""


class Seat(ABC):
    """A place at a worker that one call has taken. What the worker says comes to `start` and `end`."""

    def __init__(self, call_id: str) -> None:
        loop = asyncio.get_running_loop()
        self.call_id = call_id
        self.started: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[worker_pb2.Result | None] = loop.create_future()
        """None: the worker is lost."""

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

    def start(self) -> None:
        """The worker says that it can start."""
        if not self.started.done():
            self.started.set_result(None)

    def end(self, result: worker_pb2.Result | None) -> None:
        """The worker says how the call ended, or is lost."""
        if not self.ended.done():
            self.ended.set_result(result)


async def at_once() -> bool:
    """Of the coordinator itself: a worker that can start may begin."""
    return True


async def converse(
    seat: Seat,
    question: handler_pb2.HandleCallbackRequest,
    *,
    timeout_s: float,
    may_begin: Callable[[], Awaitable[bool]],
) -> worker_pb2.Result:
    """Has the worker handle the call, in this time.

    Raises:
        NotBegunError: it did not begin.
        HandlerError: it began, and there is no result.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + timeout_s
    seat.offer(question, timeout_s)
    try:
        await asyncio.wait(
            (seat.started, seat.ended), timeout=min(START_S, timeout_s), return_when=asyncio.FIRST_COMPLETED
        )
        may = seat.started.done() and not seat.ended.done() and await may_begin()
        if seat.ended.done():
            result = seat.ended.result()
            if result is None or result.WhichOneof("outcome") == "declined":
                raise NotBegunError
            # It may well have done what it was not told to do: nobody else does it again.
            raise HandlerError(CallFailure.HANDLER_ERROR, "the worker answered before it was told to begin")
        if not may:
            raise NotBegunError
        seat.begin()
        await asyncio.wait((seat.ended,), timeout=until - loop.time())
        if not seat.ended.done():
            raise HandlerError(CallFailure.DEADLINE_EXCEEDED, "the worker did not answer until the deadline")
        result = seat.ended.result()
        if result is None or result.WhichOneof("outcome") == "declined":
            raise HandlerError(CallFailure.HANDLER_LOST, "the worker was lost after it was told to begin")
        return result
    finally:
        if not seat.ended.done():
            seat.withdraw()
