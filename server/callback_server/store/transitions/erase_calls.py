"""The transition that erases what was recorded of calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from callback_server.store import keys
from callback_server.store.script_arguments import numbers, texts
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script(
    "erase_calls", [*texts("case_id", "owner", "erasure", "before"), *numbers("limit")], applies_timeouts=True
)
LIMIT: Final = 100
"""How many calls one script erases. It blocks the store meanwhile."""


@dataclass(frozen=True, slots=True)
class EraseResult:
    """The result of an erasure."""

    calls: int
    """How many calls had something recorded."""
    before: int | None
    """The attempt before which to continue. None: no calls are left."""


async def erase_calls(
    scripts: Scripts, case_id: str, *, owner: str | None, erasure: str, before: int | None
) -> EraseResult | None:
    """Erase what was recorded of the newest `LIMIT` calls of a case whose attempt is below `before`, durably.

    Safe to send again: with the same name of the `erasure`, it counts the same calls.

    Returns:
        The result, or None if `owner` (None: any owner) has no such case.

    Raises:
        StoreError: It is not known which calls were erased.
    """
    word, *facts = await scripts.run(
        SCRIPT,
        keys.partition_of(case_id),
        SCRIPT.arguments(
            case_id=case_id,
            owner=owner or "",
            erasure=erasure,
            before="+inf" if before is None else before,
            limit=LIMIT,
        ),
    )
    if word == b"UNKNOWN":
        return None
    calls, more = facts
    return EraseResult(calls, more or None)
