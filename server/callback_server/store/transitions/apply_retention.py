"""The transition that deletes what is past its retention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("apply_retention", sends_reports=True)
LIMIT: Final = 100
"""How many calls and cases one script deletes. It blocks the store meanwhile."""


@dataclass(frozen=True, slots=True)
class RetentionResult:
    """How many calls and cases were deleted."""

    calls: int
    cases: int

    @property
    def more(self) -> bool:
        """Whether more may be due."""
        return self.calls + self.cases >= LIMIT


async def apply_retention(scripts: Scripts, partition: int, *, retention_ms: int) -> RetentionResult:
    """Delete at most `LIMIT` calls and cases of a partition that are past their retention.

    Args:
        scripts: The scripts on the store.
        partition: The partition.
        retention_ms: How long a closed case and an ended call are kept, in milliseconds.

    Raises:
        StoreError: It is not known whether they were deleted. The next attempt does it.
    """
    calls, cases = await scripts.run(SCRIPT, partition, limit=LIMIT, retention_ms=retention_ms)
    return RetentionResult(calls, cases)
