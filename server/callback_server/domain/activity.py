"""Activities: they decide what happens on a call, and how long that may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from callback_server.domain.retries import DEFAULT_RETRIES, Retries

LEASE_SLACK_MS: Final = 10_000
"""How much longer a lease is than the deadline of the handler, in milliseconds."""
DEFAULT_DEADLINE_MS: Final = 8_000
"""The deadline of a handler whose activity declares none, in milliseconds."""
DEFAULT_HOLD_TIME_MS: Final = 300_000
"""How long a held call waits for its answer, where its case does not say, in milliseconds."""


@dataclass(frozen=True, slots=True)
class Activity:
    """An activity that the configuration declares."""

    name: str
    deadline_ms: int | None = None
    """None: the default."""
    retries: Retries = DEFAULT_RETRIES


@dataclass(frozen=True, slots=True)
class PausedActivities:
    """The activities whose deliveries are paused, at one version of that list."""

    version: int = 0
    """A number that grows with each change. 0: the list was never changed."""
    names: tuple[str, ...] = ()
    """In alphabetical order."""

    @classmethod
    def from_fields(cls, fields: Mapping[bytes, bytes]) -> PausedActivities:
        """Return the list that a hash of the store has: the version at the empty field, and a field per activity."""
        names = tuple(sorted(name.decode() for name in fields if name))
        return cls(int(fields.get(b"", 0)), names)


NONE_PAUSED: Final = PausedActivities()
"""The empty list before its first change. It never replaces another one."""


def deadline_ms(activities: Mapping[str, Activity], name: str) -> int:
    """Return how long the handler of an activity may take, in milliseconds."""
    declared = activities.get(name)
    if declared is not None and declared.deadline_ms is not None:
        return declared.deadline_ms
    return DEFAULT_DEADLINE_MS
