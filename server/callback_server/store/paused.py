"""The activities whose deliveries are not tried for now: one set for all partitions."""

from __future__ import annotations

from typing import cast

from callback_server.store import keys
from callback_server.store.client import StoreClient, store_errors


async def pause_activity(client: StoreClient, activity: str) -> None:
    """Keeps the deliveries of an activity from being tried, durably. Safe to send again.

    Raises:
        StoreError: it is not known whether it is paused.
    """
    with store_errors():
        await client.sadd(keys.PAUSED_KEY, activity)


async def resume_activity(client: StoreClient, activity: str) -> None:
    """Undoes it, durably. Safe to send again.

    Raises:
        StoreError: it is not known whether it is paused.
    """
    with store_errors():
        await client.srem(keys.PAUSED_KEY, activity)


async def paused_activities(client: StoreClient) -> frozenset[str]:
    """Those that are paused.

    Raises:
        StoreError: the store did not answer.
    """
    with store_errors():
        names = cast("set[bytes]", await client.smembers(keys.PAUSED_KEY))
    return frozenset(name.decode() for name in names)
