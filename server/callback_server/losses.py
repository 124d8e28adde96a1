"""The steps that a store has lost in failovers and restores, and the operator's acceptance of what it has now."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from callback_server.store import keys
from callback_server.store.connection.client import StoreClient
from callback_server.store.transitions.open_epoch import open_epoch
from callback_server.store_access import open_store


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


async def losses(config_file: Path | None, of_up: Mapping[str, str], *, accepts: bool) -> list[RecordedLoss]:
    """Return what the store has recorded, the latest first.

    Args:
        config_file: The file with the settings of a server; None means the file that CALLBACK_CONFIG names, if any.
        of_up: The settings that a running `callback up` gives its server.
        accepts: Whether to accept what the store has now: servers that know more take it from then on.

    Raises:
        StoreAccessError: As for `open_store`.
    """
    async with open_store(config_file, of_up) as scripts:
        if accepts:
            await asyncio.gather(*(open_epoch(scripts, each) for each in range(keys.PARTITIONS)))
        return await _read(scripts.client)


async def _read(client: StoreClient) -> list[RecordedLoss]:
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
