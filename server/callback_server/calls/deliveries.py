"""Deliveries: run handlers after the caller got its response, with retries, at least once.

The store has two lists of deliveries: of calls, and of notifications. The sweeper finds those that are due, also the
next attempt of one. A process takes due deliveries of each while it has capacity, each with a lease, and records the
result (see `attempts`). If the process dies, the lease ends and another process takes the delivery.
"""

from __future__ import annotations

import asyncio
import random
import time
from functools import partial
from typing import Final

from callback_process.logs import get_logger
from callback_process.tasks import cancel_all
from callback_server import metrics
from callback_server.calls.attempts import HandlerAttempts
from callback_server.domain.activity import Leases
from callback_server.domain.call import Grant, Request
from callback_server.domain.delivery_attempt import DeliveryAttempt
from callback_server.domain.ids import case_id_of_call
from callback_server.store import keys
from callback_server.store.failure_log import failures_logged
from callback_server.store.recording import Recording
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.take_deliveries import take_deliveries

log = get_logger()

PACE_S: Final = 0.03
"""How long the deliveries that are taken together last at their rate, in seconds. More of them would be a burst that
delays calls; fewer would write to the store's disk more often, and calls wait for each of these writes."""


class Deliveries:
    """Runs the deliveries of one list in this process."""

    def __init__(
        self,
        scripts: Scripts,
        attempts: HandlerAttempts,
        *,
        notifications: bool,
        leases: Leases,
        recording: Recording,
        max_in_flight: int,
        max_per_second: int,
    ) -> None:
        """Create the deliveries.

        Args:
            scripts: The scripts on the store.
            attempts: Runs their attempts.
            notifications: Whether the list is that of notifications, not that of calls.
            leases: How long an attempt may take.
            recording: What is recorded of calls.
            max_in_flight: Maximum number of deliveries that run at the same time.
            max_per_second: Maximum number of deliveries that are taken in a second.
        """
        self._scripts = scripts
        self._attempts = attempts
        self._notifications = notifications
        self._leases = leases
        self._recording = recording
        self._max_in_flight = max_in_flight
        self._max_per_second = max_per_second
        # Not a TaskSet: there is capacity for the next delivery only once the ended one is not counted any more.
        self._running: set[asyncio.Task[bool]] = set()
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

    def has_capacity(self) -> bool:
        """Return whether one more delivery can run."""
        return not self._is_stopping and len(self._running) < self._max_in_flight

    def start_first_attempt(self, grant: Grant, request: Request) -> None:
        """Run the first attempt of a call whose claim has also taken its delivery."""
        self._start(DeliveryAttempt(grant, request, fencing_token=1))

    def wake_due(self, partition: int) -> None:
        """Take what is due in a partition as soon as there is capacity."""
        self._due[partition] = None
        self._wake.set()

    async def run(self) -> None:
        """Take and run due deliveries until cancelled."""
        while True:
            self._wake.clear()
            while self._due and self.has_capacity():
                if (early_s := self._next_at - time.monotonic()) > 0:
                    await asyncio.sleep(early_s)
                    continue
                partition = next(iter(self._due))
                del self._due[partition]
                with failures_logged("deliveries_not_taken", partition=partition):
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
                leases=self._leases,
                recording=self._recording,
                notifications=self._notifications,
            )
            for attempt in attempts:
                self._start(attempt)
        not_before = time.monotonic() - PACE_S  # what a slow turn has lost is made up for, up to here
        self._next_at = max(self._next_at, not_before) + len(attempts) / self._max_per_second
        if more:
            self.wake_due(partition)

    def _most_at_once(self) -> int:
        return min(self._max_in_flight - len(self._running), max(1, round(self._max_per_second * PACE_S)))

    def _start(self, attempt: DeliveryAttempt) -> None:
        task = asyncio.create_task(self._attempts.run(attempt))
        self._running.add(task)  # the loop itself holds tasks only weakly
        task.add_done_callback(partial(self._ended, attempt.grant.call_id))
        metrics.DELIVERIES_IN_FLIGHT.inc()

    def _ended(self, call_id: str, task: asyncio.Task[bool]) -> None:
        self._running.discard(task)
        metrics.DELIVERIES_IN_FLIGHT.dec()
        self._wake.set()
        if task.cancelled():
            return
        if error := task.exception():
            log.error("delivery_fault", exc_info=error)
        elif task.result():
            self.wake_due(keys.partition_of(case_id_of_call(call_id)))
