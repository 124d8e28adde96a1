"""The transition that forgets what is past its retention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from callback_server.store.generated_lua import numbers
from callback_server.store.retention import Retention
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("apply_retention", numbers("limit", "retention_ms"))
LIMIT: Final = 100
"""How many calls and cases one script forgets: it blocks the store meanwhile."""


@dataclass(frozen=True, slots=True)
class RetentionResult:
    """What was forgotten."""

    calls: int
    cases: int

    @property
    def more(self) -> bool:
        """Whether more may be due."""
        return self.calls + self.cases >= LIMIT


async def apply_retention(scripts: Scripts, partition: int, *, retention: Retention) -> RetentionResult:
    """Forgets at most `LIMIT` of what is past its retention in a partition.

    Raises:
        StoreError: it is not known whether it was done; the next one does it.
    """
    calls, cases = await scripts.run(SCRIPT, partition, limit=LIMIT, retention_ms=retention.time_ms)
    return RetentionResult(calls, cases)
