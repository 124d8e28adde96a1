"""Conversion between the messages of the contract and the values of this library.

Generated from the contract: `python3 tasks.py generate`.
"""

from callback._conversion import (
    EnumNumbers,
    from_timestamp,
    local_deadline,
    to_duration,
    to_timestamp,
)
from callback._enums import (
    ActivityKind,
    AnswerMode,
    AuditAction,
    AuditProblemKind,
    CallbackStatus,
    CallEventType,
    CallFailure,
    CallFilter,
    CallReason,
    CallStatus,
    CheckOutcome,
    CloseReason,
    DeliveryStatus,
    FieldKind,
    FindingLevel,
    GetGuard,
    ResponseType,
    WarningReason,
)
from callback._multi_mapping import Headers, Query
from callback._value import CONVERSIONS, Conversion
from callback._values import (
    Activity,
    AuditChain,
    AuditEntry,
    AuditHead,
    AuditProblem,
    Call,
    Callback,
    CallbackWarning,
    CallEvent,
    Delivery,
    Finding,
    Findings,
    GeneratedCallback,
    IncomingCall,
    MinuteStatistics,
    NewCallback,
    Notification,
    OutcomeCount,
    OwnerStatistics,
    PausedActivity,
    Profile,
    ProfileCheck,
    ProfileSecret,
    Prompt,
    PromptField,
    RefusalCount,
    Request,
    Response,
    StageDuration,
    Statistics,
    WorkStatistics,
)
from callback.v1 import (
    audit_service_pb2,
    callback_handler_service_pb2,
    callback_pb2,
    callbacks_service_pb2,
    operations_service_pb2,
    profiles_service_pb2,
)

AUDIT_ACTION = EnumNumbers(AuditAction, audit_service_pb2.AuditAction)
"""The numbers of `AuditAction`."""
AUDIT_PROBLEM_KIND = EnumNumbers(AuditProblemKind, audit_service_pb2.AuditProblemKind)
"""The numbers of `AuditProblemKind`."""
CALL_REASON = EnumNumbers(CallReason, callback_pb2.CallReason)
"""The numbers of `CallReason`."""
ANSWER_MODE = EnumNumbers(AnswerMode, callback_pb2.AnswerMode)
"""The numbers of `AnswerMode`."""
GET_GUARD = EnumNumbers(GetGuard, callback_pb2.GetGuard)
"""The numbers of `GetGuard`."""
FIELD_KIND = EnumNumbers(FieldKind, callback_pb2.FieldKind)
"""The numbers of `FieldKind`."""
CALLBACK_STATUS = EnumNumbers(CallbackStatus, callback_pb2.CallbackStatus)
"""The numbers of `CallbackStatus`."""
CLOSE_REASON = EnumNumbers(CloseReason, callback_pb2.CloseReason)
"""The numbers of `CloseReason`."""
RESPONSE_TYPE = EnumNumbers(ResponseType, callback_pb2.ResponseType)
"""The numbers of `ResponseType`."""
DELIVERY_STATUS = EnumNumbers(DeliveryStatus, callback_pb2.DeliveryStatus)
"""The numbers of `DeliveryStatus`."""
CALL_STATUS = EnumNumbers(CallStatus, callback_pb2.CallStatus)
"""The numbers of `CallStatus`."""
CALL_FAILURE = EnumNumbers(CallFailure, callback_pb2.CallFailure)
"""The numbers of `CallFailure`."""
WARNING_REASON = EnumNumbers(WarningReason, callbacks_service_pb2.WarningReason)
"""The numbers of `WarningReason`."""
CALL_FILTER = EnumNumbers(CallFilter, callbacks_service_pb2.CallFilter)
"""The numbers of `CallFilter`."""
CALL_EVENT_TYPE = EnumNumbers(CallEventType, callbacks_service_pb2.CallEventType)
"""The numbers of `CallEventType`."""
ACTIVITY_KIND = EnumNumbers(ActivityKind, operations_service_pb2.ActivityKind)
"""The numbers of `ActivityKind`."""
FINDING_LEVEL = EnumNumbers(FindingLevel, operations_service_pb2.FindingLevel)
"""The numbers of `FindingLevel`."""
CHECK_OUTCOME = EnumNumbers(CheckOutcome, profiles_service_pb2.CheckOutcome)
"""The numbers of `CheckOutcome`."""


def response_from_proto(message: callback_pb2.Response) -> Response:
    """Convert a message to a `Response`."""
    return Response(
        type=RESPONSE_TYPE.member(message.response_type),
        redirect_url=message.response_redirect_url if message.HasField("response_redirect_url") else None,
        body=message.response_body if message.HasField("response_body") else None,
        code=message.response_code if message.HasField("response_code") else None,
        headers=Headers((each.name, each.value) for each in message.response_headers.headers)
        if message.HasField("response_headers")
        else None,
        heading=message.response_heading if message.HasField("response_heading") else None,
        text=message.response_text if message.HasField("response_text") else None,
        link_label=message.response_link_label if message.HasField("response_link_label") else None,
        link_url=message.response_link_url if message.HasField("response_link_url") else None,
        language=message.response_language if message.HasField("response_language") else None,
    )


def response_to_proto(value: Response) -> callback_pb2.Response:
    """Convert a `Response` to its message."""
    return callback_pb2.Response(
        response_type=RESPONSE_TYPE.number(value.type),
        response_redirect_url=value.redirect_url,
        response_body=value.body,
        response_code=value.code,
        response_headers=None
        if value.headers is None
        else callback_pb2.ResponseHeaders(
            headers=[callback_pb2.ResponseHeader(name=name, value=each) for name, each in value.headers.pairs]
        ),
        response_heading=value.heading,
        response_text=value.text,
        response_link_label=value.link_label,
        response_link_url=value.link_url,
        response_language=value.language,
    )


def request_from_proto(message: callback_handler_service_pb2.HandleCallbackRequest) -> Request:
    """Convert a message to a `Request`."""
    return Request(
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
        fields_json=message.fields_json,
        reason=CALL_REASON.member(message.reason) or CallReason.CALL,
    )


def request_to_proto(value: Request) -> callback_handler_service_pb2.HandleCallbackRequest:
    """Convert a `Request` to its message."""
    return callback_handler_service_pb2.HandleCallbackRequest(
        call_id=value.call_id,
        callback_system_case=value.case_id,
        attempt=value.attempt,
        request_method=value.method,
        request_headers=[callback_pb2.Header(name=name, value=each) for name, each in value.headers.pairs],
        request_query=[callback_pb2.QueryParameter(name=name, value=each) for name, each in value.query.pairs],
        request_query_string=value.query_string,
        request_body=value.body,
        client_address=value.client_address,
        verification_profile=value.verification_profile,
        message_id=value.message_id,
        callback_choice=value.choice,
        fields_json=value.fields_json,
        reason=CALL_REASON.number(value.reason),
    )


def incoming_call_from_proto(message: callback_handler_service_pb2.HandleCallbackRequest) -> IncomingCall:
    """Convert a message to a `IncomingCall`."""
    return IncomingCall(
        call_id=message.call_id,
        case_id=message.callback_system_case,
        activity=message.callback_activity,
        activity_case=message.callback_activity_case,
        attempt=message.attempt,
        method=message.request_method,
        headers=Headers((each.name, each.value) for each in message.request_headers),
        query=Query((each.name, each.value) for each in message.request_query),
        query_string=message.request_query_string,
        body=message.request_body,
        client_address=message.client_address,
        response=response_from_proto(message.response),
        labels=dict(message.labels),
        deadline=local_deadline(message),
        verification_profile=message.verification_profile,
        message_id=message.message_id,
        replayed=message.replayed,
        owner=message.owner,
        choice=message.callback_choice,
        fields_json=message.fields_json,
        endpoint=message.endpoint,
        reason=CALL_REASON.member(message.reason) or CallReason.CALL,
        traceparent=message.traceparent,
    )


def incoming_call_to_proto(value: IncomingCall) -> callback_handler_service_pb2.HandleCallbackRequest:
    """Convert a `IncomingCall` to its message."""
    return callback_handler_service_pb2.HandleCallbackRequest(
        call_id=value.call_id,
        callback_system_case=value.case_id,
        callback_activity=value.activity,
        callback_activity_case=value.activity_case,
        attempt=value.attempt,
        request_method=value.method,
        request_headers=[callback_pb2.Header(name=name, value=each) for name, each in value.headers.pairs],
        request_query=[callback_pb2.QueryParameter(name=name, value=each) for name, each in value.query.pairs],
        request_query_string=value.query_string,
        request_body=value.body,
        client_address=value.client_address,
        response=response_to_proto(value.response),
        labels=value.labels,
        deadline=to_timestamp(value.deadline),
        verification_profile=value.verification_profile,
        verified=value.verified,
        message_id=value.message_id,
        replayed=value.replayed,
        owner=value.owner,
        callback_choice=value.choice,
        fields_json=value.fields_json,
        endpoint=value.endpoint,
        reason=CALL_REASON.number(value.reason),
        traceparent=value.traceparent,
    )


def notification_from_proto(message: callback_handler_service_pb2.HandleCallbackRequest) -> Notification:
    """Convert a message to a `Notification`."""
    return Notification(
        call_id=message.call_id,
        case_id=message.callback_system_case,
        activity=message.callback_activity,
        activity_case=message.callback_activity_case,
        attempt=message.attempt,
        labels=dict(message.labels),
        deadline=local_deadline(message),
        replayed=message.replayed,
        owner=message.owner,
        reason=CALL_REASON.member(message.reason) or CallReason.CALL,
        traceparent=message.traceparent,
    )


def notification_to_proto(value: Notification) -> callback_handler_service_pb2.HandleCallbackRequest:
    """Convert a `Notification` to its message."""
    return callback_handler_service_pb2.HandleCallbackRequest(
        call_id=value.call_id,
        callback_system_case=value.case_id,
        callback_activity=value.activity,
        callback_activity_case=value.activity_case,
        attempt=value.attempt,
        labels=value.labels,
        deadline=to_timestamp(value.deadline),
        replayed=value.replayed,
        owner=value.owner,
        reason=CALL_REASON.number(value.reason),
        traceparent=value.traceparent,
    )


def audit_entry_from_proto(message: audit_service_pb2.AuditEntry) -> AuditEntry:
    """Convert a message to a `AuditEntry`."""
    return AuditEntry(
        chain=message.chain,
        sequence=message.sequence,
        time=from_timestamp(message.time),
        actor=message.actor,
        action=AUDIT_ACTION.member(message.action) or AuditAction.UNKNOWN,
        owner=message.owner,
        activity=message.callback_activity,
        case_id=message.callback_case_id,
        call_id=message.call_id,
        reason=message.reason,
        details=dict(message.details),
        digest=message.digest,
        key_id=message.key_id,
        verification_profile=message.verification_profile,
    )


def audit_entry_to_proto(value: AuditEntry) -> audit_service_pb2.AuditEntry:
    """Convert a `AuditEntry` to its message."""
    return audit_service_pb2.AuditEntry(
        chain=value.chain,
        sequence=value.sequence,
        time=to_timestamp(value.time),
        actor=value.actor,
        action=AUDIT_ACTION.number(value.action),
        owner=value.owner,
        callback_activity=value.activity,
        callback_case_id=value.case_id,
        call_id=value.call_id,
        reason=value.reason,
        details=value.details,
        digest=value.digest,
        key_id=value.key_id,
        verification_profile=value.verification_profile,
    )


def audit_head_from_proto(message: audit_service_pb2.AuditHead) -> AuditHead:
    """Convert a message to a `AuditHead`."""
    return AuditHead(
        chain=message.chain,
        sequence=message.sequence,
        digest=message.digest,
        time=from_timestamp(message.time),
    )


def audit_head_to_proto(value: AuditHead) -> audit_service_pb2.AuditHead:
    """Convert a `AuditHead` to its message."""
    return audit_service_pb2.AuditHead(
        chain=value.chain,
        sequence=value.sequence,
        digest=value.digest,
        time=to_timestamp(value.time),
    )


def audit_problem_from_proto(message: audit_service_pb2.AuditProblem) -> AuditProblem:
    """Convert a message to a `AuditProblem`."""
    return AuditProblem(
        kind=AUDIT_PROBLEM_KIND.member(message.kind) or AuditProblemKind.UNKNOWN,
        sequence=message.sequence,
        text=message.text,
    )


def audit_problem_to_proto(value: AuditProblem) -> audit_service_pb2.AuditProblem:
    """Convert a `AuditProblem` to its message."""
    return audit_service_pb2.AuditProblem(
        kind=AUDIT_PROBLEM_KIND.number(value.kind),
        sequence=value.sequence,
        text=value.text,
    )


def audit_chain_from_proto(message: audit_service_pb2.AuditChain) -> AuditChain:
    """Convert a message to a `AuditChain`."""
    return AuditChain(
        chain=message.chain,
        entry_count=message.entry_count,
        first_sequence=message.first_sequence,
        head=audit_head_from_proto(message.head) if message.HasField("head") else None,
        problems=tuple(audit_problem_from_proto(each) for each in message.problems),
    )


def audit_chain_to_proto(value: AuditChain) -> audit_service_pb2.AuditChain:
    """Convert a `AuditChain` to its message."""
    return audit_service_pb2.AuditChain(
        chain=value.chain,
        entry_count=value.entry_count,
        first_sequence=value.first_sequence,
        head=None if value.head is None else audit_head_to_proto(value.head),
        problems=[audit_problem_to_proto(each) for each in value.problems],
    )


def prompt_field_from_proto(message: callback_pb2.PromptField) -> PromptField:
    """Convert a message to a `PromptField`."""
    return PromptField(
        name=message.name,
        label=message.label,
        kind=FIELD_KIND.member(message.kind) or FieldKind.TEXT,
        is_required=message.is_required,
        default_value=message.default_value,
        minimum=message.minimum,
        maximum=message.maximum,
        choices={each.value: each.label for each in message.choices},
        help=message.help,
    )


def prompt_field_to_proto(value: PromptField) -> callback_pb2.PromptField:
    """Convert a `PromptField` to its message."""
    return callback_pb2.PromptField(
        name=value.name,
        label=value.label,
        kind=FIELD_KIND.number(value.kind),
        is_required=value.is_required,
        default_value=value.default_value,
        minimum=value.minimum,
        maximum=value.maximum,
        choices=[callback_pb2.PromptChoice(value=value, label=label) for value, label in value.choices.items()],
        help=value.help,
    )


def prompt_from_proto(message: callback_pb2.Prompt) -> Prompt:
    """Convert a message to a `Prompt`."""
    return Prompt(
        title=message.title,
        text=message.text,
        choices={each.value: each.label for each in message.choices},
        language=message.language,
        fields=tuple(prompt_field_from_proto(each) for each in message.fields),
    )


def prompt_to_proto(value: Prompt) -> callback_pb2.Prompt:
    """Convert a `Prompt` to its message."""
    return callback_pb2.Prompt(
        title=value.title,
        text=value.text,
        choices=[callback_pb2.PromptChoice(value=value, label=label) for value, label in value.choices.items()],
        language=value.language,
        fields=[prompt_field_to_proto(each) for each in value.fields],
    )


def delivery_from_proto(message: callback_pb2.Delivery) -> Delivery:
    """Convert a message to a `Delivery`."""
    return Delivery(
        status=DELIVERY_STATUS.member(message.status) or DeliveryStatus.UNKNOWN,
        attempts=message.attempts,
        next_attempt_time=from_timestamp(message.next_attempt_time) if message.HasField("next_attempt_time") else None,
        failure=CALL_FAILURE.member(message.failure),
        failure_detail=message.failure_detail,
        response=response_from_proto(message.response) if message.HasField("response") else None,
        paused=message.paused,
    )


def delivery_to_proto(value: Delivery) -> callback_pb2.Delivery:
    """Convert a `Delivery` to its message."""
    return callback_pb2.Delivery(
        status=DELIVERY_STATUS.number(value.status),
        attempts=value.attempts,
        next_attempt_time=None if value.next_attempt_time is None else to_timestamp(value.next_attempt_time),
        failure=CALL_FAILURE.number(value.failure),
        failure_detail=value.failure_detail,
        response=None if value.response is None else response_to_proto(value.response),
        paused=value.paused,
    )


def call_from_proto(message: callback_pb2.Call) -> Call:
    """Convert a message to a `Call`."""
    return Call(
        call_id=message.call_id,
        case_id=message.callback_case_id,
        status=CALL_STATUS.member(message.status) or CallStatus.UNKNOWN,
        failure=CALL_FAILURE.member(message.failure),
        failure_detail=message.failure_detail,
        attempt=message.attempt,
        method=message.request_method,
        headers=Headers((each.name, each.value) for each in message.request_headers),
        query=Query((each.name, each.value) for each in message.request_query),
        query_string=message.request_query_string,
        body=message.request_body,
        body_size=message.request_body_size,
        client_address=message.client_address,
        response=response_from_proto(message.response) if message.HasField("response") else None,
        keep_open=message.keep_open,
        close=message.close,
        start_time=from_timestamp(message.start_time),
        end_time=from_timestamp(message.end_time) if message.HasField("end_time") else None,
        erased=message.erased,
        body_dropped=message.body_dropped,
        verification_profile=message.verification_profile,
        message_id=message.message_id,
        verification_failure=message.verification_failure,
        delivery=delivery_from_proto(message.delivery) if message.HasField("delivery") else None,
        fallback_sent=message.fallback_sent,
        caller_gone=message.caller_gone,
        repeat_count=message.repeat_count,
        choice=message.callback_choice,
        fields_json=message.fields_json,
        correlation_key=message.correlation_key,
        reason=CALL_REASON.member(message.reason) or CallReason.CALL,
        answered_by=message.answered_by,
    )


def call_to_proto(value: Call) -> callback_pb2.Call:
    """Convert a `Call` to its message."""
    return callback_pb2.Call(
        call_id=value.call_id,
        callback_case_id=value.case_id,
        status=CALL_STATUS.number(value.status),
        failure=CALL_FAILURE.number(value.failure),
        failure_detail=value.failure_detail,
        attempt=value.attempt,
        request_method=value.method,
        request_headers=[callback_pb2.Header(name=name, value=each) for name, each in value.headers.pairs],
        request_query=[callback_pb2.QueryParameter(name=name, value=each) for name, each in value.query.pairs],
        request_query_string=value.query_string,
        request_body=value.body,
        request_body_size=value.body_size,
        client_address=value.client_address,
        response=None if value.response is None else response_to_proto(value.response),
        keep_open=value.keep_open,
        close=value.close,
        start_time=to_timestamp(value.start_time),
        end_time=None if value.end_time is None else to_timestamp(value.end_time),
        erased=value.erased,
        body_dropped=value.body_dropped,
        verification_profile=value.verification_profile,
        message_id=value.message_id,
        verification_failure=value.verification_failure,
        delivery=None if value.delivery is None else delivery_to_proto(value.delivery),
        fallback_sent=value.fallback_sent,
        caller_gone=value.caller_gone,
        repeat_count=value.repeat_count,
        callback_choice=value.choice,
        fields_json=value.fields_json,
        correlation_key=value.correlation_key,
        reason=CALL_REASON.number(value.reason),
        answered_by=value.answered_by,
    )


def callback_from_proto(message: callback_pb2.Callback) -> Callback:
    """Convert a message to a `Callback`."""
    return Callback(
        case_id=message.callback_case_id,
        owner=message.owner,
        status=CALLBACK_STATUS.member(message.status) or CallbackStatus.UNKNOWN,
        close_reason=CLOSE_REASON.member(message.close_reason),
        activity=message.callback_activity,
        activity_case=message.callback_activity_case,
        state_query_parameter=message.state_query_parameter,
        retryable_after_error=message.retryable_after_error,
        allow_multiple_calls=message.allow_multiple_calls,
        alternative_domain=message.alternative_domain,
        response=response_from_proto(message.response),
        labels=dict(message.labels),
        create_time=from_timestamp(message.create_time),
        expire_time=from_timestamp(message.expire_time) if message.HasField("expire_time") else None,
        close_time=from_timestamp(message.close_time) if message.HasField("close_time") else None,
        call_count=message.call_count,
        verification_profile=message.verification_profile,
        get_guard=GET_GUARD.member(message.get_guard) or GetGuard.OFF,
        answer_mode=ANSWER_MODE.member(message.answer_mode) or AnswerMode.HANDLER,
        answer_deadline=message.answer_deadline.ToTimedelta() if message.HasField("answer_deadline") else None,
        fallback=response_from_proto(message.fallback) if message.HasField("fallback") else None,
        ordered=message.ordered,
        hold_time=message.hold_time.ToTimedelta() if message.HasField("hold_time") else None,
        repeat_window=message.repeat_window.ToTimedelta(),
        no_repeat=message.no_repeat,
        resolved=message.resolved,
        closed_response=response_from_proto(message.closed_response) if message.HasField("closed_response") else None,
        prompt=prompt_from_proto(message.prompt) if message.HasField("prompt") else None,
        remind_after=tuple(each.ToTimedelta() for each in message.remind_after),
        notify=tuple(CALL_REASON.member(each) or CallReason.UNKNOWN for each in message.notify),
        notifications=tuple(call_from_proto(each) for each in message.notifications),
        allowed_origins=tuple(each for each in message.allowed_origins),
        frame_origins=tuple(each for each in message.frame_origins),
        endpoint=message.endpoint,
        correlation_key=message.correlation_key,
    )


def callback_to_proto(value: Callback) -> callback_pb2.Callback:
    """Convert a `Callback` to its message."""
    return callback_pb2.Callback(
        callback_case_id=value.case_id,
        owner=value.owner,
        status=CALLBACK_STATUS.number(value.status),
        close_reason=CLOSE_REASON.number(value.close_reason),
        callback_activity=value.activity,
        callback_activity_case=value.activity_case,
        state_query_parameter=value.state_query_parameter,
        retryable_after_error=value.retryable_after_error,
        allow_multiple_calls=value.allow_multiple_calls,
        alternative_domain=value.alternative_domain,
        response=response_to_proto(value.response),
        labels=value.labels,
        create_time=to_timestamp(value.create_time),
        expire_time=None if value.expire_time is None else to_timestamp(value.expire_time),
        close_time=None if value.close_time is None else to_timestamp(value.close_time),
        call_count=value.call_count,
        verification_profile=value.verification_profile,
        get_guard=GET_GUARD.number(value.get_guard),
        answer_mode=ANSWER_MODE.number(value.answer_mode),
        answer_deadline=None if value.answer_deadline is None else to_duration(value.answer_deadline),
        fallback=None if value.fallback is None else response_to_proto(value.fallback),
        ordered=value.ordered,
        hold_time=None if value.hold_time is None else to_duration(value.hold_time),
        repeat_window=to_duration(value.repeat_window),
        no_repeat=value.no_repeat,
        resolved=value.resolved,
        closed_response=None if value.closed_response is None else response_to_proto(value.closed_response),
        prompt=None if value.prompt is None else prompt_to_proto(value.prompt),
        remind_after=[to_duration(each) for each in value.remind_after],
        notify=[CALL_REASON.number(each) for each in value.notify],
        notifications=[call_to_proto(each) for each in value.notifications],
        allowed_origins=value.allowed_origins,
        frame_origins=value.frame_origins,
        endpoint=value.endpoint,
        correlation_key=value.correlation_key,
    )


def new_callback_from_proto(message: callbacks_service_pb2.GenerateCallbackUrlRequest) -> NewCallback:
    """Convert a message to a `NewCallback`."""
    return NewCallback(
        activity=message.callback_activity,
        activity_case=message.callback_activity_case,
        state_query_parameter=message.state_query_parameter,
        retryable_after_error=message.retryable_after_error,
        allow_multiple_calls=message.allow_multiple_calls,
        alternative_domain=message.alternative_domain,
        response=response_from_proto(message.response) if message.HasField("response") else None,
        request_id=message.request_id,
        time_to_live=message.time_to_live.ToTimedelta() if message.HasField("time_to_live") else None,
        labels=dict(message.labels),
        verification_profile=message.verification_profile,
        get_guard=GET_GUARD.member(message.get_guard),
        answer_mode=ANSWER_MODE.member(message.answer_mode),
        answer_deadline=message.answer_deadline.ToTimedelta() if message.HasField("answer_deadline") else None,
        fallback=response_from_proto(message.fallback) if message.HasField("fallback") else None,
        ordered=message.ordered,
        closed_response=response_from_proto(message.closed_response) if message.HasField("closed_response") else None,
        prompt=prompt_from_proto(message.prompt) if message.HasField("prompt") else None,
        hold_time=message.hold_time.ToTimedelta() if message.HasField("hold_time") else None,
        repeat_window=message.repeat_window.ToTimedelta() if message.HasField("repeat_window") else None,
        no_repeat=message.no_repeat,
        remind_after=tuple(each.ToTimedelta() for each in message.remind_after),
        notify=tuple(CALL_REASON.member(each) or CallReason.UNKNOWN for each in message.notify),
        allowed_origins=tuple(each for each in message.allowed_origins),
        frame_origins=tuple(each for each in message.frame_origins),
        endpoint=message.endpoint,
        correlation_key=message.correlation_key,
        no_url=message.no_url,
    )


def new_callback_to_proto(value: NewCallback) -> callbacks_service_pb2.GenerateCallbackUrlRequest:
    """Convert a `NewCallback` to its message."""
    return callbacks_service_pb2.GenerateCallbackUrlRequest(
        callback_activity=value.activity,
        callback_activity_case=value.activity_case,
        state_query_parameter=value.state_query_parameter,
        retryable_after_error=value.retryable_after_error,
        allow_multiple_calls=value.allow_multiple_calls,
        alternative_domain=value.alternative_domain,
        response=None if value.response is None else response_to_proto(value.response),
        request_id=value.request_id,
        time_to_live=None if value.time_to_live is None else to_duration(value.time_to_live),
        labels=value.labels,
        verification_profile=value.verification_profile,
        get_guard=GET_GUARD.number(value.get_guard),
        answer_mode=ANSWER_MODE.number(value.answer_mode),
        answer_deadline=None if value.answer_deadline is None else to_duration(value.answer_deadline),
        fallback=None if value.fallback is None else response_to_proto(value.fallback),
        ordered=value.ordered,
        closed_response=None if value.closed_response is None else response_to_proto(value.closed_response),
        prompt=None if value.prompt is None else prompt_to_proto(value.prompt),
        hold_time=None if value.hold_time is None else to_duration(value.hold_time),
        repeat_window=None if value.repeat_window is None else to_duration(value.repeat_window),
        no_repeat=value.no_repeat,
        remind_after=[to_duration(each) for each in value.remind_after],
        notify=[CALL_REASON.number(each) for each in value.notify],
        allowed_origins=value.allowed_origins,
        frame_origins=value.frame_origins,
        endpoint=value.endpoint,
        correlation_key=value.correlation_key,
        no_url=value.no_url,
    )


def callback_warning_from_proto(message: callbacks_service_pb2.Warning) -> CallbackWarning:
    """Convert a message to a `CallbackWarning`."""
    return CallbackWarning(
        reason=WARNING_REASON.member(message.reason) or WarningReason.UNKNOWN,
        text=message.text,
    )


def callback_warning_to_proto(value: CallbackWarning) -> callbacks_service_pb2.Warning:
    """Convert a `CallbackWarning` to its message."""
    return callbacks_service_pb2.Warning(
        reason=WARNING_REASON.number(value.reason),
        text=value.text,
    )


def generated_callback_from_proto(message: callbacks_service_pb2.GenerateCallbackUrlResponse) -> GeneratedCallback:
    """Convert a message to a `GeneratedCallback`."""
    return GeneratedCallback(
        url=message.callback_url,
        state=message.callback_state,
        case_id=message.callback_case_id,
        expire_time=from_timestamp(message.expire_time) if message.HasField("expire_time") else None,
        warnings=tuple(callback_warning_from_proto(each) for each in message.warnings),
    )


def generated_callback_to_proto(value: GeneratedCallback) -> callbacks_service_pb2.GenerateCallbackUrlResponse:
    """Convert a `GeneratedCallback` to its message."""
    return callbacks_service_pb2.GenerateCallbackUrlResponse(
        callback_url=value.url,
        callback_state=value.state,
        callback_case_id=value.case_id,
        expire_time=None if value.expire_time is None else to_timestamp(value.expire_time),
        warnings=[callback_warning_to_proto(each) for each in value.warnings],
    )


def call_event_from_proto(message: callbacks_service_pb2.CallEvent) -> CallEvent:
    """Convert a message to a `CallEvent`."""
    return CallEvent(
        type=CALL_EVENT_TYPE.member(message.type) or CallEventType.UNKNOWN,
        case_id=message.callback_case_id,
        call_id=message.call_id,
        activity=message.callback_activity,
        owner=message.owner,
        time=from_timestamp(message.time),
        case_status=CALLBACK_STATUS.member(message.case_status) or CallbackStatus.UNKNOWN,
        close_reason=CLOSE_REASON.member(message.close_reason),
        call_status=CALL_STATUS.member(message.call_status),
        delivery_status=DELIVERY_STATUS.member(message.delivery_status),
        resume_token=message.resume_token,
        reason=CALL_REASON.member(message.reason),
    )


def call_event_to_proto(value: CallEvent) -> callbacks_service_pb2.CallEvent:
    """Convert a `CallEvent` to its message."""
    return callbacks_service_pb2.CallEvent(
        type=CALL_EVENT_TYPE.number(value.type),
        callback_case_id=value.case_id,
        call_id=value.call_id,
        callback_activity=value.activity,
        owner=value.owner,
        time=to_timestamp(value.time),
        case_status=CALLBACK_STATUS.number(value.case_status),
        close_reason=CLOSE_REASON.number(value.close_reason),
        call_status=CALL_STATUS.number(value.call_status),
        delivery_status=DELIVERY_STATUS.number(value.delivery_status),
        resume_token=value.resume_token,
        reason=CALL_REASON.number(value.reason),
    )


def paused_activity_from_proto(message: operations_service_pb2.PausedActivity) -> PausedActivity:
    """Convert a message to a `PausedActivity`."""
    return PausedActivity(
        activity=message.callback_activity,
        principal=message.principal,
        reason=message.reason,
        pause_time=from_timestamp(message.pause_time) if message.HasField("pause_time") else None,
    )


def paused_activity_to_proto(value: PausedActivity) -> operations_service_pb2.PausedActivity:
    """Convert a `PausedActivity` to its message."""
    return operations_service_pb2.PausedActivity(
        callback_activity=value.activity,
        principal=value.principal,
        reason=value.reason,
        pause_time=None if value.pause_time is None else to_timestamp(value.pause_time),
    )


def activity_from_proto(message: operations_service_pb2.Activity) -> Activity:
    """Convert a message to a `Activity`."""
    return Activity(
        activity=message.callback_activity,
        kind=ACTIVITY_KIND.member(message.kind) or ActivityKind.UNKNOWN,
        worker_count=message.worker_count,
        paused=message.paused,
        delivery_count=message.delivery_count,
        open_callback_count=message.open_callback_count,
        notification_worker_count=message.notification_worker_count,
    )


def activity_to_proto(value: Activity) -> operations_service_pb2.Activity:
    """Convert a `Activity` to its message."""
    return operations_service_pb2.Activity(
        callback_activity=value.activity,
        kind=ACTIVITY_KIND.number(value.kind),
        worker_count=value.worker_count,
        paused=value.paused,
        delivery_count=value.delivery_count,
        open_callback_count=value.open_callback_count,
        notification_worker_count=value.notification_worker_count,
    )


def outcome_count_from_proto(message: operations_service_pb2.OutcomeCount) -> OutcomeCount:
    """Convert a message to a `OutcomeCount`."""
    return OutcomeCount(
        status=CALL_STATUS.member(message.call_status) or CallStatus.UNKNOWN,
        failure=CALL_FAILURE.member(message.call_failure),
        count=message.count,
    )


def outcome_count_to_proto(value: OutcomeCount) -> operations_service_pb2.OutcomeCount:
    """Convert a `OutcomeCount` to its message."""
    return operations_service_pb2.OutcomeCount(
        call_status=CALL_STATUS.number(value.status),
        call_failure=CALL_FAILURE.number(value.failure),
        count=value.count,
    )


def refusal_count_from_proto(message: operations_service_pb2.RefusalCount) -> RefusalCount:
    """Convert a message to a `RefusalCount`."""
    return RefusalCount(
        reason=message.reason,
        count=message.count,
    )


def refusal_count_to_proto(value: RefusalCount) -> operations_service_pb2.RefusalCount:
    """Convert a `RefusalCount` to its message."""
    return operations_service_pb2.RefusalCount(
        reason=value.reason,
        count=value.count,
    )


def stage_duration_from_proto(message: operations_service_pb2.StageDuration) -> StageDuration:
    """Convert a message to a `StageDuration`."""
    return StageDuration(
        stage=message.stage,
        count=message.count,
        median=message.median.ToTimedelta(),
        p95=message.p95.ToTimedelta(),
        p99=message.p99.ToTimedelta(),
    )


def stage_duration_to_proto(value: StageDuration) -> operations_service_pb2.StageDuration:
    """Convert a `StageDuration` to its message."""
    return operations_service_pb2.StageDuration(
        stage=value.stage,
        count=value.count,
        median=to_duration(value.median),
        p95=to_duration(value.p95),
        p99=to_duration(value.p99),
    )


def work_statistics_from_proto(message: operations_service_pb2.WorkStatistics) -> WorkStatistics:
    """Convert a message to a `WorkStatistics`."""
    return WorkStatistics(
        open_callback_count=message.open_callback_count,
        waiting_call_count=message.waiting_call_count,
        dead_call_count=message.dead_call_count,
        delivery_count=message.delivery_count,
        delivery_delay=message.delivery_delay.ToTimedelta(),
    )


def work_statistics_to_proto(value: WorkStatistics) -> operations_service_pb2.WorkStatistics:
    """Convert a `WorkStatistics` to its message."""
    return operations_service_pb2.WorkStatistics(
        open_callback_count=value.open_callback_count,
        waiting_call_count=value.waiting_call_count,
        dead_call_count=value.dead_call_count,
        delivery_count=value.delivery_count,
        delivery_delay=to_duration(value.delivery_delay),
    )


def minute_statistics_from_proto(message: operations_service_pb2.MinuteStatistics) -> MinuteStatistics:
    """Convert a message to a `MinuteStatistics`."""
    return MinuteStatistics(
        start_time=from_timestamp(message.start_time),
        duration=message.duration.ToTimedelta(),
        outcomes=tuple(outcome_count_from_proto(each) for each in message.outcomes),
        refusals=tuple(refusal_count_from_proto(each) for each in message.refusals),
        stages=tuple(stage_duration_from_proto(each) for each in message.stages),
        work=work_statistics_from_proto(message.work) if message.HasField("work") else None,
    )


def minute_statistics_to_proto(value: MinuteStatistics) -> operations_service_pb2.MinuteStatistics:
    """Convert a `MinuteStatistics` to its message."""
    return operations_service_pb2.MinuteStatistics(
        start_time=to_timestamp(value.start_time),
        duration=to_duration(value.duration),
        outcomes=[outcome_count_to_proto(each) for each in value.outcomes],
        refusals=[refusal_count_to_proto(each) for each in value.refusals],
        stages=[stage_duration_to_proto(each) for each in value.stages],
        work=None if value.work is None else work_statistics_to_proto(value.work),
    )


def owner_statistics_from_proto(message: operations_service_pb2.OwnerStatistics) -> OwnerStatistics:
    """Convert a message to a `OwnerStatistics`."""
    return OwnerStatistics(
        owner=message.owner,
        open_callback_count=message.open_callback_count,
        waiting_call_count=message.waiting_call_count,
        dead_call_count=message.dead_call_count,
    )


def owner_statistics_to_proto(value: OwnerStatistics) -> operations_service_pb2.OwnerStatistics:
    """Convert a `OwnerStatistics` to its message."""
    return operations_service_pb2.OwnerStatistics(
        owner=value.owner,
        open_callback_count=value.open_callback_count,
        waiting_call_count=value.waiting_call_count,
        dead_call_count=value.dead_call_count,
    )


def statistics_from_proto(message: operations_service_pb2.GetStatisticsResponse) -> Statistics:
    """Convert a message to a `Statistics`."""
    return Statistics(
        minutes=tuple(minute_statistics_from_proto(each) for each in message.minutes),
        stages=tuple(stage_duration_from_proto(each) for each in message.stages),
        owners=tuple(owner_statistics_from_proto(each) for each in message.owners),
        work=work_statistics_from_proto(message.work),
    )


def statistics_to_proto(value: Statistics) -> operations_service_pb2.GetStatisticsResponse:
    """Convert a `Statistics` to its message."""
    return operations_service_pb2.GetStatisticsResponse(
        minutes=[minute_statistics_to_proto(each) for each in value.minutes],
        stages=[stage_duration_to_proto(each) for each in value.stages],
        owners=[owner_statistics_to_proto(each) for each in value.owners],
        work=work_statistics_to_proto(value.work),
    )


def finding_from_proto(message: operations_service_pb2.Finding) -> Finding:
    """Convert a message to a `Finding`."""
    return Finding(
        check=message.check,
        level=FINDING_LEVEL.member(message.level) or FindingLevel.UNKNOWN,
        seen=message.seen,
        advice=message.advice,
    )


def finding_to_proto(value: Finding) -> operations_service_pb2.Finding:
    """Convert a `Finding` to its message."""
    return operations_service_pb2.Finding(
        check=value.check,
        level=FINDING_LEVEL.number(value.level),
        seen=value.seen,
        advice=value.advice,
    )


def findings_from_proto(message: operations_service_pb2.ListFindingsResponse) -> Findings:
    """Convert a message to a `Findings`."""
    return Findings(
        findings=tuple(finding_from_proto(each) for each in message.findings),
        check_time=from_timestamp(message.check_time),
    )


def findings_to_proto(value: Findings) -> operations_service_pb2.ListFindingsResponse:
    """Convert a `Findings` to its message."""
    return operations_service_pb2.ListFindingsResponse(
        findings=[finding_to_proto(each) for each in value.findings],
        check_time=to_timestamp(value.check_time),
    )


def profile_secret_from_proto(message: profiles_service_pb2.ProfileSecret) -> ProfileSecret:
    """Convert a message to a `ProfileSecret`."""
    return ProfileSecret(
        secret_id=message.secret_id,
        fingerprint=message.fingerprint,
        create_time=from_timestamp(message.create_time),
        retire_time=from_timestamp(message.retire_time) if message.HasField("retire_time") else None,
    )


def profile_secret_to_proto(value: ProfileSecret) -> profiles_service_pb2.ProfileSecret:
    """Convert a `ProfileSecret` to its message."""
    return profiles_service_pb2.ProfileSecret(
        secret_id=value.secret_id,
        fingerprint=value.fingerprint,
        create_time=to_timestamp(value.create_time),
        retire_time=None if value.retire_time is None else to_timestamp(value.retire_time),
    )


def profile_from_proto(message: profiles_service_pb2.Profile) -> Profile:
    """Convert a message to a `Profile`."""
    return Profile(
        name=message.name,
        kind=message.kind,
        settings=message.settings,
        secrets=tuple(profile_secret_from_proto(each) for each in message.secrets),
        create_time=from_timestamp(message.create_time),
        update_time=from_timestamp(message.update_time),
        problem=message.problem,
    )


def profile_to_proto(value: Profile) -> profiles_service_pb2.Profile:
    """Convert a `Profile` to its message."""
    return profiles_service_pb2.Profile(
        name=value.name,
        kind=value.kind,
        settings=value.settings,
        secrets=[profile_secret_to_proto(each) for each in value.secrets],
        create_time=to_timestamp(value.create_time),
        update_time=to_timestamp(value.update_time),
        problem=value.problem,
    )


def profile_check_from_proto(message: profiles_service_pb2.CheckProfileResponse) -> ProfileCheck:
    """Convert a message to a `ProfileCheck`."""
    return ProfileCheck(
        outcome=CHECK_OUTCOME.member(message.outcome) or CheckOutcome.UNKNOWN,
        why=message.why,
        secret_id=message.secret_id,
        message_id=message.message_id,
    )


def profile_check_to_proto(value: ProfileCheck) -> profiles_service_pb2.CheckProfileResponse:
    """Convert a `ProfileCheck` to its message."""
    return profiles_service_pb2.CheckProfileResponse(
        outcome=CHECK_OUTCOME.number(value.outcome),
        why=value.why,
        secret_id=value.secret_id,
        message_id=value.message_id,
    )


CONVERSIONS.update(
    {
        Response: Conversion(callback_pb2.Response, response_from_proto, response_to_proto),
        Request: Conversion(callback_handler_service_pb2.HandleCallbackRequest, request_from_proto, request_to_proto),
        IncomingCall: Conversion(
            callback_handler_service_pb2.HandleCallbackRequest, incoming_call_from_proto, incoming_call_to_proto
        ),
        Notification: Conversion(
            callback_handler_service_pb2.HandleCallbackRequest, notification_from_proto, notification_to_proto
        ),
        AuditEntry: Conversion(audit_service_pb2.AuditEntry, audit_entry_from_proto, audit_entry_to_proto),
        AuditHead: Conversion(audit_service_pb2.AuditHead, audit_head_from_proto, audit_head_to_proto),
        AuditProblem: Conversion(audit_service_pb2.AuditProblem, audit_problem_from_proto, audit_problem_to_proto),
        AuditChain: Conversion(audit_service_pb2.AuditChain, audit_chain_from_proto, audit_chain_to_proto),
        PromptField: Conversion(callback_pb2.PromptField, prompt_field_from_proto, prompt_field_to_proto),
        Prompt: Conversion(callback_pb2.Prompt, prompt_from_proto, prompt_to_proto),
        Delivery: Conversion(callback_pb2.Delivery, delivery_from_proto, delivery_to_proto),
        Call: Conversion(callback_pb2.Call, call_from_proto, call_to_proto),
        Callback: Conversion(callback_pb2.Callback, callback_from_proto, callback_to_proto),
        NewCallback: Conversion(
            callbacks_service_pb2.GenerateCallbackUrlRequest, new_callback_from_proto, new_callback_to_proto
        ),
        CallbackWarning: Conversion(
            callbacks_service_pb2.Warning, callback_warning_from_proto, callback_warning_to_proto
        ),
        GeneratedCallback: Conversion(
            callbacks_service_pb2.GenerateCallbackUrlResponse,
            generated_callback_from_proto,
            generated_callback_to_proto,
        ),
        CallEvent: Conversion(callbacks_service_pb2.CallEvent, call_event_from_proto, call_event_to_proto),
        PausedActivity: Conversion(
            operations_service_pb2.PausedActivity, paused_activity_from_proto, paused_activity_to_proto
        ),
        Activity: Conversion(operations_service_pb2.Activity, activity_from_proto, activity_to_proto),
        OutcomeCount: Conversion(operations_service_pb2.OutcomeCount, outcome_count_from_proto, outcome_count_to_proto),
        RefusalCount: Conversion(operations_service_pb2.RefusalCount, refusal_count_from_proto, refusal_count_to_proto),
        StageDuration: Conversion(
            operations_service_pb2.StageDuration, stage_duration_from_proto, stage_duration_to_proto
        ),
        WorkStatistics: Conversion(
            operations_service_pb2.WorkStatistics, work_statistics_from_proto, work_statistics_to_proto
        ),
        MinuteStatistics: Conversion(
            operations_service_pb2.MinuteStatistics, minute_statistics_from_proto, minute_statistics_to_proto
        ),
        OwnerStatistics: Conversion(
            operations_service_pb2.OwnerStatistics, owner_statistics_from_proto, owner_statistics_to_proto
        ),
        Statistics: Conversion(
            operations_service_pb2.GetStatisticsResponse, statistics_from_proto, statistics_to_proto
        ),
        Finding: Conversion(operations_service_pb2.Finding, finding_from_proto, finding_to_proto),
        Findings: Conversion(operations_service_pb2.ListFindingsResponse, findings_from_proto, findings_to_proto),
        ProfileSecret: Conversion(
            profiles_service_pb2.ProfileSecret, profile_secret_from_proto, profile_secret_to_proto
        ),
        Profile: Conversion(profiles_service_pb2.Profile, profile_from_proto, profile_to_proto),
        ProfileCheck: Conversion(
            profiles_service_pb2.CheckProfileResponse, profile_check_from_proto, profile_check_to_proto
        ),
    }
)
