"""Conversion between the protobuf messages of the contract and the values of this library."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from callback._multi_mapping import Headers, Query
from callback._values import (
    Activity,
    ActivityKind,
    AnswerMode,
    AuditAction,
    AuditChain,
    AuditEntry,
    AuditHead,
    AuditProblem,
    AuditProblemKind,
    Call,
    Callback,
    CallbackStatus,
    CallbackWarning,
    CallEvent,
    CallEventType,
    CallFailure,
    CallReason,
    CallStatus,
    CloseReason,
    Delivery,
    DeliveryStatus,
    Finding,
    FindingLevel,
    GeneratedCallback,
    GetGuard,
    IncomingCall,
    MinuteStatistics,
    Notification,
    OutcomeCount,
    OwnerStatistics,
    PausedActivity,
    Prompt,
    Response,
    ResponseType,
    StageDuration,
    Statistics,
    WarningReason,
    WorkStatistics,
)
from callback.v1 import (
    audit_service_pb2,
    callback_handler_service_pb2,
    callback_pb2,
    callbacks_service_pb2,
    operations_service_pb2,
)

_EnumMember = TypeVar("_EnumMember", bound=StrEnum)


class _Enum(Protocol):
    """The generated wrapper of a protobuf enum."""

    def Name(self, number: Any) -> str: ...  # noqa: N802  # protobuf's name


def callback_from_proto(message: callback_pb2.Callback) -> Callback:
    """Convert a case."""
    return Callback(
        case_id=message.callback_case_id,
        owner=message.owner,
        status=_enum_member(CallbackStatus, callback_pb2.CallbackStatus, message.status) or CallbackStatus.UNKNOWN,
        close_reason=_enum_member(CloseReason, callback_pb2.CloseReason, message.close_reason),
        activity=message.callback_activity,
        activity_case=message.callback_activity_case,
        state_query_parameter=message.state_query_parameter,
        retryable_after_error=message.retryable_after_error,
        allow_multiple_calls=message.allow_multiple_calls,
        alternative_domain=message.alternative_domain,
        response=response_from_proto(message.response),
        labels=dict(message.labels),
        create_time=_time(message.create_time),
        expire_time=_time(message.expire_time) if message.HasField("expire_time") else None,
        close_time=_time(message.close_time) if message.HasField("close_time") else None,
        call_count=message.call_count,
        verification_profile=message.verification_profile,
        get_guard=_enum_member(GetGuard, callback_pb2.GetGuard, message.get_guard) or GetGuard.OFF,
        answer_mode=_enum_member(AnswerMode, callback_pb2.AnswerMode, message.answer_mode) or AnswerMode.HANDLER,
        answer_deadline=message.answer_deadline.ToTimedelta() if message.HasField("answer_deadline") else None,
        fallback=response_from_proto(message.fallback) if message.HasField("fallback") else None,
        ordered=message.ordered,
        closed_response=response_from_proto(message.closed_response) if message.HasField("closed_response") else None,
        prompt=_prompt(message.prompt) if message.HasField("prompt") else None,
        hold_time=message.hold_time.ToTimedelta() if message.HasField("hold_time") else None,
        repeat_window=message.repeat_window.ToTimedelta(),
        no_repeat=message.no_repeat,
        resolved=message.resolved,
        remind_after=tuple(each.ToTimedelta() for each in message.remind_after),
        notify=tuple(_reason(number) for number in message.notify),
        notifications=tuple(call_from_proto(each) for each in message.notifications),
    )


def searched_to_from_proto(message: callbacks_service_pb2.ListCallbacksResponse) -> datetime | None:
    """Return how far the search for a page has come. None on the last page."""
    return _time(message.searched_to) if message.HasField("searched_to") else None


def statistics_from_proto(message: operations_service_pb2.GetStatisticsResponse) -> Statistics:
    """Convert statistics."""
    return Statistics(
        minutes=tuple(
            MinuteStatistics(
                start_time=_time(minute.start_time),
                duration=minute.duration.ToTimedelta(),
                outcomes=tuple(
                    OutcomeCount(
                        status=_enum_member(CallStatus, callback_pb2.CallStatus, each.call_status)
                        or CallStatus.UNKNOWN,
                        failure=_enum_member(CallFailure, callback_pb2.CallFailure, each.call_failure),
                        count=each.count,
                    )
                    for each in minute.outcomes
                ),
                refusals={each.reason: each.count for each in minute.refusals},
                stages=tuple(map(_stage, minute.stages)),
                work=_work(minute.work) if minute.HasField("work") else None,
            )
            for minute in message.minutes
        ),
        stages=tuple(map(_stage, message.stages)),
        owners=tuple(
            OwnerStatistics(
                owner=each.owner,
                open_callback_count=each.open_callback_count,
                waiting_call_count=each.waiting_call_count,
                dead_call_count=each.dead_call_count,
            )
            for each in message.owners
        ),
        work=_work(message.work),
    )


def _work(message: operations_service_pb2.WorkStatistics) -> WorkStatistics:
    return WorkStatistics(
        open_callback_count=message.open_callback_count,
        waiting_call_count=message.waiting_call_count,
        dead_call_count=message.dead_call_count,
        delivery_count=message.delivery_count,
        delivery_delay=message.delivery_delay.ToTimedelta(),
    )


def _stage(message: operations_service_pb2.StageDuration) -> StageDuration:
    return StageDuration(
        stage=message.stage,
        count=message.count,
        median=message.median.ToTimedelta(),
        p95=message.p95.ToTimedelta(),
        p99=message.p99.ToTimedelta(),
    )


def finding_from_proto(message: operations_service_pb2.Finding) -> Finding:
    """Convert a finding."""
    level = _enum_member(FindingLevel, operations_service_pb2.FindingLevel, message.level) or FindingLevel.UNKNOWN
    return Finding(check=message.check, level=level, seen=message.seen, advice=message.advice)


def activity_from_proto(message: operations_service_pb2.Activity) -> Activity:
    """Convert an activity."""
    return Activity(
        activity=message.callback_activity,
        kind=_enum_member(ActivityKind, operations_service_pb2.ActivityKind, message.kind) or ActivityKind.UNKNOWN,
        worker_count=message.worker_count,
        paused=message.paused,
        delivery_count=message.delivery_count,
        open_callback_count=message.open_callback_count,
        notification_worker_count=message.notification_worker_count,
    )


def paused_from_proto(message: operations_service_pb2.PausedActivity) -> PausedActivity:
    """Convert a paused activity."""
    return PausedActivity(
        activity=message.callback_activity,
        principal=message.principal,
        reason=message.reason,
        pause_time=_time(message.pause_time) if message.HasField("pause_time") else None,
    )


def audit_entry_from_proto(message: audit_service_pb2.AuditEntry) -> AuditEntry:
    """Convert an entry of the audit."""
    return AuditEntry(
        chain=message.chain,
        sequence=message.sequence,
        time=_time(message.time),
        action=_enum_member(AuditAction, audit_service_pb2.AuditAction, message.action) or AuditAction.UNKNOWN,
        actor=message.actor,
        owner=message.owner,
        activity=message.callback_activity,
        case_id=message.callback_case_id,
        call_id=message.call_id,
        reason=message.reason,
        details=dict(message.details),
        digest=message.digest,
        key_id=message.key_id,
    )


def audit_chain_from_proto(message: audit_service_pb2.AuditChain) -> AuditChain:
    """Convert the result of a verification of one chain."""
    head = message.head
    return AuditChain(
        chain=message.chain,
        entry_count=message.entry_count,
        first_sequence=message.first_sequence,
        head=AuditHead(chain=head.chain, sequence=head.sequence, digest=head.digest)
        if message.HasField("head")
        else None,
        problems=tuple(
            AuditProblem(
                kind=_enum_member(AuditProblemKind, audit_service_pb2.AuditProblemKind, each.kind)
                or AuditProblemKind.UNKNOWN,
                sequence=each.sequence,
                text=each.text,
            )
            for each in message.problems
        ),
    )


def generated_from_proto(message: callbacks_service_pb2.GenerateCallbackUrlResponse) -> GeneratedCallback:
    """Convert the URL of a new case."""
    return GeneratedCallback(
        url=message.callback_url,
        state=message.callback_state,
        case_id=message.callback_case_id,
        expire_time=_time(message.expire_time) if message.HasField("expire_time") else None,
        warnings=tuple(
            CallbackWarning(
                _enum_member(WarningReason, callbacks_service_pb2.WarningReason, each.reason) or WarningReason.UNKNOWN,
                each.text,
            )
            for each in message.warnings
        ),
    )


def call_from_proto(message: callback_pb2.Call) -> Call:
    """Convert a recorded call."""
    return Call(
        call_id=message.call_id,
        case_id=message.callback_case_id,
        attempt=message.attempt,
        method=message.request_method,
        headers=Headers((each.name, each.value) for each in message.request_headers),
        query=Query((each.name, each.value) for each in message.request_query),
        query_string=message.request_query_string,
        body=message.request_body,
        client_address=message.client_address,
        verification_profile=message.verification_profile,
        message_id=message.message_id,
        verification_failure=message.verification_failure,
        choice=message.callback_choice,
        status=_enum_member(CallStatus, callback_pb2.CallStatus, message.status) or CallStatus.UNKNOWN,
        reason=_reason(message.reason),
        failure=_enum_member(CallFailure, callback_pb2.CallFailure, message.failure),
        failure_detail=message.failure_detail,
        body_size=message.request_body_size,
        response=response_from_proto(message.response) if message.HasField("response") else None,
        keep_open=message.keep_open,
        close=message.close,
        erased=message.erased,
        start_time=_time(message.start_time),
        end_time=_time(message.end_time) if message.HasField("end_time") else None,
        delivery=_delivery(message.delivery) if message.HasField("delivery") else None,
        fallback_sent=message.fallback_sent,
        caller_gone=message.caller_gone,
        repeat_count=message.repeat_count,
        answered_by=message.answered_by,
    )


def event_from_proto(message: callbacks_service_pb2.CallEvent) -> CallEvent:
    """Convert an event of a watch."""
    return CallEvent(
        type=_enum_member(CallEventType, callbacks_service_pb2.CallEventType, message.type) or CallEventType.UNKNOWN,
        case_id=message.callback_case_id,
        call_id=message.call_id,
        activity=message.callback_activity,
        owner=message.owner,
        time=_time(message.time),
        case_status=_enum_member(CallbackStatus, callback_pb2.CallbackStatus, message.case_status)
        or CallbackStatus.UNKNOWN,
        close_reason=_enum_member(CloseReason, callback_pb2.CloseReason, message.close_reason),
        call_status=_enum_member(CallStatus, callback_pb2.CallStatus, message.call_status),
        delivery_status=_enum_member(DeliveryStatus, callback_pb2.DeliveryStatus, message.delivery_status),
        resume_token=message.resume_token,
        reason=_enum_member(CallReason, callback_pb2.CallReason, message.reason),
    )


def incoming_call_from_proto(message: callback_handler_service_pb2.HandleCallbackRequest) -> IncomingCall:
    """Convert the request that a handler receives."""
    return IncomingCall(
        call_id=message.call_id,
        case_id=message.callback_system_case,
        attempt=message.attempt,
        method=message.request_method,
        headers=Headers((each.name, each.value) for each in message.request_headers),
        query=Query((each.name, each.value) for each in message.request_query),
        query_string=message.request_query_string,
        body=message.request_body,
        client_address=message.client_address,
        verification_profile=message.verification_profile,
        message_id=message.message_id,
        choice=message.callback_choice,
        activity=message.callback_activity,
        activity_case=message.callback_activity_case,
        response=response_from_proto(message.response),
        labels=dict(message.labels),
        deadline=_deadline(message),
        replayed=message.replayed,
        owner=message.owner,
        traceparent=message.traceparent,
    )


def _deadline(message: callback_handler_service_pb2.HandleCallbackRequest) -> datetime:
    """Return the deadline by the clock of this machine. Without a timeout, the server's own time is all there is."""
    if message.HasField("timeout"):
        return datetime.now(UTC) + message.timeout.ToTimedelta()
    return _time(message.deadline)


def notification_from_proto(message: callback_handler_service_pb2.HandleCallbackRequest) -> Notification:
    """Convert the notification that a handler receives."""
    return Notification(
        reason=_reason(message.reason),
        call_id=message.call_id,
        case_id=message.callback_system_case,
        activity=message.callback_activity,
        activity_case=message.callback_activity_case,
        labels=dict(message.labels),
        attempt=message.attempt,
        deadline=_deadline(message),
        replayed=message.replayed,
        owner=message.owner,
        traceparent=message.traceparent,
    )


def response_from_proto(message: callback_pb2.Response) -> Response:
    """Convert a response. A field that is not set becomes None."""
    return Response(
        type=_enum_member(ResponseType, callback_pb2.ResponseType, message.response_type),
        redirect_url=message.response_redirect_url if message.HasField("response_redirect_url") else None,
        body=message.response_body if message.HasField("response_body") else None,
        code=message.response_code if message.HasField("response_code") else None,
        headers=(
            Headers((each.name, each.value) for each in message.response_headers.headers)
            if message.HasField("response_headers")
            else None
        ),
        heading=message.response_heading if message.HasField("response_heading") else None,
        text=message.response_text if message.HasField("response_text") else None,
        link_label=message.response_link_label if message.HasField("response_link_label") else None,
        link_url=message.response_link_url if message.HasField("response_link_url") else None,
    )


def response_to_proto(response: Response) -> callback_pb2.Response:
    """Convert a response to its message. An attribute that is None stays unset."""
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
        message.response_type = callback_pb2.ResponseType.Value(f"RESPONSE_TYPE_{response.type}")
    if response.headers is not None:
        message.response_headers.SetInParent()  # an empty list differs from an unset field
        for name, value in response.headers.pairs:
            message.response_headers.headers.add(name=name, value=value)
    return message


def prompt_to_proto(prompt: Prompt) -> callback_pb2.Prompt:
    """Convert a prompt to its message."""
    choices = [callback_pb2.PromptChoice(value=value, label=label) for value, label in prompt.choices.items()]
    return callback_pb2.Prompt(title=prompt.title, text=prompt.text, choices=choices)


def _prompt(message: callback_pb2.Prompt) -> Prompt:
    return Prompt(message.title, message.text, {each.value: each.label for each in message.choices})


def _delivery(message: callback_pb2.Delivery) -> Delivery:
    return Delivery(
        status=_enum_member(DeliveryStatus, callback_pb2.DeliveryStatus, message.status) or DeliveryStatus.UNKNOWN,
        attempts=message.attempts,
        next_attempt_time=_time(message.next_attempt_time) if message.HasField("next_attempt_time") else None,
        failure=_enum_member(CallFailure, callback_pb2.CallFailure, message.failure),
        failure_detail=message.failure_detail,
        response=response_from_proto(message.response) if message.HasField("response") else None,
        paused=message.paused,
    )


def _reason(number: callback_pb2.CallReason.ValueType) -> CallReason:
    """Return a reason. A server of the release before sends none, and knows calls alone."""
    return _enum_member(CallReason, callback_pb2.CallReason, number) or CallReason.CALL


def _enum_member(kind: type[_EnumMember], enum: _Enum, number: int) -> _EnumMember | None:
    """Return the member for an enum's number: None for unspecified, UNKNOWN for a number of a newer server."""
    if number == 0:
        return None
    prefix = enum.Name(0).removesuffix("UNSPECIFIED")
    try:
        return kind(enum.Name(number).removeprefix(prefix))
    except ValueError:
        return kind("UNKNOWN")


def _time(timestamp: Timestamp) -> datetime:
    return timestamp.ToDatetime(tzinfo=UTC)
