"""The activities whose deliveries are not tried for now.

One set says which they are. Each partition has a copy, so that what begins a delivery sees it in the step in which it
does. A copy has the version of what it was made of, and no older one takes its place; what an error, or the end of a
process, has kept from a partition, the next sweep brings.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final, cast

from callback_server.store import keys
from callback_server.store.connection.client import StoreError, store_errors
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("change_pauses")
_SYNC: Final = Script("sync_pauses")


@dataclass(frozen=True, slots=True)
class Pauses:
    """What is paused."""

    version: bytes = b"0"
    """A number that grows with each change."""
    activities: tuple[bytes, ...] = ()


NONE_KNOWN: Final = Pauses()
"""Older than all others: it changes nothing."""


async def pause_activity(scripts: Scripts, activity: str) -> None:
    """Keeps the deliveries of an activity from being tried, durably. Safe to send again.

    Raises:
        StoreError: it may be paused all the same, in all partitions within a sweep.
    """
    await sync_pauses(scripts, await _changed(scripts, "SADD", activity))


async def resume_activity(scripts: Scripts, activity: str) -> None:
    """Undoes it, durably. Safe to send again.

    Raises:
        StoreError: it may be resumed all the same, in all partitions within a sweep.
    """
    await sync_pauses(scripts, await _changed(scripts, "SREM", activity))


async def read_pauses(scripts: Scripts) -> Pauses:
    """What is paused by now, be it that a process of the release before did it.

    Raises:
        StoreError: the store did not answer.
    """
    return await _changed(scripts)


async def sync_pauses(scripts: Scripts, pauses: Pauses) -> None:
    """Has each partition know what is paused, durably, but those that know of something later.

    Raises:
        StoreError: some may not know it.
    """
    try:
        await asyncio.gather(
            *(scripts.run(_SYNC, each, pauses.version, *pauses.activities) for each in range(keys.PARTITIONS))
        )
    except StoreError as error:
        raise StoreError(str(error), maybe_done=True) from error


async def paused_activities(scripts: Scripts) -> list[str]:
    """Those that are paused, by name.

    Raises:
        StoreError: the store did not answer.
    """
    with store_errors():
        names = cast("set[bytes]", await scripts.client.smembers(keys.PAUSED_KEY))
    return sorted(name.decode() for name in names)


async def is_paused(scripts: Scripts, activity: str) -> bool:
    """Whether the deliveries of an activity are not tried for now.

    Raises:
        StoreError: the store did not answer.
    """
    with store_errors():
        return bool(await scripts.client.sismember(keys.PAUSED_KEY, activity))


async def _changed(scripts: Scripts, *change: str) -> Pauses:
    version, *activities = await scripts.run_on(SCRIPT, keys.PAUSED_KEY, keys.PAUSES_KEY, *change)
    return Pauses(version, tuple(activities))
