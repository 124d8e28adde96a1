"""The transition that records the end of an attempt of a delivery."""

from __future__ import annotations

from typing import Final

from callback_server.domain.call import DeliveryStatus, Outcome, Request
from callback_server.domain.case import Settings
from callback_server.domain.ids import case_id_of_call
from callback_server.store import keys
from callback_server.store.generated_lua import flags, numbers, text
from callback_server.store.packing import pack_content, pack_request
from callback_server.store.retention import Retention
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script(
    "finish_delivery",
    [
        *text("case_id", "call_id", "attempt", "status", "failure", "detail", "response", "response_body"),
        *text("request", "request_body"),
        *numbers("wait_ms", "max_recorded_calls", "max_recorded_bytes"),
        *flags("was_asked"),
    ],
)


async def finish_delivery(
    scripts: Scripts,
    *,
    call_id: str,
    fence: int,
    request: Request,
    outcome: Outcome | None,
    status: DeliveryStatus,
    wait_ms: int,
    retention: Retention,
) -> bool | None:
    """Record the end of an attempt and the status of its delivery, durably. Safe to send again.

    Args:
        scripts: The scripts on the store.
        call_id: The id of the call that is delivered.
        fence: The number of the attempt among all attempts of the delivery.
        request: The request that was delivered.
        outcome: What the handler decided. None: the attempt was given up before the handler was asked.
        status: The status of the delivery from now on.
        wait_ms: The time until the next attempt if the delivery is PENDING, in milliseconds.
        retention: What is kept of the request, of the answer and of ended calls.

    Returns:
        Whether the next delivery of an ordered case is due now. None: another attempt has started, and decides.

    Raises:
        StoreError: It is not known whether the end was recorded.
    """
    response, body = b"", b""
    if outcome is not None and outcome.response is not None:
        response, body = pack_content(Settings(), retention.of_answer(outcome.response))
    kept = retention.of_request(request)
    kept_request, kept_body = (b"", b"") if kept is request else pack_request(kept)
    word, *facts = await scripts.run(
        SCRIPT,
        keys.partition_of(case_id_of_call(call_id)),
        case_id=case_id_of_call(call_id),
        call_id=call_id,
        attempt=fence,
        status=status,
        failure=outcome.failure or "" if outcome else "",
        detail=outcome.detail if outcome else "",
        response=response,
        response_body=body,
        request=kept_request,
        request_body=kept_body,
        wait_ms=wait_ms,
        max_recorded_calls=retention.calls_per_case,
        max_recorded_bytes=retention.bytes_per_case,
        was_asked=outcome is not None,
    )
    return bool(facts[0]) if word == b"OK" else None
