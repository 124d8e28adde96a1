"""One worker that is connected to this process: its places, and what is said to it."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection
from typing import Final

from callback.v1 import callback_handler_service_pb2 as handler_pb2
from callback.v1 import worker_service_pb2 as worker_pb2
from callback_server.handlers.workers.assignment import Assignment

REST_S: Final = 1.0
"""How long a worker that has declined a call gets no other, in seconds: it knows why, and we do not."""
MOST_MESSAGES: Final = 64
"""How many go in one."""
MOST_BYTES: Final = 256 * 1024
"""How large one of several may be; a larger one goes alone."""

_turns = itertools.count()
_numbers = itertools.count(1)


class Worker:
    """A worker. Each call that it is offered takes a place until it says how the call ended, also one taken back.

    One that leaves an offer unanswered until it is taken back gets no more until it answers it: it hangs.
    """

    def __init__(
        self,
        activities: Collection[str],
        max_calls: int,
        *,
        takes_more: bool,
        changed: Callable[[Worker], None],
    ) -> None:
        """`takes_more` says that it reads several messages in one; `changed` is told whenever a place may be free."""
        self.number = next(_numbers)
        """Which one it is, of all that were ever connected to this process."""
        self.activities = frozenset(activities)
        self.max_calls = max_calls
        self.draining = False
        """It gets no more calls."""
        self._changed = changed
        self.calls_lost = 0
        """How many calls it had when its stream ended, that somebody waited for."""
        self._seats: dict[str, LocalAssignment] = {}
        self._unanswered: set[LocalAssignment] = set()
        self._resting = False
        self._turn = next(_turns)
        self._takes_more = takes_more
        self._outgoing: deque[worker_pb2.WorkResponse] = deque()
        self._is_over = False
        """Nothing more is said to it."""
        self._spoken = asyncio.Event()

    @property
    def free(self) -> int:
        """How many calls it can take now."""
        if self.draining or self._resting or self._unanswered:
            return 0
        return self.max_calls - len(self._seats)

    @property
    def business(self) -> tuple[float, int]:
        """How busy it is: what share of its places is taken, then how lately it was given a call."""
        return len(self._seats) / self.max_calls, self._turn

    def has(self, call_id: str) -> bool:
        """Whether it still has this call, from an attempt before."""
        return call_id in self._seats

    def seat(self, call_id: str) -> LocalAssignment:
        """Takes a place."""
        self._turn = next(_turns)
        seat = self._seats[call_id] = LocalAssignment(call_id, self)
        return seat

    def hear(self, message: worker_pb2.WorkRequest) -> None:
        """Takes note of what it says, without what there is more. A call that it does not have is passed over."""
        match message.WhichOneof("message"):
            case "start":
                if (seat := self._seats.get(message.start.call_id)) is not None:
                    if seat in self._unanswered:
                        self._unanswered.remove(seat)
                        self._changed(self)
                    seat.start()
            case "result":
                if (seat := self._seats.pop(message.result.call_id, None)) is not None:
                    self._unanswered.discard(seat)
                    if message.result.WhichOneof("outcome") == "declined" and not seat.withdrawn:
                        self._rest()
                    seat.end(message.result)
                    self._changed(self)
                    self._end_if_drained()
            case "drain":
                self.draining = True
                self._end_if_drained()

    def say(self, message: worker_pb2.WorkResponse) -> None:
        """Sends it a message, in its turn."""
        if not self._is_over:
            self._outgoing.append(message)
            self._spoken.set()

    def refuse(self, refusal: handler_pb2.RefuseAnswerRequest) -> None:
        """Tells it that its answer to a call can not be rendered."""
        self.say(worker_pb2.WorkResponse(refused=refusal))

    def drain(self) -> None:
        """Tells it to go elsewhere; once."""
        if not self.draining:
            self.draining = True
            self.say(worker_pb2.WorkResponse(drain=worker_pb2.Drain()))
        self._end_if_drained()

    def lost(self) -> None:
        """Its stream is over: so is what it had."""
        self.draining = True
        seats, self._seats = self._seats, {}
        self.calls_lost += sum(not seat.withdrawn for seat in seats.values())
        for seat in seats.values():
            seat.end(None)
        self._end()

    def taken_back(self, seat: LocalAssignment) -> None:
        """Nobody waits for this call any more. Its place stays taken until the worker has answered."""
        if not seat.started:
            self._unanswered.add(seat)
        self.say(worker_pb2.WorkResponse(withdrawn=worker_pb2.Withdrawn(call_id=seat.call_id)))
        self._end_if_drained()

    async def messages(self) -> AsyncIterator[worker_pb2.WorkResponse]:
        """What is said to it, until its stream is over."""
        while self._outgoing or not self._is_over:
            if self._outgoing:
                yield self._message()
            else:
                self._spoken.clear()
                await self._spoken.wait()

    def _message(self) -> worker_pb2.WorkResponse:
        """As much of what is to be said as goes in one message."""
        message = self._outgoing.popleft()
        if self._takes_more and self._outgoing:
            left = MOST_BYTES - message.ByteSize()
            while self._outgoing and len(message.more) < MOST_MESSAGES - 1:
                left -= self._outgoing[0].ByteSize()
                if left < 0:
                    break
                message.more.append(self._outgoing.popleft())
        return message

    def _end_if_drained(self) -> None:
        if self.draining and all(seat.withdrawn for seat in self._seats.values()):
            self._end()

    def _end(self) -> None:
        self._is_over = True
        self._spoken.set()

    def _rest(self) -> None:
        self._resting = True
        asyncio.get_running_loop().call_later(REST_S, self._rested)

    def _rested(self) -> None:
        self._resting = False
        self._changed(self)


class LocalAssignment(Assignment):
    """A place at a worker that is connected to this process."""

    def __init__(self, call_id: str, worker: Worker) -> None:
        super().__init__(call_id)
        self.worker = worker
        self.withdrawn = False

    def offer(self, question: handler_pb2.HandleCallbackRequest, timeout_s: float) -> None:  # see Seat
        """Sends the call, which has its deadline within."""
        self.worker.say(worker_pb2.WorkResponse(call=question))

    def begin(self) -> None:
        """Tells the worker to begin."""
        self.worker.say(worker_pb2.WorkResponse(go=worker_pb2.Go(call_id=self.call_id)))

    def withdraw(self) -> None:
        """Takes the call back."""
        self.withdrawn = True
        self.worker.taken_back(self)

    def refuse(self, refusal: handler_pb2.RefuseAnswerRequest) -> None:
        """Tells the worker."""
        self.worker.refuse(refusal)
