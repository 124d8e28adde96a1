"""Which activities have a handler, on any server: built in, with a target, or served by workers."""

from __future__ import annotations

import asyncio
import enum
import time
from collections import Counter
from collections.abc import Collection
from typing import Final

from callback_server.domain.case import FORM, RECORD
from callback_server.handlers.workers.pool import WorkerPool
from callback_server.handlers.workers.worker import NOTIFICATIONS, notification_route
from callback_server.store import keys
from callback_server.store.connection.errors import StoreError
from callback_server.store.queries.find_slots import find_slots
from callback_server.store.queries.list_activities import list_activities
from callback_server.store.scripts import Scripts

PAGE: Final = 100
"""How many activities are counted at once."""
READ_INTERVAL_S: Final = 0.25
"""How long the workers of other servers, once read, are used for new callbacks, in seconds."""


class ActivityKind(enum.StrEnum):
    """How an activity is served."""

    BUILT_IN = "BUILT_IN"
    PUSH = "PUSH"
    """The server sends its calls to a target."""
    WORKERS = "WORKERS"
    """Workers take its calls. There may be none now."""


class WorkerCounts(Counter[str]):
    """The number of workers by route: of those that take the calls of an activity, or its notifications."""

    @property
    def activities(self) -> set[str]:
        """The activities of which a worker takes calls or notifications."""
        return {route.removeprefix(NOTIFICATIONS) for route in self}


class ServedActivities:
    """The activities that have a handler."""

    def __init__(
        self,
        scripts: Scripts,
        workers: WorkerPool,
        pushed: Collection[str],
        *,
        without_notifications: Collection[str],
        replica: str,
    ) -> None:
        """Create it.

        Args:
            scripts: The scripts on the store.
            workers: The workers of this server.
            pushed: The activities with a handler in the configuration of this server.
            without_notifications: Those of them whose handler takes no notifications, by the configuration.
            replica: The id of this server, whose announcements are older than what `workers` says.
        """
        self._scripts = scripts
        self._workers = workers
        self._pushed = frozenset(pushed)
        self._without_notifications = frozenset(without_notifications)
        self._replica = replica
        self._elsewhere: Counter[str] = Counter()
        """The workers of other servers, by route, as they were last read."""
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

    async def worker_counts(self) -> WorkerCounts:
        """Return the number of workers of all servers.

        Raises:
            StoreError: The store did not answer.
        """
        return WorkerCounts(Counter(self._workers.worker_counts()) + await self._read_elsewhere())

    async def count_unserved(self) -> int:
        """Return the number of activities with deliveries that wait, which nothing serves.

        Raises:
            StoreError: The store did not answer.
        """
        served = (await self.worker_counts()).activities | self.without_workers
        unserved, after = 0, ""
        while True:
            loads, after = await list_activities(
                self._scripts, owner="", served=(), only=None, of_deliveries=True, after=after, limit=PAGE
            )
            unserved += sum(bool(each.delivery_count) and each.activity not in served for each in loads)
            if not after:
                return unserved

    async def takes_calls(self, activity: str) -> bool:
        """Return whether the calls of an activity have a handler now, as far as this server knows."""
        return self.kind(activity) is not ActivityKind.WORKERS or await self._has_worker(activity)

    async def takes_notifications(self, activity: str) -> bool:
        """Return whether the notifications of an activity have a handler now, as far as this server knows.

        It does not know whether a target of gRPC takes notifications.
        """
        if activity in self._without_notifications:
            return False
        return self.kind(activity) is not ActivityKind.WORKERS or await self._has_worker(notification_route(activity))

    async def _has_worker(self, route: str) -> bool:
        if route in self._workers.worker_counts():
            return True
        async with self._reading:
            if time.monotonic() - self._read_at >= READ_INTERVAL_S:
                try:
                    self._elsewhere = await self._read_elsewhere()
                except StoreError:
                    return True  # it is not known, and a wrong warning is worse than none
                self._read_at = time.monotonic()
            return route in self._elsewhere

    async def _read_elsewhere(self) -> Counter[str]:
        """Return the number of workers of other servers, by route. Raises StoreError.

        A server of the release before announces only free slots: one worker is counted for each of their routes.
        """
        counts: Counter[str] = Counter()
        known = {self._replica}
        for each in await find_slots(self._scripts, keys.SERVING_KEY):
            if each.replica not in known:
                counts.update(each.by_activity)
                known.add(each.replica)
        for each in await find_slots(self._scripts, keys.WORKERS_KEY):
            if each.replica not in known:
                counts.update(dict.fromkeys(each.by_activity, 1))
        return counts
