"""The transition that removes the entries of a list whose case or call does not exist, or has another state."""

from __future__ import annotations

from typing import Final

from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("repair_list")
LIMIT: Final = 100
"""How many entries one script looks at. It blocks the store meanwhile."""
CASE_LISTS: Final = frozenset({"index", "label", "closed", "expiries", "reminders"})
CALL_LISTS: Final = frozenset(
    {"calls", "held", "waiting", "leases", "dead", "ended", "due", "queue", "notification_due"}
)
KINDS: Final = CASE_LISTS | CALL_LISTS
"""The lists of cases and calls, as in the table of keys."""


async def repair_list(scripts: Scripts, partition: int, name: str, *, removes_entries: bool) -> list[str]:
    """Return the cases and calls that a list has an entry of and should not.

    Args:
        scripts: The scripts on the store.
        partition: The partition of the list.
        name: The key of the list, without the tag of its partition.
        removes_entries: Whether to remove these entries. Otherwise nothing changes.

    Raises:
        StoreError: It is not known whether all were removed. Another attempt removes the others.
    """
    found, first = list[str](), 0
    while True:
        first, *wrong = await scripts.run(
            SCRIPT,
            partition,
            list=name,
            kind=name.partition(":")[0],
            first=first,
            limit=LIMIT,
            removes_entries=removes_entries,
        )
        found += [member.decode() for member in wrong]
        if first < 0:
            return found
