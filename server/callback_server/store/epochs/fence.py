"""The fence of the store: a connection works on a partition once the store has shown its newest known epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from callback_server.store.connection.fence import Seen
from callback_server.store.epochs.known import Epoch, Epochs, Known
from callback_server.store.transitions.open_epoch import SCRIPT, new_id


class EpochFence:
    """Lets a connection work on a partition once the store has shown the newest known epoch."""

    def __init__(self, epochs: Epochs, *, replicas: int = 0, never_loses: bool = False) -> None:
        """Create a fence.

        Args:
            epochs: What is known of the epochs of the store.
            replicas: How many replicas must confirm an epoch before it counts.
            never_loses: Whether a primary that restarts has every acknowledged step, so that one with fewer is refused.
        """
        self._epochs = epochs
        self.replicas = replicas
        self._never_loses = never_loses
        self.current = epochs.current
        self.acknowledge = epochs.acknowledge
        self.unseen = epochs.unseen

    @property
    def witnesses(self) -> Mapping[str, Epoch]:
        """One partition of each known primary, and its epoch."""
        return self._epochs.witnesses

    def seen(self, tag: str) -> Seen:
        """Return which steps of a partition were seen acknowledged in its newest known epoch."""
        known = self._epochs.known.get(tag)
        if known is None or not known.counted_ids.endswith(known.epoch.id):
            return Seen()
        return Seen(known.epoch, known.steps, known.newest_at)

    def question(self, tag: str) -> tuple[str | bytes | int, ...]:
        """Return the command that asks the store for the epoch of a partition."""
        known = self._epochs.known.get(tag) or Known(Epoch(0, "", ""), 0, 0, "")
        packed = SCRIPT.pack(
            epoch_id=new_id(),
            known_number=known.epoch.number,
            known_id=known.epoch.id,
            known_replication_ids=known.epoch.replication_ids,
            counted_number=known.counted_number,
            counted_ids=known.counted_ids,
            counted_steps=known.steps,
            counted_at=known.newest_at,
            never_loses=self._never_loses,
            accepts=False,
        )
        return ("EVAL", SCRIPT.source, 1, tag, *packed)

    def must_confirm(self, tag: str, reply: Any) -> bool:
        """Return whether replicas must confirm the epoch that the store shows before it counts."""
        if not self.replicas or isinstance(reply, Exception) or reply[0] != b"OK":
            return False
        known = self._epochs.current(tag)
        return known is None or known.id != reply[2].decode()

    def judge(self, tag: str, asked: Epoch | None, reply: Any) -> Epoch | None:
        """Return the epoch in which the connection can work on a partition. None: ask again.

        Raises:
            OtherEpochError: The store does not have the known epoch, or not all its steps.
            RedisError: The reply is an error.
        """
        self.unseen.discard(tag)
        if isinstance(reply, Exception):
            raise reply
        word, number, *rest = reply
        if word == b"OK":
            id_, replication_ids, newest_before, ids, steps_left, of_ids, is_given_up = rest
            return self._epochs.adopt(
                tag,
                asked,
                Epoch(number, id_.decode(), replication_ids.decode()),
                newest_before=newest_before,
                ids=ids.decode(),
                steps_left=steps_left,
                of_ids=of_ids.decode(),
                may_lose=not self._never_loses or is_given_up == 1,
            )
        if asked is not self.current(tag) or asked is None:
            return None
        if word == b"FEWER":
            fewer = f"{number} in place of {self._epochs.known[tag].steps}"
            raise self._epochs.refuse(tag, f"have fewer steps than servers have seen: {fewer}")
        seen = f"{number} in place of {asked.number}" if number != asked.number else f"{number} of another primary"
        raise self._epochs.refuse(tag, f"are older than what servers have seen: epoch {seen}")
