"""The `google.rpc.Status` of an error: the one place where a `CallbackError` gets a gRPC code."""

from __future__ import annotations

from typing import Final

from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from callback.v1 import callback_pb2, error_reason_pb2, options_pb2
from callback_server.contract.conversion import to_message
from callback_server.errors import (
    CallbackError,
    ConfirmationRequiredError,
    FieldsInvalidError,
    InvalidRequestError,
    Violation,
)

DOMAIN: Final = "callback"
CODES: Final = {
    value.name.removeprefix("ERROR_REASON_"): code_pb2.Code.Value(code)
    for value in error_reason_pb2.ErrorReason.DESCRIPTOR.values
    if (code := value.GetOptions().Extensions[options_pb2.grpc_code])
}
"""The code of every reason, as the contract says it."""

# gRPC sends a status as metadata. A peer drops metadata of more than 8 kB as a whole, code included. The message is
# sent twice, once with three bytes for each byte that is not ASCII, and the details are in base64.
_MAX_MESSAGE_BYTES: Final = 600
_MAX_VIOLATIONS_BYTES: Final = 3500


def status_of(error: CallbackError) -> status_pb2.Status:
    """Return the status of an error, with ErrorInfo, and with BadRequest, Prompt and RetryInfo where they apply."""
    status = status_pb2.Status(code=CODES[error.reason], message=_cut(str(error), _MAX_MESSAGE_BYTES))
    _add(status, error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.facts))
    if isinstance(error, InvalidRequestError | FieldsInvalidError):
        _add(status, _bad_request(error.violations))
    if isinstance(error, ConfirmationRequiredError | FieldsInvalidError) and error.prompt:
        _add(status, to_message(callback_pb2.Prompt, error.prompt))
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
