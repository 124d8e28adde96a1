"""The steps that a store has lost in failovers and restores, and the operator's acceptance of what it has now."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime

from callback_server.store import keys
from callback_server.store.connection.client import StoreClient
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.open_epoch import open_epoch


@dataclass(frozen=True, slots=True)
class RecordedLoss:
    """Acknowledged steps of a partition that were gone when an epoch began."""

    partition: int
    steps: int
    noticed: datetime
    epoch: int
    """The epoch that began without them."""
    lost_epoch: int
    """The epoch that they were made in."""


async def accept_store(scripts: Scripts) -> None:
    """Accept what the store has now: servers that know more take it from then on.

    Raises:
        StoreError: It is not known whether they do.
    """
    await asyncio.gather(*(open_epoch(scripts, each) for each in range(keys.PARTITIONS)))


async def read_losses(client: StoreClient) -> list[RecordedLoss]:
    """Return what the store has recorded, the latest first."""
    pipeline = client.pipeline(transaction=False)
    for partition in range(keys.PARTITIONS):
        pipeline.hgetall(keys.key(partition, "losses"))
    found = []
    for partition, fields in enumerate(await pipeline.execute()):
        for epoch, value in fields.items():
            steps, lost_epoch, noticed_s = map(int, value.split(b":"))
            noticed = datetime.fromtimestamp(noticed_s, UTC)
            found.append(RecordedLoss(partition, steps, noticed, int(epoch), lost_epoch))
    return sorted(found, key=lambda each: (each.noticed, each.partition), reverse=True)
