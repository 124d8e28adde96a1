"""What both clients do alike, without I/O: make requests, and decide how long and how often to ask.

`AsyncCallbackClient` is written by hand, `CallbackClient` is made from it; what is here needs no second form.
"""

import uuid
from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from enum import StrEnum

import grpc
from google.protobuf.field_mask_pb2 import FieldMask

from callback._converters import response_to_proto
from callback._decisions import Answer, Reject, decision
from callback._errors import (
    CallbackClosedError,
    FieldViolation,
    InvalidRequestError,
)
from callback._reasons import ErrorReason
from callback._values import (
    AnswerMode,
    Call,
    Callback,
    CallbackStatus,
    CallFilter,
    CallStatus,
    GetGuard,
    Response,
    require,
)
from callback.connection._channel_options import MAX_MESSAGE_BYTES
from callback.v1 import callback_pb2
from callback.v1 import callbacks_service_pb2 as messages

_LARGEST_BODY = MAX_MESSAGE_BYTES // 2
"""What is larger is not sent: the server, which has a lower bound of its own, would not read so large a message."""

_RESPONSE_FIELDS = {
    "type": "response_type",
    "redirect_url": "response_redirect_url",
    "body": "response_body",
    "code": "response_code",
    "headers": "response_headers",
}


def new_request_id() -> str:
    """Return an id that nobody else uses."""
    return str(uuid.uuid4())


def require_text(name: str, value: str) -> str:
    """Return a text of a request as it is.

    Raises:
        TypeError: It is something else. gRPC would not say which.
    """
    require(name, value, str, "text")
    return value


def _member(name: str, value: StrEnum, kind: type[StrEnum]) -> StrEnum:
    """Return a member of an enum as it is.

    Raises:
        TypeError: It is something else.
        ValueError: It is UNKNOWN.
    """
    if not isinstance(value, kind):
        article = "an" if kind.__name__.startswith("A") else "a"
        raise TypeError(f"{name} is {article} {kind.__name__}, not {type(value).__name__}")
    if value == "UNKNOWN":
        raise ValueError(f"{name} can not be UNKNOWN: it stands for what only a newer client knows")
    return value


def _labels(labels: Mapping[str, str] | None) -> dict[str, str]:
    return {
        require_text("the name of a label", name): require_text(f"labels[{name!r}]", label)
        for name, label in (labels or {}).items()
    }


def _response(response: Response) -> callback_pb2.Response:
    if not isinstance(response, Response):
        raise TypeError(f"response is a Response or a Redirect, not {type(response).__name__}")
    _check_body(response.body or b"")
    return response_to_proto(response)


def _check_body(body: bytes) -> None:
    if len(body) > _LARGEST_BODY:
        what = "is larger than a request can be"
        raise InvalidRequestError(
            what,
            code=grpc.StatusCode.INVALID_ARGUMENT,
            reason=ErrorReason.INVALID_REQUEST,
            violations=(FieldViolation("response.response_body", what, "bytes.max_len"),),
        )


def generate_request(
    activity: str,
    response: Response,
    *,
    activity_case: str,
    state_query_parameter: str,
    retryable_after_error: bool,
    allow_multiple_calls: bool,
    alternative_domain: str,
    request_id: str,
    time_to_live: timedelta | None,
    labels: Mapping[str, str] | None,
    verification_profile: str,
    get_guard: GetGuard,
    answer_mode: AnswerMode | None,
    answer_deadline: timedelta | None,
    fallback: Response | None,
    ordered: bool,
) -> messages.GenerateCallbackUrlRequest:
    """Return the message of `generate_callback_url`.

    Raises:
        TypeError: A value is of the wrong type.
        ValueError: The guard or the answer mode is UNKNOWN.
        InvalidRequestError: The body is too large to be sent.
    """
    request = messages.GenerateCallbackUrlRequest(
        callback_activity=require_text("activity", activity),
        callback_activity_case=require_text("activity_case", activity_case),
        state_query_parameter=require_text("state_query_parameter", state_query_parameter),
        retryable_after_error=retryable_after_error,
        allow_multiple_calls=allow_multiple_calls,
        alternative_domain=require_text("alternative_domain", alternative_domain),
        response=_response(response),
        request_id=require_text("request_id", request_id),
        labels=_labels(labels),
        verification_profile=require_text("verification_profile", verification_profile),
        fallback=None if fallback is None else _response(fallback),
        ordered=ordered,
    )
    if answer_mode is not None:
        word = _member("answer_mode", answer_mode, AnswerMode)
        request.answer_mode = callback_pb2.AnswerMode.Value(f"ANSWER_MODE_{word}")
    if answer_deadline is not None:
        request.answer_deadline.FromTimedelta(answer_deadline)
    if time_to_live is not None:
        request.time_to_live.FromTimedelta(time_to_live)
    if _member("get_guard", get_guard, GetGuard) is not GetGuard.OFF:
        request.get_guard = callback_pb2.GetGuard.Value(f"GET_GUARD_{get_guard}")
    return request


def set_response_request(case_id: str, response: Response, reset: Collection[str]) -> messages.SetResponseRequest:
    """Return the message of `set_response`.

    Raises:
        ValueError: `reset` names what is no attribute, or what `response` sets.
        TypeError: A value is of the wrong type.
        InvalidRequestError: The body is too large to be sent.
    """
    message = _response(response)
    given = {name for name in _RESPONSE_FIELDS if getattr(response, name) is not None}
    for name in reset:
        if name not in _RESPONSE_FIELDS or name == "type":
            raise ValueError(f"reset can not name {name!r}: it takes redirect_url, body, code and headers")
        if name in given:
            raise ValueError(f"{name} is both set and reset")
    paths = [path for name, path in _RESPONSE_FIELDS.items() if name in given or name in reset]
    return messages.SetResponseRequest(
        callback_case_id=require_text("case_id", case_id), response=message, update_mask=FieldMask(paths=paths)
    )


def answer_call_request(call_id: str, answer: Answer | Reject) -> messages.AnswerCallRequest:
    """Return the message of `answer_call`.

    Raises:
        TypeError: It is no answer, or the id no text.
        InvalidRequestError: The body is too large to be sent.
    """
    decided = decision(answer)
    _check_body(decided.response.response_body)
    return messages.AnswerCallRequest(
        call_id=require_text("call_id", call_id),
        verdict=decided.verdict,
        response=decided.response if decided.HasField("response") else None,
        keep_open=decided.keep_open,
    )


def list_callbacks_request(
    *,
    status: CallbackStatus | None,
    activity: str,
    labels: Mapping[str, str] | None,
    owner: str,
    page_size: int,
    page_token: str,
) -> messages.ListCallbacksRequest:
    """Return the message of `list_callbacks_page`.

    Raises:
        ValueError: The status is UNKNOWN.
        TypeError: A value is of the wrong type.
    """
    request = messages.ListCallbacksRequest(
        page_size=page_size,
        page_token=require_text("page_token", page_token),
        callback_activity=require_text("activity", activity),
        labels=_labels(labels),
        owner=require_text("owner", owner),
    )
    if status is not None:
        word = _member("status", status, CallbackStatus)
        request.status = callback_pb2.CallbackStatus.Value(f"CALLBACK_STATUS_{word}")
    return request


def list_calls_request(case_id: str, *, page_size: int, page_token: str) -> messages.ListCallsRequest:
    """Return the message of `list_calls_page`.

    Raises:
        TypeError: A value is of the wrong type.
    """
    return messages.ListCallsRequest(
        callback_case_id=require_text("case_id", case_id),
        page_size=page_size,
        page_token=require_text("page_token", page_token),
    )


def list_owner_calls_request(
    only: CallFilter, *, owner: str, page_size: int, page_token: str
) -> messages.ListOwnerCallsRequest:
    """Return the message of `list_owner_calls_page`.

    Raises:
        ValueError: The filter is UNKNOWN.
        TypeError: A value is of the wrong type.
    """
    return messages.ListOwnerCallsRequest(
        filter=messages.CallFilter.Value(f"CALL_FILTER_{_member('only', only, CallFilter)}"),
        owner=require_text("owner", owner),
        page_size=page_size,
        page_token=require_text("page_token", page_token),
    )


def watch_calls_request(
    *, activity: str, labels: Mapping[str, str] | None, case_id: str, resume_token: str
) -> messages.WatchCallsRequest:
    """Return the message of `watch_calls`.

    Raises:
        TypeError: A value is of the wrong type.
    """
    return messages.WatchCallsRequest(
        callback_activity=require_text("activity", activity),
        labels=_labels(labels),
        callback_case_id=require_text("case_id", case_id),
        resume_token=require_text("resume_token", resume_token),
    )


def find_awaited_call(callback: Callback, calls: Iterable[Call]) -> Call | None:
    """Return the call that a wait is for, or None if it is still to come.

    Args:
        callback: The case, as it was before the calls were listed.
        calls: Those that count, newest first.

    Raises:
        CallbackClosedError: None of them has ended, none runs, and no other can come.
    """
    newest_first = list(calls)
    ended = [call for call in newest_first if call.end_time is not None]
    if ended:
        return ended[-1]
    if callback.status is CallbackStatus.CLOSED and not any(c.status is CallStatus.RUNNING for c in newest_first):
        raise CallbackClosedError(
            f"the callback {callback.case_id} is closed, so no call will come",
            code=grpc.StatusCode.FAILED_PRECONDITION,
            reason=ErrorReason.CALLBACK_CLOSED,
            facts={"close_reason": callback.close_reason or ""},
        )
    return None
