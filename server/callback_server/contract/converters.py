"""Domain values as the messages of the contract, and back: what their names do not say (see `conversion.py`)."""

from __future__ import annotations

from typing import Final

from callback.v1 import callback_pb2, options_pb2
from callback_server.contract.conversion import from_message, to_message
from callback_server.domain.call import Call, CallStatus, Delivery, DeliveryStatus, Outcome
from callback_server.domain.case import CallMode, Case, Prompt
from callback_server.domain.form import fields_json
from callback_server.domain.ids import case_id_of_call
from callback_server.domain.response import Response
from callback_shared.fields import short_name

_NOTHING: Final = Outcome(CallStatus.RUNNING)
"""The outcome of a notification, which has none."""


def response_from(message: callback_pb2.Response) -> Response:
    """Convert the response of a valid message, with the white space around the values of its headers trimmed."""
    if not message.HasField("response_headers"):
        return from_message(Response, message)
    headers = tuple((header.name, header.value.strip(" \t")) for header in message.response_headers.headers)
    return from_message(Response, message, headers=headers)


def content_attributes(*, bodies: bool, headers: bool) -> frozenset[str]:
    """Return the attributes of requests and responses that are bodies or texts, or headers, or both."""
    kinds = {1: bodies, 2: headers}  # the values of the option `content`
    return frozenset(
        short_name(field)
        for message in (callback_pb2.Call, callback_pb2.Response)
        for field in message.DESCRIPTOR.fields
        if kinds.get(field.GetOptions().Extensions[options_pb2.content])
    )


def case_to(case: Case) -> callback_pb2.Callback:
    """Convert a case, for its owner. Its notifications are not part of it."""
    fallback = case.fallback
    return to_message(
        callback_pb2.Callback,
        case,
        case.settings,
        case_id=case.id,
        allow_multiple_calls=case.mode is CallMode.MULTIPLE,
        answer_deadline_ms=case.settings.answer_deadline_ms if fallback is None else fallback.after_ms,
        fallback=None if fallback is None else fallback.response,
        resolved=bool(case.resolved),
        notifications=None,
    )


def call_to(call: Call, *, paused: bool = False, prompt: Prompt | None = None) -> callback_pb2.Call:
    """Convert a call or notification, for the owner of its case.

    Args:
        call: The call.
        paused: Whether its activity is paused.
        prompt: The prompt of the case, of which the body of the request has the fields. None: there is none.
    """
    return to_message(
        callback_pb2.Call,
        call,
        call.outcome or _NOTHING,
        call.request,
        call_id=call.id,
        case_id=case_id_of_call(call.id),
        attempt=call.call_number,
        fields_json="" if prompt is None else fields_json(prompt.fields, call.request.body),
        delivery=None if call.delivery is None else delivery_to(call.delivery, paused=paused, erased=call.erased),
    )


def delivery_to(delivery: Delivery, *, paused: bool, erased: bool) -> callback_pb2.Delivery:
    """Convert a delivery, for the owner of its case.

    Args:
        delivery: The delivery.
        paused: Whether its activity is paused.
        erased: Whether the recorded data of its call was erased.
    """
    return to_message(
        callback_pb2.Delivery,
        delivery,
        failure_detail=_why_dead(delivery, erased=erased) or delivery.failure_detail,
        paused=paused and delivery.status is DeliveryStatus.PENDING,
    )


def _why_dead(delivery: Delivery, *, erased: bool) -> str:
    """Return why a delivery is dead. Empty if it is not dead, or its failure says why."""
    if delivery.status is not DeliveryStatus.DEAD:
        return ""
    if erased:
        return "the recorded data of its call was erased"
    return "the handler rejected it" if delivery.failure is None else ""
