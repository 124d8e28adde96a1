"""Arguments of methods that are values: their checks, and the requests of the methods that are written by hand."""

from collections.abc import Callable, Collection, Iterable
from typing import TypeVar

import grpc
from google.protobuf.field_mask_pb2 import FieldMask

from callback import _checks as checks
from callback._converters import audit_head_to_proto, response_to_proto
from callback._decisions import Answer, Reject, decision_to_proto
from callback._enums import CallbackStatus, CallStatus
from callback._errors import FieldViolation, InvalidRequestError
from callback._reason_errors import CallbackClosedError
from callback._reasons import ErrorReason
from callback._values import AuditHead, Call, Callback, Response
from callback.connection._channel_options import MAX_MESSAGE_BYTES
from callback.v1 import audit_service_pb2, callback_handler_service_pb2, callback_pb2
from callback.v1 import callbacks_service_pb2 as messages
from callback_shared.fields import short_name

_LARGEST_BODY = MAX_MESSAGE_BYTES // 2
"""The largest body that is sent, in bytes. The server's own limit is lower, but it could not read a larger message."""
_RESETTABLE = {
    short_name(field): field.name for field in callback_pb2.Response.DESCRIPTOR.fields if field.name != "response_type"
}
"""The attributes that can be reset, with the names of their fields."""

_Value = TypeVar("_Value")
_Message = TypeVar("_Message")
_Request = TypeVar("_Request", messages.AnswerCallRequest, messages.ResolveCallbackRequest)


def message(name: str, value: _Value, kind: type[_Value], convert: Callable[[_Value], _Message]) -> _Message:
    """Return the message of a value, after checking its type.

    Raises:
        TypeError: It, or an attribute of it, has the wrong type.
        InvalidRequestError: It is a response whose body is too large to send.
    """
    checks.instance(name, value, kind)
    if isinstance(value, Response):
        _check_body(f"{name}.response_body", value.body or b"")
    try:
        return convert(value)
    except (AttributeError, TypeError) as error:
        raise TypeError(f"an attribute of {name} has the wrong type: {error}") from None


def _check_body(field: str, body: bytes) -> None:
    if len(body) > _LARGEST_BODY:
        problem = "is larger than a request can be"
        raise InvalidRequestError(
            problem,
            code=grpc.StatusCode.INVALID_ARGUMENT,
            reason=ErrorReason.INVALID_REQUEST,
            violations=(FieldViolation(field, problem, "bytes.max_len"),),
        )


def set_response_request(case_id: str, response: Response, reset: Collection[str]) -> messages.SetResponseRequest:
    """Return the request message of `set_response`.

    Raises:
        ValueError: `reset` names something that is not an attribute, or an attribute that `response` sets.
        TypeError: A value has the wrong type.
        InvalidRequestError: The body is too large to send.
    """
    given = message("response", response, Response, response_to_proto)
    for name in reset:
        if name not in _RESETTABLE:
            raise ValueError(f"reset cannot contain {name!r}: use {', '.join(_RESETTABLE)}")
        if getattr(response, name) is not None:
            raise ValueError(f"{name} is both set and reset: give it once")
    reset_fields = {_RESETTABLE[name] for name in reset}
    given_fields = {field.name for field, _ in given.ListFields()}
    paths = [each.name for each in given.DESCRIPTOR.fields if each.name in given_fields | reset_fields]
    return messages.SetResponseRequest(
        callback_case_id=checks.text("case_id", case_id), response=given, update_mask=FieldMask(paths=paths)
    )


def answer_call_request(call_id: str, answer: Answer | Reject) -> messages.AnswerCallRequest:
    """Return the message of `answer_call`.

    Raises:
        TypeError: The answer or the id has the wrong type.
        InvalidRequestError: The body is too large to send.
    """
    return _with_decision(messages.AnswerCallRequest(call_id=checks.text("call_id", call_id)), _decision(answer))


def resolve_callback_request(case_id: str, answer: Answer | Reject) -> messages.ResolveCallbackRequest:
    """Return the message of `resolve_callback`.

    Raises:
        TypeError: The answer or the id has the wrong type.
        ValueError: The answer keeps the case open, or closes it.
        InvalidRequestError: The body is too large to send.
    """
    decided = _decision(answer)
    if decided.keep_open or decided.close:
        raise ValueError("an answer to all calls of a callback cannot keep it open, or close it: use close_callback")
    return _with_decision(messages.ResolveCallbackRequest(callback_case_id=checks.text("case_id", case_id)), decided)


def _with_decision(request: _Request, decided: callback_handler_service_pb2.HandleCallbackResponse) -> _Request:
    """Set the fields of a request that a decision also has."""
    for field, value in decided.ListFields():
        if field.message_type is None:
            setattr(request, field.name, value)
        else:
            getattr(request, field.name).CopyFrom(value)
    return request


def _decision(answer: Answer | Reject) -> callback_handler_service_pb2.HandleCallbackResponse:
    decided = decision_to_proto(answer)
    _check_body("response.response_body", decided.response.response_body)
    return decided


def verify_audit_request(heads: Iterable[AuditHead], *, page_token: str) -> audit_service_pb2.VerifyAuditRequest:
    """Return the request message of a page of `verify_audit`."""
    return audit_service_pb2.VerifyAuditRequest(page_token=page_token, heads=map(audit_head_to_proto, heads))


def find_awaited_call(callback: Callback, calls: Iterable[Call]) -> Call | None:
    """Return the call that `wait_for_call` waits for, or None if it has not arrived or ended yet.

    Args:
        callback: The case, read before the calls were listed.
        calls: The calls to consider, newest first.

    Raises:
        CallbackClosedError: No call has ended or is running, and no further call can arrive.
    """
    newest_first = list(calls)
    ended = [call for call in newest_first if call.end_time is not None]
    if ended:
        return ended[-1]
    if callback.status is CallbackStatus.CLOSED and not any(c.status is CallStatus.RUNNING for c in newest_first):
        raise CallbackClosedError(
            f"the callback {callback.case_id} is closed, so no further call can arrive",
            code=grpc.StatusCode.FAILED_PRECONDITION,
            reason=ErrorReason.CALLBACK_CLOSED,
            facts={"close_reason": callback.close_reason or ""},
        )
    return None
