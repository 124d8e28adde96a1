"""The end of a call that a handler decided, or of an attempt of its delivery."""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable

from msgspec.structs import replace

from callback_server.calls.transition_log import log_call_ended, log_delivery_tried
from callback_server.domain.call import CallFailure, CallStatus, DeliveryStatus, Grant, Outcome
from callback_server.domain.retries import Retries
from callback_server.handlers.dispatch import HandlerDispatcher, HandlerResult
from callback_server.store.connection.resend import resend
from callback_server.store.recording import Recording
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.finish_call import FinishResult, ResponseReplaced, finish_call


async def finish(
    scripts: Scripts,
    dispatcher: HandlerDispatcher,
    recording: Recording,
    grant: Grant,
    result: HandlerResult,
    *,
    lease_end: float,
    wait_ms: Callable[[Outcome], int | None] | None = None,
    fencing_token: int = 1,
    was_given_up: bool = False,
) -> tuple[Outcome, FinishResult | None]:
    """Record the outcome that a decision has with the response of the case as it is then, and log it.

    Args:
        scripts: The scripts on the store.
        dispatcher: Merges a decision with the response of the case.
        recording: What is recorded of calls.
        grant: The call.
        result: The decision, or why there is none.
        lease_end: When the lease ends, by the monotonic clock. Until then, the end is sent again.
        wait_ms: Returns the time until the next attempt after an outcome. None: no other attempt may follow.
        fencing_token: The fencing token of the attempt.
        was_given_up: Whether the attempt ended before a handler was asked, because no other one may follow.

    Returns:
        The outcome, and what was recorded; None if the call has ended otherwise, or another attempt has started.

    Raises:
        StoreError: It is not known whether the end was recorded.
    """
    response, version = grant.response, grant.version
    while True:
        outcome = dispatcher.outcome(result, response)
        left_s = lease_end - time.monotonic()
        finished = await resend(
            functools.partial(
                finish_call,
                scripts,
                call_id=grant.call_id,
                outcome=outcome,
                version=version if result.is_merged else None,
                recording=recording,
                fencing_token=fencing_token,
                wait_ms=wait_ms(outcome) if wait_ms is not None else None,
                was_asked=outcome.was_asked and not was_given_up,
            ),
            unsent_s=left_s,
            unsure_s=left_s,
        )
        if not isinstance(finished, ResponseReplaced):
            break
        response, version = finished.response, finished.version
    if finished is not None:
        dispatcher.report(grant, result, outcome)
        if finished.delivery is not None:
            # The first attempt is that of the call itself, whose caller got the fallback.
            tried = replace(grant, attempt=1) if fencing_token == 1 else grant
            log_delivery_tried(tried, finished.delivery, outcome, finished.wait_ms)
        if finished.delivery is not DeliveryStatus.PENDING:  # the call has ended
            log_call_ended(grant.call_id, grant.activity, outcome, finished.effect, owner=grant.owner)
    return outcome, finished


def wait_ms(retries: Retries, outcome: Outcome, *, attempts: int, asked_before: int, age_ms: int) -> int | None:
    """Return the time until the next attempt in milliseconds. None: no other attempt follows this outcome.

    Args:
        retries: The retries of the activity.
        outcome: The outcome of the last attempt.
        attempts: The number of attempts so far.
        asked_before: In how many attempts before the last one a handler was asked.
        age_ms: How long ago the delivery started or was replayed, in milliseconds.
    """
    if outcome.status in (CallStatus.SUCCEEDED, CallStatus.REJECTED):
        return None
    if outcome.failure is CallFailure.WORKERS_LOST:  # each attempt would cost two more workers their streams
        return None
    part = random.random()  # noqa: S311  # spreads retries
    return retries.wait_ms(attempts, asked_before + outcome.was_asked, age_ms, part)
