"""Deliveries: run handlers after the caller got its response, with retries, at least once.

The store has the list of deliveries. A process takes due deliveries while it has capacity, each with a lease, and
records the result. If the process dies, the lease ends and another process takes the delivery.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from callback_process.logs import get_logger
from callback_process.tasks import cancel_all
from callback_server import metrics
from callback_server.domain.activity import Activity
from callback_server.domain.call import CallStatus, DeliveryStatus, Grant, Outcome, Request
from callback_server.domain.ids import case_id_of_call
from callback_server.handlers.dispatch import HandlerDispatcher
from callback_server.store import keys
from callback_server.store.connection.errors import StoreError
from callback_server.store.connection.resend import resend
from callback_server.store.recording import Recording
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.claim_call import Leases
from callback_server.store.transitions.finish_delivery import finish_delivery
from callback_server.store.transitions.take_deliveries import DeliveryAttempt, take_deliveries

log = get_logger()


@dataclass(frozen=True, slots=True)
class _AttemptResult:
    """The result of one attempt."""

    status: DeliveryStatus
    wait_ms: int = 0
    outcome: Outcome | None = None
    """None: no handler was called."""


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
    ) -> None:
        """Create the deliveries.

        Args:
            scripts: The scripts on the store.
            dispatcher: Asks the handlers.
            activities: The declared activities, with their retries.
            leases: How long an attempt may take.
            recording: What is recorded of calls.
            max_in_flight: Maximum number of deliveries that run at the same time.
        """
        self._scripts = scripts
        self._dispatcher = dispatcher
        self._activities = activities
        self._leases = leases
        self._recording = recording
        self._max_in_flight = max_in_flight
        # Not a TaskSet: there is capacity for the next delivery only once the ended one is not counted any more.
        self._running: set[asyncio.Task[None]] = set()
        self._due: dict[int, None] = {}
        """Partitions that have due deliveries, in order of detection."""
        self._turn = random.randrange(keys.PARTITIONS)  # noqa: S311  # spreads replicas
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
                partition = next(iter(self._due))
                del self._due[partition]
                try:
                    await self._take(partition)
                except StoreError as error:  # they stay due, or become due when their lease ends
                    log.warning("deliveries_not_taken", partition=partition, error=str(error))
                except Exception:
                    log.exception("deliveries_not_taken", partition=partition)
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

    async def _take(self, partition: int) -> None:
        self._turn += 1
        async with self._taking:
            attempts, more = await take_deliveries(
                self._scripts,
                partition,
                limit=self._max_in_flight - len(self._running),
                turn=self._turn,
                leases=self._leases,
                recording=self._recording,
            )
            for attempt in attempts:
                self._start(attempt)
        if more:
            self.notify_due(partition)

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
        grant, began = attempt.grant, time.monotonic()
        result = await self._attempt(attempt)
        left_s = grant.lease_left_ms / 1000 - (time.monotonic() - began)
        try:
            next_is_due = await resend(
                lambda: finish_delivery(
                    self._scripts,
                    call_id=grant.call_id,
                    fencing_token=attempt.fencing_token,
                    request=attempt.request,
                    outcome=result.outcome,
                    status=result.status,
                    wait_ms=result.wait_ms,
                    recording=self._recording,
                ),
                unsent_s=left_s,
                unsure_s=left_s,
            )
        except StoreError as error:  # the lease ends, and the delivery is tried again
            log.error("delivery_unanswered", call_id=grant.call_id, status=result.status, error=str(error))
            return
        if next_is_due is None:
            log.warning("delivery_too_late", call_id=grant.call_id, status=result.status)
            return
        _log_attempt(attempt, result)
        if next_is_due:
            self.notify_due(keys.partition_of(case_id_of_call(grant.call_id)))

    async def _attempt(self, attempt: DeliveryAttempt) -> _AttemptResult:
        grant, began = attempt.grant, time.monotonic()
        activity = self._activities.get(grant.activity, Activity(grant.activity))
        # An earlier attempt may have been the last one, but its process died before it recorded that.
        if (
            attempt.number_since_start > 1
            and activity.retries.wait_ms(attempt.number_since_start - 1, attempt.age_ms, 0) is None
        ):
            return _AttemptResult(DeliveryStatus.DEAD)
        result = await self._dispatcher.dispatch(grant, attempt.request)
        # The call ended before, so the decision is recorded over the response that the handler got.
        outcome = self._dispatcher.outcome(result, grant.response)
        self._dispatcher.report(grant, result, outcome)
        if outcome.status is CallStatus.SUCCEEDED:
            return _AttemptResult(DeliveryStatus.DELIVERED, outcome=outcome)
        if outcome.status is CallStatus.REJECTED:
            return _AttemptResult(DeliveryStatus.DEAD, outcome=outcome)
        age_ms = attempt.age_ms + round((time.monotonic() - began) * 1000)
        part = random.random()  # noqa: S311  # spreads retries
        wait_ms = activity.retries.wait_ms(attempt.number_since_start, age_ms, part)
        if wait_ms is None:
            return _AttemptResult(DeliveryStatus.DEAD, outcome=outcome)
        return _AttemptResult(DeliveryStatus.PENDING, wait_ms, outcome)


def _log_attempt(attempt: DeliveryAttempt, result: _AttemptResult) -> None:
    grant, outcome = attempt.grant, result.outcome
    metrics.DELIVERIES.labels(result.status).inc()
    log.info(
        "delivery_tried",
        call_id=grant.call_id,
        case_id=case_id_of_call(grant.call_id),
        activity=grant.activity,
        attempt=grant.attempt,
        status=result.status,
        **({"wait_ms": result.wait_ms} if result.status is DeliveryStatus.PENDING else {}),
        **({"failure": outcome.failure, "detail": outcome.detail} if outcome and outcome.failure else {}),
    )
