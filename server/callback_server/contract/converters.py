"""Conversion between the messages of the contract and domain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar, cast

from google.protobuf.timestamp_pb2 import Timestamp

from callback.v1 import callback_pb2, callbacks_service_pb2, edge_service_pb2, operations_service_pb2
from callback_server.domain.activity import Pause
from callback_server.domain.call import Call, CallFailure, CallStatus, Delivery, DeliveryStatus, Request
from callback_server.domain.case import AnswerMode, CallMode, Case, CaseStatus, CloseReason, GetGuard, Prompt
from callback_server.domain.event import Event, EventType
from callback_server.domain.ids import case_id_of_call
from callback_server.domain.notification import Reason, reason_of
from callback_server.domain.response import FIELDS, Response, ResponseType

V = TypeVar("V")

_ATTRIBUTES: Final = {callback_pb2.Response.DESCRIPTOR.fields_by_name[field]: name for field, name in FIELDS.items()}
_RESPONSE_TYPE: Final = {member: callback_pb2.ResponseType.Value(f"RESPONSE_TYPE_{member}") for member in ResponseType}
_RESPONSE_TYPE_BACK: Final = {number: member for member, number in _RESPONSE_TYPE.items()}
_CASE_STATUS: Final = {member: callback_pb2.CallbackStatus.Value(f"CALLBACK_STATUS_{member}") for member in CaseStatus}
_CASE_STATUS_BACK: Final = {number: member for member, number in _CASE_STATUS.items()}
_CLOSE_REASON: Final = {member: callback_pb2.CloseReason.Value(f"CLOSE_REASON_{member}") for member in CloseReason}
_GET_GUARD: Final = {member: callback_pb2.GetGuard.Value(f"GET_GUARD_{member}") for member in GetGuard}
_GET_GUARD_BACK: Final = {number: member for member, number in _GET_GUARD.items()}
_ANSWER_MODE: Final = {member: callback_pb2.AnswerMode.Value(f"ANSWER_MODE_{member}") for member in AnswerMode}
_ANSWER_MODE_BACK: Final = {number: member for member, number in _ANSWER_MODE.items()}
_CALL_STATUS: Final = {member: callback_pb2.CallStatus.Value(f"CALL_STATUS_{member}") for member in CallStatus}
_CALL_STATUS_BACK: Final = {number: member for member, number in _CALL_STATUS.items()}
_DELIVERY_STATUS: Final = {
    member: callback_pb2.DeliveryStatus.Value(f"DELIVERY_STATUS_{member}") for member in DeliveryStatus
}
_EVENT_TYPE: Final = {
    member: callbacks_service_pb2.CallEventType.Value(f"CALL_EVENT_TYPE_{member}") for member in EventType
}
_REASON: Final = {member: callback_pb2.CallReason.Value(f"CALL_REASON_{member}") for member in Reason}
_REASON_BACK: Final = {number: member for member, number in _REASON.items()}
_CALL_FAILURE: Final = {member: callback_pb2.CallFailure.Value(f"CALL_FAILURE_{member}") for member in CallFailure}


def response_from(message: callback_pb2.Response) -> Response:
    """Convert the response of a valid message, with the white space around the values of its headers trimmed."""
    given: dict[str, Any] = {_ATTRIBUTES[field]: value for field, value in message.ListFields()}
    given["type"] = _RESPONSE_TYPE_BACK.get(message.response_type)
    if "headers" in given:
        given["headers"] = tuple((header.name, header.value.strip(" \t")) for header in given["headers"].headers)
    return Response(**given)


def response_to(response: Response) -> callback_pb2.Response:
    """Convert a response. Only the attributes that it has are set in the message."""
    message = callback_pb2.Response(
        response_redirect_url=response.redirect_url,
        response_body=response.body,
        response_code=response.code,
        response_heading=response.heading,
        response_text=response.text,
        response_link_label=response.link_label,
        response_link_url=response.link_url,
    )
    if response.type is not None:
        message.response_type = _RESPONSE_TYPE[response.type]
    if response.headers is not None:
        message.response_headers.SetInParent()
        for name, value in response.headers:
            message.response_headers.headers.add(name=name, value=value)
    return message


def request_from(message: edge_service_pb2.InvokeRequest) -> Request:
    """Convert the HTTP request of an edge."""
    return Request(
        method=message.request_method,
        headers=tuple((header.name, header.value) for header in message.request_headers),
        query=tuple((pair.name, pair.value) for pair in message.request_query),
        query_string=message.request_query_string,
        client_address=message.client_address,
        body=message.request_body,
        traceparent=message.traceparent,
    )


def headers_to(pairs: Iterable[tuple[str, str]]) -> list[callback_pb2.Header]:
    """Convert the header fields of a request."""
    return [callback_pb2.Header(name=name, value=value) for name, value in pairs]


def query_to(pairs: Iterable[tuple[str, str]]) -> list[callback_pb2.QueryParameter]:
    """Convert the parameters of a query string."""
    return [callback_pb2.QueryParameter(name=name, value=value) for name, value in pairs]


def status_from(number: callback_pb2.CallbackStatus.ValueType) -> CaseStatus | None:
    """Return the status of a filter. None: all."""
    return _CASE_STATUS_BACK.get(number)


def call_status_from(number: callback_pb2.CallStatus.ValueType) -> CallStatus | None:
    """Return the status of calls of a filter. None: all."""
    return _CALL_STATUS_BACK.get(number)


def guard_from(number: callback_pb2.GetGuard.ValueType) -> GetGuard:
    """Return the requested guard. Default OFF."""
    return _GET_GUARD_BACK.get(number, GetGuard.OFF)


def answer_mode_from(number: callback_pb2.AnswerMode.ValueType) -> AnswerMode | None:
    """Return the requested answer mode. None: none was given."""
    return _ANSWER_MODE_BACK.get(number)


def reason_to(reason: Reason) -> callback_pb2.CallReason.ValueType:
    """Convert a reason."""
    return _REASON[reason]


def notify_from(numbers: Iterable[callback_pb2.CallReason.ValueType]) -> tuple[Reason, ...]:
    """Convert the reasons of the notifications in a valid message, in the order of the contract."""
    return tuple(_REASON_BACK[number] for number in sorted(numbers))


def prompt_from(message: callback_pb2.Prompt) -> Prompt:
    """Convert the prompt of a valid message."""
    return Prompt(message.title, message.text, tuple((each.value, each.label) for each in message.choices))


def prompt_to(prompt: Prompt) -> callback_pb2.Prompt:
    """Convert a prompt."""
    choices = [callback_pb2.PromptChoice(value=value, label=label) for value, label in prompt.choices]
    return callback_pb2.Prompt(title=prompt.title, text=prompt.text, choices=choices)


def case_to(case: Case) -> callback_pb2.Callback:
    """Convert a case, for its owner."""
    message = callback_pb2.Callback(
        callback_case_id=case.id,
        owner=case.owner,
        status=_CASE_STATUS[case.status],
        callback_activity=case.activity,
        callback_activity_case=case.settings.activity_case,
        state_query_parameter=case.parameter,
        retryable_after_error=case.settings.retryable,
        allow_multiple_calls=case.mode is CallMode.MULTIPLE,
        alternative_domain=case.settings.alternative_domain,
        response=response_to(case.response),
        labels=case.settings.labels,
        create_time=timestamp(case.created_ms),
        expire_time=None if case.expires_ms is None else timestamp(case.expires_ms),
        close_time=None if case.closed_ms is None else timestamp(case.closed_ms),
        call_count=case.call_count,
        verification_profile=case.profile,
        get_guard=_GET_GUARD[case.guard],
        answer_mode=_ANSWER_MODE[case.answer_mode],
        ordered=case.ordered,
        no_repeat=case.no_repeat,
        resolved=bool(case.resolved),
        prompt=None if case.settings.prompt is None else prompt_to(case.settings.prompt),
        closed_response=None if case.closed_response is None else response_to(case.closed_response),
        notify=[_REASON[reason] for reason in case.notify],
    )
    for after_ms in case.settings.remind_after_ms:
        message.remind_after.add().FromMilliseconds(after_ms)
    if case.repeat_window_ms:
        message.repeat_window.FromMilliseconds(case.repeat_window_ms)
    if case.settings.answer_deadline_ms is not None:
        message.answer_deadline.FromMilliseconds(case.settings.answer_deadline_ms)
    if case.fallback is not None:
        message.answer_deadline.FromMilliseconds(case.fallback.after_ms)
        message.fallback.CopyFrom(response_to(case.fallback.response))
    if case.hold_time_ms is not None:
        message.hold_time.FromMilliseconds(case.hold_time_ms)
    if case.close_reason is not None:
        message.close_reason = _CLOSE_REASON[case.close_reason]
    return message


def call_to(call: Call, *, paused: bool = False) -> callback_pb2.Call:
    """Convert a call or notification, for the owner of its case. `paused` says whether its activity is paused."""
    outcome, request = call.outcome, call.request
    delivery = None if call.delivery is None else delivery_to(call.delivery, paused=paused, erased=call.erased)
    if call.status is None or outcome is None:
        return callback_pb2.Call(
            call_id=call.id,
            callback_case_id=case_id_of_call(call.id),
            reason=_REASON[call.reason],
            start_time=timestamp(call.start_ms),
            delivery=delivery,
            close=call.close,
        )
    message = callback_pb2.Call(
        call_id=call.id,
        callback_case_id=case_id_of_call(call.id),
        reason=_REASON[call.reason],
        status=_CALL_STATUS[call.status],
        failure_detail=outcome.detail,
        attempt=call.attempt,
        request_method=request.method,
        request_headers=headers_to(request.headers),
        request_query=query_to(request.query),
        request_query_string=request.query_string,
        request_body=request.body,
        request_body_size=call.request_body_size,
        client_address=request.client_address,
        keep_open=outcome.keep_open,
        close=call.close,
        start_time=timestamp(call.start_ms),
        end_time=None if call.end_ms is None else timestamp(call.end_ms),
        erased=call.erased,
        verification_profile=request.verification_profile,
        message_id=request.message_id,
        verification_failure=request.verification_failure,
        callback_choice=request.choice,
        fallback_sent=call.fallback_sent,
        caller_gone=call.caller_gone,
        repeat_count=call.repeats,
        delivery=delivery,
        answered_by=call.answered_by,
    )
    if outcome.failure is not None:
        message.failure = _CALL_FAILURE[outcome.failure]
    if outcome.response is not None:
        message.response.CopyFrom(response_to(outcome.response))
    return message


def delivery_to(delivery: Delivery, *, paused: bool, erased: bool) -> callback_pb2.Delivery:
    """Convert a delivery, for the owner of its case.

    Args:
        delivery: The delivery.
        paused: Whether its activity is paused.
        erased: Whether the recorded data of its call was erased.
    """
    message = callback_pb2.Delivery(
        status=_DELIVERY_STATUS[delivery.status],
        attempts=delivery.attempts,
        next_attempt_time=None if delivery.next_ms is None else timestamp(delivery.next_ms),
        failure_detail=_why_dead(delivery, erased=erased) or delivery.detail,
        response=None if delivery.response is None else response_to(delivery.response),
        paused=paused and delivery.status is DeliveryStatus.PENDING,
    )
    if delivery.failure is not None:
        message.failure = _CALL_FAILURE[delivery.failure]
    return message


def _why_dead(delivery: Delivery, *, erased: bool) -> str:
    """Return why a delivery is dead. Empty if it is not dead, or its failure says why."""
    if delivery.status is not DeliveryStatus.DEAD:
        return ""
    if erased:
        return "the recorded data of its call was erased"
    return "the handler rejected it" if delivery.failure is None else ""


def pause_to(activity: str, pause: Pause) -> operations_service_pb2.PausedActivity:
    """Convert the pause of an activity, for an administrator."""
    return operations_service_pb2.PausedActivity(
        callback_activity=activity,
        principal=pause.principal,
        reason=pause.reason,
        pause_time=None if pause.start_ms is None else timestamp(pause.start_ms),
    )


def event_to(event: Event, resume_token: str) -> callbacks_service_pb2.CallEvent:
    """Convert an event, for a watcher. A value of a newer release becomes UNSPECIFIED."""
    return callbacks_service_pb2.CallEvent(
        type=_by_word(_EVENT_TYPE, event.type),
        callback_case_id=event.case_id,
        call_id=event.call_id,
        callback_activity=event.activity,
        owner=event.owner,
        time=timestamp(event.time_ms),
        case_status=_by_word(_CASE_STATUS, event.case_status),
        close_reason=_by_word(_CLOSE_REASON, event.close_reason),
        call_status=_by_word(_CALL_STATUS, event.call_status),
        delivery_status=_by_word(_DELIVERY_STATUS, event.delivery_status),
        resume_token=resume_token,
        reason=_REASON[reason_of(event.call_id)] if event.call_id else callback_pb2.CALL_REASON_UNSPECIFIED,
    )


def _by_word(table: Mapping[Any, V], word: str) -> V:
    return table.get(word, cast("V", 0))


def timestamp(milliseconds: int) -> Timestamp:
    """Convert milliseconds since the epoch to a Timestamp."""
    seconds, rest = divmod(milliseconds, 1000)
    return Timestamp(seconds=seconds, nanos=rest * 1_000_000)
