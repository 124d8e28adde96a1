"""The transition that applies the timeouts of a partition: leases that end, cases that expire, reminders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from callback_server.domain.activity import NONE_PAUSED, PausedActivities
from callback_server.store.recording import Recording
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("sweep_partition", sends_reports=True)
LIMIT: Final = 12
"""How many timeouts of each kind one script applies. It blocks the store meanwhile, together with the scripts that are
sent in the same write (`PARTITIONS_TOGETHER` of the sweeper): about 100 in all."""


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a sweep found."""

    leases: int
    expiries: int
    reminders: int
    deliveries: bool
    """Whether a delivery of a call is due, also one of a paused activity."""
    notifications: bool
    """The same of a notification."""
    clock_ms: int
    """What the store's clock shows, in milliseconds since the epoch."""
    behind_ms: int
    """By how much that is behind the time of the partition, because the clock has stepped back, in milliseconds."""

    @property
    def more(self) -> bool:
        """Whether more may be due."""
        return LIMIT in (self.leases, self.expiries, self.reminders)


async def sweep_partition(
    scripts: Scripts, partition: int, *, recording: Recording, paused: PausedActivities = NONE_PAUSED
) -> SweepResult:
    """Apply at most `LIMIT` timeouts of each kind in a partition, and update its copy of the paused activities.

    Raises:
        StoreError: It is not known whether they were applied. The next sweep does it.
    """
    calls, cases, reminders, deliveries, notifications, clock_ms, behind_ms = await scripts.run(
        SCRIPT,
        partition,
        limit=LIMIT,
        limits=recording.limits,
        pauses_version=paused.version,
        paused_activities=paused.names,
    )
    return SweepResult(calls, cases, reminders, bool(deliveries), bool(notifications), clock_ms, behind_ms)
