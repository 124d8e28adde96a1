"""Attempts to have a handler decide: of a call, and of deliveries. Each end is recorded, then logged.

The attempt of a call whose caller gets the fallback is the first one of its delivery.
"""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Mapping

from msgspec.structs import replace

from callback_process.logs import get_logger
from callback_server.calls.transition_log import log_call_ended, log_delivery_tried
from callback_server.domain.activity import Activity, retries_of
from callback_server.domain.call import CallFailure, CallStatus, DeliveryStatus, Outcome, failed
from callback_server.domain.case import CloseReason
from callback_server.domain.delivery_attempt import DeliveryAttempt
from callback_server.domain.ids import case_id_of_call
from callback_server.domain.rendering import ResponseRenderer
from callback_server.handlers.dispatch import HandlerDispatcher, HandlerResult
from callback_server.store.connection.errors import StoreError
from callback_server.store.connection.resend import resend
from callback_server.store.failure_log import log_store_error
from callback_server.store.recording import Recording
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.finish_call import FinishResult, ResponseReplaced, finish_call
from callback_server.store.transitions.finish_delivery import finish_delivery

log = get_logger()


class HandlerAttempts:
    """Runs attempts of deliveries, and records the ends of all attempts."""

    def __init__(
        self,
        scripts: Scripts,
        *,
        dispatcher: HandlerDispatcher,
        renderer: ResponseRenderer,
        activities: Mapping[str, Activity],
        recording: Recording,
    ) -> None:
        """Create it. The declared activities have the retries of deliveries."""
        self._scripts = scripts
        self._dispatcher = dispatcher
        self._renderer = renderer
        self._activities = activities
        self._recording = recording

    async def run(self, attempt: DeliveryAttempt) -> bool:
        """Run an attempt of a delivery, and return whether the next delivery of an ordered case is due now."""
        grant = attempt.grant
        lease_end = time.monotonic() + grant.lease_left_ms / 1000
        result = None
        if not self._is_given_up(attempt):
            result = await self._dispatcher.dispatch(grant, attempt.request)
        try:
            if attempt.is_call_running:
                _, finished = await self.finish(attempt, result, lease_end)
                next_is_due = None if finished is None else False
            else:
                next_is_due = await self._finish_delivery(attempt, result, lease_end)
        except StoreError as error:  # the lease ends, and the delivery is tried again
            log_store_error("delivery_not_confirmed", error, call_id=grant.call_id)
            return False
        if next_is_due is None:
            log.warning("delivery_superseded", call_id=grant.call_id)
        return bool(next_is_due)

    async def finish(
        self, attempt: DeliveryAttempt, result: HandlerResult | None, lease_end: float, *, is_last: bool = False
    ) -> tuple[Outcome, FinishResult | None]:
        """Record the end of an attempt whose call still runs, and of the call if no other attempt follows.

        The decision is merged with the response of the case as it is then.

        Args:
            attempt: The attempt.
            result: The decision, or why there is none. None: the attempt was given up before the handler was asked.
            lease_end: When the lease ends, by the monotonic clock. Until then, the end is sent again.
            is_last: Whether no other attempt may follow.

        Returns:
            The outcome, and what was recorded; None if the call has ended otherwise, or another attempt has started.

        Raises:
            StoreError: It is not known whether the end was recorded.
        """
        grant, was_given_up = attempt.grant, result is None
        was_asked_before = grant.attempt > 1
        if result is None:
            failure = CallFailure.HANDLER_LOST if was_asked_before else CallFailure.HANDLER_UNREACHABLE
            result = HandlerResult(failed(failure, "the attempts or the time of the delivery have run out"))
        elif was_asked_before and isinstance(result.decision, Outcome) and not result.decision.was_asked:
            result = replace(result, decision=replace(result.decision, status=CallStatus.FAILED))
        response, version = grant.response, grant.version
        while True:
            outcome = self._renderer.outcome_of_decision(response, result.decision)
            left_s = lease_end - time.monotonic()
            finished = await resend(
                functools.partial(
                    finish_call,
                    self._scripts,
                    call_id=grant.call_id,
                    outcome=outcome,
                    version=version if result.is_merged else None,
                    case_body=response.body,
                    recording=self._recording,
                    fencing_token=attempt.fencing_token,
                    backoff_ms=None if is_last or was_given_up else self._next_step(attempt, outcome, lease_end)[1],
                    was_asked=outcome.was_asked and not was_given_up,
                ),
                unsent_s=left_s,
                unsure_s=left_s,
            )
            if not isinstance(finished, ResponseReplaced):
                break
            response, version = finished.response, finished.version
        if finished is not None:
            self._dispatcher.report(grant, result, outcome)
            if finished.delivery is not None:
                log_delivery_tried(
                    grant,
                    finished.delivery,
                    outcome,
                    finished.backoff_ms,
                    was_given_up=was_given_up,
                    worker=result.worker,
                )
            if finished.delivery is not DeliveryStatus.PENDING:
                log_call_ended(
                    grant.call_id,
                    grant.activity,
                    outcome,
                    finished.effect,
                    owner=grant.owner,
                    worker=result.worker,
                )
        return outcome, finished

    async def _finish_delivery(
        self, attempt: DeliveryAttempt, result: HandlerResult | None, lease_end: float
    ) -> bool | None:
        """Record the end of an attempt whose call has ended. Return whether the next delivery of the case is due now.

        None: another attempt has started, and decides. The decision is recorded over the response that the handler got.
        """
        grant = attempt.grant
        outcome, status, backoff_ms = None, DeliveryStatus.DEAD, None
        if result is not None:
            outcome = self._renderer.outcome_of_decision(grant.response, result.decision)
            self._dispatcher.report(grant, result, outcome)
            status, backoff_ms = self._next_step(attempt, outcome, lease_end)
        left_s = lease_end - time.monotonic()
        finished = await resend(
            lambda: finish_delivery(
                self._scripts,
                call_id=grant.call_id,
                fencing_token=attempt.fencing_token,
                request=attempt.request,
                outcome=outcome,
                status=status,
                backoff_ms=backoff_ms or 0,
                recording=self._recording,
            ),
            unsent_s=left_s,
            unsure_s=left_s,
        )
        if finished is None:
            return None
        if finished.status is not None:
            log_delivery_tried(
                grant,
                finished.status,
                outcome,
                backoff_ms,
                was_given_up=result is None,
                worker="" if result is None else result.worker,
            )
        if finished.is_case_closed:
            case_id = case_id_of_call(grant.call_id)
            log.info("case_closed", case_id=case_id, close_reason=CloseReason.CONSUMED, call_id=grant.call_id)
        return finished.next_is_due

    def _next_step(
        self, attempt: DeliveryAttempt, outcome: Outcome, lease_end: float
    ) -> tuple[DeliveryStatus, int | None]:
        """Return the status of the delivery after this outcome, and the backoff in milliseconds if it is PENDING."""
        left_ms = round((lease_end - time.monotonic()) * 1000)
        return retries_of(self._activities, attempt.grant.activity).next_step(
            outcome,
            attempts=attempt.number_since_start,
            asked=attempt.asked_before + outcome.was_asked,
            age_ms=max(0, attempt.age_ms + attempt.grant.lease_left_ms - left_ms),
            jitter=random.random(),  # noqa: S311  # spreads retries
        )

    def _is_given_up(self, attempt: DeliveryAttempt) -> bool:
        """Return whether an earlier attempt was the last one. Its process died before it recorded that."""
        retries = retries_of(self._activities, attempt.grant.activity)
        is_first = attempt.number_since_start == 1
        return not is_first and retries.are_over(asked=attempt.asked_before, age_ms=attempt.age_ms)
