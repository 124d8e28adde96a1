"""The transition that records lost steps of a partition."""

from __future__ import annotations

from typing import Final

from callback_server.store.epochs.known import Loss
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("record_loss")


async def record_loss(scripts: Scripts, loss: Loss) -> None:
    """Record a loss, durably. Safe to send again.

    Raises:
        StoreError: It is not known whether it is recorded.
    """
    await scripts.run(SCRIPT, loss.partition, epoch=loss.epoch, lost_epoch=loss.lost_epoch, steps=loss.steps)
