"""What goes wrong when the server is asked, as one tree of exceptions.

Every refusal carries its reason and its facts as fields; nobody has to read a text, or know gRPC. `ErrorReason`, the
list of reasons, is generated from the contract.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from callback._reasons import ErrorReason
from callback._values import CallStatus, CloseReason

_DOMAIN = "callback"
"""The domain of the server's own `ErrorInfo`."""


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One bad field of a refused request."""

    field: str
    """Its path in the contract, such as `response.response_redirect_url` or `labels["colour"]`."""
    description: str
    """What is wrong with it."""
    rule: str
    """The rule's stable name, such as `string.max_len`. Can be empty."""


class CallbackError(Exception):
    """The server refused, or gave no answer. Every error of this client's calls is one of these."""

    reason: ErrorReason | str
    """Why. A plain string if this version does not know the reason; empty if the error is not the server's own."""
    code: grpc.StatusCode
    """The gRPC status code."""
    message: str
    """A sentence, for people."""
    facts: Mapping[str, str]
    """What belongs to the reason, such as `close_reason`."""
    violations: tuple[FieldViolation, ...]
    """Every bad field. Empty unless the reason is INVALID_REQUEST."""
    retry_after: timedelta | None
    """When the server says that the same request may be sent again. None: it does not say."""

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

    def __str__(self) -> str:
        # The violations say the same as the message, and all of it.
        what = "; ".join(f"{each.field}: {each.description}" for each in self.violations) or self.message
        return f"{self.reason or self.code.name}: {what}"


class InvalidRequestError(CallbackError):
    """The request is wrong in itself: `violations` names every bad field. Nothing was stored."""


class NotFoundError(CallbackError):
    """There is no such case or call, or it is somebody else's, or it is no longer kept."""


class CallbackClosedError(CallbackError):
    """The case is closed, so its response can not be set."""

    @property
    def close_reason(self) -> CloseReason:
        """Why the case closed."""
        word = self.facts.get("close_reason", "")
        return CloseReason(word) if word in set(CloseReason) else CloseReason.UNKNOWN


class CallAnsweredError(CallbackError):
    """The call has another answer already, or ended without one. Answering changed nothing."""

    @property
    def status(self) -> CallStatus:
        """What became of the call."""
        word = self.facts.get("status", "")
        return CallStatus(word) if word in set(CallStatus) else CallStatus.UNKNOWN


class CallNotHeldError(CallbackError):
    """The call's handler answers it, or has; its case does not hold calls."""


class CallNotReplayableError(CallbackError):
    """The call is running, its request is not kept whole or was erased, or its activity has no handler."""


class RequestIdReusedError(CallbackError):
    """A case with this request id and other content exists."""


class RequestIdUnsupportedError(CallbackError):
    """The server has no `state_key`, so it can not give the same URL twice. Leave the `request_id` out."""


class UnauthenticatedError(CallbackError):
    """There is no token and no certificate that is known, or the token is wrong or has expired."""


class PermissionDeniedError(CallbackError):
    """Who asks is known, and does not have the role that this needs, or may not work on one of its activities."""

    @property
    def role(self) -> str:
        """The role that is missing, such as `owner`. Empty if it is not told."""
        return self.facts.get("role", "")


class TooManyOpenCallbacksError(CallbackError):
    """The owner has as many cases that are not closed as it may. Nothing was stored."""

    @property
    def limit(self) -> int | None:
        """How many it may have. None if it is not told."""
        limit = self.facts.get("limit", "")
        return int(limit) if limit.isdecimal() else None


class WatchPositionLostError(CallbackError):
    """Events after the resume token are no longer kept. Read the state with lists, then watch without a token."""


class WatcherTooSlowError(CallbackError):
    """The watcher reads more slowly than events come. A client that retries watches again from where it was."""


class TooManyWatchersError(CallbackError):
    """The server has as many watchers as it may, in all or of this principal."""


class UnavailableError(CallbackError):
    """The server, or its store, can not be reached.

    Everything can be sent again; `generate_callback_url` with the same `request_id`, else a case may be made twice.
    """


class DeadlineExceededError(UnavailableError, TimeoutError):
    """No answer came in time. Whether the request was carried out is not known."""


_BY_REASON: Mapping[str, type[CallbackError]] = {
    ErrorReason.INVALID_REQUEST: InvalidRequestError,
    ErrorReason.CALLBACK_NOT_FOUND: NotFoundError,
    ErrorReason.CALL_NOT_FOUND: NotFoundError,
    ErrorReason.CALLBACK_CLOSED: CallbackClosedError,
    ErrorReason.CALL_ANSWERED: CallAnsweredError,
    ErrorReason.CALL_NOT_HELD: CallNotHeldError,
    ErrorReason.CALL_NOT_REPLAYABLE: CallNotReplayableError,
    ErrorReason.REQUEST_ID_REUSED: RequestIdReusedError,
    ErrorReason.REQUEST_ID_UNSUPPORTED: RequestIdUnsupportedError,
    ErrorReason.UNAUTHENTICATED: UnauthenticatedError,
    ErrorReason.ROLE_MISSING: PermissionDeniedError,
    ErrorReason.ACTIVITY_NOT_ALLOWED: PermissionDeniedError,
    ErrorReason.TOO_MANY_OPEN_CALLBACKS: TooManyOpenCallbacksError,
    ErrorReason.WATCH_POSITION_LOST: WatchPositionLostError,
    ErrorReason.WATCHER_TOO_SLOW: WatcherTooSlowError,
    ErrorReason.TOO_MANY_WATCHERS: TooManyWatchersError,
    ErrorReason.STORE_UNAVAILABLE: UnavailableError,
}
_BY_CODE: Mapping[grpc.StatusCode, type[CallbackError]] = {
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    # A proxy in between can refuse as well, without a reason of ours.
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
}


def from_rpc_error(error: grpc.RpcError, target: str) -> CallbackError:
    """Return the error that a failed gRPC call stands for.

    Args:
        error: What gRPC raised.
        target: The address that was asked, for the text.
    """
    info, violations, retry_after = error_details_pb2.ErrorInfo(), [], None
    for detail in _details(error):
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            detail.Unpack(info)
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad_request = error_details_pb2.BadRequest()
            detail.Unpack(bad_request)
            violations += [FieldViolation(v.field, v.description, v.reason) for v in bad_request.field_violations]
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
    """An error that is not the server's own: of gRPC, the network, or something else that listens there."""
    match code:
        case grpc.StatusCode.UNAVAILABLE:
            text = f"{target} can not be reached: {message}"
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            text = f"{target} did not answer in time"
        case grpc.StatusCode.UNIMPLEMENTED:
            text = f"{target} is not a Callback server of this version: {message}"
        case _:
            text = f"{target}: {message}"
    return _BY_CODE.get(code, CallbackError)(text, code=code)


def _details(error: grpc.RpcError) -> list[any_pb2.Any]:
    """The details of the `google.rpc.Status`, none if there is no sound one."""
    try:
        status: status_pb2.Status | None = rpc_status.from_call(error)  # type: ignore[arg-type] # it reads like a Call
    except (ValueError, DecodeError):  # contradicts the call's own status, or is not a Status at all
        return []
    return list(status.details) if status else []
