"""The transition that erases what was recorded of calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from callback_server.store import keys
from callback_server.store.generated_lua import numbers, text
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("erase_calls", [*text("case_id", "owner", "erasure", "before"), *numbers("limit")])
LIMIT: Final = 100
"""How many calls one script erases: it blocks the store meanwhile."""


@dataclass(frozen=True, slots=True)
class EraseResult:
    """What was erased."""

    calls: int
    """How many calls had something recorded."""
    before: int | None
    """The attempt before which to go on; None if that was all."""


async def erase_calls(
    scripts: Scripts, case_id: str, *, owner: str | None, erasure: str, before: int | None
) -> EraseResult | None:
    """Erases, durably, what was recorded of the newest `LIMIT` calls of a case whose attempt is below `before`.

    None if there is no such case of this owner (None: whoever's). Safe to send again: with the same name of an
    `erasure` it counts the same.

    Raises:
        StoreError: it is not known what was erased.
    """
    word, *facts = await scripts.run(
        SCRIPT,
        keys.partition_of(case_id),
        case_id=case_id,
        owner=owner or "",
        erasure=erasure,
        before="+inf" if before is None else before,
        limit=LIMIT,
    )
    if word == b"UNKNOWN":
        return None
    calls, more = facts
    return EraseResult(calls, more or None)
