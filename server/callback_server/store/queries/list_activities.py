"""Pages of activities with what waits for them, by name, across partitions.

Each partition counts a whole page, or as much of it as one script may look at, and says how far it came. Up to the
first of these positions the counts of all partitions are complete, and there the page ends, short or empty.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from callback_server.store import keys
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("list_activities")
SCAN: Final = 100
"""How many activities one script looks at. It blocks the store meanwhile."""


@dataclass(slots=True)
class ActivityLoad:
    """What waits for an activity."""

    activity: str
    delivery_count: int = 0
    """The number of deliveries that wait or run, of all owners."""
    open_callback_count: int = 0
    """The number of cases of one owner that are not closed."""


async def list_activities(
    scripts: Scripts,
    *,
    owner: str,
    served: Collection[str],
    only: Collection[str] | None,
    of_deliveries: bool,
    after: str,
    limit: int,
) -> tuple[list[ActivityLoad], str]:
    """Return the next activities after a name, at most `limit`.

    Also returns the position to continue from if there may be more.

    Args:
        scripts: The scripts on the store.
        owner: The owner whose cases are counted. An activity of one that is not closed is listed.
        served: Other activities to list.
        only: The only activities to list. None: not limited.
        of_deliveries: Whether to list every activity with a delivery, of any owner, where they are not limited.
        after: The position. Empty: the first page.
        limit: The maximum number of activities.

    Raises:
        StoreError: The store did not answer.
    """
    listed = {name for name in served if name > after and (only is None or name in only)}
    packed = SCRIPT.pack(
        owner=owner,
        after=after,
        of_deliveries=of_deliveries and only is None,
        limit=limit + 1,
        max_scanned=SCAN,
        only=list(only or ()),
        activities=list(listed),
    )
    found = {name: ActivityLoad(name) for name in listed}
    ends = []
    replies = await scripts.run_on_partitions(SCRIPT, dict.fromkeys(range(keys.PARTITIONS), packed))
    for end, *flat in replies.values():
        if end:
            ends.append(end.decode())
        for name, deliveries, cases in zip(flat[::3], flat[1::3], flat[2::3], strict=True):
            load = found.setdefault(name.decode(), ActivityLoad(name.decode()))
            load.delivery_count += deliveries
            load.open_callback_count += cases
    end = min(ends, default="")
    names = sorted(name for name in found if not end or name <= end)
    return [found[name] for name in names[:limit]], names[limit - 1] if len(names) > limit else end
