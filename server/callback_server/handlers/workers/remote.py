"""The workers of other replicas, and ours for them: the same conversation, spoken by mail.

1. Which replica has places is asked in the store, only while a call needs one, and not more often than ASK_S. What is
   known is never quite so: a replica that has no place after all declines.
2. A letter that is lost costs a call no more than time: each side gives up by its own clock. One that comes twice says
   nothing new, for a seat has a name that is used once.
3. A replica that has not been heard of for a while is dead, and with it what its workers had begun.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
from collections.abc import Callable
from typing import Final

from callback.v1 import callback_handler_service_pb2 as handler_pb2
from callback.v1 import worker_service_pb2 as worker_pb2
from callback_process.logs import get_logger
from callback_server.domain.call import CallFailure
from callback_server.handlers.handler import HandlerError
from callback_server.handlers.workers.assignment import Assignment, NotConfirmedError, converse
from callback_server.handlers.workers.worker import LocalAssignment
from callback_server.replica_bus import ReplicaBus, ReplicaMessage
from callback_server.store.connection.client import StoreError
from callback_server.store.queries.find_slots import ReplicaSlots, find_slots
from callback_server.store.scripts import Scripts

log = get_logger()

ASK_S: Final = 0.25
"""How often other replicas' places are asked for at most, in seconds."""
LOOK_S: Final = 1.0
"""How often those that have calls of ours are looked for, in seconds."""
DEAD_S: Final = 5.0
"""How long after a replica was missed first it counts as dead, in seconds."""


class Offer(ReplicaMessage, frozen=True, array_like=True):
    """Take this call, if you have a place."""

    kind = "worker.offer"

    seat: str
    sender: str
    timeout_ms: int
    """For how long the call may take, from now."""
    question: bytes


class Start(ReplicaMessage, frozen=True, array_like=True):
    """The worker can start."""

    kind = "worker.start"

    seat: str


class Go(ReplicaMessage, frozen=True, array_like=True):
    """It may begin."""

    kind = "worker.go"

    seat: str


class Withdrawn(ReplicaMessage, frozen=True, array_like=True):
    """Nobody waits for it any more."""

    kind = "worker.withdrawn"

    seat: str


class Ended(ReplicaMessage, frozen=True, array_like=True):
    """What the worker says of its end."""

    kind = "worker.ended"

    seat: str
    result: bytes | None
    """None: it is lost."""
    worker: int = 0
    """Which of the replica's workers it was. 0: a release that does not say."""


class Refused(ReplicaMessage, frozen=True, array_like=True):
    """What a worker of yours answered can not be rendered."""

    kind = "worker.refused"

    worker: int
    refusal: bytes


class RemoteAssignment(Assignment):
    """A place at a worker of another replica: at whichever it gives the call to."""

    def __init__(self, call_id: str, activity: str, replica: str, name: str, elsewhere: RemoteWorkers) -> None:
        super().__init__(call_id)
        self.activity = activity
        self.replica = replica
        self.name = name
        self.worker = 0
        """Which of its workers it was, once the call has ended."""
        self._elsewhere = elsewhere

    def offer(self, question: handler_pb2.HandleCallbackRequest, timeout_s: float) -> None:
        """Sends the call."""
        replica_bus = self._elsewhere.replica_bus
        offered = Offer(self.name, replica_bus.replica, round(timeout_s * 1000), question.SerializeToString())
        replica_bus.post(self.replica, offered)

    def begin(self) -> None:
        """Tells the worker to begin."""
        self._elsewhere.replica_bus.post(self.replica, Go(self.name))

    def withdraw(self) -> None:
        """Takes the call back."""
        self._elsewhere.replica_bus.post(self.replica, Withdrawn(self.name))
        self._elsewhere.leave(self)

    def refuse(self, refusal: handler_pb2.RefuseAnswerRequest) -> None:
        """Has the replica tell its worker."""
        self._elsewhere.replica_bus.post(self.replica, Refused(self.worker, refusal.SerializeToString()))


class RemoteWorkers:
    """The workers of other replicas."""

    def __init__(self, scripts: Scripts, replica_bus: ReplicaBus, changed: Callable[[], None]) -> None:
        """`changed` is told whenever there may be a place."""
        self.replica_bus = replica_bus
        self._scripts = scripts
        self._changed = changed
        self._needed = asyncio.Event()
        self._seats: dict[str, RemoteAssignment] = {}
        self._names = itertools.count()
        self._places: dict[str, dict[str, int]] = {}
        self._valid_until: dict[str, float] = {}
        self._missed: dict[str, float] = {}
        replica_bus.receive(Start, self._start)
        replica_bus.receive(Ended, self._end)

    def need(self) -> None:
        """Says that a call needs a place."""
        self._needed.set()

    def seat(self, activity: str, call_id: str) -> RemoteAssignment | None:
        """Takes a place, at the replica that has the most. None: there is none, as far as is known."""
        now = asyncio.get_running_loop().time()
        able = [
            replica
            for replica, places in self._places.items()
            if places.get(activity, 0) > 0 and self._valid_until[replica] > now
        ]
        if not able:
            return None
        replica = max(able, key=lambda each: self._places[each][activity])
        self._places[replica][activity] -= 1
        name = f"{self.replica_bus.replica}:{next(self._names)}"
        seat = self._seats[name] = RemoteAssignment(call_id, activity, replica, name, self)
        return seat

    def leave(self, seat: RemoteAssignment) -> None:
        """Gives a seat up. Whether its place is free again will be heard."""
        self._seats.pop(seat.name, None)

    async def ask_for_ever(self) -> None:
        """Asks for places while a call needs one, and for replicas that have calls of ours, until it is cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._needed.wait(), LOOK_S)
            if not (self._needed.is_set() or self._seats):
                continue
            self._needed.clear()
            try:
                self._take_over(await find_slots(self._scripts))
            except StoreError as error:
                log.warning("places_not_found", error=str(error))
                self._needed.set()
            except Exception:  # calls must not wait in vain for ever
                log.exception("places_not_found")
                self._needed.set()
            else:
                self._changed()
            await asyncio.sleep(ASK_S)

    def _take_over(self, found: list[ReplicaSlots]) -> None:
        now = asyncio.get_running_loop().time()
        others = [each for each in found if each.replica != self.replica_bus.replica]
        self._places = {each.replica: each.by_activity for each in others}
        self._valid_until = {each.replica: now + each.valid_ms / 1000 for each in others}
        missing = {seat.replica for seat in self._seats.values()} - self._places.keys()
        self._missed = {replica: self._missed.get(replica, now) for replica in missing}
        for seat in [*self._seats.values()]:
            if now - self._missed.get(seat.replica, now) >= DEAD_S:
                self.leave(seat)
                seat.end(None)

    def _start(self, letter: Start) -> None:
        if (seat := self._seats.get(letter.seat)) is not None:
            seat.start()

    def _end(self, letter: Ended) -> None:
        if (seat := self._seats.pop(letter.seat, None)) is None:
            return
        result = None if letter.result is None else worker_pb2.Result.FromString(letter.result)
        places = self._places.get(seat.replica)
        if places is not None:
            declined = result is not None and result.WhichOneof("outcome") == "declined"
            places[seat.activity] = 0 if declined else places.get(seat.activity, 0) + 1
        seat.worker = letter.worker
        seat.end(result)
        self._changed()


class Host:
    """Has workers of this process handle calls of other replicas."""

    def __init__(
        self,
        replica_bus: ReplicaBus,
        seat: Callable[[str, str], LocalAssignment | None],
        refuse: Callable[[int, handler_pb2.RefuseAnswerRequest], None],
    ) -> None:
        """`seat` takes a place at a worker for an activity and a call, if there is one; `refuse` tells a worker."""
        self._replica_bus = replica_bus
        self._seat = seat
        self._refuse = refuse
        self._seats: dict[str, LocalAssignment] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        replica_bus.receive(Offer, self._offered)
        replica_bus.receive(Go, self._go)
        replica_bus.receive(Withdrawn, self._withdrawn)
        replica_bus.receive(Refused, self._refused)

    def _offered(self, letter: Offer) -> None:
        if letter.seat in self._seats:
            return
        question = handler_pb2.HandleCallbackRequest.FromString(letter.question)
        seat = self._seat(question.callback_activity, question.call_id)
        if seat is None:
            self._say(letter, worker_pb2.Result(call_id=question.call_id, declined=True))
            return
        self._seats[letter.seat] = seat
        seat.ask = functools.partial(self._replica_bus.post, letter.sender, Start(letter.seat))
        seat.open(question, letter.timeout_ms / 1000)  # not by the task: the next letter may take the call back
        task = asyncio.create_task(self._converse(letter, question.call_id, seat))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _go(self, letter: Go) -> None:
        if (seat := self._seats.get(letter.seat)) is not None:
            seat.go()

    def _withdrawn(self, letter: Withdrawn) -> None:
        if (seat := self._seats.get(letter.seat)) is not None:
            seat.give_up()

    def _refused(self, letter: Refused) -> None:
        self._refuse(letter.worker, handler_pb2.RefuseAnswerRequest.FromString(letter.refusal))

    async def _converse(self, letter: Offer, call_id: str, seat: LocalAssignment) -> None:
        try:
            result = await converse(seat)
            self._say(letter, result, seat.worker.number)
        except NotConfirmedError:
            self._say(letter, worker_pb2.Result(call_id=call_id, declined=True))
        except HandlerError as error:
            if error.failure is CallFailure.HANDLER_ERROR:
                self._say(letter, worker_pb2.Result(call_id=call_id, error=error.detail))
            elif error.failure is CallFailure.HANDLER_LOST:
                self._say(letter, None)
        finally:
            del self._seats[letter.seat]

    def _say(self, letter: Offer, result: worker_pb2.Result | None, worker: int = 0) -> None:
        packed = None if result is None else result.SerializeToString()
        self._replica_bus.post(letter.sender, Ended(letter.seat, packed, worker))
