"""Attempts of deliveries: ask the handler, and record the end of the attempt, and of a call that still runs."""

from __future__ import annotations

import time
from collections.abc import Mapping

from msgspec.structs import replace

from callback_process.logs import get_logger
from callback_server.calls.finish import finish, wait_ms
from callback_server.calls.transition_log import log_delivery_tried
from callback_server.domain.activity import Activity, retries_of
from callback_server.domain.call import CallFailure, CallStatus, DeliveryStatus, Outcome
from callback_server.domain.case import CloseReason
from callback_server.domain.ids import case_id_of_call
from callback_server.handlers.dispatch import HandlerDispatcher, HandlerResult, failed
from callback_server.store.connection.errors import StoreError
from callback_server.store.connection.resend import resend
from callback_server.store.recording import Recording
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.finish_delivery import finish_delivery
from callback_server.store.transitions.take_deliveries import DeliveryAttempt

log = get_logger()


class DeliveryAttempts:
    """Runs attempts of deliveries, of calls and of notifications."""

    def __init__(
        self,
        scripts: Scripts,
        *,
        dispatcher: HandlerDispatcher,
        activities: Mapping[str, Activity],
        recording: Recording,
    ) -> None:
        self._scripts = scripts
        self._dispatcher = dispatcher
        self._activities = activities
        self._recording = recording

    async def run(self, attempt: DeliveryAttempt) -> bool:
        """Run an attempt, and return whether the next delivery of an ordered case is due now."""
        grant = attempt.grant
        lease_end = time.monotonic() + grant.lease_left_ms / 1000
        result = None
        if not self._is_exhausted(attempt):
            result = await self._dispatcher.dispatch(grant, attempt.request)
        record = self._finish_call if attempt.is_call_running else self._finish_delivery
        try:
            next_is_due = await record(attempt, result, lease_end)
        except StoreError as error:  # the lease ends, and the delivery is tried again
            log.error("delivery_unanswered", call_id=grant.call_id, error=str(error))
            return False
        if next_is_due is None:
            log.warning("delivery_too_late", call_id=grant.call_id)
        return bool(next_is_due)

    async def _finish_delivery(
        self, attempt: DeliveryAttempt, result: HandlerResult | None, lease_end: float
    ) -> bool | None:
        """Record the end of an attempt whose call has ended. Return whether the next delivery of the case is due now.

        None: another attempt has started, and decides. The decision is recorded over the response that the handler got.
        """
        grant = attempt.grant
        outcome, status, wait = None, DeliveryStatus.DEAD, None
        if result is not None:
            outcome = self._dispatcher.outcome(result, grant.response)
            self._dispatcher.report(grant, result, outcome)
            wait = self._wait_ms(attempt, outcome, lease_end)
            if outcome.status is CallStatus.SUCCEEDED:
                status = DeliveryStatus.DELIVERED
            elif wait is not None:
                status = DeliveryStatus.PENDING
        left_s = lease_end - time.monotonic()
        finished = await resend(
            lambda: finish_delivery(
                self._scripts,
                call_id=grant.call_id,
                fencing_token=attempt.fencing_token,
                request=attempt.request,
                outcome=outcome,
                status=status,
                wait_ms=wait or 0,
                recording=self._recording,
            ),
            unsent_s=left_s,
            unsure_s=left_s,
        )
        if finished is None:
            return None
        log_delivery_tried(grant, status, outcome, wait)
        if finished.is_case_closed:
            case_id = case_id_of_call(grant.call_id)
            log.info("case_closed", case_id=case_id, close_reason=CloseReason.CONSUMED, call_id=grant.call_id)
        return finished.next_is_due

    async def _finish_call(
        self, attempt: DeliveryAttempt, result: HandlerResult | None, lease_end: float
    ) -> bool | None:
        """Record the end of an attempt whose call still runs. Return None if the attempt does not count any more."""
        grant = attempt.grant
        was_asked_before = grant.attempt > 1
        if result is None:
            failure = CallFailure.HANDLER_LOST if was_asked_before else CallFailure.HANDLER_UNREACHABLE
            recorded = HandlerResult(failed(failure, "the attempts or the time of the delivery have run out"))
        elif was_asked_before and isinstance(result.decision, Outcome) and not result.decision.was_asked:
            recorded = HandlerResult(replace(result.decision, status=CallStatus.FAILED))
        else:
            recorded = result
        _, finished = await finish(
            self._scripts,
            self._dispatcher,
            self._recording,
            grant,
            recorded,
            lease_end=lease_end,
            wait_ms=None if result is None else lambda outcome: self._wait_ms(attempt, outcome, lease_end),
            fencing_token=attempt.fencing_token,
            was_given_up=result is None,
        )
        return None if finished is None else False

    def _wait_ms(self, attempt: DeliveryAttempt, outcome: Outcome, lease_end: float) -> int | None:
        left_ms = round((lease_end - time.monotonic()) * 1000)
        return wait_ms(
            retries_of(self._activities, attempt.grant.activity),
            outcome,
            attempts=attempt.number_since_start,
            asked_before=attempt.asked_before,
            age_ms=attempt.age_ms + attempt.grant.lease_left_ms - left_ms,
        )

    def _is_exhausted(self, attempt: DeliveryAttempt) -> bool:
        """Return whether an earlier attempt was the last one. Its process died before it recorded that."""
        earlier, retries = attempt.number_since_start - 1, retries_of(self._activities, attempt.grant.activity)
        return earlier > 0 and retries.wait_ms(earlier, attempt.asked_before, attempt.age_ms, 0) is None
