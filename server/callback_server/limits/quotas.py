"""Quotas: what an owner may use of one server, and its weight where owners share what there is."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

_Most = Annotated[int, Field(ge=1)] | None


class Quota(BaseModel):
    """The quota of an owner. None: the default, which is the setting of this name with `_per_owner`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weight: int = Field(default=1, ge=1, le=1000)
    """How much it gets of what owners share, relative to another owner."""
    max_in_flight_calls: _Most = None
    """Maximum number of its calls that run at a time, without held calls."""
    max_in_flight_held_calls: _Most = None
    """Maximum number of its held calls whose callers wait."""
    max_in_flight_waits: _Most = None
    """Maximum number of its callers that wait at the address of a call, or as repeats."""
    max_calls_per_minute: _Most = None
    """Maximum number of its calls in a minute."""
    max_worker_slots: _Most = None
    """Maximum number of slots of workers that its calls of one activity use."""
    max_recorded_bytes: _Most = None
    """Maximum number of bytes of its calls that are kept. Unlike the others, it holds for all servers together."""


class Quotas:
    """The quotas of all owners."""

    def __init__(self, default: Quota, find: Callable[[str], Quota | None] | None = None) -> None:
        """Create quotas.

        Args:
            default: The quota of an owner that has none, and each number that a quota does not have.
            find: Returns the quota of an owner as it is known now. None: there is one owner, who shares with no other.
        """
        self._default = default
        self._find = find

    def most(self, owner: str, name: str) -> int | None:
        """Return a number of an owner's quota, by its name. None: any number."""
        quota = self._find(owner) if self._find is not None else None
        own: int | None = None if quota is None else getattr(quota, name)
        default: int | None = getattr(self._default, name)
        return default if own is None else own

    def weight(self, owner: str) -> float:
        """Return the weight of an owner; infinite if it shares with no other."""
        if self._find is None:
            return math.inf
        return (self._find(owner) or self._default).weight
