"""The transition that drops the oldest recorded bodies of a partition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("drop_bodies", sends_reports=True)
OLDEST: Final = "-inf"
"""Where the search for bodies begins first."""


@dataclass(frozen=True, slots=True)
class DropResult:
    """What was dropped."""

    dropped_bytes: int
    left_bytes: int
    """How many bytes of this owner, or of all, are recorded in the partition now."""
    next_from: str
    """Where the next search begins: no earlier call has a body that can be dropped."""
    more: bool
    """Whether there may be more to drop now."""


async def drop_bodies(scripts: Scripts, partition: int, *, owner: str, target: int, start: str) -> DropResult:
    """Drop the oldest recorded bodies of a partition until no more than `target` bytes are recorded there.

    Args:
        scripts: The scripts on the store.
        partition: The partition.
        owner: Whose bodies are dropped. Empty: those of all owners.
        target: How many recorded bytes of this owner, or of all, may stay.
        start: Where the search begins: OLDEST, or where the last one ended.

    Raises:
        StoreError: It is not known whether they were dropped. The next attempt does it.
    """
    dropped, left, next_from, more = await scripts.run(SCRIPT, partition, owner=owner, target=target, start=start)
    return DropResult(dropped, left, next_from.decode(), more == 1)
