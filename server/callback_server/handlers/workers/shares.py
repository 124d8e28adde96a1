"""The slots of workers that owners share: whether an owner may take one more, and whose turn it is.

1. An owner may take a free slot of an activity as it may take a slot of a server (`limits/call_slots.py`), and up to
   the number in its quota. Where no other owner has had a call lately, it may take every slot.
2. A free slot goes to the owner that has the fewest for its weight; to its oldest call.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Final, Protocol, TypeVar

from callback_server.limits.call_slots import may_take
from callback_server.limits.quotas import Quotas

LATELY_S: Final = 60.0
"""For how long after a call of an owner slots are kept free for it, in seconds."""
SHARE: Final = "worker_slots"
"""The name of the limit where the last slots are kept for other owners."""


class WaitingCall(Protocol):
    """A call that waits for a slot."""

    route: str
    owner: str
    order: int


_Waiting = TypeVar("_Waiting", bound=WaitingCall)


class SlotShares:
    """The slots that the calls of each owner have, for each route."""

    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas
        self._taken: Counter[tuple[str, str]] = Counter()
        self._last_taken: defaultdict[str, dict[str, float]] = defaultdict(dict)
        """When each owner took a slot last, by route."""

    def limit(self, call: WaitingCall, free: Callable[[], int]) -> str:
        """Return the limit that keeps a call from a free slot, of which there are `free`. Empty: none."""
        taken, most = self._taken[call.route, call.owner], self._quotas.most(call.owner, "max_worker_slots")
        if most is not None and taken >= most:
            return "max_worker_slots_per_owner"
        # The last slot counts as free for the one that takes it, if it has none.
        if not taken or not self._is_shared(call) or may_take(taken, free() - 1, self._quotas.weight(call.owner)):
            return ""
        return SHARE

    def take(self, call: WaitingCall) -> None:
        """Record that a call has got a slot."""
        self._taken[call.route, call.owner] += 1
        self._last_taken[call.route][call.owner] = asyncio.get_running_loop().time()

    def give_back(self, call: WaitingCall) -> None:
        """Record that a call has its slot no more."""
        self._taken[call.route, call.owner] -= 1
        if not self._taken[call.route, call.owner]:
            del self._taken[call.route, call.owner]

    def in_turn(self, waiting: Iterable[_Waiting]) -> list[_Waiting]:
        """Return calls in the order in which they get slots, as if each got one. They are given in their own order."""
        taken: Counter[str] = Counter()
        for (_, owner), number in self._taken.items():
            taken[owner] += number
        turns = []
        for call in waiting:
            turns.append((taken[call.owner] / self._quotas.weight(call.owner), call.order, call))
            taken[call.owner] += 1
        return [call for _, _, call in sorted(turns, key=lambda turn: turn[:2])]

    def _is_shared(self, call: WaitingCall) -> bool:
        """Return whether another owner has had a slot of the route lately."""
        owners, now = self._last_taken[call.route], asyncio.get_running_loop().time()
        for owner in [owner for owner, at in owners.items() if now - at > LATELY_S]:
            del owners[owner]
        return any(owner != call.owner for owner in owners)
