"""Does what time brings: ends calls whose process died, closes what has expired, forgets what is past its retention.

Every replica sweeps; the scripts make it safe, and whoever comes second finds nothing to do.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

from callback_process.logs import get_logger
from callback_server.domain.activity import NONE_PAUSED
from callback_server.store import keys
from callback_server.store.connection.client import StoreError
from callback_server.store.queries.read_pauses import read_pauses
from callback_server.store.retention import Retention
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.apply_retention import apply_retention
from callback_server.store.transitions.sweep_partition import sweep_partition

log = get_logger()

SWEEP_INTERVAL_S: Final = 1.0
"""How often what is due is looked for, in seconds."""
DROP_INTERVAL_S: Final = 30.0
"""How often what is past its retention is looked for, in seconds."""


class Sweeper:
    """Sweeps all partitions of a store, round after round. Forgetting much does not hold up what is due."""

    def __init__(self, scripts: Scripts, retention: Retention, deliver: Callable[[int], None]) -> None:
        """`deliver` is told of each partition where something is to be delivered, as often as it is swept."""
        self._scripts = scripts
        self._retention = retention
        self._deliver = deliver
        self._paused = NONE_PAUSED

    async def sweep_for_ever(self) -> None:
        """Ends leases, closes what has expired and brings what is paused, until it is cancelled."""
        while True:
            await self._read_pauses()
            await _on_each_partition(self._sweep)
            await _pause(SWEEP_INTERVAL_S)

    async def drop_for_ever(self) -> None:
        """Forgets what is past its retention, until it is cancelled."""
        while True:
            await self._drop_round()
            await _pause(DROP_INTERVAL_S)

    async def _read_pauses(self) -> None:
        """If that fails (a part of a cluster is away), sweeps go on with what is known: an old version is harmless."""
        try:
            self._paused = await read_pauses(self._scripts)
        except StoreError as error:
            log.warning("sweep_failed", error=str(error))
        except Exception:
            log.exception("sweep_failed")

    async def _sweep(self, partition: int) -> bool:
        swept = await sweep_partition(self._scripts, partition, retention=self._retention, paused=self._paused)
        if swept.deliveries:
            self._deliver(partition)
        return swept.more

    async def _drop_round(self) -> None:
        """One event for all that a round forgets: nothing becomes of it, and it can be very much."""
        calls = cases = 0

        async def drop(partition: int) -> bool:
            nonlocal calls, cases
            dropped = await apply_retention(self._scripts, partition, retention=self._retention)
            calls, cases = calls + dropped.calls, cases + dropped.cases
            return dropped.more

        try:
            await _on_each_partition(drop)
        finally:
            if calls or cases:
                log.info("dropped", calls=calls, cases=cases)


async def _on_each_partition(work: Callable[[int], Awaitable[bool]]) -> None:
    """Does `work` on each partition, as long as it says that there is more.

    What fails in one partition, a store that is away or a case that is broken, does not keep it from the others.
    """
    for partition in range(keys.PARTITIONS):
        try:
            while await work(partition):
                pass
        except StoreError as error:
            log.warning("sweep_failed", partition=partition, error=str(error))
        except Exception:
            log.exception("sweep_failed", partition=partition)


async def _pause(interval_s: float) -> None:
    await asyncio.sleep(interval_s * random.uniform(0.8, 1.2))  # noqa: S311  # spreads replicas
