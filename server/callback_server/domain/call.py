"""A call: one HTTP request that reached a case, and its outcome."""

from __future__ import annotations

import enum
import hashlib
from typing import Final

import msgspec

from callback_server.domain.case import AnswerMode, CaseEffect, Fallback, Settings
from callback_server.domain.notification import CallReason, reason_of
from callback_server.domain.response import Response
from callback_server.errors import Violation


class CallStatus(enum.StrEnum):
    """The status of a call (see docs/life-of-a-callback.md)."""

    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    REJECTED = "REJECTED"
    FAILED = "FAILED"
    INTERRUPTED = "INTERRUPTED"
    NOT_STARTED = "NOT_STARTED"


class CallFailure(enum.StrEnum):
    """Why a call has no result of its handler. A call that is NOT_STARTED has one of NOT_ASKED.

    Only an attempt to deliver a notification fails with NO_HANDLER.
    """

    HANDLER_ERROR = "HANDLER_ERROR"
    HANDLER_LOST = "HANDLER_LOST"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    INVALID_RESPONSE = "INVALID_RESPONSE"
    HANDLER_UNREACHABLE = "HANDLER_UNREACHABLE"
    NO_HANDLER = "NO_HANDLER"
    TOO_LARGE = "TOO_LARGE"
    WORKERS_LOST = "WORKERS_LOST"


MAX_DETAIL_CHARS: Final = 500
"""The longest description of a failure that is kept."""
NOT_ASKED: Final = frozenset({CallFailure.HANDLER_UNREACHABLE, CallFailure.NO_HANDLER, CallFailure.TOO_LARGE})
"""The failures after which the handler provably did not start."""


class Request(msgspec.Struct, frozen=True, array_like=True):
    """The HTTP request, as it came.

    Stored as an array, with the body apart: append fields at the end, with a default, and never reuse a position.
    """

    method: str
    """The method, in lower case."""
    headers: tuple[tuple[str, str], ...] = ()
    """In order; each byte of a value is one character."""
    query: tuple[tuple[str, str], ...] = ()
    """In order, decoded."""
    query_string: str = ""
    """The query as it was sent."""
    client_address: str = ""
    body: bytes = b""
    body_size: int = 0
    """The size of the body in bytes, where the body itself is not kept."""
    verification_profile: str = ""
    """The verification profile that the request has passed. Empty: none was required."""
    message_id: str = ""
    """The sender's id of the message, as the profile found it. Empty: there was none."""
    choice: str = ""
    """The value of the choice that a person made. Empty: the case has no choices."""
    verification_failure: str = ""
    """Why the request did not pass a profile that only reports. Empty: it passed, or there was no such profile."""
    traceparent: str = ""
    """The W3C trace context in which the request is handled. Empty: it is not traced."""
    endpoint: str = ""
    """The endpoint to which it came as an event. Empty: it came to the URL of a case."""
    correlation_key: str = ""
    """The key that it has as an event. Empty: it came to the URL of a case."""

    def values(self, name: str) -> list[str]:
        """Return the values of a header. `name` is in lower case."""
        return [value for each, value in self.headers if each.lower() == name]

    @property
    def is_form(self) -> bool:
        """Whether the content type is that of an HTML form."""
        return self._media_types == ["application/x-www-form-urlencoded"]

    @property
    def is_json(self) -> bool:
        """Whether the content type is that of JSON."""
        return self._media_types == ["application/json"]

    @property
    def _media_types(self) -> list[str]:
        return [value.partition(";")[0].strip(" \t").lower() for value in self.values("content-type")]


class RequestIdentity(msgspec.Struct, frozen=True):
    """What makes a request the same as an earlier one of its case: method, query and body, as they were sent.

    The path is the same for all requests of a case. If the request proves its sender, that belongs to it, too.
    """

    method: str
    digest: str
    """In hexadecimal digits. It is never the digest of a message id, which begins with no such byte."""

    def of_sender(self, sender: str) -> RequestIdentity:
        """Return the identity of this request from a sender (`VerifiedMessage.sender`). Empty: it proves none."""
        return RequestIdentity(self.method, _digest_of((self.digest, sender))) if sender else self


_NO_BODY: Final = hashlib.sha256().digest()


def identity_of(request: Request) -> RequestIdentity:
    """Return the identity of a request."""
    body = hashlib.sha256(request.body).digest() if request.body else _NO_BODY
    parts = (request.method, request.query_string, body)
    return RequestIdentity(request.method, _digest_of(parts))


def message_digest(message_id: str, sender: str) -> str:
    """Return the digest by which a verified message is recognized, in hexadecimal digits.

    Args:
        message_id: The id that the sender gave it.
        sender: The sender that it proves (`VerifiedMessage.sender`). Empty: none.
    """
    return _digest_of((message_id, sender, "message")) if sender else hashlib.sha256(message_id.encode()).hexdigest()


def _digest_of(parts: tuple[str | bytes, ...]) -> str:
    return hashlib.sha256(msgspec.msgpack.encode(parts)).hexdigest()


class Grant(msgspec.Struct, frozen=True):
    """A granted claim: the call holds the case until its lease ends."""

    call_id: str
    call_number: int
    """Its number among the calls of its case. 0: it is a later attempt of a delivery, or a notification."""
    owner: str
    activity: str
    settings: Settings
    response: Response
    """The response of the case as it was at the claim."""
    lease_left_ms: int
    """The rest of the lease when the store answered, in milliseconds."""
    ended_at_claim: bool
    """The call has ended already, because the case answers it: activity `record`, ACK, or the case was resolved."""
    effect: CaseEffect | None = None
    """The effect on the case of a call that ended at its claim. None: the case is as it was."""
    answer_mode: AnswerMode = AnswerMode.HANDLER
    fallback: Fallback | None = None
    replayed: bool = False
    """The owner asked for a replay of the call, or of the notification."""
    version: int = 0
    """The version of `response`, for the end of the call. A delivery whose call has ended does not need it."""
    resolved: Outcome | None = None
    """How the call has ended in its claim, because its case was resolved."""
    reason: CallReason = CallReason.CALL
    """Why the handler is asked."""
    attempt: int = 1
    """The number of this attempt among those in which a handler was asked."""
    is_retry: bool = False
    """Whether the handler was asked before, or may have been: by the first attempt, or before a replay."""


class DeliveryStatus(enum.StrEnum):
    """The status of a delivery."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    DELIVERED = "DELIVERED"
    DEAD = "DEAD"


class Delivery(msgspec.Struct, frozen=True):
    """The processing of a call by its handler after the caller was answered, or of a notification.

    The call has ended, or its caller got a fallback that accepts the request. In the second case the call runs until
    the delivery has ended.
    """

    status: DeliveryStatus
    attempts: int
    """In how many attempts a handler was asked. A running attempt counts."""
    next_attempt_time_ms: int | None = None
    """The earliest time of the next attempt. None: there is none, or the delivery waits behind an earlier call."""
    failure: CallFailure | None = None
    failure_detail: str = ""
    """A sentence for the owner about the last attempt that failed."""
    response: Response | None = None
    """The complete response of the handler when it accepted or rejected."""


class Outcome(msgspec.Struct, frozen=True):
    """How a call ended."""

    status: CallStatus
    response: Response | None = None
    """The complete response to the caller if the call succeeded or was rejected."""
    keep_open: bool = False
    close: bool = False
    """The handler closes the case. Of a stored call also with its delivery."""
    no_repeat: bool = False
    """The answer must not be given twice."""
    failure: CallFailure | None = None
    failure_detail: str = ""
    """A sentence for the owner about the failure."""

    @property
    def was_asked(self) -> bool:
        """Whether a handler was asked, or may have been."""
        return self.failure not in NOT_ASKED


def failed(failure: CallFailure, detail: str) -> Outcome:
    """Return the outcome of a call without a decision."""
    status = CallStatus.NOT_STARTED if failure in NOT_ASKED else CallStatus.FAILED
    return Outcome(status, failure=failure, failure_detail=detail[:MAX_DETAIL_CHARS])


class Decision(msgspec.Struct, frozen=True):
    """The decision of a handler on a call."""

    accepted: bool
    """False: incorrect data was sent."""
    override: Response
    """The attributes that replace those of the case's response; None for each that does not."""
    keep_open: bool = False
    """Whether to keep the case open after this success."""
    close: bool = False
    """Whether to close the case with this success."""
    no_repeat: bool = False
    """Whether the answer must not be given twice."""

    def problems(self) -> list[Violation]:
        """Return why the decision contradicts itself; empty if it does not."""
        if self.close and self.keep_open:
            return [Violation("close", "exclusive", "cannot be combined with keep_open")]
        if self.close and not self.accepted:
            return [Violation("close", "verdict", "needs the verdict ACCEPTED")]
        return []


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A call as it is recorded, or a notification. Times are milliseconds since the epoch, by the store's clock."""

    id: str
    status: CallStatus | None
    """None: it is a notification, which has a delivery and nothing else."""
    call_number: int = 0
    """Its number among the calls of its case. 0: it is a notification."""
    request: Request
    request_body_size: int
    start_time_ms: int
    end_time_ms: int | None
    outcome: Outcome | None
    """None: it is a notification."""
    erased: bool = False
    """What was recorded of the call was erased. Only its status is left."""
    body_dropped: bool = False
    """Bodies that were recorded of the call were dropped, because more than a limit were kept."""
    delivery: Delivery | None = None
    close: bool = False
    """Its handler asked to close the case, with its success or with its delivery."""
    caller_gone: bool = False
    """The caller did not get its answer."""
    fallback_sent: bool = False
    """The caller gets the fallback. It is stored before the fallback is sent."""
    repeat_count: int = 0
    """How many requests were repeats of this call."""
    answered_by: str = ""
    """The principal that answered the held call, or resolved its case. Empty for every other call."""

    @property
    def reason(self) -> CallReason:
        """CALL, or the reason of the notification."""
        return reason_of(self.id)
