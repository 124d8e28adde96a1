"""Who gets which call, and when: calls wait here, in their order, for a worker with a place.

A worker of this process comes before one of another replica; of several, the least busy, and of those the one that has
had no call for the longest. A worker never has more calls than it takes at a time.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import itertools
import time
from collections import defaultdict
from typing import Final

from callback.v1 import callback_handler_service_pb2 as handler_pb2
from callback_process.logs import get_logger
from callback_server import metrics
from callback_server.domain.call import CallFailure, Grant, Request
from callback_server.handlers.handler import HandlerError, Reply
from callback_server.handlers.messages import question
from callback_server.handlers.workers.assignment import Assignment, NotConfirmedError, converse
from callback_server.handlers.workers.remote import Host, RemoteWorkers
from callback_server.handlers.workers.worker import LocalAssignment, Worker
from callback_server.replica_bus import ReplicaBus
from callback_server.store.connection.client import StoreError
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.announce_slots import announce_slots

log = get_logger()

ANNOUNCE_S: Final = 1.0
"""How often other replicas are told of our places, in seconds."""
CHANGE_S: Final = 0.1
"""How soon they are told of an activity that has places again, or none any more, in seconds."""


class _Waiting:
    """A call that waits for a place."""

    def __init__(self, order: int, activity: str, call_id: str) -> None:
        self.order = order
        self.activity = activity
        self.call_id = call_id
        self.seat: asyncio.Future[Assignment] = asyncio.get_running_loop().create_future()


class WorkerPool:
    """The handler of every activity that has no other: the workers, of all replicas."""

    def __init__(self, scripts: Scripts, replica_bus: ReplicaBus) -> None:
        self._scripts = scripts
        self._replica_bus = replica_bus
        self._workers: dict[Worker, None] = {}
        self._serving: defaultdict[str, dict[Worker, None]] = defaultdict(dict)
        self._waiting: list[_Waiting] = []
        self._order = itertools.count()
        self._joined = asyncio.Event()
        self.draining = False
        """No worker is taken any more."""
        self._elsewhere = RemoteWorkers(scripts, replica_bus, self._dispatch)
        self._host = Host(replica_bus, self._local_seat, self._refuse)
        metrics.WORKERS.set_function(lambda: len(self._workers))
        metrics.WORKER_PLACES_FREE.set_function(lambda: sum(worker.free for worker in self._workers))
        metrics.WORKER_CALLS_WAITING.set_function(lambda: len(self._waiting))

    def join(self, worker: Worker) -> None:
        """Takes a worker: it gets calls from now on."""
        self._workers[worker] = None
        for activity in worker.activities:
            self._serving[activity][worker] = None
        self._joined.set()
        self._dispatch()

    def leave(self, worker: Worker) -> None:
        """Lets a worker go, if it has not gone yet. What it had begun is lost; what it had not goes to others."""
        if worker not in self._workers:
            return
        del self._workers[worker]
        for activity in worker.activities:
            del self._serving[activity][worker]
            if not self._serving[activity]:
                del self._serving[activity]
        worker.lost()
        self._dispatch()

    def changed(self, _worker: Worker) -> None:
        """Says that a worker may have a place."""
        self._dispatch()

    def drain(self) -> None:
        """Has every worker go elsewhere, as soon as no call waits here that it could take."""
        self.draining = True
        self._dispatch()

    async def handle(self, grant: Grant, request: Request, *, timeout_s: float) -> Reply:
        """Has a worker decide. See `Handler`."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_s
        asked = question(grant, request, deadline_ms=round((time.time() + timeout_s) * 1000))
        order = next(self._order)
        while (left_s := until - loop.time()) > 0:
            # That overtakes nobody who waits: a place for one of those was given at once when it got free.
            seat = self._seat(grant.activity, grant.call_id)
            if seat is None:
                seat = await self._place(_Waiting(order, grant.activity, grant.call_id), left_s)
            if seat is None:
                break
            seat.open(asked, until - loop.time())
            try:
                result = await converse(seat)
            except NotConfirmedError:
                continue
            if result.WhichOneof("outcome") == "error":
                raise HandlerError(CallFailure.HANDLER_ERROR, result.error[:500])
            return Reply(result.response, seat.refuse)
        raise HandlerError(
            CallFailure.HANDLER_UNREACHABLE, f"no worker took a call of {grant.activity} in {timeout_s:g} s"
        )

    async def announce_for_ever(self) -> None:
        """Tells other replicas of our places, as long as we have workers, until it is cancelled."""
        said: dict[str, int] | None = None
        said_at = 0.0
        while True:
            if said is None:
                self._joined.clear()
                if not self._workers:
                    await self._joined.wait()
            places = self._places()
            now = time.monotonic()
            if said is None or places is None or said.keys() != places.keys() or now - said_at >= ANNOUNCE_S:
                try:
                    await announce_slots(self._scripts, self._replica_bus.replica, places)
                except StoreError as error:
                    log.warning("places_not_announced", error=str(error))
                except Exception:  # others must learn of them the next time
                    log.exception("places_not_announced")
                said, said_at = places, now
            await asyncio.sleep(CHANGE_S)

    async def announce_none(self) -> None:
        """Tells other replicas that this one goes: what is offered to it from now on, nobody reads."""
        with contextlib.suppress(StoreError):  # what was announced does not hold for long
            await announce_slots(self._scripts, self._replica_bus.replica, None)

    async def ask_for_ever(self) -> None:
        """Learns of the places of other replicas when calls need them, until it is cancelled."""
        await self._elsewhere.ask_for_ever()

    async def _place(self, waiting: _Waiting, timeout_s: float) -> Assignment | None:
        """A place for a call, in its turn. None: there was none in that time."""
        bisect.insort(self._waiting, waiting, key=lambda each: each.order)
        self._dispatch()
        try:
            await asyncio.wait((waiting.seat,), timeout=timeout_s)
            return waiting.seat.result() if waiting.seat.done() else None
        finally:
            if not waiting.seat.done():
                self._waiting.remove(waiting)

    def _dispatch(self) -> None:
        """Gives places to calls that wait, the oldest first."""
        taken: set[str] = set()
        left = []
        for waiting in self._waiting:
            if waiting.activity in taken:
                left.append(waiting)
                continue
            seat = self._seat(waiting.activity, waiting.call_id)
            if seat is not None:
                waiting.seat.set_result(seat)
                continue
            left.append(waiting)
            # A worker that still has this very call is no reason for others to wait.
            if not any(worker.free for worker in self._serving.get(waiting.activity, ())):
                taken.add(waiting.activity)
        self._waiting = left
        if left:
            self._elsewhere.need()
        if self.draining:
            wanted = {waiting.activity for waiting in left}
            for worker in self._workers:
                if wanted.isdisjoint(worker.activities):
                    worker.drain()

    def _seat(self, activity: str, call_id: str) -> Assignment | None:
        return self._local_seat(activity, call_id) or self._elsewhere.seat(activity, call_id)

    def _local_seat(self, activity: str, call_id: str) -> LocalAssignment | None:
        able = [worker for worker in self._serving.get(activity, ()) if worker.free > 0 and not worker.has(call_id)]
        return min(able, key=lambda worker: worker.business).seat(call_id) if able else None

    def _refuse(self, number: int, refusal: handler_pb2.RefuseAnswerRequest) -> None:
        """Tells the worker of this number, if it is still here, that its answer can not be rendered."""
        for worker in self._workers:
            if worker.number == number:
                worker.refuse(refusal)

    def _places(self) -> dict[str, int] | None:
        """How many calls our workers could take, of each activity that has a place. None: there are no workers."""
        if not self._workers:
            return None
        places: dict[str, int] = {}
        for activity, workers in self._serving.items():
            free = sum(worker.free for worker in workers)
            if free:
                places[activity] = free
        return places
