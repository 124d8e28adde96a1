"""The transition that opens a partition: it checks its epoch, and begins the next one on another primary."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, Final

from callback_server.store.connection.errors import NotSentError
from callback_server.store.epochs import Epoch, Epochs
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("open_epoch")


async def open_epoch(scripts: Scripts, partition: int) -> int:
    """Begin an epoch that is higher than all that any server knows, and return its number: what the store has is valid.

    Raises:
        StoreError: It is not known whether it has begun.
    """
    _, number, *_ = await scripts.run(
        SCRIPT,
        partition,
        epoch_id=_new_id(),
        known_number=0,
        known_id="",
        known_replication_id="",
        counted_number=0,
        replicas=0,
        accepts=True,
    )
    return int(number)


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
            epoch_id=_new_id(),
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


def _new_id() -> str:
    return secrets.token_hex(8)
