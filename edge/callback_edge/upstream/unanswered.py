"""Calls that wait: for a stream, or on a stream for their results."""

import asyncio
from collections.abc import Callable
from typing import Final

from callback.v1 import edge_service_pb2
from callback_edge.limits.body_budget import BodyReservation
from callback_edge.problems import ProblemError

MAX_BATCH_CALLS: Final = 64
"""Maximum number of calls in one message."""
MAX_BATCH_BYTES: Final = 256 * 1024
"""Largest message of several calls. A larger call has a message of its own."""
_MAX_KEPT_BYTES: Final = 64 * 1024
"""Largest call that is kept after it was sent, for another server in case that this one refuses the edge."""


class UnansweredCall:
    """Call, or look-up of one, without a result. A caller that disconnects cancels `result` and nothing else."""

    __slots__ = (
        "added_at", "body", "encoded", "is_caller_gone", "is_dropped", "is_look_up", "is_wait", "number", "refusals",
        "result",
    )  # fmt: skip

    def __init__(
        self, number: int, message: edge_service_pb2.StreamInvocationsRequest, body: BodyReservation | None
    ) -> None:
        self.number = number
        (invocation,) = message.invocations
        invocation.number = number
        self.is_look_up = invocation.look_up or invocation.HasField("origins")
        """Whether this is no call, and may have happened or not."""
        self.is_wait = invocation.HasField("wait")
        """Whether this is no call, and only waits for the answer to an earlier one."""
        self.encoded = message.SerializeToString()
        """Serialized message with this call. By protobuf's rules the concatenation of several such messages is one
        message with all their calls."""
        self.body = body
        """Reservation of the body. None: there is none."""
        self.is_dropped = False
        """Whether the call is no longer in memory, so that it cannot be sent again."""
        self.result: asyncio.Future[edge_service_pb2.InvocationResult] = asyncio.get_running_loop().create_future()
        """Result. It fails with a ProblemError."""
        self.is_caller_gone = False
        """Whether the caller will not get the result."""
        self.refusals = 0
        """Number of servers that refused this edge."""
        self.added_at = 0.0
        """Time at which the call was added to its current queue, by the loop's clock."""

    def answer(self, outcome: edge_service_pb2.InvocationResult | ProblemError) -> None:
        """Set the result, unless there is one or the caller has disconnected."""
        if self.result.done():
            return
        if isinstance(outcome, ProblemError):
            self.result.set_exception(outcome)
        else:
            self.result.set_result(outcome)

    def written(self) -> None:
        """Drop a large body: gRPC has sent it, and its call may run for minutes."""
        if len(self.encoded) > _MAX_KEPT_BYTES:
            self.drop_body()

    def drop_body(self) -> None:
        """Drop the call from memory, and free the bytes of its body."""
        self.encoded, self.is_dropped = b"", True
        if self.body is not None:
            self.body.free()


class UnansweredCalls:
    """Queue of calls in the order of their arrival, with a timeout for each.

    Args:
        timeout_s: How long a call may stay, in seconds.
        on_timeout: Called with each call that stays longer, which leaves the queue.
    """

    def __init__(self, timeout_s: float, on_timeout: Callable[[UnansweredCall], None]) -> None:
        self._timeout_s = timeout_s
        self._on_timeout = on_timeout
        self._calls: dict[int, UnansweredCall] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._calls)

    def __contains__(self, number: int) -> bool:
        return number in self._calls

    def add(self, call: UnansweredCall) -> None:
        """Append a call."""
        loop = asyncio.get_running_loop()
        call.added_at = loop.time()
        self._calls[call.number] = call
        if self._timer is None:
            self._timer = loop.call_later(self._timeout_s, self._remove_expired)

    def get(self, number: int) -> UnansweredCall | None:
        """Return the call with this number. Return None if it is not here."""
        return self._calls.get(number)

    def remove(self, number: int) -> UnansweredCall | None:
        """Remove the call with this number and return it. Return None if it is not here."""
        return self._calls.pop(number, None)

    def take_batch(self) -> list[UnansweredCall]:
        """Remove the first calls, as many as fit into one message, and return them."""
        batch: list[UnansweredCall] = []
        size = 0
        for call in self._calls.values():
            size += len(call.encoded)
            if batch and (size > MAX_BATCH_BYTES or len(batch) == MAX_BATCH_CALLS):
                break
            batch.append(call)
        for call in batch:
            del self._calls[call.number]
        return batch

    def take_all(self) -> list[UnansweredCall]:
        """Remove all calls and return them."""
        calls = [*self._calls.values()]
        self._calls.clear()
        return calls

    def _remove_expired(self) -> None:
        loop = asyncio.get_running_loop()
        limit = loop.time() - self._timeout_s
        self._timer = None
        expired = []
        for call in self._calls.values():
            if call.added_at > limit:
                self._timer = loop.call_at(call.added_at + self._timeout_s, self._remove_expired)
                break
            expired.append(call)
        for call in expired:
            del self._calls[call.number]
            self._on_timeout(call)
