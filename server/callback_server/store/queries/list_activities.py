"""Pages of activities with what waits for them, by name, across partitions.

Each partition counts a whole page. An activity among the first of all is among the first of each partition where
something of it waits, so that its counts are complete.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from callback_server.store import keys
from callback_server.store.script_arguments import flags, lists, numbers, texts
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script(
    "list_activities", [*texts("owner", "after"), *flags("every"), *numbers("limit"), *lists("activities")]
)


@dataclass(slots=True)
class ActivityLoad:
    """What waits for an activity."""

    activity: str
    deliveries: int = 0
    """The number of deliveries that wait or run, of all owners."""
    open_cases: int = 0
    """The number of cases of one owner that are not closed."""


async def list_activities(
    scripts: Scripts, *, owner: str, served: Collection[str], every: bool, after: str, limit: int
) -> tuple[list[ActivityLoad], bool]:
    """Return the next activities after a name, at most `limit`, and whether there are more.

    Args:
        scripts: The scripts on the store.
        owner: The owner whose cases are counted. An activity of one that is not closed is listed.
        served: Other activities to list.
        every: Whether to list every activity with a delivery, of any owner.
        after: The position. Empty: the first page.
        limit: The maximum number of activities.

    Raises:
        StoreError: The store did not answer.
    """
    next_served = sorted(name for name in served if name > after)[: limit + 1]
    found = {name: ActivityLoad(name) for name in next_served}
    arguments = SCRIPT.pack(owner=owner, after=after, every=every, limit=limit + 1, activities=next_served)
    replies = await scripts.run_on_partitions(SCRIPT, dict.fromkeys(range(keys.PARTITIONS), arguments))
    for flat in replies.values():
        for name, deliveries, cases in zip(flat[::3], flat[1::3], flat[2::3], strict=True):
            load = found.setdefault(name.decode(), ActivityLoad(name.decode()))
            load.deliveries += deliveries
            load.open_cases += cases
    names = sorted(found)
    return [found[name] for name in names[:limit]], len(names) > limit
