"""The activities of several owners as one list."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from callback import Activity


def activities_together(of_owners: Iterable[Sequence[Activity]]) -> list[Activity]:
    """Return the activities of several owners by name, each once: only their open callbacks differ, and are added."""
    found: dict[str, Activity] = {}
    for activities in of_owners:
        for each in activities:
            open_before = found[each.activity].open_callback_count if each.activity in found else 0
            found[each.activity] = replace(each, open_callback_count=open_before + each.open_callback_count)
    return sorted(found.values(), key=lambda each: each.activity)
