"""Counts of what is open, waits and is dead, by owner, across partitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from callback_server.store import keys
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("count_work")
OWNERS: Final = 50
"""How many owners one script looks at. It blocks the store meanwhile."""


@dataclass(slots=True)
class OwnerWork:
    """What one owner has in the store."""

    open_callback_count: int = 0
    """The number of cases that are not closed."""
    waiting_call_count: int = 0
    """The number of held calls that wait for an answer."""
    dead_call_count: int = 0
    """The number of calls and notifications whose delivery is DEAD, without erased ones."""


@dataclass(slots=True)
class Work:
    """What is in the store. It is exact only if nothing changes while the partitions are read."""

    delivery_count: int = 0
    """The number of deliveries that wait or run, of all owners."""
    delivery_delay_ms: int = 0
    """How long ago the earliest of them became due, in milliseconds. 0: none is due."""
    owners: dict[str, OwnerWork] = field(default_factory=dict)
    """By owner."""
    held_ms: int = 0
    """For how long the oldest held call of these owners has waited, in milliseconds. 0: none waits."""

    @property
    def total(self) -> OwnerWork:
        """The sums over the owners."""
        total = OwnerWork()
        for each in self.owners.values():
            total.open_callback_count += each.open_callback_count
            total.waiting_call_count += each.waiting_call_count
            total.dead_call_count += each.dead_call_count
        return total


async def count_work(scripts: Scripts, owners: Sequence[str]) -> Work:
    """Count what is in the store.

    Raises:
        StoreError: The store did not answer.
    """
    work = Work(owners={owner: OwnerWork() for owner in owners})
    for at in range(0, max(len(owners), 1), OWNERS):
        counted = owners[at : at + OWNERS]
        packed = dict.fromkeys(range(keys.PARTITIONS), SCRIPT.pack(owners=counted))
        for deliveries, delay_ms, held_ms, *flat in (await scripts.run_on_partitions(SCRIPT, packed)).values():
            if at == 0:
                work.delivery_count += deliveries
                work.delivery_delay_ms = max(work.delivery_delay_ms, delay_ms)
            work.held_ms = max(work.held_ms, held_ms)
            for owner, cases, waiting, dead in zip(counted, flat[::3], flat[1::3], flat[2::3], strict=True):
                of_owner = work.owners[owner]
                of_owner.open_callback_count += cases
                of_owner.waiting_call_count += waiting
                of_owner.dead_call_count += dead
    return work
