"""Reads of the paused activities."""

from __future__ import annotations

from typing import cast

from callback_server.domain.activity import PausedActivities
from callback_server.store import keys
from callback_server.store.connection.errors import store_errors
from callback_server.store.scripts import Scripts


async def read_pauses(scripts: Scripts) -> PausedActivities:
    """Return the activities that are paused now.

    Raises:
        StoreError: The store did not answer.
    """
    with store_errors():
        fields = cast("dict[bytes, bytes]", await scripts.client.hgetall(keys.PAUSED_KEY))
    return PausedActivities.from_fields(fields)


async def is_paused(scripts: Scripts, activity: str) -> bool:
    """Return whether the deliveries of an activity are paused.

    Raises:
        StoreError: The store did not answer.
    """
    with store_errors():
        return bool(await scripts.client.hexists(keys.PAUSED_KEY, activity))
