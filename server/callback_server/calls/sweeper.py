"""The sweeper: applies timeouts (leases, expiries, reminders) and retention in every partition, and repairs slowly.

A sweep also finds the partitions with deliveries that are due, retries among them, which `deliveries` then takes: the
store has the time of a retry, and no process waits for it. Every replica sweeps. The scripts make that safe: the second
one to sweep a partition finds nothing to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final

from callback_process.logs import get_logger
from callback_server import metrics
from callback_server.calls.transition_log import log_entry_without_case, log_missing_entry, log_no_call, log_wrong_type
from callback_server.domain.activity import NONE_PAUSED
from callback_server.operations.repair import FaultKind, Repair, Step
from callback_server.store import keys
from callback_server.store.failure_log import failures_logged
from callback_server.store.queries.read_pauses import read_pauses
from callback_server.store.recording import Recording
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.apply_retention import apply_retention
from callback_server.store.transitions.sweep_partition import sweep_partition

log = get_logger()

SWEEP_INTERVAL_S: Final = 1.0
"""Interval between two sweeps of all partitions, in seconds."""
PARTITIONS_TOGETHER: Final = 8
"""How many partitions are swept at the same time: their scripts are sent in one write. One that finds nothing due costs
each side less than a read and a write. It is few, because calls must get in between."""
RETENTION_INTERVAL_S: Final = 30.0
"""Interval between two retention runs, which delete data past its retention, in seconds."""

REPAIR_KEYS: Final = 200
"""How many keys of the store one step of a repair reads."""
REPAIR_REST_FACTOR: Final = 100
"""How many times as long as a step took a repair rests after it, but at least one sweep interval. So it works for about
1 % of the time, and yields where calls make the store slow."""
REPAIR_MAX_REST_S: Final = 10.0
"""The longest rest after a step, in seconds."""
REPAIR_INTERVAL_S: Final = 60.0
"""Interval between the end of a repair and the next one, in seconds."""


class Sweeper:
    """Sweeps all partitions of a store periodically.

    Retention runs separately from the sweeps, so that large deletions do not delay timeouts.
    """

    def __init__(
        self,
        scripts: Scripts,
        recording: Recording,
        *,
        retention_ms: int,
        deliveries_due: Callable[[int], None],
        notifications_due: Callable[[int], None],
    ) -> None:
        """Create a sweeper.

        Args:
            scripts: The scripts on the store.
            recording: What is recorded of the calls that a sweep ends.
            retention_ms: How long ended calls and closed cases are kept, in milliseconds.
            deliveries_due: Called with each partition that has due deliveries of calls, on each sweep.
            notifications_due: The same for notifications.
        """
        self._scripts = scripts
        self._recording = recording
        self._retention_ms = retention_ms
        self._deliveries_due = deliveries_due
        self._notifications_due = notifications_due
        self._paused = NONE_PAUSED
        self._behind_ms = 0
        """By how much the store's clock is behind the time of a partition, at most of all, in milliseconds."""
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Begin the next sweep at once, or as soon as the current one has ended."""
        self._woken.set()

    async def run_sweeps(self) -> None:
        """End leases, expire cases, start reminders and copy the pauses to every partition until cancelled."""
        while True:
            self._woken.clear()
            await self._read_pauses()
            self._behind_ms = 0
            for first in range(0, keys.PARTITIONS, PARTITIONS_TOGETHER):
                together = range(keys.PARTITIONS)[first : first + PARTITIONS_TOGETHER]
                await asyncio.gather(*(_until_done(self._sweep, partition) for partition in together))
            metrics.STORE_CLOCK_BEHIND_SECONDS.set(self._behind_ms / 1000)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_spread(SWEEP_INTERVAL_S)):
                    await self._woken.wait()

    async def run_retention(self) -> None:
        """Delete data past its retention until cancelled."""
        metrics.RETENTION_SECONDS.set(self._retention_ms / 1000)
        metrics.RETENTION_APPLIED_TIME_SECONDS.set_to_current_time()
        while True:
            await self._apply_retention()
            await _pause(RETENTION_INTERVAL_S)

    async def run_repairs(self) -> None:
        """Look for cases and calls without their entries, and make these, slowly, until cancelled.

        Entries without their case are logged and kept: only the operator removes them, with `callback repair`.
        """
        repair = Repair(self._scripts, makes_entries=True, removes_entries=False)
        while True:
            await _pause(REPAIR_INTERVAL_S)
            began = time.monotonic()
            with failures_logged("repair_failed"):
                async for step in repair.steps(REPAIR_KEYS):
                    log_faults(step)
                    await _pause(rest_after(time.monotonic() - began))
                    began = time.monotonic()

    async def _read_pauses(self) -> None:
        """Read which activities are paused.

        If that fails, for example when a cluster node is unreachable, sweeps continue with the last known version: a
        partition ignores a version older than its own.
        """
        with failures_logged("sweep_failed"):
            self._paused = await read_pauses(self._scripts)

    async def _sweep(self, partition: int) -> bool:
        swept = await sweep_partition(self._scripts, partition, recording=self._recording, paused=self._paused)
        metrics.STORE_CLOCK_SKEW_SECONDS.set(swept.clock_ms / 1000 - time.time())
        self._behind_ms = max(self._behind_ms, swept.behind_ms)
        if swept.deliveries:
            self._deliveries_due(partition)
        if swept.notifications:
            self._notifications_due(partition)
        return swept.more

    async def _apply_retention(self) -> None:
        """Apply retention in every partition. A run logs one event, because it can delete many calls and cases."""
        calls = cases = 0

        async def delete(partition: int) -> bool:
            nonlocal calls, cases
            deleted = await apply_retention(self._scripts, partition, retention_ms=self._retention_ms)
            calls, cases = calls + deleted.calls, cases + deleted.cases
            return deleted.more

        try:
            if all([await _until_done(delete, partition) for partition in range(keys.PARTITIONS)]):
                metrics.RETENTION_APPLIED_TIME_SECONDS.set_to_current_time()
        finally:
            if calls or cases:
                log.info("retention_applied", calls=calls, cases=cases)


def rest_after(step_s: float) -> float:
    """Return how long a repair rests after a step that took this time, in seconds."""
    return min(max(SWEEP_INTERVAL_S, REPAIR_REST_FACTOR * step_s), REPAIR_MAX_REST_S)


def log_faults(step: Step) -> None:
    """Log what a step of a repair found."""
    for fault in step.faults:
        if fault.kind is FaultKind.WRONG_TYPE:
            log_wrong_type(fault.listed_in, fault.name, "the key has a wrong type")
        elif fault.kind is FaultKind.MISSING_ENTRY:
            log_missing_entry(fault.listed_in, fault.name)
        elif fault.kind is FaultKind.NO_CALL:
            log_no_call(fault.name)
        else:
            log_entry_without_case(fault.listed_in, fault.name)
    if step.not_examined:
        reason = next(iter(step.not_examined.values()))
        log.warning("repair_failed", partitions=[*step.not_examined], error=reason)


async def _until_done(work: Callable[[int], Awaitable[bool]], partition: int) -> bool:
    """Do `work` on a partition as long as it returns that there is more, and return whether that was possible.

    An error in one partition, such as an unreachable store or a broken case, does not affect the other partitions.
    """
    with failures_logged("sweep_failed", partition=partition):
        while await work(partition):
            pass
        return True
    return False


def _spread(interval_s: float) -> float:
    return interval_s * random.uniform(0.8, 1.2)  # noqa: S311  # spreads replicas


async def _pause(interval_s: float) -> None:
    await asyncio.sleep(_spread(interval_s))
