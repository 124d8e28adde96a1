"""The exceptions of this library, as one tree under `CallbackError`.

Each error carries its reason and the metadata of the `ErrorInfo` as fields, so that a program never has to parse a
message or know gRPC. `ErrorReason`, the list of reasons, is generated from the contract.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from callback._enums import CallStatus, CloseReason
from callback._reasons import ErrorReason
from callback._value import CONVERSIONS, Conversion, Value

_Violation = error_details_pb2.BadRequest.FieldViolation
_DOMAIN = "callback"
"""The `ErrorInfo` domain of a Callback server."""


@dataclass(frozen=True, slots=True)
class FieldViolation(Value):
    """One invalid field of a request."""

    field: str
    """The path of the field in the contract, such as `response.response_redirect_url` or `labels["colour"]`."""
    description: str
    """What is wrong with the value."""
    rule: str
    """The stable name of the rule, such as `string.max_len`. May be empty."""


def _violation_from_proto(message: Any) -> FieldViolation:
    return FieldViolation(message.field, message.description, message.reason)


def _violation_to_proto(value: FieldViolation) -> Any:
    return _Violation(field=value.field, description=value.description, reason=value.rule)


CONVERSIONS[FieldViolation] = Conversion(_Violation, _violation_from_proto, _violation_to_proto)


class CallbackError(Exception):
    """Base class of every error of a request: the server refused it, or did not respond."""

    reason: ErrorReason | str
    """The reason. A plain string if this version does not know it; empty if the error does not come from the server."""
    code: grpc.StatusCode
    """The gRPC status code."""
    message: str
    """A sentence for people."""
    facts: Mapping[str, str]
    """Metadata of the `ErrorInfo`, such as `close_reason`."""
    violations: tuple[FieldViolation, ...]
    """Every invalid field. Empty unless the reason is INVALID_REQUEST."""
    retry_after: timedelta | None
    """How long to wait before sending the same request again. None if the server does not say."""

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode,
        reason: ErrorReason | str = "",
        facts: Mapping[str, str] | None = None,
        violations: tuple[FieldViolation, ...] = (),
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason
        self.facts = dict(facts or {})
        self.violations = violations
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[Any, ...]:
        """Let the error be pickled: task queues and process pools pass it on. By default it would lose its facts."""
        given: dict[str, Any] = {
            "code": self.code, "reason": self.reason, "facts": self.facts, "violations": self.violations,
            "retry_after": self.retry_after,
        }  # fmt: skip
        return functools.partial(type(self), **given), (self.message,), self.__dict__

    def __str__(self) -> str:
        # The violations contain everything that the message says.
        text = "; ".join(f"{each.field}: {each.description}" for each in self.violations) or self.message
        return f"{self.reason or self.code.name}: {text}"


class InvalidRequestError(CallbackError):
    """The request is not valid. `violations` names every invalid field. Nothing was stored."""


class NotFoundError(CallbackError):
    """The case or call does not exist, belongs to another owner, or is past its retention."""


class CallbackClosedError(CallbackError):
    """The case is closed, so its response cannot be changed, and no further call can arrive."""

    @property
    def close_reason(self) -> CloseReason:
        """The reason why the case closed."""
        word = self.facts.get("close_reason", "")
        return CloseReason(word) if word in set(CloseReason) else CloseReason.UNKNOWN


class CallAnsweredError(CallbackError):
    """The call already has another answer, or ended without one. The request changed nothing."""

    @property
    def status(self) -> CallStatus:
        """The status of the call."""
        word = self.facts.get("status", "")
        return CallStatus(word) if word in set(CallStatus) else CallStatus.UNKNOWN


class CallNotHeldError(CallbackError):
    """The handler decides on the calls: the answer mode of the case is not HOLD."""


class CallbackResolvedError(CallbackError):
    """The case has been resolved with another answer. The request changed nothing."""


class CallNotReplayableError(CallbackError):
    """The call cannot be replayed: it runs, its stored request is not complete, or its activity has no handler."""


class RequestIdReusedError(CallbackError):
    """A case with the same request id and different content exists."""


class RequestIdUnsupportedError(CallbackError):
    """The server has no `state_key`, so it cannot return the same URL twice. Omit the `request_id`."""


class UnauthenticatedError(CallbackError):
    """The request has no valid credentials: the token is missing, wrong or expired, or the certificate is unknown."""


class PermissionDeniedError(CallbackError):
    """The principal lacks the role that this request needs, or may not handle one of the worker's activities."""

    @property
    def role(self) -> str:
        """The missing role, such as `owner`. Empty if the server does not say."""
        return self.facts.get("role", "")


class TooManyOpenCallbacksError(CallbackError):
    """The owner has reached its quota of open cases. Nothing was stored."""

    @property
    def limit(self) -> int | None:
        """The quota. None if the server does not say."""
        limit = self.facts.get("limit", "")
        return int(limit) if limit.isdecimal() else None


class WatchPositionLostError(CallbackError):
    """Events after the resume token are no longer stored. List the current state, then watch without a token."""


class WatcherTooSlowError(CallbackError):
    """The watcher reads events more slowly than they arrive. A client that retries resumes from its position."""


class TooManyWatchersError(CallbackError):
    """The server has reached its limit of watchers, in total or for this principal."""


class UnavailableError(CallbackError):
    """The server or its store is unreachable.

    Every request can be sent again. Send `generate_callback_url` with the same `request_id`; otherwise the server may
    create a second case.
    """


class DeadlineExceededError(UnavailableError, TimeoutError):
    """No response arrived in time. The server may or may not have executed the request."""


_BY_REASON: Mapping[str, type[CallbackError]] = {
    ErrorReason.INVALID_REQUEST: InvalidRequestError,
    ErrorReason.CALLBACK_NOT_FOUND: NotFoundError,
    ErrorReason.CALL_NOT_FOUND: NotFoundError,
    ErrorReason.CALLBACK_CLOSED: CallbackClosedError,
    ErrorReason.CALL_ANSWERED: CallAnsweredError,
    ErrorReason.CALLBACK_RESOLVED: CallbackResolvedError,
    ErrorReason.CALL_NOT_HELD: CallNotHeldError,
    ErrorReason.CALL_NOT_REPLAYABLE: CallNotReplayableError,
    ErrorReason.REQUEST_ID_REUSED: RequestIdReusedError,
    ErrorReason.REQUEST_ID_UNSUPPORTED: RequestIdUnsupportedError,
    ErrorReason.UNAUTHENTICATED: UnauthenticatedError,
    ErrorReason.SUBJECT_UNKNOWN: UnauthenticatedError,
    ErrorReason.ROLE_MISSING: PermissionDeniedError,
    ErrorReason.ACTIVITY_NOT_ALLOWED: PermissionDeniedError,
    ErrorReason.TOO_MANY_OPEN_CALLBACKS: TooManyOpenCallbacksError,
    ErrorReason.WATCH_POSITION_LOST: WatchPositionLostError,
    ErrorReason.WATCHER_TOO_SLOW: WatcherTooSlowError,
    ErrorReason.TOO_MANY_WATCHERS: TooManyWatchersError,
    ErrorReason.STORE_UNAVAILABLE: UnavailableError,
    ErrorReason.ISSUER_UNAVAILABLE: UnavailableError,
}
_FOREIGN_BY_CODE: Mapping[grpc.StatusCode, type[CallbackError]] = {
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    # A proxy between client and server can refuse too, without a reason of the server.
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
}
_BY_CODE: Mapping[grpc.StatusCode, type[CallbackError]] = {
    **_FOREIGN_BY_CODE,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
}
"""The classes for a reason of the server that has no class of its own."""


def from_rpc_error(error: grpc.RpcError, target: str) -> CallbackError:
    """Return the `CallbackError` for a gRPC error.

    Args:
        error: The error that gRPC raised.
        target: The address of the server, for the message.
    """
    info, violations, retry_after = error_details_pb2.ErrorInfo(), list[FieldViolation](), None
    for detail in _details(error):
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            detail.Unpack(info)
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad_request = error_details_pb2.BadRequest()
            detail.Unpack(bad_request)
            violations += map(_violation_from_proto, bad_request.field_violations)
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry_info = error_details_pb2.RetryInfo()
            detail.Unpack(retry_info)
            retry_after = retry_info.retry_delay.ToTimedelta()
    code, message = error.code(), error.details() or ""
    if info.domain != _DOMAIN:
        return _foreign(code, message, target)
    kind = _BY_REASON.get(info.reason) or _BY_CODE.get(code) or CallbackError
    return kind(
        message,
        code=code,
        reason=ErrorReason(info.reason) if info.reason in set(ErrorReason) else info.reason,
        facts=info.metadata,
        violations=tuple(violations),
        retry_after=retry_after,
    )


def _foreign(code: grpc.StatusCode, message: str, target: str) -> CallbackError:
    """Return the error for a failure of gRPC, of the network, or of another program at the target."""
    match code:
        case grpc.StatusCode.UNAVAILABLE:
            text = f"cannot reach {target}: {message}"
        case grpc.StatusCode.CANCELLED:  # by a server that stops: this program raises no gRPC error when it cancels
            code, text = grpc.StatusCode.UNAVAILABLE, f"{target} cancelled the request: {message}"
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            text = f"{target} did not respond in time"
        case grpc.StatusCode.UNIMPLEMENTED:
            text = f"{target} is not a Callback server of a compatible version: {message}"
        case _:
            text = f"{target}: {message}"
    return _FOREIGN_BY_CODE.get(code, CallbackError)(text, code=code)


def _details(error: grpc.RpcError) -> list[any_pb2.Any]:
    """Return the details of the `google.rpc.Status`, or none if it is missing or malformed."""
    try:
        status: status_pb2.Status | None = rpc_status.from_call(error)  # type: ignore[arg-type]  # it has the methods of a Call
    except (ValueError, DecodeError):  # it contradicts the status of the call, or is no Status
        return []
    return list(status.details) if status else []
