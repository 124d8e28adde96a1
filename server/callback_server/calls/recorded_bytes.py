"""Limit on the bytes of calls that the store keeps: of all owners together, and of each.

The calls of an owner are spread over all partitions, so no script sees the bytes of all. Each server adds them up every
`INTERVAL_S`. While a sum is above its limit, it drops the oldest recorded bodies in every partition, until each has no
more than its part. If no body is left that may be dropped, the owner gets no more calls: the one whose limit it is, or
if it is that of all, the one with the most bytes. What comes between two sums can exceed the limit.

Several servers do no harm together: each drops down to the same number of bytes of a partition, and not a number of
bytes.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

from callback_process.logs import get_logger
from callback_server import metrics
from callback_server.limits.quotas import Quotas
from callback_server.store.failure_log import failures_logged
from callback_server.store.queries.read_recorded_bytes import read_recorded_bytes
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.drop_bodies import OLDEST, drop_bodies

log = get_logger()

INTERVAL_S: Final = 2.0
"""How often the bytes are added up, in seconds."""
_RETRY_AFTER_MS: Final = 1000
"""When a caller may try again, in milliseconds."""
_ALL: Final = ""
"""Stands for all owners."""


class RecordedBytes:
    """The limits, and the owners that have reached them."""

    def __init__(self, scripts: Scripts, max_bytes: int | None, quotas: Quotas) -> None:
        """Create the limits.

        Args:
            scripts: The scripts on the store.
            max_bytes: Maximum of all owners together. None: no limit.
            quotas: The quotas of owners.
        """
        self._scripts = scripts
        self._max_bytes = max_bytes
        self._quotas = quotas
        self._limited: list[tuple[str, int, str]] = []
        self._starts: dict[tuple[int, str], str] = {}
        """Where the search for bodies of an owner begins in a partition."""

    def limited(self) -> Sequence[tuple[str, int, str]]:
        """Return the owners that get no more calls, each with the milliseconds until one may come, and the limit."""
        return self._limited

    async def run(self) -> None:
        """Add the bytes up and drop what is too much, until cancelled."""
        while True:
            with failures_logged("recorded_bytes_not_limited"):
                await self.apply()
            await asyncio.sleep(INTERVAL_S)

    async def apply(self) -> None:
        """Add the bytes up, and drop what is too much.

        Raises:
            StoreError: The store did not answer.
        """
        by_partition = await read_recorded_bytes(self._scripts)
        sums = sum((Counter(each) for each in by_partition), Counter[str]())
        metrics.RECORDED_BYTES.set(sums.total())
        limited = []
        for owner, size in sums.items():
            most = self._quotas.most(owner, "max_recorded_bytes")
            if most is not None and size > most:
                parts = [each.get(owner, 0) for each in by_partition]
                sums[owner] -= await self._drop(owner, parts, most)
                if sums[owner] > most:
                    limited.append((owner, _RETRY_AFTER_MS, "max_recorded_bytes_per_owner"))
        most, size = self._max_bytes, sums.total()
        if most is not None and size > most:
            parts = [sum(each.values()) for each in by_partition]
            if size - await self._drop(_ALL, parts, most) > most:
                limited.append((max(sums, key=sums.__getitem__), _RETRY_AFTER_MS, "max_recorded_bytes"))
        self._limited = limited

    async def _drop(self, owner: str, parts: Sequence[int], most: int) -> int:
        """Drop bodies until each partition has its part of `most`, and return how many bytes were dropped."""
        share = most / sum(parts)
        dropped = await asyncio.gather(
            *(self._drop_in(partition, owner, math.floor(size * share)) for partition, size in enumerate(parts) if size)
        )
        if total := sum(dropped):
            log.warning("bodies_dropped", owner=owner or None, bytes=total)
            metrics.BODY_BYTES_DROPPED.inc(total)
        return total

    async def _drop_in(self, partition: int, owner: str, target: int) -> int:
        total, more = 0, True
        while more:
            start = self._starts.get((partition, owner), OLDEST)
            result = await drop_bodies(self._scripts, partition, owner=owner, target=target, start=start)
            self._starts[partition, owner] = result.next_from
            total, more = total + result.dropped_bytes, result.more
        return total
