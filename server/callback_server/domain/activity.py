"""Activities: they decide what happens on a call, and how long that may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from callback_server.domain.retries import DEFAULT_RETRIES, Retries

LEASE_SLACK_MS: Final = 10_000
"""How much longer a lease is than the deadline of the handler, in milliseconds."""
DEFAULT_DEADLINE_MS: Final = 8_000
"""The deadline of a handler whose activity declares none, in milliseconds."""


@dataclass(frozen=True, slots=True)
class Activity:
    """An activity that the configuration declares."""

    name: str
    deadline_ms: int | None = None
    """None: the default."""
    retries: Retries = DEFAULT_RETRIES


class Leases:
    """The leases of calls that handlers decide: the default, and those that activities declare."""

    def __init__(
        self, activities: Mapping[str, Activity], default_ms: int = DEFAULT_DEADLINE_MS + LEASE_SLACK_MS
    ) -> None:
        self.default_ms = default_ms
        declared = {
            activity.name: activity.deadline_ms + LEASE_SLACK_MS
            for activity in activities.values()
            if activity.deadline_ms is not None
        }
        self.longest_ms = max([default_ms, *declared.values()])
        self.pairs: tuple[str | int, ...] = tuple(value for pair in declared.items() for value in pair)


class Pause(msgspec.Struct, frozen=True, array_like=True):
    """The pause of one activity: who, why and when.

    Stored as an array: append fields at the end, with a default, and never reuse a position.
    """

    principal: str = ""
    """The administrator. Empty if a server of the release before stored the pause."""
    reason: str = ""
    """What the administrator gave as the reason."""
    pause_time_ms: int | None = None
    """When it was paused, in milliseconds since the epoch by the store's clock. None if a server of the release before
    stored the pause."""


@dataclass(frozen=True, slots=True)
class PausedActivities:
    """The activities whose deliveries are paused, at one version of that list."""

    version: int = 0
    """A number that grows with each change. 0: the list was never changed."""
    pauses: Mapping[str, Pause] = field(default_factory=dict)
    """By activity, in alphabetical order."""

    @classmethod
    def from_fields(cls, fields: Mapping[bytes, bytes]) -> PausedActivities:
        """Return the list that a hash of the store has: the version at the empty field, and a field per activity."""
        pauses = {name.decode(): _pause(fields[name]) for name in sorted(fields) if name}
        return cls(int(fields.get(b"", 0)), pauses)

    @property
    def names(self) -> tuple[str, ...]:
        """The activities, in alphabetical order."""
        return tuple(self.pauses)


def _pause(stored: bytes) -> Pause:
    return Pause() if stored == b"1" else msgspec.json.decode(stored, type=Pause)


NONE_PAUSED: Final = PausedActivities()
"""The empty list before its first change. It never replaces another one."""


def deadline_ms(activities: Mapping[str, Activity], name: str) -> int:
    """Return how long the handler of an activity may take, in milliseconds."""
    declared = activities.get(name)
    if declared is not None and declared.deadline_ms is not None:
        return declared.deadline_ms
    return DEFAULT_DEADLINE_MS


def retries_of(activities: Mapping[str, Activity], name: str) -> Retries:
    """Return the retries of the deliveries of an activity."""
    declared = activities.get(name)
    return DEFAULT_RETRIES if declared is None else declared.retries
