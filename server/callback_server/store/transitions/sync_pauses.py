"""The transition that updates a partition's copy of the paused activities."""

from __future__ import annotations

import asyncio
from typing import Final

from callback_server.domain.activity import PausedActivities
from callback_server.store import keys
from callback_server.store.connection.errors import StoreError
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("sync_pauses")


async def sync_pauses(scripts: Scripts, paused: PausedActivities) -> None:
    """Update the copies of all partitions, durably, except those that have a later version.

    Raises:
        StoreError: Some partitions may not have the update.
    """
    try:
        await asyncio.gather(
            *(
                scripts.run(SCRIPT, each, pauses_version=paused.version, paused_activities=paused.names)
                for each in range(keys.PARTITIONS)
            )
        )
    except StoreError as error:
        raise StoreError(str(error), maybe_done=True) from error
