"""The error of this library for an error of gRPC."""

from collections.abc import Iterable, Mapping

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from callback._errors import (
    CallbackError,
    DeadlineExceededError,
    FieldViolation,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
    violation_from_proto,
)
from callback._reason_errors import BY_REASON
from callback._reasons import ErrorReason

_ADVICE = {
    "http1.x": "the port is one of HTTP/1.1, such as that of the edge or the console: use the gRPC port of the server",
    "WRONG_VERSION_NUMBER": "the server does not use TLS: connect without it",
}
"""What to change, by a part of a message of gRPC."""
_ADVICE_FOR_PLAIN_TEXT = dict.fromkeys(
    ("Socket closed", "Connection reset by peer"),
    "a server that uses TLS closes a connection without it: if this one does, connect with TLS",
)
"""The same, for connections without TLS."""
_DOMAIN = "callback"
"""The `ErrorInfo` domain of a Callback server."""
_FOREIGN_BY_CODE: Mapping[grpc.StatusCode, type[CallbackError]] = {
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    # A proxy between client and server can refuse too, without a reason of the server.
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
}
_BY_CODE: Mapping[grpc.StatusCode, type[CallbackError]] = {
    **_FOREIGN_BY_CODE,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
}
"""The classes for a reason of the server that has no class of its own."""
_CODES = {code.value[0]: code for code in grpc.StatusCode}
"""The codes by their numbers."""


def from_rpc_error(error: grpc.RpcError, target: str, *, encrypted: bool = False) -> CallbackError:
    """Return the `CallbackError` for a gRPC error.

    Args:
        error: The error that gRPC raised.
        target: The address of the server, for the message.
        encrypted: Whether the connection uses TLS.
    """
    code, message = error.code(), error.details() or ""
    return _refusal(code, message, _details(error)) or _foreign(code, message, target, encrypted=encrypted)


def from_status(status: status_pb2.Status) -> CallbackError:
    """Return the `CallbackError` for an error in a response, which is one of a Callback server."""
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    return _refusal(code, status.message, status.details) or CallbackError(status.message, code=code)


def _refusal(code: grpc.StatusCode, message: str, details: Iterable[any_pb2.Any]) -> CallbackError | None:
    """Return the error with these details. None: it is not one of a Callback server."""
    info, violations, retry_after = error_details_pb2.ErrorInfo(), list[FieldViolation](), None
    for detail in details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            detail.Unpack(info)
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad_request = error_details_pb2.BadRequest()
            detail.Unpack(bad_request)
            violations += map(violation_from_proto, bad_request.field_violations)
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry_info = error_details_pb2.RetryInfo()
            detail.Unpack(retry_info)
            retry_after = retry_info.retry_delay.ToTimedelta()
    if info.domain != _DOMAIN:
        return None
    kind = BY_REASON.get(info.reason) or _BY_CODE.get(code) or CallbackError
    return kind(
        message,
        code=code,
        reason=ErrorReason(info.reason) if info.reason in set(ErrorReason) else info.reason,
        facts=info.metadata,
        violations=tuple(violations),
        retry_after=retry_after,
    )


def _foreign(code: grpc.StatusCode, message: str, target: str, *, encrypted: bool) -> CallbackError:
    """Return the error for a failure of gRPC, of the network, or of another program at the target."""
    match code:
        case grpc.StatusCode.UNAVAILABLE:
            text = f"cannot reach {target}: {message}{_advice(message, encrypted=encrypted)}"
        case grpc.StatusCode.CANCELLED:  # by a server that stops: this program raises no gRPC error when it cancels
            code, text = grpc.StatusCode.UNAVAILABLE, f"{target} cancelled the request: {message}"
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            text = f"{target} did not respond in time"
        case grpc.StatusCode.UNIMPLEMENTED:
            text = f"{target} is not a Callback server of a compatible version: {message}"
        case _:
            text = f"{target}: {message}"
    return _FOREIGN_BY_CODE.get(code, CallbackError)(text, code=code)


def _advice(message: str, *, encrypted: bool) -> str:
    """Return what to change, if a message of gRPC says that the target speaks something else."""
    texts = _ADVICE if encrypted else _ADVICE | _ADVICE_FOR_PLAIN_TEXT
    return next((f" ({advice})" for part, advice in texts.items() if part in message), "")


def _details(error: grpc.RpcError) -> list[any_pb2.Any]:
    """Return the details of the `google.rpc.Status`, or none if it is missing or malformed."""
    try:
        status: status_pb2.Status | None = rpc_status.from_call(error)  # type: ignore[arg-type]  # it has the methods of a Call
    except (ValueError, DecodeError):  # it contradicts the status of the call, or is no Status
        return []
    return list(status.details) if status else []
