"""The transitions that time brings: leases that end, cases that expire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from callback_server.domain.activity import NONE_PAUSED, PausedActivities
from callback_server.store.generated_lua import lists, numbers, text
from callback_server.store.retention import Retention
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script(
    "sweep_partition",
    [
        *numbers("limit", "max_recorded_calls", "max_recorded_bytes"),
        *text("pauses_version"),
        *lists("paused_activities"),
    ],
    applies_timeouts=True,
)
LIMIT: Final = 100
"""How many of each kind one script does: it blocks the store meanwhile."""


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What was due."""

    leases: int
    expiries: int
    deliveries: bool
    """Whether a delivery is due, or of a paused activity would be."""

    @property
    def more(self) -> bool:
        """Whether more may be due."""
        return LIMIT in (self.leases, self.expiries)


async def sweep_partition(
    scripts: Scripts, partition: int, *, retention: Retention, paused: PausedActivities = NONE_PAUSED
) -> SweepResult:
    """Does at most `LIMIT` of each kind of what is due in a partition, and has it know what is paused.

    Raises:
        StoreError: it is not known whether it was done; the next sweep does it.
    """
    calls, cases, deliveries = await scripts.run(
        SCRIPT,
        partition,
        limit=LIMIT,
        max_recorded_calls=retention.calls_per_case,
        max_recorded_bytes=retention.bytes_per_case,
        pauses_version=paused.version,
        paused_activities=paused.names,
    )
    return SweepResult(calls, cases, bool(deliveries))
