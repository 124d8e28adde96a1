"""Deliveries: run handlers after the caller got its response, with retries, at least once.

The store has the list of deliveries. A process takes due deliveries while it has capacity, each with a lease, and
records the result. If the process dies, the lease ends and another process takes the delivery.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from callback_process.logs import get_logger
from callback_process.tasks import cancel_all, failures_logged
from callback_server import metrics
from callback_server.calls.finish import log_finished, merge_and_finish
from callback_server.calls.transition_log import log_delivery_tried
from callback_server.domain.activity import Activity
from callback_server.domain.call import CallFailure, CallStatus, DeliveryStatus, Grant, Outcome, Request
from callback_server.domain.case import CloseReason
from callback_server.domain.ids import case_id_of_call
from callback_server.domain.retries import DEFAULT_RETRIES, Retries
from callback_server.handlers.dispatch import HandlerDispatcher, HandlerResult, failed
from callback_server.store import keys
from callback_server.store.connection.errors import StoreError
from callback_server.store.connection.resend import resend
from callback_server.store.recording import Recording
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.claim_call import Leases
from callback_server.store.transitions.finish_delivery import finish_delivery
from callback_server.store.transitions.take_deliveries import DeliveryAttempt, take_deliveries

log = get_logger()

PACE_S: Final = 0.1
"""How long the deliveries that are taken together last at their rate, in seconds. More of them would be a burst that
delays calls; fewer would write to the store's disk more often, and calls wait for each of these writes."""


class Deliveries:
    """Runs the deliveries of this process."""

    def __init__(
        self,
        scripts: Scripts,
        *,
        dispatcher: HandlerDispatcher,
        activities: Mapping[str, Activity],
        leases: Leases,
        recording: Recording,
        max_in_flight: int,
        max_per_second: int | None = None,
        notifications: bool = False,
    ) -> None:
        """Create the deliveries.

        Args:
            scripts: The scripts on the store.
            dispatcher: Asks the handlers.
            activities: The declared activities, with their retries.
            leases: How long an attempt may take.
            recording: What is recorded of calls.
            max_in_flight: Maximum number of deliveries that run at the same time.
            max_per_second: Maximum number of attempts that start in a second. None: any number.
            notifications: Whether they are of notifications. By default they are of calls.
        """
        self._scripts = scripts
        self._dispatcher = dispatcher
        self._activities = activities
        self._leases = leases
        self._recording = recording
        self._max_in_flight = max_in_flight
        self._max_per_second = max_per_second
        self._notifications = notifications
        # Not a TaskSet: there is capacity for the next delivery only once the ended one is not counted any more.
        self._running: set[asyncio.Task[None]] = set()
        self._due: dict[int, None] = {}
        """Partitions that have due deliveries, in order of detection."""
        self._turns = [random.randrange(keys.PARTITIONS)] * keys.PARTITIONS  # noqa: S311  # spreads replicas
        """How often deliveries were taken from each partition, from a random number on."""
        self._next_at = 0.0
        """When the next attempt may start, by `time.monotonic`."""
        self._wake = asyncio.Event()
        self._taking = asyncio.Lock()
        """Held while deliveries are taken from the store. Every delivery that was taken also runs, even during a
        stop."""
        self._is_stopping = False

    @property
    def has_capacity(self) -> bool:
        """Whether one more delivery can run."""
        return not self._is_stopping and len(self._running) < self._max_in_flight

    def start_first_attempt(self, grant: Grant, request: Request) -> None:
        """Run the first attempt of a call whose claim has also taken its delivery."""
        self._start(DeliveryAttempt(replace(grant, attempt=1), request, fencing_token=1))

    def notify_due(self, partition: int) -> None:
        """Take what is due in a partition as soon as there is capacity."""
        self._due[partition] = None
        self._wake.set()

    async def run(self) -> None:
        """Take and run due deliveries until cancelled."""
        while True:
            self._wake.clear()
            while self._due and self.has_capacity:
                if (early_s := self._next_at - time.monotonic()) > 0:
                    await asyncio.sleep(early_s)
                    continue
                partition = next(iter(self._due))
                del self._due[partition]
                with failures_logged(StoreError, "deliveries_not_taken", partition=partition):
                    await self.take(partition)  # if it fails, they stay due, or become due when their lease ends
            await self._wake.wait()

    def stop(self) -> None:
        """Take no more deliveries. A call whose claim is under way may still start its first attempt."""
        self._is_stopping = True

    async def drain(self) -> None:
        """Wait for the deliveries that run. Call it after `stop`, when no call can start one any more."""
        async with self._taking:
            pass
        while self._running:
            await asyncio.wait(self._running)

    async def cancel(self) -> None:
        """Cancel the deliveries that run. Each keeps its lease; after its end another process tries again."""
        await cancel_all(self._running)

    async def take(self, partition: int) -> None:
        """Take deliveries of a partition that are due, and start their attempts."""
        self._turns[partition] += 1
        async with self._taking:
            attempts, more = await take_deliveries(
                self._scripts,
                partition,
                limit=self._most_at_once(),
                turn=self._turns[partition],
                notifications=self._notifications,
                leases=self._leases,
                recording=self._recording,
            )
            for attempt in attempts:
                self._start(attempt)
        if self._max_per_second is not None:
            not_before = time.monotonic() - PACE_S  # what a slow turn has lost is made up for, up to here
            self._next_at = max(self._next_at, not_before) + len(attempts) / self._max_per_second
        if more:
            self.notify_due(partition)

    def _most_at_once(self) -> int:
        free = self._max_in_flight - len(self._running)
        return free if self._max_per_second is None else min(free, max(1, round(self._max_per_second * PACE_S)))

    def _start(self, attempt: DeliveryAttempt) -> None:
        task = asyncio.create_task(self._run(attempt))
        self._running.add(task)  # the loop itself holds tasks only weakly
        task.add_done_callback(self._ended)
        metrics.DELIVERIES_IN_FLIGHT.inc()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        metrics.DELIVERIES_IN_FLIGHT.dec()
        self._wake.set()
        if not task.cancelled() and (error := task.exception()):
            log.error("delivery_fault", exc_info=error)

    async def _run(self, attempt: DeliveryAttempt) -> None:
        grant = attempt.grant
        lease_end = time.monotonic() + grant.lease_left_ms / 1000
        result = None
        if not self._is_exhausted(attempt):
            result = await self._dispatcher.dispatch(grant, attempt.request, is_retry=attempt.is_retry)
        finish = self._finish_call if attempt.is_call_running else self._finish_delivery
        try:
            is_recorded = await finish(attempt, result, lease_end)
        except StoreError as error:  # the lease ends, and the delivery is tried again
            log.error("delivery_unanswered", call_id=grant.call_id, error=str(error))
            return
        if not is_recorded:
            log.warning("delivery_too_late", call_id=grant.call_id)

    async def _finish_delivery(self, attempt: DeliveryAttempt, result: HandlerResult | None, lease_end: float) -> bool:
        """Record the end of an attempt whose call has ended. Return False if another attempt has started.

        The decision is recorded over the response that the handler got.
        """
        grant = attempt.grant
        outcome, status, wait_ms = None, DeliveryStatus.DEAD, None
        if result is not None:
            outcome = self._dispatcher.outcome(result, grant.response)
            self._dispatcher.report(grant, result, outcome)
            wait_ms = self._wait_ms(attempt, outcome, lease_end)
            if outcome.status is CallStatus.SUCCEEDED:
                status = DeliveryStatus.DELIVERED
            elif wait_ms is not None:
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
                wait_ms=wait_ms or 0,
                recording=self._recording,
            ),
            unsent_s=left_s,
            unsure_s=left_s,
        )
        if finished is None:
            return False
        log_delivery_tried(grant, status, outcome, wait_ms)
        if finished.is_case_closed:
            case_id = case_id_of_call(grant.call_id)
            log.info("case_closed", case_id=case_id, close_reason=CloseReason.CONSUMED, call_id=grant.call_id)
        if finished.next_is_due:
            self.notify_due(keys.partition_of(case_id_of_call(grant.call_id)))
        return True

    async def _finish_call(self, attempt: DeliveryAttempt, result: HandlerResult | None, lease_end: float) -> bool:
        """Record the end of an attempt whose call still runs. Return False if the attempt does not count any more."""
        grant = attempt.grant
        was_asked_before = grant.attempt > 1
        if result is None:
            failure = CallFailure.HANDLER_LOST if was_asked_before else CallFailure.HANDLER_UNREACHABLE
            recorded = HandlerResult(failed(failure, "the attempts or the time of the delivery have run out"))
        elif was_asked_before and isinstance(result.decision, Outcome) and not result.decision.was_asked:
            recorded = HandlerResult(replace(result.decision, status=CallStatus.FAILED))
        else:
            recorded = result
        outcome, finished = await merge_and_finish(
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
        if finished is None:
            return False
        self._dispatcher.report(grant, recorded, outcome)
        log_finished(grant, outcome, finished)
        return True

    def wait_ms(
        self, activity_name: str, outcome: Outcome, *, attempts: int, asked_before: int, age_ms: int
    ) -> int | None:
        """Return the time until the next attempt in milliseconds. None: no other attempt follows this outcome.

        Args:
            activity_name: The activity of the call.
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
        return self._retries(activity_name).wait_ms(attempts, asked_before + outcome.was_asked, age_ms, part)

    def _wait_ms(self, attempt: DeliveryAttempt, outcome: Outcome, lease_end: float) -> int | None:
        left_ms = round((lease_end - time.monotonic()) * 1000)
        return self.wait_ms(
            attempt.grant.activity,
            outcome,
            attempts=attempt.number_since_start,
            asked_before=attempt.asked_before,
            age_ms=attempt.age_ms + attempt.grant.lease_left_ms - left_ms,
        )

    def _is_exhausted(self, attempt: DeliveryAttempt) -> bool:
        """Return whether an earlier attempt was the last one. Its process died before it recorded that."""
        earlier, retries = attempt.number_since_start - 1, self._retries(attempt.grant.activity)
        return earlier > 0 and retries.wait_ms(earlier, attempt.asked_before, attempt.age_ms, 0) is None

    def _retries(self, activity_name: str) -> Retries:
        activity = self._activities.get(activity_name)
        return DEFAULT_RETRIES if activity is None else activity.retries
