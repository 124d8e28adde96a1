"""Principals and their roles: the rules of access to cases. The servicers ask here, and decide nothing themselves."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Final


class Role(enum.StrEnum):
    """A set of permissions of a principal."""

    OWNER = "owner"
    """Generate callbacks, and read, change, close and erase its own."""
    EDGE = "edge"
    """Pass calls to the server. It cannot read or create callbacks."""
    ADMIN = "admin"
    """Everything that an owner may do, on the callbacks of every owner. Also pause, resume and list paused
    activities, and read the statistics and findings of the servers."""
    WORKER = "worker"
    """Handle the calls of the activities in its entry. With `answers`, also read their callbacks of every owner, set
    the response, answer, resolve and close."""


EVERY_ACTIVITY: Final = "*"
"""Means every activity."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A known client of the server."""

    name: str
    """Its name, which is also the owner of the cases that it creates."""
    roles: frozenset[Role]
    activities: frozenset[str] = frozenset()
    """The activities that a worker may serve, and to which an owner is limited. Empty for an owner: every activity."""
    answers: bool = False
    """Whether a worker may read, answer and close the cases of its activities."""
    expires: float | None = field(default=None, compare=False)
    """When the credential that it used expires, in seconds since 1970. None: never."""
    revoked: bool = field(default=False, compare=False)
    """Whether it, or the credential that it used, is revoked."""

    def has(self, role: Role) -> bool:
        """Return whether it has the permissions of a role. An administrator has those of an owner, not of an edge."""
        return role in self.roles or (role is Role.OWNER and Role.ADMIN in self.roles)

    def may_work_on(self, activity: str) -> bool:
        """Return whether a worker may serve an activity."""
        return not self.activities.isdisjoint((activity, EVERY_ACTIVITY))

    def may_generate(self, activity: str) -> bool:
        """Return whether an owner may have cases of an activity. An administrator is not limited."""
        return self.limit is None or activity in self.limit

    @property
    def limit(self) -> frozenset[str] | None:
        """The only activities whose cases it may have or see. None: it is not limited."""
        if self.is_admin or not self.activities or EVERY_ACTIVITY in self.activities:
            return None
        return self.activities

    def owns(self, owner: str, activity: str) -> bool:
        """Return whether it may do everything with a case."""
        is_owner = Role.OWNER in self.roles and owner == self.name
        return self.is_admin or (is_owner and self.may_generate(activity))

    def sees(self, owner: str, activity: str) -> bool:
        """Return whether a case exists for it: whether it may read, set, answer, resolve and close the case."""
        return self.owns(owner, activity) or (self.answers and self.may_work_on(activity))

    @property
    def sees_other_owners(self) -> bool:
        """Whether it may see cases of other owners."""
        return self.is_admin or self.answers

    @property
    def is_admin(self) -> bool:
        """Whether it may do everything with the cases of every owner."""
        return Role.ADMIN in self.roles


LOCAL: Final = Principal("local", frozenset(Role), frozenset({EVERY_ACTIVITY}))
"""The principal of every request if no principals are configured."""
