"""The durable inbox: what is delivered to handlers after its caller was answered, with retries, at least once.

The store alone knows what is to be delivered. A process takes what is due as long as it has a place, for the time of a
lease, and says what became of it. If it dies, the lease ends, and another takes it.
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
from callback_server.store.connection.client import StoreError
from callback_server.store.connection.resend import resend
from callback_server.store.retention import Retention
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.claim_call import Leases
from callback_server.store.transitions.finish_delivery import finish_delivery
from callback_server.store.transitions.take_deliveries import DeliveryAttempt, take_deliveries

log = get_logger()


@dataclass(frozen=True, slots=True)
class _End:
    """What an attempt came to."""

    status: DeliveryStatus
    wait_ms: int = 0
    outcome: Outcome | None = None
    """None: no handler was asked."""


class Deliveries:
    """Runs deliveries, and waits for those that run when it is asked to stop."""

    def __init__(
        self,
        scripts: Scripts,
        *,
        dispatcher: HandlerDispatcher,
        activities: Mapping[str, Activity],
        leases: Leases,
        retention: Retention,
        most: int,
    ) -> None:
        self._scripts = scripts
        self._dispatcher = dispatcher
        self._activities = activities
        self._leases = leases
        self._retention = retention
        self._most = most
        self._running: set[asyncio.Task[None]] = set()
        self._due: dict[int, None] = {}
        """Partitions where something is due, in the order in which they were found."""
        self._turn = random.randrange(keys.PARTITIONS)  # noqa: S311  # spreads replicas
        self._wake = asyncio.Event()
        self._taking = asyncio.Lock()
        """Held while the store is asked for some: what it gives runs, also at a stop."""
        self._stopping = False

    @property
    def takes(self) -> bool:
        """Whether another one can be run."""
        return not self._stopping and len(self._running) < self._most

    def begin(self, grant: Grant, request: Request) -> None:
        """Runs the first attempt of a call that was just stored, and whose delivery was taken with it."""
        self._start(DeliveryAttempt(replace(grant, attempt=1), request, fence=1))

    def look(self, partition: int) -> None:
        """Takes what is due in a partition, when there is a place."""
        self._due[partition] = None
        self._wake.set()

    async def take_for_ever(self) -> None:
        """Takes what is due, until it is cancelled."""
        while True:
            self._wake.clear()
            while self._due and self.takes:
                partition = next(iter(self._due))
                del self._due[partition]
                try:
                    await self._take(partition)
                except StoreError as error:  # it is due still, or when its lease is over
                    log.warning("deliveries_not_taken", partition=partition, error=str(error))
                except Exception:
                    log.exception("deliveries_not_taken", partition=partition)
            await self._wake.wait()

    def stop(self) -> None:
        """Takes no more. Calls whose claim is on its way may still begin theirs."""
        self._stopping = True

    async def drain(self) -> None:
        """Returns when those that run have ended. No call begins any more, and it was told to stop."""
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
                limit=self._most - len(self._running),
                turn=self._turn,
                leases=self._leases,
                retention=self._retention,
            )
            for attempt in attempts:
                self._start(attempt)
        if more:
            self.look(partition)

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
        end = await self._attempt(attempt)
        left_s = grant.lease_left_ms / 1000 - (time.monotonic() - began)
        try:
            next_is_due = await resend(
                lambda: finish_delivery(
                    self._scripts,
                    call_id=grant.call_id,
                    fence=attempt.fence,
                    request=attempt.request,
                    outcome=end.outcome,
                    status=end.status,
                    wait_ms=end.wait_ms,
                    retention=self._retention,
                ),
                unsent_s=left_s,
                unsure_s=left_s,
            )
        except StoreError as error:  # its lease ends, and it is tried again
            log.error("delivery_unanswered", call_id=grant.call_id, status=end.status, error=str(error))
            return
        if next_is_due is None:
            log.warning("delivery_too_late", call_id=grant.call_id, status=end.status)
            return
        _tell(attempt, end)
        if next_is_due:
            self.look(keys.partition_of(case_id_of_call(grant.call_id)))

    async def _attempt(self, attempt: DeliveryAttempt) -> _End:
        grant, began = attempt.grant, time.monotonic()
        activity = self._activities.get(grant.activity, Activity(grant.activity))
        # The attempts before may have ended with their processes, so nobody has said that they were the last.
        if attempt.number > 1 and activity.retries.wait_ms(attempt.number - 1, attempt.age_ms, 0) is None:
            return _End(DeliveryStatus.DEAD)
        outcome = await self._dispatcher.ask(grant, attempt.request)
        if outcome.status is CallStatus.SUCCEEDED:
            return _End(DeliveryStatus.DELIVERED, outcome=outcome)
        if outcome.status is CallStatus.REJECTED:
            return _End(DeliveryStatus.DEAD, outcome=outcome)
        age_ms = attempt.age_ms + round((time.monotonic() - began) * 1000)
        part = random.random()  # noqa: S311  # spreads retries
        wait_ms = activity.retries.wait_ms(attempt.number, age_ms, part)
        if wait_ms is None:
            return _End(DeliveryStatus.DEAD, outcome=outcome)
        return _End(DeliveryStatus.PENDING, wait_ms, outcome)


def _tell(attempt: DeliveryAttempt, end: _End) -> None:
    grant, outcome = attempt.grant, end.outcome
    metrics.DELIVERIES.labels(end.status).inc()
    log.info(
        "delivery_tried",
        call_id=grant.call_id,
        case_id=case_id_of_call(grant.call_id),
        activity=grant.activity,
        attempt=grant.attempt,
        status=end.status,
        **({"wait_ms": end.wait_ms} if end.status is DeliveryStatus.PENDING else {}),
        **({"failure": outcome.failure, "detail": outcome.detail} if outcome and outcome.failure else {}),
    )
