"""The activities whose deliveries are not tried for now.

Each partition has the same set of them, so that what begins a delivery sees it in the step in which it does.
"""

from __future__ import annotations

from typing import cast

from callback_server.store import keys
from callback_server.store.client import StoreClient, store_errors


async def pause_activity(client: StoreClient, activity: str) -> None:
    """Keeps the deliveries of an activity from being tried, durably. Safe to send again.

    Raises:
        StoreError: it may be paused in some partitions alone.
    """
    with store_errors():
        pipeline = client.pipeline(transaction=False)
        for partition in range(keys.PARTITIONS):
            pipeline.sadd(keys.key(partition, "paused"), activity)
        await pipeline.execute()


async def resume_activity(client: StoreClient, activity: str) -> None:
    """Undoes it, durably. Safe to send again.

    Raises:
        StoreError: it may be paused in some partitions still.
    """
    with store_errors():
        pipeline = client.pipeline(transaction=False)
        for partition in range(keys.PARTITIONS):
            pipeline.srem(keys.key(partition, "paused"), activity)
        await pipeline.execute()


async def paused_activities(client: StoreClient) -> list[str]:
    """Those that are paused, be it in some partitions alone; by name.

    Raises:
        StoreError: the store did not answer.
    """
    with store_errors():
        pipeline = client.pipeline(transaction=False)
        for partition in range(keys.PARTITIONS):
            pipeline.smembers(keys.key(partition, "paused"))
        names = cast("list[set[bytes]]", await pipeline.execute())
    return sorted(name.decode() for name in set[bytes]().union(*names))


async def is_paused(client: StoreClient, activity: str, case_id: str) -> bool:
    """Whether the deliveries of a case of an activity are not tried for now.

    Raises:
        StoreError: the store did not answer.
    """
    with store_errors():
        return bool(await client.sismember(keys.key(keys.partition_of(case_id), "paused"), activity))
