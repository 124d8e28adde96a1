"""The question to a handler and its answer as messages of the contract, the same for push and for workers."""

from __future__ import annotations

import time

from callback.v1 import callback_handler_service_pb2 as handler_pb2
from callback.v1 import callbacks_service_pb2 as callbacks_pb2
from callback_server.contract.conversion import from_message, to_message
from callback_server.contract.converters import response_from
from callback_server.contract.validation import violations
from callback_server.domain.call import CallFailure, Decision, Grant, Request
from callback_server.domain.case import AnswerMode
from callback_server.domain.form import fields_json
from callback_server.domain.ids import case_id_of_call
from callback_server.domain.notification import CallReason
from callback_server.handlers.handler import HandlerError


def question(
    grant: Grant, request: Request, *, timeout_s: float, report_error: bool
) -> handler_pb2.HandleCallbackRequest:
    """Return the question to a handler about a call or notification, which ends after `timeout_s` seconds."""
    return to_message(
        handler_pb2.HandleCallbackRequest,
        grant,
        request,
        grant.settings,
        case_id=case_id_of_call(grant.call_id),
        attempt=attempt_of(grant),
        response=grant.response if grant.reason is CallReason.CALL else None,
        deadline_ms=round((time.time() + timeout_s) * 1000),
        timeout_ms=round(timeout_s * 1000),
        verified=bool(request.verification_profile),
        report_error=report_error,
        fields_json=fields_json_of(grant, request),
    )


def fields_json_of(grant: Grant, request: Request) -> str:
    """Return what a person filled in, as a JSON object. Empty: the case has no fields, or the call is an event."""
    prompt = grant.settings.prompt
    if prompt is None or not prompt.fields or request.endpoint:  # no page asks the sender of an event
        return ""
    return fields_json(prompt.fields, request.body)


def attempt_of(grant: Grant) -> int:
    """Return the `attempt` of the contract: the number of the call if its caller waits, else that of the attempt."""
    return grant.attempt if grant.is_retry or grant.answer_mode is AnswerMode.ACK else grant.call_number


def decision_from(
    message: handler_pb2.HandleCallbackResponse
    | callbacks_pb2.AnswerCallRequest
    | callbacks_pb2.ResolveCallbackRequest,
    *,
    accepted: bool,
) -> Decision:
    """Convert a decision."""
    return from_message(Decision, message, accepted=accepted, override=response_from(message.response))


def decision(answer: handler_pb2.HandleCallbackResponse) -> Decision:
    """Return the decision in a handler's answer.

    Raises:
        HandlerError: The answer breaks the contract.
    """
    decided = decision_from(answer, accepted=answer.verdict == handler_pb2.VERDICT_ACCEPTED)
    if broken := violations(answer) or decided.problems():
        problems = "; ".join(f"{each.field}: {each.message}" for each in broken[:5])
        raise HandlerError(CallFailure.INVALID_RESPONSE, problems)
    return decided
