"""The worker pool: which worker gets which call, and when.

Calls wait here for a worker with a free slot: those of an owner in order, and the owners in turn (`shares.py`).

Workers of this process have priority over workers of other replicas. Among several, the least loaded worker gets the
call; among equally loaded ones, the worker that has waited longest for a call.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import functools
import itertools
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from callback.v1 import callback_handler_service_pb2 as handler_pb2
from callback_process.logs import get_logger
from callback_server import metrics
from callback_server.domain.call import MAX_DETAIL_CHARS, CallFailure, Grant, Request
from callback_server.domain.notification import CallReason
from callback_server.handlers.handler import HandlerError, Reply
from callback_server.handlers.messages import question
from callback_server.handlers.workers.assignment import Assignment, NotConfirmedError, wait_for_result
from callback_server.handlers.workers.remote import RemoteAssignment, RemoteAssignmentHost, RemoteWorkers
from callback_server.handlers.workers.shares import SlotShares
from callback_server.handlers.workers.worker import NOTIFICATIONS, LocalAssignment, Worker, route_of
from callback_server.limits.log import log_limit
from callback_server.limits.quotas import Quotas
from callback_server.store import keys
from callback_server.store.connection.errors import StoreError
from callback_server.store.failure_log import failures_logged
from callback_server.store.replica_bus import ReplicaBus
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.announce_slots import announce_slots

log = get_logger()

ANNOUNCE_S: Final = 1.0
"""Interval between two announcements of the free slots to other replicas, in seconds."""
ROUTES_AGE_S: Final = 1.0
"""How long the routes of other replicas are known once they were read, in seconds. A notification that no worker takes
ends at once then, so that thousands of them do not keep others from their handlers."""
MAX_STREAMS_LOST: Final = 2
"""How many workers may lose their stream while a call is offered to them. Then it is offered to no other: it may be the
cause. A stream that the server ends does not count."""
CHECK_S: Final = 0.2
"""How long the confirmation of the first call of a worker is delayed where workers are checked, in seconds."""
CHANGE_S: Final = 0.1
"""Time until it announces an activity that has free slots again, or has no more, in seconds."""


class _UnassignedCall:
    """A call that is at no worker."""

    def __init__(self, order: int, route: str, owner: str, call_id: str, size: int) -> None:
        self.order = order
        self.route = route
        self.owner = owner
        self.limit = ""
        """The limit that kept it from a free slot, when it was last tried. Empty: none."""
        self.call_id = call_id
        self.size = size
        """In bytes, as a message."""
        self.too_large_at: set[str] = set()
        """The other replicas whose workers take no message as large."""
        self.streams_lost = 0
        """How many workers lost their stream while the call was offered to them."""
        self.assignment: asyncio.Future[Assignment | None]
        """The slot that the call got. None: the pool stops, and the call gets none."""


class WorkerPool:
    """The handler of every activity without a push handler: the workers of all replicas."""

    def __init__(
        self,
        scripts: Scripts,
        replica_bus: ReplicaBus,
        quotas: Quotas,
        *,
        checks_workers: bool = False,
        records_errors: bool = False,
    ) -> None:
        """Create a pool without workers.

        Args:
            scripts: The scripts on the store.
            replica_bus: The messages between replicas.
            quotas: The quotas of owners.
            checks_workers: Whether the first call of each worker is confirmed only after CHECK_S.
            records_errors: Whether workers are asked for the class and message of a handler's error.
        """
        self._checks_workers = checks_workers
        self._records_errors = records_errors
        self._scripts = scripts
        self._replica_bus = replica_bus
        self._shares = SlotShares(quotas)
        self.workers: dict[Worker, None] = {}
        """The workers of this process, in the order in which they joined."""
        self._serving: defaultdict[str, dict[Worker, None]] = defaultdict(dict)
        self.waiting: list[_UnassignedCall] = []
        """The calls that wait for a slot, the oldest first."""
        self._assigned: set[Assignment] = set()
        """The calls of this process that are at a worker, confirmed or not."""
        self._has_limited = False
        """Whether a call waits although a slot may be free, because its owner may have no more."""
        self._is_stopped = False
        self._order = itertools.count()
        self._has_workers = asyncio.Event()
        self.draining = False
        """Whether the pool accepts no more workers."""
        self._remote_workers = RemoteWorkers(scripts, replica_bus, self.assign_waiting)
        self._remote_assignment_host = RemoteAssignmentHost(
            replica_bus, self._is_too_large, self._assign_locally, self._refuse_answer
        )
        metrics.WORKERS.set_function(lambda: len(self.workers))
        metrics.WORKER_SLOTS_FREE.set_function(lambda: sum(worker.free_slots for worker in [*self.workers]))
        metrics.WORKER_CALLS_WAITING.set_function(lambda: len(self.waiting))

    def join(self, worker: Worker) -> None:
        """Add a worker, which gets calls from now on."""
        self.workers[worker] = None
        metrics.add_activities(route.removeprefix(NOTIFICATIONS) for route in worker.routes)
        for route in worker.routes:
            self._serving[route][worker] = None
        self._has_workers.set()
        self.assign_waiting()

    def leave(self, worker: Worker) -> None:
        """Remove a worker, if it is still in the pool. Its confirmed calls are lost; the others go to other workers."""
        if worker not in self.workers:
            return
        del self.workers[worker]
        for route in worker.routes:
            del self._serving[route][worker]
            if not self._serving[route]:
                del self._serving[route]
        worker.disconnect(by_server=self._is_stopped)
        self.assign_waiting()

    def drain(self) -> None:
        """Ask every worker to connect to another server, once no queued call could use it."""
        self.draining = True
        self.assign_waiting()

    def stop(self) -> None:
        """Start no more handlers: a call that was not confirmed to a worker ends, and its handler has not started."""
        self._is_stopped = True
        waiting, self.waiting = self.waiting, []
        for each in waiting:
            each.assignment.set_result(None)
        for assignment in self._assigned:
            if not assignment.confirmed:
                assignment.withdraw()
        self.assign_waiting()  # lets the drained workers go

    async def handle(self, grant: Grant, request: Request, *, timeout_s: float) -> Reply:
        """Let a worker decide on a call or notification. See `Handler`."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_s
        message = question(grant, request, timeout_s=timeout_s, report_error=self._records_errors)
        route = route_of(message)
        call = _UnassignedCall(next(self._order), route, grant.owner, grant.call_id, message.ByteSize())
        while not self._is_stopped and (left_s := until - loop.time()) > 0:
            # This cannot pass a queued call that may have the slot: such a call takes one as soon as it is free.
            assignment = self._assign(call)
            if assignment is None and grant.reason is not CallReason.CALL and not self._is_served(route):
                await self._remote_workers.find_routes(max_age_s=min(left_s, ROUTES_AGE_S))
                if not (self._is_stopped or self._is_served(route)):
                    raise HandlerError(CallFailure.NO_HANDLER, f"no worker takes notifications of {grant.activity}")
                continue
            if assignment is None:
                assignment = await self._wait_for_slot(call, left_s)
            if assignment is None:
                continue
            if self._checks_workers and isinstance(assignment, LocalAssignment):
                assignment.delay_first_confirm(CHECK_S)
            assignment.offer(message, until - loop.time())
            if self._is_stopped:  # since the call got its slot
                assignment.withdraw()
            self._assigned.add(assignment)
            try:
                result = await wait_for_result(assignment)
            except NotConfirmedError as error:
                if isinstance(assignment, RemoteAssignment) and assignment.is_too_large:
                    call.too_large_at.add(assignment.replica)
                call.streams_lost += error.is_stream_lost
                if call.streams_lost == MAX_STREAMS_LOST:
                    detail = f"{MAX_STREAMS_LOST} workers lost their stream over this call of {call.size} bytes"
                    raise HandlerError(CallFailure.WORKERS_LOST, detail) from None
                continue
            except HandlerError as error:
                raise _named(error.failure, error.detail, assignment.worker_name) from None
            finally:
                self._assigned.remove(assignment)
                self._give_back(call)
            if result.WhichOneof("outcome") == "error":
                raise _named(CallFailure.HANDLER_ERROR, result.error, assignment.worker_name)
            return Reply(result.response, assignment.refuse_answer, assignment.worker_name)
        period = "before the server stopped" if self._is_stopped else f"in {timeout_s:g} s"
        if self._is_too_large(route, call.size) or (call.too_large_at and route not in self._serving):
            detail = f"no worker that takes a message of {call.size} bytes accepted a call of {grant.activity} {period}"
            raise HandlerError(CallFailure.TOO_LARGE, detail)
        detail = f"no worker accepted a call of {grant.activity} {period}"
        if call.limit:
            log_limit(call.limit, call.owner)
            detail += f", because {call.owner} had as many slots as it may have ({call.limit})"
        raise HandlerError(CallFailure.HANDLER_UNREACHABLE, detail)

    async def run_announcements(self) -> None:
        """Announce the free slots of this process to other replicas while it has workers, until cancelled."""
        announced: dict[str, int] | None = None
        announced_workers: dict[str, int] = {}
        announced_at = 0.0
        while True:
            if announced is None:
                self._has_workers.clear()
                if not self.workers:
                    await self._has_workers.wait()
            slots, workers = self._free_slots(), self.worker_counts()
            now = time.monotonic()
            if (
                announced is None
                or slots is None
                or _routes_with_slots(announced) != _routes_with_slots(slots)
                or announced_workers != workers
                or now - announced_at >= ANNOUNCE_S
            ):
                # If it fails, other replicas get the slots with the next announcement.
                with failures_logged("slots_not_announced"):
                    await self._announce(slots, workers or None)
                announced, announced_workers, announced_at = slots, workers, now
            await asyncio.sleep(CHANGE_S)

    async def announce_none(self) -> None:
        """Announce that this replica stops: it reads no more offers."""
        with contextlib.suppress(StoreError):  # an announcement expires soon anyway
            await self._announce(None, None)

    async def _announce(self, slots: Mapping[str, int] | None, workers: Mapping[str, int] | None) -> None:
        await announce_slots(self._scripts, self._replica_bus.replica, slots)
        await announce_slots(self._scripts, self._replica_bus.replica, workers, key=keys.SERVING_KEY)

    def worker_counts(self) -> dict[str, int]:
        """Return the number of workers of this process that take the calls, or notifications, of each route."""
        return {route: len(workers) for route, workers in self._serving.items()}

    async def run_discovery(self) -> None:
        """Find the free slots of other replicas when calls need them, until cancelled."""
        await self._remote_workers.run_discovery()

    async def _wait_for_slot(self, waiting: _UnassignedCall, timeout_s: float) -> Assignment | None:
        """Wait for a slot for a call, in order. Return None if there was none within `timeout_s` seconds."""
        waiting.assignment = asyncio.get_running_loop().create_future()
        bisect.insort(self.waiting, waiting, key=lambda each: each.order)
        self.assign_waiting()
        try:
            await asyncio.wait((waiting.assignment,), timeout=timeout_s)
            return waiting.assignment.result() if waiting.assignment.done() else None
        except asyncio.CancelledError:
            # After a pause of the process, its deadline is over and a slot is free in the same turn of the loop.
            if waiting.assignment.done() and (assignment := waiting.assignment.result()) is not None:
                self._give_back(waiting)
                assignment.give_back()
            raise
        finally:
            if not waiting.assignment.done():
                self.waiting.remove(waiting)

    def assign_waiting(self) -> None:
        """Give free slots to waiting calls: to the owners in turn, and of each to its oldest call."""
        exhausted: set[str] = set()
        limited: set[tuple[str, str]] = set()
        left = []
        for waiting in self._shares.in_turn(self.waiting):
            if waiting.route in exhausted or (waiting.route, waiting.owner) in limited:
                left.append(waiting)
                continue
            assignment = self._assign(waiting)
            if assignment is not None:
                waiting.assignment.set_result(assignment)
                continue
            left.append(waiting)
            if waiting.limit:
                limited.add((waiting.route, waiting.owner))
                continue
            # A worker that is free and cannot take this call, which is too large or which it still has from an earlier
            # attempt, may take others.
            if not any(worker.free_slots for worker in self._serving.get(waiting.route, ())):
                exhausted.add(waiting.route)
        self.waiting = sorted(left, key=lambda each: each.order)
        self._has_limited = bool(limited)
        if left:
            self._remote_workers.need_slots()
        if self.draining:
            wanted = {waiting.route for waiting in left}
            for worker in self.workers:
                if wanted.isdisjoint(worker.routes):
                    worker.drain()

    def _is_served(self, route: str) -> bool:
        return route in self._serving or self._remote_workers.serve(route)

    def _is_too_large(self, route: str, size: int) -> bool:
        """Return whether workers of this process have a route, and none of them takes a call of this size in bytes."""
        workers = self._serving.get(route, ())
        return bool(workers) and not any(worker.takes(size) for worker in workers)

    def _assign(self, call: _UnassignedCall) -> Assignment | None:
        call.limit = self._shares.limit(call, functools.partial(self._free_slots_of, call.route))
        if call.limit:
            return None
        assignment = self._assign_locally(call.route, call.call_id, call.size) or self._remote_workers.assign(
            call.route, call.call_id, call.too_large_at
        )
        if assignment is not None:
            self._shares.take(call)
        return assignment

    def _give_back(self, call: _UnassignedCall) -> None:
        """Let other calls of its owner have what a call had of the slots."""
        self._shares.give_back(call)
        if self._has_limited:
            self.assign_waiting()

    def _free_slots_of(self, route: str) -> int:
        """Return the number of free slots of a route, also at other replicas."""
        here = sum(worker.free_slots for worker in self._serving.get(route, ()))
        return here + self._remote_workers.free_slots(route)

    def _assign_locally(self, route: str, call_id: str, size: int) -> LocalAssignment | None:
        able = [
            worker
            for worker in self._serving.get(route, ())
            if worker.free_slots > 0 and worker.takes(size) and not worker.has_call(call_id)
        ]
        while able:
            worker = min(able, key=lambda worker: worker.load)
            if worker.may_work():
                return worker.assign(call_id)
            able.remove(worker)
        return None

    def _refuse_answer(self, number: int, refusal: handler_pb2.RefuseAnswerRequest) -> None:
        """Tell the worker with this number, if it is still connected, that its decision cannot be rendered."""
        for worker in self.workers:
            if worker.number == number:
                worker.refuse_answer(refusal)

    def _free_slots(self) -> dict[str, int] | None:
        """Return the number of free slots of each route that has some. None: there are no workers.

        The notifications of an activity are also there without a slot: so other replicas know that they are taken.
        """
        if not self.workers:
            return None
        slots: dict[str, int] = {}
        for route, workers in self._serving.items():
            free = sum(worker.free_slots for worker in workers)
            if free or route.startswith(NOTIFICATIONS):
                slots[route] = free
        return slots


def _named(failure: CallFailure, detail: str, worker: str) -> HandlerError:
    """Return the failure of a call that a worker had, with the name of the worker: its log may say more."""
    said = f" (worker {worker})" if worker else ""
    return HandlerError(failure, f"{detail[: MAX_DETAIL_CHARS - len(said)]}{said}", worker)


def _routes_with_slots(slots: Mapping[str, int]) -> dict[str, bool]:
    """Return whether each route has a free slot: when that changes, other replicas learn of it soon."""
    return {route: free > 0 for route, free in slots.items()}
