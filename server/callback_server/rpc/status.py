"""The `google.rpc.Status` of an error: the one place where a `CallbackError` gets a gRPC code."""

from __future__ import annotations

from typing import Final

from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from callback.v1 import callback_pb2
from callback_server.errors import CallbackError, ConfirmationRequiredError, InvalidRequestError, Violation

DOMAIN: Final = "callback"
_CODES: Final = {
    "INVALID_REQUEST": code_pb2.INVALID_ARGUMENT,
    "REQUEST_ID_REUSED": code_pb2.ALREADY_EXISTS,
    "REQUEST_ID_UNSUPPORTED": code_pb2.FAILED_PRECONDITION,
    "CALLBACK_NOT_FOUND": code_pb2.NOT_FOUND,
    "CALL_NOT_FOUND": code_pb2.NOT_FOUND,
    "CALLBACK_CLOSED": code_pb2.FAILED_PRECONDITION,
    "STATE_UNKNOWN": code_pb2.NOT_FOUND,
    "CALL_IN_PROGRESS": code_pb2.ABORTED,
    "HANDLER_FAILED": code_pb2.INTERNAL,
    "RESPONSE_INVALID": code_pb2.INTERNAL,
    "HANDLER_DEADLINE_EXCEEDED": code_pb2.DEADLINE_EXCEEDED,
    "HANDLER_NOT_STARTED": code_pb2.UNAVAILABLE,
    "HANDLER_LOST": code_pb2.UNAVAILABLE,
    "ANSWER_NOT_REPEATED": code_pb2.FAILED_PRECONDITION,
    "STORE_UNAVAILABLE": code_pb2.UNAVAILABLE,
    "OUTCOME_UNKNOWN": code_pb2.UNAVAILABLE,
    "TOO_MANY_CALLS": code_pb2.RESOURCE_EXHAUSTED,
    "SERVER_STOPPING": code_pb2.UNAVAILABLE,
    "UNAUTHENTICATED": code_pb2.UNAUTHENTICATED,
    "SUBJECT_UNKNOWN": code_pb2.UNAUTHENTICATED,
    "ISSUER_UNAVAILABLE": code_pb2.UNAVAILABLE,
    "ROLE_MISSING": code_pb2.PERMISSION_DENIED,
    "TOO_MANY_OPEN_CALLBACKS": code_pb2.RESOURCE_EXHAUSTED,
    "VERIFICATION_FAILED": code_pb2.FAILED_PRECONDITION,
    "VERIFICATION_UNAVAILABLE": code_pb2.UNAVAILABLE,
    "CONFIRMATION_REQUIRED": code_pb2.FAILED_PRECONDITION,
    "CHOICE_REQUIRED": code_pb2.FAILED_PRECONDITION,
    "AGENT_DETECTED": code_pb2.FAILED_PRECONDITION,
    "TOO_MANY_REQUESTS": code_pb2.RESOURCE_EXHAUSTED,
    "CALL_ANSWERED": code_pb2.FAILED_PRECONDITION,
    "CALL_NOT_HELD": code_pb2.FAILED_PRECONDITION,
    "CALL_NOT_REPLAYABLE": code_pb2.FAILED_PRECONDITION,
    "WATCH_POSITION_LOST": code_pb2.OUT_OF_RANGE,
    "WATCHER_TOO_SLOW": code_pb2.RESOURCE_EXHAUSTED,
    "ACTIVITY_NOT_ALLOWED": code_pb2.PERMISSION_DENIED,
    "TOO_MANY_WATCHERS": code_pb2.RESOURCE_EXHAUSTED,
    "CALLBACK_RESOLVED": code_pb2.FAILED_PRECONDITION,
}
"""The code of every reason, as in `error_reason.proto`."""

# gRPC sends a status as metadata. A peer drops metadata of more than 8 kB as a whole, code included. The message is
# sent twice, once with three bytes for each byte that is not ASCII, and the details are in base64.
_MAX_MESSAGE_BYTES: Final = 600
_MAX_VIOLATIONS_BYTES: Final = 3500


def status_of(error: CallbackError) -> status_pb2.Status:
    """Return the status of an error, with ErrorInfo, and with BadRequest, Prompt and RetryInfo where they apply."""
    status = status_pb2.Status(code=_CODES[error.reason], message=_cut(str(error), _MAX_MESSAGE_BYTES))
    _add(status, error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.facts))
    if isinstance(error, InvalidRequestError):
        _add(status, _bad_request(error.violations))
    if isinstance(error, ConfirmationRequiredError) and error.title:
        choices = [callback_pb2.PromptChoice(value=value, label=label) for value, label in error.choices]
        _add(status, callback_pb2.Prompt(title=error.title, text=error.text, choices=choices))
    if error.retry_after_s is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.seconds = error.retry_after_s
        _add(status, retry)
    return status


def _bad_request(violations: list[Violation]) -> error_details_pb2.BadRequest:
    """Return every bad field, or as many as a status can hold and the number of the others."""
    bad = error_details_pb2.BadRequest()
    for listed, each in enumerate(violations):
        bad.field_violations.add(field=_cut(each.field, 200), description=_cut(each.message, 300), reason=each.rule)
        if bad.ByteSize() > _MAX_VIOLATIONS_BYTES:
            del bad.field_violations[-1]
            bad.field_violations.add(reason="more", description=f"and {len(violations) - listed} more")
            break
    return bad


def _cut(text: str, most_bytes: int) -> str:
    return text.encode()[:most_bytes].decode(errors="ignore")


def internal_error() -> status_pb2.Status:
    """Return the status of a fault of the server: a fixed text, without details."""
    status = status_pb2.Status(code=code_pb2.INTERNAL, message="internal error")
    _add(status, error_details_pb2.ErrorInfo(reason="INTERNAL", domain=DOMAIN))
    return status


def _add(status: status_pb2.Status, detail: Message) -> None:
    status.details.add().Pack(detail)
