"""Why a callback or a call is as it is: names of texts, which a page puts into words. Pure."""

import re
from collections.abc import Iterator
from typing import Final

from callback import (
    AnswerMode,
    Call,
    Callback,
    CallbackStatus,
    CallFailure,
    CallReason,
    CallStatus,
    Delivery,
    DeliveryStatus,
    GetGuard,
)
from callback.masking import masked

REJECTED = "why.REJECTED.HANDLER"
"""Reason of a delivery that its handler rejected."""
FAILURES = (CallStatus.FAILED, CallStatus.NOT_STARTED, CallStatus.INTERRUPTED)
"""Statuses of a call that failed: it has no decision of its handler."""
_WORKER: Final = re.compile(r" \(worker .*\)$")
_ID: Final = re.compile(r"(?<![\w-])[\w-]*\d[\w-]*(?:[.,:]\d[\w-]*)*", re.ASCII)
_SAID_CHARS: Final = 200


def why_uncalled(callback: Callback) -> str:
    """Return why a callback has no call."""
    if callback.close_reason is not None:
        return f"uncalled.{callback.close_reason.value}"
    if callback.status is not CallbackStatus.OPEN:
        return "uncalled.UNKNOWN"
    if callback.verification_profile:
        return "uncalled.VERIFIED"
    return "uncalled.OPEN" if callback.get_guard is GetGuard.OFF else f"uncalled.{callback.get_guard.value}"


def why(call: Call, callback: Callback) -> list[str]:
    """Return why a call or a notification is as it is: its status, what its caller got, and its delivery."""
    if call.reason is not CallReason.CALL:
        return [f"notification.{call.reason.value}", *_of_delivery(call.delivery)]
    return [*_of_status(call, callback), *_of_caller(call), *_of_delivery(call.delivery)]


def why_dead(delivery: Delivery | None) -> str:
    """Return why a delivery is dead."""
    failure = delivery.failure if delivery else None
    return f"failure.{failure.value}" if failure else REJECTED


def said_by_handler(call: Call) -> str | None:
    """Return what a handler that failed has said about a call, in one line, for groups of calls. None: none failed.

    It is without credentials, and without what differs from call to call: the name of the worker, and numbers and ids,
    which become `…`.
    """
    if (call.delivery or call).failure is not CallFailure.HANDLER_ERROR:
        return None
    shown = masked(call, "")
    said = " ".join((shown.delivery or shown).failure_detail.split())
    return _ID.sub("…", _WORKER.sub("", said))[:_SAID_CHARS]


def why_failed(call: Call, callback: Callback) -> str:
    """Return why a call with one of `FAILURES` failed."""
    return next(_of_status(call, callback))


def _of_status(call: Call, callback: Callback) -> Iterator[str]:
    match call.status:
        case CallStatus.FAILED if callback.answer_mode is AnswerMode.HOLD:
            yield "why.FAILED.HOLD"
        case CallStatus.FAILED | CallStatus.NOT_STARTED:
            yield f"failure.{(call.failure or CallFailure.UNKNOWN).value}"
            if call.status is CallStatus.NOT_STARTED:
                yield "why.NOT_STARTED"
        case CallStatus.RUNNING:
            yield "why.HELD" if callback.answer_mode is AnswerMode.HOLD else "why.RUNNING"
        case CallStatus.SUCCEEDED | CallStatus.REJECTED:
            answered_by = {AnswerMode.HOLD: "PERSON", AnswerMode.ACK: "ACK"}.get(callback.answer_mode, "HANDLER")
            if callback.activity == "record" and answered_by == "HANDLER":
                answered_by = "RECORD"
            yield f"why.{call.status.value}.{answered_by}"
        case _:
            yield f"why.{call.status.value}"


def _of_caller(call: Call) -> Iterator[str]:
    if call.fallback_sent:
        yield "caller.FALLBACK"
    elif call.caller_gone:
        yield "caller.GONE"
    elif call.failure is not None:
        yield f"caller.{call.failure.value}"


def _of_delivery(delivery: Delivery | None) -> Iterator[str]:
    if delivery is None:
        return
    if delivery.status is DeliveryStatus.DEAD:
        yield "delivery.DEAD"
        yield why_dead(delivery)
    elif delivery.status is DeliveryStatus.PENDING:
        yield "delivery.PAUSED" if delivery.paused else "delivery.PENDING"
        if delivery.failure is not None:
            yield f"failure.{delivery.failure.value}"
    else:
        yield f"delivery.{delivery.status.value}"
