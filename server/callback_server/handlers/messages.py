"""The question to a handler and its answer as messages of the contract, the same for push and for workers."""

from __future__ import annotations

import time

from google.protobuf import duration_pb2

from callback.v1 import callback_handler_service_pb2 as handler_pb2
from callback_server.contract import converters
from callback_server.contract.validation import violations
from callback_server.domain.call import CallFailure, Grant, Request
from callback_server.domain.ids import case_id_of_call
from callback_server.domain.notification import Reason
from callback_server.handlers.handler import Decision, HandlerError


def question(grant: Grant, request: Request, *, timeout_s: float) -> handler_pb2.HandleCallbackRequest:
    """Return the question to a handler about a call or notification, which ends after `timeout_s` seconds."""
    return handler_pb2.HandleCallbackRequest(
        call_id=grant.call_id,
        callback_system_case=case_id_of_call(grant.call_id),
        callback_activity=grant.activity,
        callback_activity_case=grant.settings.activity_case,
        attempt=grant.attempt,
        request_method=request.method,
        request_headers=converters.headers_to(request.headers),
        request_query=converters.query_to(request.query),
        request_query_string=request.query_string,
        request_body=request.body,
        client_address=request.client_address,
        response=converters.response_to(grant.response) if grant.reason is Reason.CALL else None,
        labels=grant.settings.labels,
        deadline=converters.timestamp(round((time.time() + timeout_s) * 1000)),
        timeout=duration(timeout_s),
        verification_profile=request.verification_profile,
        verified=bool(request.verification_profile),
        message_id=request.message_id,
        callback_choice=request.choice,
        replayed=grant.replayed,
        reason=converters.reason_to(grant.reason),
        owner=grant.owner,
        traceparent=request.traceparent,
    )


def duration(seconds: float) -> duration_pb2.Duration:
    """Return a duration, to the millisecond."""
    whole, part = divmod(round(seconds * 1000), 1000)
    return duration_pb2.Duration(seconds=whole, nanos=part * 1_000_000)


def decision(answer: handler_pb2.HandleCallbackResponse) -> Decision:
    """Return the decision in a handler's answer.

    Raises:
        HandlerError: The answer breaks the contract.
    """
    decided = Decision(
        accepted=answer.verdict == handler_pb2.VERDICT_ACCEPTED,
        override=converters.response_from(answer.response),
        keep_open=answer.keep_open,
        close=answer.close,
        no_repeat=answer.no_repeat,
    )
    if broken := violations(answer) or decided.problems():
        told = "; ".join(f"{each.field}: {each.message}" for each in broken[:5])
        raise HandlerError(CallFailure.INVALID_RESPONSE, told)
    return decided
