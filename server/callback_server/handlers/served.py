"""Which activities have a handler, on any server: built in, with a target, or served by workers."""

from __future__ import annotations

import asyncio
import enum
import time
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Final

from callback_server.domain.case import FORM, RECORD
from callback_server.handlers.workers.pool import WorkerPool
from callback_server.store import keys
from callback_server.store.connection.errors import StoreError
from callback_server.store.queries.find_slots import find_slots
from callback_server.store.scripts import Scripts

READ_INTERVAL_S: Final = 0.25
"""The minimum time between two reads of the workers of other servers for a new callback, in seconds."""


class ActivityKind(enum.Enum):
    """How an activity is served."""

    BUILT_IN = enum.auto()
    PUSH = enum.auto()
    """The server sends its calls to a target."""
    WORKERS = enum.auto()
    """Workers take its calls. There may be none now."""


class ServedActivities:
    """The activities that have a handler."""

    def __init__(self, scripts: Scripts, workers: WorkerPool, pushed: Collection[str], *, replica: str) -> None:
        """Create it.

        Args:
            scripts: The scripts on the store.
            workers: The workers of this server.
            pushed: The activities with a handler in the configuration of this server.
            replica: The id of this server, whose announcements are older than what `workers` says.
        """
        self._scripts = scripts
        self._workers = workers
        self._pushed = frozenset(pushed)
        self._replica = replica
        self._elsewhere: Mapping[str, int] = {}
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    def kind(self, activity: str) -> ActivityKind:
        """Return how an activity is served, if it is."""
        if activity in (RECORD, FORM):
            return ActivityKind.BUILT_IN
        return ActivityKind.PUSH if activity in self._pushed else ActivityKind.WORKERS

    @property
    def without_workers(self) -> frozenset[str]:
        """The activities that need no workers."""
        return self._pushed | {RECORD, FORM}

    async def worker_counts(self) -> Counter[str]:
        """Return the number of workers of all servers, by activity.

        Raises:
            StoreError: The store did not answer.
        """
        counts = Counter(self._workers.worker_counts())
        for each in await find_slots(self._scripts, keys.SERVING_KEY):
            if each.replica != self._replica:
                counts.update(each.by_activity)
        return counts

    async def is_served(self, activity: str) -> bool:
        """Return whether an activity has a handler now, as far as this server knows."""
        if self.kind(activity) is not ActivityKind.WORKERS or activity in self._workers.worker_counts():
            return True
        async with self._reading:
            if activity not in self._elsewhere and time.monotonic() - self._read_at >= READ_INTERVAL_S:
                try:
                    self._elsewhere = await self.worker_counts()
                except StoreError:
                    return True  # it is not known, and a wrong warning is worse than none
                self._read_at = time.monotonic()
            return activity in self._elsewhere
