"""Who asks, and what they may do (design, "Who may do what")."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final


class Role(enum.StrEnum):
    """What a principal may do."""

    OWNER = "owner"
    """Generate callbacks, and read, set, close and erase its own."""
    EDGE = "edge"
    """Hand over calls. It sees no case, and can make none."""
    ADMIN = "admin"
    """All that an owner may, on everyone's callbacks."""
    WORKER = "worker"
    """Handle the calls of the activities that its entry names."""


EVERY_ACTIVITY: Final = "*"
"""In place of the name of an activity: whichever there is."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who is known."""

    name: str
    """The owner of the cases that it makes."""
    roles: frozenset[Role]
    activities: frozenset[str] = frozenset()
    """What a worker may work on."""

    def has(self, role: Role) -> bool:
        """Whether it may do what the role may. An administrator may do what an owner may, and not what an edge may."""
        return role in self.roles or (role is Role.OWNER and Role.ADMIN in self.roles)

    def may_work_on(self, activity: str) -> bool:
        """Whether a worker may have the calls of an activity."""
        return not self.activities.isdisjoint((activity, EVERY_ACTIVITY))

    @property
    def is_admin(self) -> bool:
        """Whether the cases of others exist for it."""
        return Role.ADMIN in self.roles

    @property
    def visible_owner(self) -> str | None:
        """The owner whose cases exist for it. None: everyone's."""
        return None if self.is_admin else self.name


LOCAL: Final = Principal("local", frozenset(Role), frozenset({EVERY_ACTIVITY}))
"""Everyone, where no principals are configured."""
