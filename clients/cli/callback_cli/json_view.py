"""JSON output, with the names of the contract.

A field that the contract leaves unset is omitted; every other field is always present. Enums are their names, times are
RFC 3339 in UTC, counts are numbers. A body that is not UTF-8 is encoded as base64, in a field with the suffix `Base64`.
Headers and query are flat: a repeated name has a list.
"""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from callback import (
    Activity,
    AuditChain,
    AuditHead,
    Call,
    Callback,
    CallEvent,
    CallReason,
    Delivery,
    GeneratedCallback,
    PausedActivity,
    Prompt,
    Response,
    StageDuration,
    Statistics,
    WorkStatistics,
)

Json = dict[str, Any]


def dumps(view: Json | list[Json]) -> str:
    """Return indented JSON. It is ASCII, so that no character of it can control a terminal."""
    return json.dumps(view, indent=2)


def line(view: Json) -> str:
    """Return JSON on one line, in ASCII."""
    return json.dumps(view)


def generated(value: GeneratedCallback) -> Json:
    """Return the view of a new callback."""
    return _without_none(
        {
            "callbackUrl": value.url,
            "callbackState": value.state,
            "callbackCaseId": value.case_id,
            "expireTime": _time(value.expire_time),
            "warnings": [{"reason": each.reason, "text": each.text} for each in value.warnings] or None,
        }
    )


def activity(value: Activity) -> Json:
    """Return the view of an activity."""
    return {
        "callbackActivity": value.activity,
        "kind": value.kind,
        "workerCount": value.worker_count,
        "paused": value.paused,
        "deliveryCount": value.delivery_count,
        "openCallbackCount": value.open_callback_count,
        "notificationWorkerCount": value.notification_worker_count,
    }


def statistics(value: Statistics) -> Json:
    """Return the view of statistics. Durations are in milliseconds."""
    return {
        "minutes": [
            {
                "startTime": _time(minute.start_time),
                "durationMs": _milliseconds(minute.duration),
                "outcomes": [
                    _without_none({"callStatus": each.status, "callFailure": each.failure, "count": each.count})
                    for each in minute.outcomes
                ],
                "refusals": {each.reason: each.count for each in minute.refusals},
                "stages": [_stage(each) for each in minute.stages],
                **({} if minute.work is None else {"work": _work(minute.work)}),
            }
            for minute in value.minutes
        ],
        "stages": [_stage(each) for each in value.stages],
        "owners": [
            {
                "owner": each.owner,
                "openCallbackCount": each.open_callback_count,
                "waitingCallCount": each.waiting_call_count,
                "deadCallCount": each.dead_call_count,
            }
            for each in value.owners
        ],
        "work": _work(value.work),
    }


def _work(value: WorkStatistics) -> Json:
    return {
        "openCallbackCount": value.open_callback_count,
        "waitingCallCount": value.waiting_call_count,
        "deadCallCount": value.dead_call_count,
        "deliveryCount": value.delivery_count,
        "deliveryDelayMs": _milliseconds(value.delivery_delay),
    }


def _stage(value: StageDuration) -> Json:
    quantiles = {"median": value.median, "p95": value.p95, "p99": value.p99}
    return {
        "stage": value.stage,
        "count": value.count,
        **{f"{name}Ms": _milliseconds(each) for name, each in quantiles.items()},
    }


def _milliseconds(duration: timedelta) -> float:
    return duration / timedelta(milliseconds=1)


def paused_activity(value: PausedActivity) -> Json:
    """Return the view of a paused activity."""
    return _without_none(
        {
            "callbackActivity": value.activity,
            "paused": True,
            "principal": value.principal,
            "reason": value.reason,
            "pauseTime": _time(value.pause_time),
        }
    )


def audit_head(value: AuditHead) -> Json:
    """Return the view of a head of the audit."""
    return {"chain": value.chain, "sequence": value.sequence, "digest": value.digest}


def audit_chain(value: AuditChain) -> Json:
    """Return the view of the verification of a chain of the audit."""
    return _without_none(
        {
            "chain": value.chain,
            "entryCount": value.entry_count,
            "firstSequence": value.first_sequence,
            "head": None if value.head is None else audit_head(value.head),
            "problems": [{"kind": each.kind, "sequence": each.sequence, "text": each.text} for each in value.problems],
        }
    )


def callback(value: Callback) -> Json:
    """Return the view of a case."""
    return _without_none(
        {
            "callbackCaseId": value.case_id,
            "owner": value.owner,
            "status": value.status,
            "closeReason": value.close_reason,
            "callbackActivity": value.activity,
            "callbackActivityCase": value.activity_case,
            "stateQueryParameter": value.state_query_parameter,
            "retryableAfterError": value.retryable_after_error,
            "allowMultipleCalls": value.allow_multiple_calls,
            "alternativeDomain": value.alternative_domain,
            "response": response(value.response),
            "labels": dict(value.labels),
            "createTime": _time(value.create_time),
            "expireTime": _time(value.expire_time),
            "closeTime": _time(value.close_time),
            "callCount": value.call_count,
            "verificationProfile": value.verification_profile,
            "getGuard": value.get_guard,
            "answerMode": value.answer_mode,
            "answerDeadline": None if value.answer_deadline is None else f"{value.answer_deadline.total_seconds():g}s",
            "fallback": None if value.fallback is None else response(value.fallback),
            "closedResponse": None if value.closed_response is None else response(value.closed_response),
            "ordered": value.ordered,
            "prompt": None if value.prompt is None else _prompt(value.prompt),
            "holdTime": None if value.hold_time is None else f"{value.hold_time.total_seconds():g}s",
            "repeatWindow": f"{value.repeat_window.total_seconds():g}s",
            "noRepeat": value.no_repeat,
            "resolved": value.resolved,
            "remindAfter": [f"{each.total_seconds():g}s" for each in value.remind_after],
            "notify": list(value.notify),
            "notifications": [call(each) for each in value.notifications],
        }
    )


def call(value: Call) -> Json:
    """Return the view of a call. A body that is missing despite its size was left out or not recorded.

    A notification has a delivery, and neither a request nor a result.
    """
    if value.reason is not CallReason.CALL:
        return _without_none(
            {
                "callId": value.call_id,
                "callbackCaseId": value.case_id,
                "reason": value.reason,
                "startTime": _time(value.start_time),
                "delivery": None if value.delivery is None else _delivery(value.delivery),
            }
        )
    has_body = bool(value.body) or value.body_size == 0
    return _without_none(
        {
            "callId": value.call_id,
            "callbackCaseId": value.case_id,
            "reason": value.reason,
            "status": value.status,
            "failure": value.failure,
            "failureDetail": value.failure_detail,
            "attempt": value.attempt,
            "requestMethod": value.method,
            "requestHeaders": value.headers.as_json(),
            "requestQuery": value.query.as_json(),
            "requestQueryString": value.query_string,
            **_body("requestBody", value.body if has_body else None),
            "requestBodySize": value.body_size,
            "clientAddress": value.client_address,
            "verificationProfile": value.verification_profile,
            "messageId": value.message_id,
            "verificationFailure": value.verification_failure,
            "callbackChoice": value.choice,
            "response": None if value.response is None else response(value.response),
            "keepOpen": value.keep_open,
            "close": value.close,
            "erased": value.erased,
            "startTime": _time(value.start_time),
            "endTime": _time(value.end_time),
            "delivery": None if value.delivery is None else _delivery(value.delivery),
            "fallbackSent": value.fallback_sent,
            "callerGone": value.caller_gone,
            "repeatCount": value.repeat_count,
            "answeredBy": value.answered_by,
        }
    )


def event(value: CallEvent) -> Json:
    """Return the view of an event."""
    return _without_none(
        {
            "type": value.type,
            "callbackCaseId": value.case_id,
            "callId": value.call_id or None,
            "callbackActivity": value.activity,
            "owner": value.owner,
            "time": _time(value.time),
            "caseStatus": value.case_status,
            "closeReason": value.close_reason,
            "callStatus": value.call_status,
            "deliveryStatus": value.delivery_status,
            "reason": value.reason,
            "resumeToken": value.resume_token or None,
        }
    )


def listed_call(value: Call) -> Json:
    """Return the view of a call from a list. An empty body is omitted, because lists leave out bodies."""
    if value.response is not None and not value.response.body:
        value = replace(value, response=replace(value.response, body=None))
    if value.delivery is not None and value.delivery.response is not None and not value.delivery.response.body:
        decided = replace(value.delivery.response, body=None)
        value = replace(value, delivery=replace(value.delivery, response=decided))
    return call(value)


def response(value: Response) -> Json:
    """Return the view of a response."""
    return _without_none(
        {
            "responseType": value.type,
            "responseRedirectUrl": value.redirect_url,
            **_body("responseBody", value.body),
            "responseCode": value.code,
            "responseHeaders": None if value.headers is None else value.headers.as_json(),
            "responseHeading": value.heading,
            "responseText": value.text,
            "responseLinkLabel": value.link_label,
            "responseLinkUrl": value.link_url,
        }
    )


def _prompt(value: Prompt) -> Json:
    choices = [{"value": each, "label": label} for each, label in value.choices.items()]
    return {"title": value.title, "text": value.text, "choices": choices}


def _delivery(value: Delivery) -> Json:
    return _without_none(
        {
            "status": value.status,
            "attempts": value.attempts,
            "nextAttemptTime": _time(value.next_attempt_time),
            "failure": value.failure,
            "failureDetail": value.failure_detail,
            "response": None if value.response is None else response(value.response),
            "paused": value.paused,
        }
    )


def _body(name: str, body: bytes | None) -> Json:
    if body is None:
        return {}
    try:
        return {name: body.decode()}
    except UnicodeDecodeError:
        return {f"{name}Base64": base64.b64encode(body).decode()}


def time(when: datetime) -> str:
    """Return a time as in the contract's JSON."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _time(when: datetime | None) -> str | None:
    return None if when is None else time(when)


def _without_none(view: Json) -> Json:
    return {name: value for name, value in view.items() if value is not None}
