"""The transition that records lost steps of a partition."""

from __future__ import annotations

from typing import Final

from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("record_loss")


async def record_loss(scripts: Scripts, partition: int, *, epoch: int, lost_epoch: int, steps: int) -> None:
    """Record that a partition does not have some steps of an epoch in a later one. Safe to send again.

    Raises:
        StoreError: It is not known whether it is recorded.
    """
    await scripts.run(SCRIPT, partition, epoch=epoch, lost_epoch=lost_epoch, steps=steps)
