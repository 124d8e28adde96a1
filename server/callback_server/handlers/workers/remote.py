"""Workers of other replicas, and local workers for calls of other replicas: the same protocol over the replica bus.

1. A replica reads the free slots of the others from the store, only while a call needs one, and at most every
   DISCOVERY_S. The counts are never exact. A replica whose slots are full declines.
2. A lost message only delays a call: each side times out by its own clock. A repeated message has no effect, because
   the name of an assignment is used once.
3. A replica that announces itself no more stops. An offer that it has not accepted is withdrawn. After a while it is
   dead, and the confirmed calls of its workers are lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
from collections.abc import Callable, Collection
from typing import Final

from callback.v1 import callback_handler_service_pb2 as handler_pb2
from callback.v1 import worker_service_pb2 as worker_pb2
from callback_process.logs import get_logger
from callback_process.tasks import TaskSet
from callback_server.domain.call import CallFailure
from callback_server.handlers.handler import HandlerError
from callback_server.handlers.workers.assignment import Assignment, NotConfirmedError, wait_for_result
from callback_server.handlers.workers.worker import LocalAssignment, route_of
from callback_server.store.connection.errors import StoreError
from callback_server.store.failure_log import log_store_error
from callback_server.store.queries.find_slots import ReplicaSlots, find_slots
from callback_server.store.replica_bus import ReplicaBus, ReplicaMessage
from callback_server.store.scripts import Scripts

log = get_logger()

DISCOVERY_S: Final = 0.25
"""The minimum time between two reads of the slots of other replicas, in seconds."""
LIVENESS_CHECK_S: Final = 1.0
"""How often a replica checks that the replicas which have its calls are alive, in seconds."""
DEAD_S: Final = 5.0
"""How long after a replica was first missed it counts as dead, in seconds."""


class Offer(ReplicaMessage, frozen=True, array_like=True):
    """Offers a call to a replica, for one of its workers."""

    kind = "worker.offer"

    assignment: str
    sender: str
    timeout_ms: int
    """How long the call may take from now, in milliseconds."""
    request: bytes
    """The `HandleCallbackRequest`."""


class Accept(ReplicaMessage, frozen=True, array_like=True):
    """Says that a worker accepts the call."""

    kind = "worker.accept"

    assignment: str
    worker_name: str = ""
    """The name of the worker. Empty: it has none."""


class Confirm(ReplicaMessage, frozen=True, array_like=True):
    """Confirms the call."""

    kind = "worker.confirm"

    assignment: str


class Withdraw(ReplicaMessage, frozen=True, array_like=True):
    """Takes the call back."""

    kind = "worker.withdraw"

    assignment: str


class Complete(ReplicaMessage, frozen=True, array_like=True):
    """Carries the result of the call."""

    kind = "worker.complete"

    assignment: str
    result: bytes | None
    """The `Result`. None: the worker was lost."""
    worker: int
    """The number of the worker. 0: no worker had the call."""
    is_stream_lost: bool = False
    """Whether the stream of the worker was lost before the call was confirmed."""
    is_too_large: bool = False
    """Whether no worker of the replica takes a message as large as the call."""


class RefuseAnswer(ReplicaMessage, frozen=True, array_like=True):
    """Says that the decision of a worker cannot be rendered."""

    kind = "worker.refuse_answer"

    worker: int
    refusal: bytes
    """The `RefuseAnswerRequest`."""


class RemoteAssignment(Assignment):
    """A call at a worker of another replica. That replica chooses the worker."""

    def __init__(self, call_id: str, route: str, replica: str, name: str, remote_workers: RemoteWorkers) -> None:
        super().__init__(call_id)
        self.route = route
        self.replica = replica
        self.name = name
        self.worker = 0
        """The number of the worker at its replica, once the call is completed."""
        self.is_too_large = False
        """Whether no worker of the replica takes a message as large as the call."""
        self._remote_workers = remote_workers

    def _send_offer(self, request: handler_pb2.HandleCallbackRequest, timeout_s: float) -> None:
        """Send the call."""
        replica_bus = self._remote_workers.replica_bus
        offer = Offer(self.name, replica_bus.replica, round(timeout_s * 1000), request.SerializeToString())
        replica_bus.send(self.replica, offer)

    def _send_confirm(self) -> None:
        """Tell the worker to run its handler."""
        self._remote_workers.replica_bus.send(self.replica, Confirm(self.name))

    def _send_withdraw(self) -> None:
        """Tell the worker that the call is withdrawn."""
        self._remote_workers.replica_bus.send(self.replica, Withdraw(self.name))
        self._remote_workers.remove(self)

    def give_back(self) -> None:
        """Free the slot of a call that was not offered."""
        self._remote_workers.remove(self)

    def refuse_answer(self, refusal: handler_pb2.RefuseAnswerRequest) -> None:
        """Tell the worker that its decision cannot be rendered."""
        message = RefuseAnswer(self.worker, refusal.SerializeToString())
        self._remote_workers.replica_bus.send(self.replica, message)


class RemoteWorkers:
    """The workers of other replicas, for calls of this process."""

    def __init__(self, scripts: Scripts, replica_bus: ReplicaBus, on_slots_free: Callable[[], None]) -> None:
        """Create without any known slots. `on_slots_free` is called whenever there may be a free slot."""
        self.replica_bus = replica_bus
        self._scripts = scripts
        self._on_slots_free = on_slots_free
        self._needed = asyncio.Event()
        self._assignments: dict[str, RemoteAssignment] = {}
        self._names = itertools.count()
        self._slots: dict[str, dict[str, int]] = {}
        """Free slots by replica and route."""
        self._valid_until: dict[str, float] = {}
        self._missing_since: dict[str, float] = {}
        self._read_at = float("-inf")
        self._was_read = asyncio.Event()
        """Set by the next read of the slots."""
        replica_bus.receive(Accept, self._accept)
        replica_bus.receive(Complete, self._complete)

    def need_slots(self) -> None:
        """Take note that a call needs a slot."""
        self._needed.set()

    def assign(self, route: str, call_id: str, except_at: Collection[str]) -> RemoteAssignment | None:
        """Occupy a slot at the replica that has the most. Return None if there is no known free slot.

        `except_at` are replicas whose workers cannot take the call.
        """
        able = [
            replica
            for replica, slots in self._valid_slots().items()
            if slots.get(route, 0) > 0 and replica not in except_at
        ]
        if not able:
            return None
        replica = max(able, key=lambda each: self._slots[each][route])
        self._slots[replica][route] -= 1
        name = f"{self.replica_bus.replica}:{next(self._names)}"
        assignment = self._assignments[name] = RemoteAssignment(call_id, route, replica, name, self)
        return assignment

    def free_slots(self, route: str) -> int:
        """Return the number of known free slots of a route."""
        return sum(slots.get(route, 0) for slots in self._valid_slots().values())

    def serve(self, route: str) -> bool:
        """Return whether a replica has announced a route, also without a free slot."""
        return any(route in slots for slots in self._valid_slots().values())

    async def find_routes(self, *, max_age_s: float) -> None:
        """Read the routes of other replicas, unless they were read less than `max_age_s` seconds ago.

        Return after that time also if the store did not answer.
        """
        if asyncio.get_running_loop().time() - self._read_at < max_age_s:
            return
        self.need_slots()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max_age_s):
                await self._was_read.wait()

    def _valid_slots(self) -> dict[str, dict[str, int]]:
        now = asyncio.get_running_loop().time()
        return {replica: slots for replica, slots in self._slots.items() if self._valid_until[replica] > now}

    def remove(self, assignment: RemoteAssignment) -> None:
        """Remove an assignment. The next announcement of its replica says whether its slot is free."""
        self._assignments.pop(assignment.name, None)

    async def run_discovery(self) -> None:
        """Read the slots of other replicas while a call needs one or a replica has a call of ours, until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LIVENESS_CHECK_S):
                    await self._needed.wait()
            if not (self._needed.is_set() or self._assignments):
                continue
            self._needed.clear()
            try:
                self._update(await find_slots(self._scripts))
            except StoreError as error:
                log_store_error("slots_not_found", error)
                self._needed.set()
            except Exception:  # the loop continues: calls that wait need it
                log.exception("slots_not_found")
                self._needed.set()
            else:
                self._on_slots_free()
            await asyncio.sleep(DISCOVERY_S)

    def _update(self, found: list[ReplicaSlots]) -> None:
        self._read_at = now = asyncio.get_running_loop().time()
        self._was_read.set()
        self._was_read = asyncio.Event()
        others = [each for each in found if each.replica != self.replica_bus.replica]
        self._slots = {each.replica: each.by_activity for each in others}
        self._valid_until = {each.replica: now + each.valid_ms / 1000 for each in others}
        missing = {assignment.replica for assignment in self._assignments.values()} - self._slots.keys()
        self._missing_since = {replica: self._missing_since.get(replica, now) for replica in missing}
        for assignment in [*self._assignments.values()]:
            if assignment.replica in missing and not assignment.accepted:
                assignment.withdraw()  # a replica that stopped does not read the offer; the call goes to another worker
            elif now - self._missing_since.get(assignment.replica, now) >= DEAD_S:
                self.remove(assignment)
                assignment.complete(None)

    def _accept(self, message: Accept) -> None:
        if (assignment := self._assignments.get(message.assignment)) is not None:
            assignment.worker_name = message.worker_name
            assignment.accept()

    def _complete(self, message: Complete) -> None:
        if (assignment := self._assignments.pop(message.assignment, None)) is None:
            return
        result = None if message.result is None else worker_pb2.Result.FromString(message.result)
        slots = self._slots.get(assignment.replica)
        if slots is not None:
            declined = result is not None and result.WhichOneof("outcome") == "declined" and not message.is_too_large
            slots[assignment.route] = 0 if declined else slots.get(assignment.route, 0) + 1
        assignment.worker = message.worker
        assignment.is_too_large = message.is_too_large
        assignment.is_stream_lost = message.is_stream_lost
        assignment.complete(result)
        self._on_slots_free()


class RemoteAssignmentHost:
    """Lets workers of this process handle calls of other replicas."""

    def __init__(
        self,
        replica_bus: ReplicaBus,
        is_too_large: Callable[[str, int], bool],
        assign: Callable[[str, str, int], LocalAssignment | None],
        refuse_answer: Callable[[int, handler_pb2.RefuseAnswerRequest], None],
    ) -> None:
        """Create a host.

        Args:
            replica_bus: Where offers come from.
            is_too_large: Returns whether local workers have a route, and none takes a call of this size in bytes.
            assign: Occupies a slot of a local worker, for a route, a call id and a size. None: no slot is free.
            refuse_answer: Tells the worker with a number that its decision cannot be rendered.
        """
        self._replica_bus = replica_bus
        self._is_too_large = is_too_large
        self._assign = assign
        self._refuse = refuse_answer
        self._assignments: dict[str, LocalAssignment] = {}
        self._tasks = TaskSet()
        replica_bus.receive(Offer, self._offer)
        replica_bus.receive(Confirm, self._confirm)
        replica_bus.receive(Withdraw, self._withdraw)
        replica_bus.receive(RefuseAnswer, self._refuse_answer)

    def _offer(self, offer: Offer) -> None:
        if offer.assignment in self._assignments:
            return
        request = handler_pb2.HandleCallbackRequest.FromString(offer.request)
        route, size = route_of(request), request.ByteSize()
        assignment = self._assign(route, request.call_id, size)
        if assignment is None:
            self._send_declined(offer, request.call_id, is_too_large=self._is_too_large(route, size))
            return
        self._assignments[offer.assignment] = assignment
        accept = Accept(offer.assignment, assignment.worker_name)
        assignment.request_confirm = functools.partial(self._replica_bus.send, offer.sender, accept)
        assignment.offer(request, offer.timeout_ms / 1000)  # not in the task: the next message may withdraw the call
        self._tasks.start(self._run(offer, request.call_id, assignment))

    def _confirm(self, message: Confirm) -> None:
        if (assignment := self._assignments.get(message.assignment)) is not None:
            assignment.confirm()

    def _withdraw(self, message: Withdraw) -> None:
        if (assignment := self._assignments.get(message.assignment)) is not None:
            assignment.withdraw()

    def _refuse_answer(self, message: RefuseAnswer) -> None:
        self._refuse(message.worker, handler_pb2.RefuseAnswerRequest.FromString(message.refusal))

    async def _run(self, offer: Offer, call_id: str, assignment: LocalAssignment) -> None:
        try:
            result = await wait_for_result(assignment)
            self._send_result(offer, result, assignment.worker.number)
        except NotConfirmedError as error:
            self._send_declined(offer, call_id, is_stream_lost=error.is_stream_lost)
        except HandlerError as error:
            if error.failure is CallFailure.HANDLER_ERROR:
                self._send_result(offer, worker_pb2.Result(call_id=call_id, error=error.detail))
            elif error.failure is CallFailure.HANDLER_LOST:
                self._send_result(offer, None)
        finally:
            del self._assignments[offer.assignment]

    def _send_declined(
        self, offer: Offer, call_id: str, *, is_stream_lost: bool = False, is_too_large: bool = False
    ) -> None:
        declined = worker_pb2.Result(call_id=call_id, declined=worker_pb2.Declined()).SerializeToString()
        message = Complete(offer.assignment, declined, 0, is_stream_lost=is_stream_lost, is_too_large=is_too_large)
        self._replica_bus.send(offer.sender, message)

    def _send_result(self, offer: Offer, result: worker_pb2.Result | None, worker: int = 0) -> None:
        packed = None if result is None else result.SerializeToString()
        self._replica_bus.send(offer.sender, Complete(offer.assignment, packed, worker))
