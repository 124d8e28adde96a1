"""One worker that is connected to this process: its slots, and the messages to it."""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection
from typing import Final

from callback.v1 import callback_handler_service_pb2 as handler_pb2
from callback.v1 import callback_pb2
from callback.v1 import worker_service_pb2 as worker_pb2
from callback_process.logs import get_logger
from callback_server.handlers.workers.assignment import Assignment

log = get_logger()

DECLINE_PAUSE_S: Final = 1.0
"""How long a worker that has declined a call gets no other call, in seconds: the server does not know why."""
MAX_BATCH_MESSAGES: Final = 64
"""The maximum number of messages in one batch."""
MAX_BATCH_BYTES: Final = 256 * 1024
"""The maximum size of a batch of several messages, in bytes. A larger message is sent alone."""
DEFAULT_MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024
"""The largest message of a worker that does not say it in Hello, in bytes: the default of gRPC."""
OFFER_OVERHEAD_BYTES: Final = 32
"""What a message with one offer has at most besides the call, in bytes: the tags, the lengths, and its timeout."""

NOTIFICATIONS: Final = "\0"
"""The beginning of the route of the notifications of an activity. The route of its calls is its name, which has no such
character. Replicas of the release before never announce slots of such a route."""
_turns = itertools.count()
_numbers = itertools.count(1)


class Worker:
    """One worker. Each offered call occupies a slot until the worker sends its result, also a withdrawn call.

    A worker that has not replied to an offer when the call is withdrawn hangs: it gets no more calls until it replies.
    """

    def __init__(
        self,
        activities: Collection[str],
        max_calls: int,
        *,
        on_slot_free: Callable[[], None],
        notification_activities: Collection[str] = (),
        max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
        name: str = "",
        find_refusal: Callable[[], Exception | None] = lambda: None,
    ) -> None:
        """Create a worker.

        Args:
            activities: The activities whose calls it handles.
            max_calls: The number of its slots.
            on_slot_free: Called whenever a slot may have become free.
            notification_activities: The activities whose notifications it handles.
            max_message_bytes: The largest message that it takes, in bytes.
            name: Its name in the log, in traces, and in what is recorded of a failure.
            find_refusal: Returns why it may work no longer. None: it may work.
        """
        self.number = next(_numbers)
        """Identifies the worker among all that were ever connected to this process."""
        self.routes = frozenset(activities) | {*map(notification_route, notification_activities)}
        """What it handles, as `route_of` names it."""
        self.max_calls = max_calls
        self._max_offer_bytes = max_message_bytes - OFFER_OVERHEAD_BYTES
        self.draining = False
        """Whether the worker gets no more calls."""
        self.calls_lost = 0
        """The number of calls that were lost with its stream."""
        self.refusal: Exception | None = None
        """Why it may work no longer, as of the last check."""
        self.was_checked = False
        """Whether the confirmation of its first call was delayed."""
        self.name = name
        self._find_refusal = find_refusal
        self._on_slot_free = on_slot_free
        self._assignments: dict[str, LocalAssignment] = {}
        self._unanswered: set[LocalAssignment] = set()
        self._is_paused = False
        self._turn = next(_turns)
        self._outgoing: deque[worker_pb2.WorkResponse] = deque()
        """The messages to send, each as a batch of one: to merge batches copies each message once."""
        self._is_closed = False
        """Whether no more messages are sent."""
        self._has_outgoing = asyncio.Event()

    @property
    def free_slots(self) -> int:
        """The number of calls that the worker can take now."""
        if self.draining or self._is_paused or self._unanswered:
            return 0
        return self.max_calls - len(self._assignments)

    @property
    def load(self) -> tuple[float, int]:
        """The share of its slots that are occupied, then how recently it got a call: for comparison."""
        return len(self._assignments) / self.max_calls, self._turn

    def takes(self, size: int) -> bool:
        """Return whether a call of this size in bytes fits into a message to the worker."""
        return size <= self._max_offer_bytes

    def has_call(self, call_id: str) -> bool:
        """Return whether an earlier attempt of this call still occupies a slot."""
        return call_id in self._assignments

    def assign(self, call_id: str) -> LocalAssignment:
        """Occupy a slot with a call."""
        self._turn = next(_turns)
        assignment = self._assignments[call_id] = LocalAssignment(call_id, self)
        return assignment

    def receive(self, message: worker_pb2.WorkerMessage) -> None:
        """Handle a message of the worker. A message about a call that it does not have has no effect."""
        match message.WhichOneof("message"):
            case "accept":
                if (assignment := self._assignments.get(message.accept.call_id)) is not None:
                    if assignment in self._unanswered:
                        self._unanswered.remove(assignment)
                        self._on_slot_free()
                    assignment.accept()
            case "result":
                if (assignment := self._assignments.pop(message.result.call_id, None)) is not None:
                    self._unanswered.discard(assignment)
                    if message.result.WhichOneof("outcome") != "declined":
                        self._check_waited(assignment)
                    elif not assignment.withdrawn:
                        self._pause()
                    assignment.complete(message.result)
                    self._on_slot_free()
                    self._close_if_drained()
            case "drain":
                self.draining = True
                self._close_if_drained()

    def send(self, response: worker_pb2.WorkResponse) -> None:
        """Queue a message, in a batch of one."""
        if not self._is_closed:
            self._outgoing.append(response)
            self._has_outgoing.set()

    def refuse_answer(self, refusal: handler_pb2.RefuseAnswerRequest) -> None:
        """Tell the worker that its decision on a call cannot be rendered."""
        response = worker_pb2.WorkResponse()
        response.messages.add().answer_refused.CopyFrom(refusal)
        self.send(response)

    def drain(self) -> None:
        """Ask the worker to connect to another server; once."""
        if not self.draining:
            self.draining = True
            response = worker_pb2.WorkResponse()
            response.messages.add().drain.SetInParent()
            self.send(response)
        self._close_if_drained()

    def may_work(self) -> bool:
        """Check whether it may still work. If not, ask it to connect again: the calls that it has accepted may end.

        What it has not accepted goes to another worker, and an offer that it has not read is not sent any more.
        """
        self.refusal = self._find_refusal()
        if self.refusal is not None:
            self._outgoing = deque(each for each in self._outgoing if not each.messages[0].HasField("offer"))
            for assignment in self._assignments.values():
                if not assignment.accepted:
                    assignment.withdraw()
            self.drain()
        return self.refusal is None

    def disconnect(self, *, by_server: bool) -> None:
        """End the stream, or record that it has ended: all calls of the worker are lost."""
        self.draining = True
        assignments, self._assignments = self._assignments, {}
        self.calls_lost += sum(not assignment.withdrawn for assignment in assignments.values())
        for assignment in assignments.values():
            assignment.lose(by_server=by_server)
        self._outgoing.clear()
        self._close()

    def withdraw(self, assignment: LocalAssignment) -> None:
        """Take a call back. Its slot stays occupied until the worker sends a result."""
        if not assignment.accepted:
            self._unanswered.add(assignment)
        response = worker_pb2.WorkResponse()
        response.messages.add().withdraw.call_id = assignment.call_id
        self.send(response)
        self._close_if_drained()

    def give_back(self, assignment: LocalAssignment) -> None:
        """Free the slot of a call that was not offered, unless the stream has ended since."""
        if self._assignments.pop(assignment.call_id, None) is not None:
            self._on_slot_free()
            self._close_if_drained()

    async def responses(self) -> AsyncIterator[worker_pb2.WorkResponse]:
        """Yield the messages to the worker in batches, until its stream ends."""
        while self._outgoing or not self._is_closed:
            if self._outgoing:
                yield self._next_batch()
            else:
                self._has_outgoing.clear()
                await self._has_outgoing.wait()

    def _next_batch(self) -> worker_pb2.WorkResponse:
        """Merge as many queued messages as fit into one batch: one gRPC message costs more than all that is in it."""
        batch = self._outgoing.popleft()
        if self._outgoing:
            left = MAX_BATCH_BYTES - batch.ByteSize()
            room = MAX_BATCH_MESSAGES - 1
            while self._outgoing and room:
                left -= self._outgoing[0].ByteSize()
                if left < 0:
                    break
                batch.MergeFrom(self._outgoing.popleft())
                room -= 1
        return batch

    def _check_waited(self, assignment: LocalAssignment) -> None:
        if not (assignment.confirmed or assignment.withdrawn):
            log.warning(
                "worker_did_not_wait",
                worker=self.name,
                call_id=assignment.call_id,
                problem="it ran a call before Confirm; with several servers another worker may run the same call",
            )

    def _close_if_drained(self) -> None:
        if self.draining and all(assignment.withdrawn for assignment in self._assignments.values()):
            self._close()

    def _close(self) -> None:
        self._is_closed = True
        self._has_outgoing.set()

    def _pause(self) -> None:
        self._is_paused = True
        asyncio.get_running_loop().call_later(DECLINE_PAUSE_S, self._resume)

    def _resume(self) -> None:
        self._is_paused = False
        self._on_slot_free()


def notification_route(activity: str) -> str:
    """Return the route of the notifications of an activity."""
    return NOTIFICATIONS + activity


def route_of(request: handler_pb2.HandleCallbackRequest) -> str:
    """Return by which workers a call or notification can be handled."""
    is_call = request.reason in (callback_pb2.CALL_REASON_CALL, callback_pb2.CALL_REASON_UNSPECIFIED)
    return request.callback_activity if is_call else notification_route(request.callback_activity)


class LocalAssignment(Assignment):
    """A call at a worker that is connected to this process."""

    def __init__(self, call_id: str, worker: Worker) -> None:
        super().__init__(call_id)
        self.worker = worker
        self.worker_name = worker.name
        self.withdrawn = False

    def delay_first_confirm(self, delay_s: float) -> None:
        """Confirm the call only after `delay_s` seconds, if it is the first one of its worker."""
        if not self.worker.was_checked:
            self.worker.was_checked = True
            self.request_confirm = functools.partial(self._loop.call_later, delay_s, self.confirm)

    def _send_offer(self, request: handler_pb2.HandleCallbackRequest, timeout_s: float) -> None:
        """Send the call, with its deadline and the time until then."""
        response = worker_pb2.WorkResponse()
        offer = response.messages.add().offer
        offer.CopyFrom(request)
        offer.timeout.FromMilliseconds(round(timeout_s * 1000))  # another worker may have had the call before
        self.worker.send(response)

    def _send_confirm(self) -> None:
        """Tell the worker to run its handler."""
        response = worker_pb2.WorkResponse()
        response.messages.add().confirm.call_id = self.call_id
        self.worker.send(response)

    def _send_withdraw(self) -> None:
        """Tell the worker that the call is withdrawn."""
        self.withdrawn = True
        self.worker.withdraw(self)

    def give_back(self) -> None:
        """Free the slot of a call that was not offered."""
        self.worker.give_back(self)

    def refuse_answer(self, refusal: handler_pb2.RefuseAnswerRequest) -> None:
        """Tell the worker that its decision cannot be rendered."""
        self.worker.refuse_answer(refusal)
