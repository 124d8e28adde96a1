"""The guard of the store: a connection works on a partition once the store has shown its newest known epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from callback_server.store.connection.errors import NotSentError
from callback_server.store.epochs.known import Epoch, Epochs
from callback_server.store.transitions.open_epoch import SCRIPT, new_id


class EpochGuard:
    """Lets a connection work on a partition once the store has shown the newest known epoch."""

    def __init__(self, epochs: Epochs, *, replicas: int = 0) -> None:
        """Create a guard.

        Args:
            epochs: What is known of the epochs of the store.
            replicas: How many replicas a primary must have to begin an epoch.
        """
        self._epochs = epochs
        self._replicas = replicas
        self.current = epochs.current
        self.acknowledge = epochs.acknowledge
        self.unseen = epochs.unseen

    @property
    def witnesses(self) -> Mapping[str, Epoch]:
        """One partition of each known primary, and its epoch."""
        return self._epochs.witnesses

    def question(self, tag: str) -> tuple[str | bytes | int, ...]:
        """Return the command that asks the store for the epoch of a partition."""
        known = self._epochs.known.get(tag)
        epoch = Epoch(0, "", "") if known is None else known.epoch
        packed = SCRIPT.pack(
            epoch_id=new_id(),
            known_number=epoch.number,
            known_id=epoch.id,
            known_replication_id=epoch.replication_id,
            counted_number=0 if known is None else known.counted_number,
            replicas=self._replicas,
            accepts=False,
        )
        return ("EVAL", SCRIPT.source, 1, tag, *packed)

    def judge(self, tag: str, asked: Epoch | None, reply: Any) -> Epoch | None:
        """Return the epoch in which the connection can work on a partition. None: ask again.

        Raises:
            OtherEpochError: The store does not have the known epoch.
            NotSentError: It has too few replicas to begin the next one.
            RedisError: The reply is an error.
        """
        self.unseen.discard(tag)
        if isinstance(reply, Exception):
            raise reply
        word, number, *rest = reply
        if word == b"OK":
            id_, replication_id, newest_before, events_before = rest
            epoch = Epoch(number, id_.decode(), replication_id.decode())
            return self._epochs.adopt(tag, asked, epoch, newest_before=newest_before, events_before=events_before)
        if word == b"FEW":
            raise NotSentError(
                f"the primary has changed or restarted, and {number} of {self._replicas} replicas are attached to it"
            )
        if asked is not self.current(tag) or asked is None:
            return None
        raise self._epochs.refuse(tag, asked, number)
