"""The transition that forgets what is past its retention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from callback_server.store.retention import Retention
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("drop_partition")
LIMIT: Final = 100
"""How many of each kind one script does: it blocks the store meanwhile."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """What was forgotten."""

    calls: int
    cases: int
    more: bool
    """Whether more may be due."""


async def drop_partition(scripts: Scripts, partition: int, *, retention: Retention) -> Dropped:
    """Forgets at most `LIMIT` of each kind of what is past its retention in a partition.

    Raises:
        StoreError: it is not known whether it was done; the next one does it.
    """
    calls, cases, more = await scripts.run(SCRIPT, partition, LIMIT, retention.time_ms)
    return Dropped(calls, cases, more=bool(more))
