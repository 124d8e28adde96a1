"""The steps that a store has lost in failovers and restores, and the operator's acceptance of what it has now."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from callback_process.settings import SettingsError, config_path
from callback_server.settings import ServerSettings
from callback_server.store import keys
from callback_server.store.connection.client import StoreClient, connect
from callback_server.store.connection.errors import StoreError
from callback_server.store.safety import UnsafeStoreError, refusals
from callback_server.store.schema import layout_problem, stored_layout
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.open_epoch import open_epoch


class LossesError(Exception):
    """The store cannot be asked. The text has no secret."""


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


async def losses(config_file: Path | None, *, accepts: bool) -> list[RecordedLoss]:
    """Return what the store has recorded, the latest first.

    Args:
        config_file: The file with the settings of a server; None means the file that CALLBACK_CONFIG names, if any.
        accepts: Whether to accept what the store has now: servers that know more take it from then on.

    Raises:
        LossesError: The settings are not valid, the store cannot be reached, or it has the data of another release.
    """
    try:
        settings = ServerSettings.load(config_path(config_file))
        url = settings.read_store_url()
    except SettingsError as error:
        raise LossesError("; ".join(error.problems)) from error
    except ValueError as error:
        raise LossesError(str(error)) from error
    client = connect(url)
    try:
        with refusals():
            if problem := layout_problem(await stored_layout(client)):
                raise LossesError(problem)
            if accepts:
                scripts = Scripts(client, lambda _report: None, replicas=settings.to_durability().replicas)
                await asyncio.gather(*(open_epoch(scripts, each) for each in range(keys.PARTITIONS)))
            return await _read(client)
    except (StoreError, UnsafeStoreError) as error:
        raise LossesError(f"the store: {error}") from error
    finally:
        await client.aclose()


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
