"""The transition that opens a partition: it checks its epoch, and begins the next one on another primary."""

from __future__ import annotations

import secrets
from typing import Final

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
        epoch_id=new_id(),
        known_number=0,
        known_id="",
        known_replication_ids="",
        counted_number=0,
        counted_ids="",
        counted_steps=0,
        counted_at=0,
        never_loses=False,
        accepts=True,
    )
    return int(number)


def new_id() -> str:
    """Return a new random id of an epoch."""
    return secrets.token_hex(8)
