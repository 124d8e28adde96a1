"""The request messages of both clients, without I/O.

`AsyncCallbackClient` is the source from which `CallbackClient` is generated; this module serves both as it is.
"""

import uuid
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum

import grpc
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from callback._converters import prompt_to_proto, response_to_proto
from callback._decisions import Answer, Reject, decision_to_proto
from callback._errors import (
    CallbackClosedError,
    FieldViolation,
    InvalidRequestError,
)
from callback._reasons import ErrorReason
from callback._values import (
    AnswerMode,
    AuditAction,
    AuditHead,
    Call,
    Callback,
    CallbackStatus,
    CallFilter,
    CallReason,
    CallStatus,
    GetGuard,
    Prompt,
    Response,
    require,
)
from callback.connection._channel_options import MAX_MESSAGE_BYTES
from callback.v1 import audit_service_pb2, callback_pb2
from callback.v1 import callbacks_service_pb2 as messages

_LARGEST_BODY = MAX_MESSAGE_BYTES // 2
"""The largest body that is sent, in bytes. The server's own limit is lower, but it could not read a larger message."""

_RESPONSE_FIELDS = {
    "type": "response_type",
    "redirect_url": "response_redirect_url",
    "body": "response_body",
    "code": "response_code",
    "headers": "response_headers",
    "heading": "response_heading",
    "text": "response_text",
    "link_label": "response_link_label",
    "link_url": "response_link_url",
}


def new_request_id() -> str:
    """Return a unique request id."""
    return str(uuid.uuid4())


def require_text(name: str, value: str) -> str:
    """Return the value, after checking that it is text.

    Raises:
        TypeError: It is not text. Unlike gRPC's own error, the message names the parameter.
    """
    require(name, value, str, "text")
    return value


def _member(name: str, value: StrEnum, kind: type[StrEnum]) -> StrEnum:
    """Return the value, after checking that it is a member of the enum.

    Raises:
        TypeError: It is not a member.
        ValueError: It is UNKNOWN.
    """
    if not isinstance(value, kind):
        article = "an" if kind.__name__.startswith("A") else "a"
        raise TypeError(f"{name} must be {article} {kind.__name__}, not {type(value).__name__}")
    if value == "UNKNOWN":
        raise ValueError(f"{name} cannot be UNKNOWN: it represents a value that this client does not know")
    return value


def _labels(labels: Mapping[str, str] | None) -> dict[str, str]:
    return {
        require_text("the name of each label", name): require_text(f"labels[{name!r}]", label)
        for name, label in (labels or {}).items()
    }


def _response(response: Response) -> callback_pb2.Response:
    if not isinstance(response, Response):
        raise TypeError(f"response must be a Response or a Redirect, not {type(response).__name__}")
    _check_body(response.body or b"")
    return response_to_proto(response)


def _prompt(prompt: Prompt) -> callback_pb2.Prompt:
    require("prompt", prompt, Prompt, "a Prompt")
    require_text("prompt.title", prompt.title)
    require_text("prompt.text", prompt.text)
    for value, label in prompt.choices.items():
        require_text("the value of each choice", value)
        require_text(f"prompt.choices[{value!r}]", label)
    return prompt_to_proto(prompt)


def _check_body(body: bytes) -> None:
    if len(body) > _LARGEST_BODY:
        problem = "is larger than a request can be"
        raise InvalidRequestError(
            problem,
            code=grpc.StatusCode.INVALID_ARGUMENT,
            reason=ErrorReason.INVALID_REQUEST,
            violations=(FieldViolation("response.response_body", problem, "bytes.max_len"),),
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
    hold_time: timedelta | None,
    repeat_window: timedelta | None,
    no_repeat: bool,
    prompt: Prompt | None,
    closed_response: Response | None,
    remind_after: Collection[timedelta],
    notify: Collection[CallReason],
) -> messages.GenerateCallbackUrlRequest:
    """Return the request message of `generate_callback_url`.

    Raises:
        TypeError: A value has the wrong type.
        ValueError: `get_guard`, `answer_mode` or a reason in `notify` is UNKNOWN.
        InvalidRequestError: The body is too large to send.
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
        no_repeat=no_repeat,
        prompt=None if prompt is None else _prompt(prompt),
        closed_response=None if closed_response is None else _response(closed_response),
    )
    if repeat_window is not None:
        request.repeat_window.FromTimedelta(repeat_window)
    if answer_mode is not None:
        member = _member("answer_mode", answer_mode, AnswerMode)
        request.answer_mode = callback_pb2.AnswerMode.Value(f"ANSWER_MODE_{member}")
    if answer_deadline is not None:
        request.answer_deadline.FromTimedelta(answer_deadline)
    if hold_time is not None:
        request.hold_time.FromTimedelta(hold_time)
    if time_to_live is not None:
        request.time_to_live.FromTimedelta(time_to_live)
    for after in remind_after:
        request.remind_after.add().FromTimedelta(after)
    for reason in notify:
        request.notify.append(callback_pb2.CallReason.Value(f"CALL_REASON_{_member('notify', reason, CallReason)}"))
    if _member("get_guard", get_guard, GetGuard) is not GetGuard.OFF:
        request.get_guard = callback_pb2.GetGuard.Value(f"GET_GUARD_{get_guard}")
    return request


def set_response_request(case_id: str, response: Response, reset: Collection[str]) -> messages.SetResponseRequest:
    """Return the request message of `set_response`.

    Raises:
        ValueError: `reset` names something that is not an attribute, or an attribute that `response` sets.
        TypeError: A value has the wrong type.
        InvalidRequestError: The body is too large to send.
    """
    message = _response(response)
    given = {name for name in _RESPONSE_FIELDS if getattr(response, name) is not None}
    for name in reset:
        if name not in _RESPONSE_FIELDS or name == "type":
            others = ", ".join(each for each in _RESPONSE_FIELDS if each != "type")
            raise ValueError(f"reset cannot contain {name!r}: use {others}")
        if name in given:
            raise ValueError(f"{name} is both set and reset: give it once")
    paths = [path for name, path in _RESPONSE_FIELDS.items() if name in given or name in reset]
    return messages.SetResponseRequest(
        callback_case_id=require_text("case_id", case_id), response=message, update_mask=FieldMask(paths=paths)
    )


def answer_call_request(call_id: str, answer: Answer | Reject) -> messages.AnswerCallRequest:
    """Return the message of `answer_call`.

    Raises:
        TypeError: The answer or the id has the wrong type.
        InvalidRequestError: The body is too large to send.
    """
    decided = decision_to_proto(answer)
    _check_body(decided.response.response_body)
    return messages.AnswerCallRequest(
        call_id=require_text("call_id", call_id),
        verdict=decided.verdict,
        response=decided.response if decided.HasField("response") else None,
        keep_open=decided.keep_open,
        close=decided.close,
        no_repeat=decided.no_repeat,
    )


def resolve_callback_request(case_id: str, answer: Answer | Reject) -> messages.ResolveCallbackRequest:
    """Return the message of `resolve_callback`.

    Raises:
        TypeError: The answer or the id has the wrong type.
        ValueError: The answer keeps the case open, or closes it.
        InvalidRequestError: The body is too large to send.
    """
    decided = decision_to_proto(answer)
    if decided.keep_open or decided.close:
        raise ValueError("an answer to all calls of a callback cannot keep it open, or close it: use close_callback")
    _check_body(decided.response.response_body)
    return messages.ResolveCallbackRequest(
        callback_case_id=require_text("case_id", case_id),
        verdict=decided.verdict,
        response=decided.response if decided.HasField("response") else None,
        no_repeat=decided.no_repeat,
    )


def extend_callback_request(case_id: str, expire_time: datetime) -> messages.ExtendCallbackRequest:
    """Return the message of `extend_callback`.

    Raises:
        TypeError: A value has the wrong type.
        ValueError: The time has no time zone.
    """
    return messages.ExtendCallbackRequest(
        callback_case_id=require_text("case_id", case_id), expire_time=_timestamp("expire_time", expire_time)
    )


def _timestamp(name: str, time: datetime) -> Timestamp:
    """Return a time as a message.

    Raises:
        TypeError: It is no time.
        ValueError: It has no time zone.
    """
    require(name, time, datetime, "a datetime")
    if time.tzinfo is None:
        raise ValueError(f"{name} needs a time zone, as in datetime.now(UTC) + timedelta(days=7)")
    message = Timestamp()
    message.FromDatetime(time)
    return message


def list_callbacks_request(
    *,
    status: CallbackStatus | None,
    activity: str,
    labels: Mapping[str, str] | None,
    owner: str,
    last_call_status: CallStatus | None,
    created_after: datetime | None,
    created_before: datetime | None,
    page_size: int,
    page_token: str,
) -> messages.ListCallbacksRequest:
    """Return the request message of `list_callbacks_page`.

    Raises:
        ValueError: A status is UNKNOWN, or a time has no time zone.
        TypeError: A value has the wrong type.
    """
    request = messages.ListCallbacksRequest(
        page_size=page_size,
        page_token=require_text("page_token", page_token),
        callback_activity=require_text("activity", activity),
        labels=_labels(labels),
        owner=require_text("owner", owner),
    )
    if status is not None:
        member = _member("status", status, CallbackStatus)
        request.status = callback_pb2.CallbackStatus.Value(f"CALLBACK_STATUS_{member}")
    if last_call_status is not None:
        call_member = _member("last_call_status", last_call_status, CallStatus)
        request.last_call_status = callback_pb2.CallStatus.Value(f"CALL_STATUS_{call_member}")
    if created_after is not None:
        request.created_after.CopyFrom(_timestamp("created_after", created_after))
    if created_before is not None:
        request.created_before.CopyFrom(_timestamp("created_before", created_before))
    return request


def list_audit_entries_request(
    *,
    owner: str,
    actor: str,
    action: AuditAction | None,
    case_id: str,
    activity: str,
    recorded_after: datetime | None,
    recorded_before: datetime | None,
    page_size: int,
    page_token: str,
) -> audit_service_pb2.ListAuditEntriesRequest:
    """Return the request message of `list_audit_entries_page`.

    Raises:
        ValueError: The action is UNKNOWN, or a time has no time zone.
        TypeError: A value has the wrong type.
    """
    request = audit_service_pb2.ListAuditEntriesRequest(
        page_size=page_size,
        page_token=require_text("page_token", page_token),
        owner=require_text("owner", owner),
        actor=require_text("actor", actor),
        callback_case_id=require_text("case_id", case_id),
        callback_activity=require_text("activity", activity),
    )
    if action is not None:
        member = _member("action", action, AuditAction)
        request.action = audit_service_pb2.AuditAction.Value(f"AUDIT_ACTION_{member}")
    if recorded_after is not None:
        request.recorded_after.CopyFrom(_timestamp("recorded_after", recorded_after))
    if recorded_before is not None:
        request.recorded_before.CopyFrom(_timestamp("recorded_before", recorded_before))
    return request


def verify_audit_request(heads: Iterable[AuditHead], *, page_token: str) -> audit_service_pb2.VerifyAuditRequest:
    """Return the request message of a page of `verify_audit`."""
    return audit_service_pb2.VerifyAuditRequest(
        page_token=page_token,
        heads=[
            audit_service_pb2.AuditHead(chain=each.chain, sequence=each.sequence, digest=each.digest) for each in heads
        ],
    )


def list_calls_request(case_id: str, *, page_size: int, page_token: str) -> messages.ListCallsRequest:
    """Return the request message of `list_calls_page`.

    Raises:
        TypeError: A value has the wrong type.
    """
    return messages.ListCallsRequest(
        callback_case_id=require_text("case_id", case_id),
        page_size=page_size,
        page_token=require_text("page_token", page_token),
    )


def list_owner_calls_request(
    only: CallFilter, *, owner: str, activity: str, page_size: int, page_token: str
) -> messages.ListOwnerCallsRequest:
    """Return the request message of `list_owner_calls_page`.

    Raises:
        ValueError: `only` is UNKNOWN.
        TypeError: A value has the wrong type.
    """
    return messages.ListOwnerCallsRequest(
        filter=messages.CallFilter.Value(f"CALL_FILTER_{_member('only', only, CallFilter)}"),
        owner=require_text("owner", owner),
        callback_activity=require_text("activity", activity),
        page_size=page_size,
        page_token=require_text("page_token", page_token),
    )


def watch_calls_request(
    *, activity: str, labels: Mapping[str, str] | None, case_id: str, resume_token: str, latest_only: bool
) -> messages.WatchCallsRequest:
    """Return the request message of `watch_calls`.

    Raises:
        TypeError: A value has the wrong type.
    """
    return messages.WatchCallsRequest(
        callback_activity=require_text("activity", activity),
        labels=_labels(labels),
        callback_case_id=require_text("case_id", case_id),
        resume_token=require_text("resume_token", resume_token),
        latest_only=latest_only,
    )


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
