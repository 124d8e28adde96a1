"""Slots for the calls of one kind in this process: of all owners together, and a fair part of them for each.

An owner may take a slot while it has less than SPARE times its weight of the slots that are free. So one owner alone
can use nearly all, two that want all get equal parts, and there are always some slots for an owner that comes.

As with the rate limit of an owner, mostly only the store knows whose call it is. So a slot is charged to its owner
after the claim, and later claims include the owners that may take no more. Calls that arrive at the same moment can
exceed the part of an owner by their number.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Final

from callback_server.errors import CallbackError, TooManyCallsError, TooManyRequestsError
from callback_server.limits.quotas import Quotas

SPARE: Final = 8
"""How many times the slots that are free an owner of weight 1 may have: 8 of 9 if no other has any."""
RETRY_AFTER_S: Final = 1
"""When a caller may try again, in seconds."""
_UNAVAILABLE: Final = frozenset(
    {
        "max_in_flight_calls",
        "max_in_flight_held_calls",
        "max_in_flight_waits",
        "max_recorded_bytes",
        "max_recorded_bytes_per_owner",
    }
)
"""The limits whose callers get a 503. Those of the others get a 429: they send too much."""


def may_take(taken: int, free: int, weight: float) -> bool:
    """Return whether an owner may take one more of what owners share, of which it has `taken` and `free` are left."""
    return taken < SPARE * weight * free if free else False


class CallSlots:
    """The slots, of which `taken` are taken."""

    def __init__(self, name: str, capacity: int, quotas: Quotas) -> None:
        """Create slots, none of which is taken.

        Args:
            name: The setting of their number, and the number in the quota of an owner.
            capacity: Their number.
            quotas: The quotas of owners.
        """
        self._name = name
        self._capacity = capacity
        self._quotas = quotas
        self.taken = 0
        self._by_owner: Counter[str] = Counter()
        self._levels: dict[float, dict[str, None]] = {}
        """The owners by what each has for its weight; infinite for one that has all of its own quota.

        A claim looks at the few levels, not at all owners: n owners of different levels have n² / 2 slots.
        """
        self._level_of: dict[str, float] = {}

    def reserve(self) -> CallSlot:
        """Take a slot for a call whose owner is not known yet.

        Raises:
            TooManyCallsError: None is free.
        """
        if self.taken >= self._capacity:
            raise TooManyCallsError(self._name)
        return CallSlot(self)

    def take(self, owner: str) -> CallSlot:
        """Take a slot for an owner whose claim was not refused."""
        slot = CallSlot(self)
        slot.charge(owner)
        return slot

    def check(self, owner: str) -> None:
        """Check that an owner may take a slot.

        Raises:
            CallbackError: It may not.
        """
        if limit := self._limit_of(owner):
            raise refusal_by(limit, owner, RETRY_AFTER_S)

    def limited(self) -> list[tuple[str, int, str]]:
        """Return the owners that may take no more now, with the milliseconds until a caller may try, and the limit."""
        enough = SPARE * (self._capacity - self.taken)
        owners = [owner for level, of_level in self._levels.items() if level >= enough for owner in of_level]
        return [(owner, RETRY_AFTER_S * 1000, limit) for owner in owners if (limit := self._limit_of(owner))]

    def _limit_of(self, owner: str) -> str:
        taken, most = self._by_owner[owner], self._quotas.most(owner, self._name)
        if most is not None and taken >= most:
            return f"{self._name}_per_owner"
        return "" if may_take(taken, self._capacity - self.taken, self._quotas.weight(owner)) else self._name

    def change(self, owner: str, number: int) -> None:
        """Charge slots to an owner, or free some of its own if the number is negative."""
        self._by_owner[owner] += number
        if (former := self._level_of.pop(owner, None)) is not None:
            del self._levels[former][owner]
            if not self._levels[former]:
                del self._levels[former]
        if not (taken := self._by_owner[owner]):
            del self._by_owner[owner]
            return
        most = self._quotas.most(owner, self._name)
        level = math.inf if most is not None and taken >= most else taken // self._quotas.weight(owner)
        self._level_of[owner] = level
        self._levels.setdefault(level, {})[owner] = None


class CallSlot:
    """A slot that is taken until it is freed."""

    def __init__(self, slots: CallSlots) -> None:
        self._slots: CallSlots | None = slots
        self._owner = ""
        slots.taken += 1

    def charge(self, owner: str) -> None:
        """Charge it to its owner, once that is known. Empty: there is none any more."""
        if owner and self._slots is not None and not self._owner:
            self._owner = owner
            self._slots.change(owner, 1)

    def free(self) -> None:
        """Free it. A second call does nothing."""
        if self._slots is not None:
            self._slots.taken -= 1
            if self._owner:
                self._slots.change(self._owner, -1)
            self._slots = None


def refusal_by(limit: str, owner: str, retry_after_s: int) -> CallbackError:
    """Return the error of a limit that an owner has reached: its own, or that of the process, which owners share."""
    if limit in _UNAVAILABLE:
        return TooManyCallsError(limit, owner)
    return TooManyRequestsError(retry_after_s, limit, owner)
