"""Principals and their roles."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final


class Role(enum.StrEnum):
    """A set of permissions of a principal."""

    OWNER = "owner"
    """Generate callbacks, and read, change, close and erase its own."""
    EDGE = "edge"
    """Pass calls to the server. It cannot read or create callbacks."""
    ADMIN = "admin"
    """Everything that an owner may do, on the callbacks of every owner. Also pause, resume and list paused
    activities."""
    WORKER = "worker"
    """Handle the calls of the activities in its entry."""


EVERY_ACTIVITY: Final = "*"
"""Means every activity."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A known client of the server."""

    name: str
    """Its name, which is also the owner of the cases that it creates."""
    roles: frozenset[Role]
    activities: frozenset[str] = frozenset()
    """The activities that a worker may serve."""

    def has(self, role: Role) -> bool:
        """Return whether it has the permissions of a role. An administrator has those of an owner, not of an edge."""
        return role in self.roles or (role is Role.OWNER and Role.ADMIN in self.roles)

    def may_work_on(self, activity: str) -> bool:
        """Return whether a worker may serve an activity."""
        return not self.activities.isdisjoint((activity, EVERY_ACTIVITY))

    @property
    def is_admin(self) -> bool:
        """Whether it sees the cases of other owners."""
        return Role.ADMIN in self.roles

    @property
    def visible_owner(self) -> str | None:
        """The owner whose cases it sees. None: every owner's."""
        return None if self.is_admin else self.name


LOCAL: Final = Principal("local", frozenset(Role), frozenset({EVERY_ACTIVITY}))
"""The principal of every request if no principals are configured."""
