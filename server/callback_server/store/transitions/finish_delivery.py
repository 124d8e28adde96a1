"""The transition that records the end of an attempt of a delivery."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from callback_server.domain.call import DeliveryStatus, Outcome, Request
from callback_server.domain.case import Settings
from callback_server.domain.ids import case_id_of_call
from callback_server.store.packing import pack_content, pack_request
from callback_server.store.recording import Recording
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("finish_delivery", sends_reports=True)


@dataclass(frozen=True, slots=True)
class DeliveryFinished:
    """The end of an attempt is recorded."""

    next_is_due: bool
    """Whether the next delivery of an ordered case is due now."""
    is_case_closed: bool
    """Whether the handler has closed the case with this delivery."""
    status: DeliveryStatus | None
    """The status of the delivery from now on: DEAD in place of PENDING if its call was erased. None: it was a reminder
    of a case that is decided, and was dropped."""


async def finish_delivery(
    scripts: Scripts,
    *,
    call_id: str,
    fencing_token: int,
    request: Request,
    outcome: Outcome | None,
    status: DeliveryStatus,
    backoff_ms: int,
    recording: Recording,
) -> DeliveryFinished | None:
    """Record the end of an attempt and the status of its delivery, durably. Safe to send again.

    Args:
        scripts: The scripts on the store.
        call_id: The id of the call that is delivered.
        fencing_token: The fencing token of the attempt.
        request: The request that was delivered.
        outcome: What the handler decided. None: the attempt was given up before the handler was asked.
        status: The status of the delivery from now on.
        backoff_ms: The time until the next attempt if the delivery is PENDING, in milliseconds.
        recording: What is recorded of the request, of the answer and of ended calls.

    Returns:
        What was recorded. None: another attempt has started, and decides.

    Raises:
        StoreError: It is not known whether the end was recorded.
    """
    response, body = b"", b""
    if outcome is not None and outcome.response is not None:
        response, body = pack_content(Settings(), recording.of_answer(outcome.response))
    kept = recording.of_request(request)
    kept_request, kept_body = (b"", b"") if kept is request else pack_request(kept)
    word, *facts = await scripts.run(
        SCRIPT,
        case_id=case_id_of_call(call_id),
        call_id=call_id,
        fencing_token=fencing_token,
        status=status,
        failure=outcome.failure or "" if outcome else "",
        detail=outcome.failure_detail if outcome else "",
        response=response,
        response_body=body,
        names_body=scripts.names_bodies,
        request=kept_request,
        request_body=kept_body,
        backoff_ms=backoff_ms,
        limits=recording.limits,
        close=outcome is not None and outcome.close,
        was_asked=outcome is not None and outcome.was_asked,
        was_tried=outcome is not None,
    )
    if word != b"OK":
        return None
    next_is_due, is_case_closed, recorded = facts
    return DeliveryFinished(
        bool(next_is_due), bool(is_case_closed), DeliveryStatus(recorded.decode()) if recorded else None
    )
