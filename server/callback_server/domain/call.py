"""A call: one HTTP request that reached a case, and what became of it."""

from __future__ import annotations

import enum

import msgspec

from callback_server.domain.case import AnswerMode, CaseEffect, Fallback, Mode, Settings
from callback_server.domain.response import Response


class CallStatus(enum.StrEnum):
    """What became of a call (spec, "A case's life")."""

    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    REJECTED = "REJECTED"
    FAILED = "FAILED"
    INTERRUPTED = "INTERRUPTED"
    NOT_STARTED = "NOT_STARTED"


class CallFailure(enum.StrEnum):
    """Why a call has no result of its handler. With NOT_STARTED only the last two."""

    HANDLER_ERROR = "HANDLER_ERROR"
    HANDLER_LOST = "HANDLER_LOST"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    INVALID_RESPONSE = "INVALID_RESPONSE"
    HANDLER_UNREACHABLE = "HANDLER_UNREACHABLE"
    NO_HANDLER = "NO_HANDLER"


class Request(msgspec.Struct, frozen=True, array_like=True):
    """The HTTP request, as it came.

    Stored as an array, with the body apart: append fields at the end, with a default, and never reuse a place.
    """

    method: str
    """In lower case."""
    headers: tuple[tuple[str, str], ...] = ()
    """In order; each byte of a value is one character."""
    query: tuple[tuple[str, str], ...] = ()
    """In order, decoded."""
    query_string: str = ""
    """As it was sent."""
    client_address: str = ""
    body: bytes = b""
    body_size: int = 0
    """How many bytes the body had, where the body itself is not kept."""
    verification_profile: str = ""
    """The profile that it has passed; empty if none was asked for."""
    message_id: str = ""
    """The sender's own name for what was sent, as the profile found it; empty if there was none."""

    def values(self, name: str) -> list[str]:
        """The values of a header, whose name is given in lower case."""
        return [value for each, value in self.headers if each.lower() == name]

    @property
    def is_form(self) -> bool:
        """Whether the body is said to be a form, as browsers send it."""
        types = [value.partition(";")[0].strip().lower() for value in self.values("content-type")]
        return types == ["application/x-www-form-urlencoded"]


class Grant(msgspec.Struct, frozen=True):
    """A claim that was granted: the case is ours for this call until the lease ends."""

    call_id: str
    attempt: int
    owner: str
    activity: str
    mode: Mode
    settings: Settings
    response: Response
    """The case's response as it was at the claim."""
    lease_left_ms: int
    """How much of the lease was left when the store answered."""
    recorded: bool
    """The call has ended already: its activity is `record`."""
    effect: CaseEffect | None = None
    """What the end of a recorded call made of the case. None: it is as it was."""
    answer: AnswerMode = AnswerMode.HANDLER
    fallback: Fallback | None = None
    replayed: bool = False
    """An owner asked for the call to be handled again."""


class DeliveryStatus(enum.StrEnum):
    """Where a delivery is."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    DELIVERED = "DELIVERED"
    DEAD = "DEAD"


class Delivery(msgspec.Struct, frozen=True):
    """A call's way through its handler after its caller was answered."""

    status: DeliveryStatus
    attempts: int
    """How often the handler was asked."""
    next_ms: int | None = None
    """When it is asked next, at the earliest, while that is to come. None of what waits behind an earlier call."""
    failure: CallFailure | None = None
    detail: str = ""
    """A sentence about the last attempt that failed, for the owner."""
    response: Response | None = None
    """What the handler decided, complete, when it accepted or rejected."""


class Outcome(msgspec.Struct, frozen=True):
    """How a call ended."""

    status: CallStatus
    response: Response | None = None
    """What the caller gets, complete, if the call succeeded or was rejected."""
    keep_open: bool = False
    failure: CallFailure | None = None
    detail: str = ""
    """A sentence about the failure, for the owner."""
    fallback_sent: bool = False
    """The caller got the fallback, at the answer deadline."""


class Call(msgspec.Struct, frozen=True):
    """A call as it is recorded. Times are milliseconds since the epoch, by the store's clock."""

    id: str
    status: CallStatus
    attempt: int
    request: Request
    request_body_size: int
    start_ms: int
    end_ms: int | None
    outcome: Outcome
    erased: bool = False
    """What was recorded of it was erased: its request and its outcome say nothing but how it ended."""
    delivery: Delivery | None = None
    caller_gone: bool = False
    """The caller had hung up before it could be answered."""
