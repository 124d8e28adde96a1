"""Limit on the bytes of calls that the store keeps: of all owners together, and of each.

The calls of an owner are spread over all partitions, so no script sees the bytes of all. Each server adds them up every
`INTERVAL_S`. While a sum is above its limit, it drops the oldest recorded bodies in every partition, until each has no
more than its part. If no body is left that may be dropped, the owner gets no more calls: the one whose limit it is, or
if it is that of all, the one with the most bytes. What comes between two sums can exceed the limit.

Several servers do no harm together: each drops until a partition has a number of bytes, and looks at what is left, not
at what it has dropped itself.
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
                sums[owner] = await self._drop(owner, [each.get(owner, 0) for each in by_partition], most)
                if sums[owner] > most:
                    limited.append((owner, _RETRY_AFTER_MS, "max_recorded_bytes_per_owner"))
        most = self._max_bytes
        if (
            most is not None
            and sums.total() > most
            and await self._drop(_ALL, [sum(each.values()) for each in by_partition], most) > most
        ):
            limited.append((max(sums, key=sums.__getitem__), _RETRY_AFTER_MS, "max_recorded_bytes"))
        self._limited = limited

    async def _drop(self, owner: str, sizes: Sequence[int], most: int) -> int:
        """Drop bodies of an owner, or of all, until each partition has its part of `most`, by its size.

        Where the bodies that must stay are more than that part, the other partitions get less.

        Returns:
            How many bytes are left. More than `most`: no other body can be dropped.
        """
        sizes_left = {partition: size for partition, size in enumerate(sizes) if size}
        total = left_over_part = 0
        while sizes_left:
            share = max(0, most - left_over_part) / sum(sizes_left.values())
            targets = {partition: math.floor(size * share) for partition, size in sizes_left.items()}
            results = await asyncio.gather(*(self._drop_in(each, owner, target) for each, target in targets.items()))
            total += sum(dropped for dropped, _ in results)
            left = dict(zip(targets, (left for _, left in results), strict=True))
            sizes_left = {partition: size for partition, size in left.items() if 0 < size <= targets[partition]}
            left_over_part += sum(size for partition, size in left.items() if size > targets[partition])
            if len(sizes_left) == len(targets) or left_over_part + sum(sizes_left.values()) <= most:
                break
        if total:
            log.warning("bodies_dropped", owner=owner or None, bytes=total)
            metrics.BODY_BYTES_DROPPED.inc(total)
        return left_over_part + sum(sizes_left.values())

    async def _drop_in(self, partition: int, owner: str, target: int) -> tuple[int, int]:
        """Return how many bytes were dropped in a partition, and how many are left."""
        total = 0
        while True:
            start = self._starts.get((partition, owner), OLDEST)
            result = await drop_bodies(self._scripts, partition, owner=owner, target=target, start=start)
            self._starts[partition, owner] = result.next_from
            total += result.dropped_bytes
            if not result.more:
                return total, result.left_bytes
