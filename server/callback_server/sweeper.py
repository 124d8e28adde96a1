"""Does what time brings: ends calls whose process died, closes what has expired, forgets what is past its retention.

Every replica sweeps; the scripts make it safe, and whoever comes second finds nothing to do.
"""

from __future__ import annotations

import asyncio
import random
from typing import Final

from callback_process.logs import get_logger
from callback_server.store import keys
from callback_server.store.client import StoreError
from callback_server.store.drop_partition import drop_partition
from callback_server.store.retention import Retention
from callback_server.store.scripts import Scripts
from callback_server.store.sweep_partition import sweep_partition

log = get_logger()

INTERVAL_S: Final = 1.0
"""How often what is due is looked for, in seconds."""
DROP_EVERY: Final = 30
"""How many rounds pass between two that also forget."""


class Sweeper:
    """Sweeps all partitions of a store, round after round."""

    def __init__(self, scripts: Scripts, retention: Retention) -> None:
        self._scripts = scripts
        self._retention = retention

    async def run(self) -> None:
        """Sweeps until it is cancelled. A store that does not answer is tried again in the next round."""
        rounds = 0
        while True:
            try:
                await self.sweep()
                if rounds % DROP_EVERY == 0:
                    await self.drop()
            except StoreError as error:
                log.warning("sweep_failed", error=str(error))
            except Exception:  # one bad case must not stop the sweeper for all others
                log.exception("sweep_failed")
            rounds += 1
            await asyncio.sleep(INTERVAL_S * random.uniform(0.8, 1.2))  # noqa: S311  # spreads replicas

    async def sweep(self) -> None:
        """Does what is due in every partition.

        Raises:
            StoreError: the store did not answer.
        """
        for partition in range(keys.PARTITIONS):
            while True:
                swept = await sweep_partition(self._scripts, partition, retention=self._retention)
                if swept.leases_ended or swept.cases_expired:
                    log.info("swept", leases_ended=swept.leases_ended, cases_expired=swept.cases_expired)
                if not swept.more:
                    break

    async def drop(self) -> None:
        """Forgets what is past its retention in every partition.

        Raises:
            StoreError: the store did not answer.
        """
        for partition in range(keys.PARTITIONS):
            while True:
                dropped = await drop_partition(self._scripts, partition, retention=self._retention)
                if dropped.calls or dropped.cases:
                    log.info("dropped", calls=dropped.calls, cases=dropped.cases)
                if not dropped.more:
                    break
