"""Events of cases and calls, streamed to watchers.

1. One reader serves all watchers of this process, and reads only while there are watchers. It reads every partition and
   keeps the latest events. Each watcher reads them at its own speed. A watcher that falls behind gets an error, and
   does not delay the others.
2. A new watcher first reads the store itself, from its position to the end. Then it follows the reader and skips the
   events that it has already sent. So it misses no event and sends no event twice.
3. The events of a partition, and so of a case, are in order. A position holds the number of the last event of each
   partition. Each event carries the token of the position after it; a watch from that token continues exactly there.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from typing import Final

from callback_process.logs import get_logger
from callback_server import metrics
from callback_server.domain.event import Event, EventFilter
from callback_server.errors import (
    ServerStoppingError,
    TooManyWatchersError,
    WatcherTooSlowError,
    WatchPositionLostError,
)
from callback_server.store.connection.errors import StoreError
from callback_server.store.connection.resend import resend
from callback_server.store.failure_log import log_store_error
from callback_server.store.queries.read_events import (
    Position,
    ResumeToken,
    StoredEvent,
    read_end_position,
    read_events,
    resolve_token,
)
from callback_server.store.scripts import Scripts

log = get_logger()

READ_INTERVAL_S: Final = 0.1
"""Interval between two reads of new events, in seconds."""
LATEST_READ_INTERVAL_S: Final = 0.6
"""The same while all watchers want the latest event only."""
STORE_RETRY_S: Final = 1.0
"""How long the reader waits before it reads again from a store that was unreachable, in seconds."""
STORE_WAIT_S: Final = 3.0
"""How long a new watcher waits for the store, in seconds."""
HEARTBEAT_S: Final = 15.0
"""Time without events after which a watcher gets its position alone, in seconds."""
CHECK_S: Final = 1.0
"""How often it is checked whether a watcher may go on while nothing is sent, in seconds."""
LATEST_PAUSE_S: Final = 0.7
"""Pause after each batch of a watcher that wants the latest event only, in seconds, if there are few of them: so short
that a page which then loads again shows every change within a second."""
LATEST_BATCHES_PER_S: Final = 10
"""About how many batches all those watchers together get in a second while events continue. The more they are, the
longer each pauses: a batch costs a third of a millisecond, and pages cannot all load again in that time."""
MAX_LATEST_PAUSE_S: Final = 10.0
"""The longest of these pauses, in seconds."""
MAX_KEPT_EVENTS: Final = 30_000
"""Maximum number of events that the reader keeps; each takes about half a kilobyte."""
MAX_BATCH_EVENTS: Final = 500
"""Maximum number of events in one batch."""
MAX_WATCHERS: Final = 1000
"""Maximum number of watchers of this process."""
MAX_WATCHERS_PER_PRINCIPAL: Final = 100
"""Maximum number of watchers of one principal."""

EventBatch = tuple[list[tuple[Event, str]], str]
"""Events, each with the token of the position after it, and the token of the position after all examined events."""


class _Watcher:
    """One watcher: its filter, whether it wants the latest event only, and its position."""

    def __init__(self, event_filter: EventFilter, *, latest_only: bool) -> None:
        self.filter = event_filter
        self.latest_only = latest_only
        self.next: int | None = None
        """Index of the reader's next event for this watcher, counted from the reader's first event. None: it still
        reads the store."""
        self.wake = asyncio.Event()
        self.is_lost = False
        """Whether the store has deleted events that it has not read."""

    def select(
        self, events: Sequence[StoredEvent], at: int, position: Position, end: Position
    ) -> tuple[list[tuple[Event, str]], int]:
        """Select the next events for this watcher, and advance its position.

        Args:
            events: The events, from an earlier position than that of the watcher up to `end`.
            at: The index of the first event to examine.
            position: The position of the watcher.
            end: The position behind all of them.

        Returns:
            The selected events, and the index of the next event to examine.
        """
        if self.latest_only:
            latest = self._latest(events, at, position)
            position.advance(end)
            return [] if latest is None else [(latest, position.token())], len(events)
        selected = list[tuple[Event, str]]()
        while at < len(events) and len(selected) < MAX_BATCH_EVENTS:
            partition, number, mark, event = events[at]
            at += 1
            if number > position.numbers[partition]:
                position.move(partition, number, mark)
                if self.filter.matches(event):
                    selected.append((event, position.token()))
        if at == len(events):
            position.advance(end)
        return selected, at

    def _latest(self, events: Sequence[StoredEvent], at: int, position: Position) -> Event | None:
        for index in range(len(events) - 1, at - 1, -1):
            partition, number, _, event = events[index]
            if number > position.numbers[partition] and self.filter.matches(event):
                return event
        return None


class WatchHub:
    """The reader of events, and the watchers that follow it."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._watchers: dict[_Watcher, None] = {}
        self._of_principal: Counter[str] = Counter()
        self._wanted = asyncio.Event()
        self._position: Position | None = None
        """The position of the reader. None: no watcher follows it."""
        self._kept: list[StoredEvent] = []
        """The latest events."""
        self._kept_behind = Position([], [])
        """The position before the first kept event. No event is missing after it."""
        self._deleted = 0
        """Number of events that were discarded."""
        self._stopping = asyncio.Event()

    async def watch(
        self, principal: str, event_filter: EventFilter, token: ResumeToken | None, *, latest_only: bool = False
    ) -> AsyncGenerator[EventBatch | None, None]:
        """Stream the events after a position, without end. The first batch is empty and gives the position alone.

        After CHECK_S without a batch comes None: the watcher checks then, and before it sends a batch, whether its
        principal may still watch.

        Args:
            principal: The name of the principal that watches.
            event_filter: Selects the events.
            token: The position. None: now.
            latest_only: Whether a batch has the latest event alone, and a pause follows it.

        Raises:
            WatchPositionLostError: The store no longer has every event after the position.
            WatcherTooSlowError: The events are read more slowly than they are written.
            TooManyWatchersError: There are too many watchers.
            ServerStoppingError: This process stops.
            StoreError: The store did not reply at the start.
        """
        self._raise_if_stopping()
        if len(self._watchers) >= MAX_WATCHERS or self._of_principal[principal] >= MAX_WATCHERS_PER_PRINCIPAL:
            raise TooManyWatchersError
        watcher = _Watcher(event_filter, latest_only=latest_only)
        self._watchers[watcher] = None
        self._of_principal[principal] += 1
        metrics.WATCHERS.inc()
        try:
            is_at_end = token is None
            position = await resend(lambda: self._start_position(token), unsent_s=STORE_WAIT_S, unsure_s=STORE_WAIT_S)
            if position is None:
                raise WatchPositionLostError
            yield [], position.token()
            while not (is_at_end and self._joins_reader(watcher, position)):
                self._raise_if_stopping()
                events, is_at_end = await self._read_after(position)
                at, end = 0, position.copy()
                end.move_behind(events)
                while at < len(events):
                    selected, at = watcher.select(events, at, position, end)
                    if selected:
                        yield selected, position.token()
            async with contextlib.aclosing(self._follow_reader(watcher, position)) as following:
                async for batch in following:
                    yield batch
        finally:
            del self._watchers[watcher]
            self._of_principal[principal] -= 1
            metrics.WATCHERS.dec()

    async def run(self) -> None:
        """Read events for the watchers until cancelled."""
        while True:
            await self._wanted.wait()
            position = self._position
            if position is None or all(watcher.next is None for watcher in self._watchers):
                self._pause_reader()
                continue
            pause_s = STORE_RETRY_S
            try:
                pause_s = 0 if await self._read(position) else self._read_interval_s()
            except StoreError as error:
                log_store_error("events_not_read", error)
            except Exception:  # the watchers have no other reader
                log.exception("events_fault")
            await asyncio.sleep(pause_s)

    def stop(self) -> None:
        """End every watch with ServerStoppingError, and accept no new one."""
        self._stopping.set()
        for watcher in self._watchers:
            watcher.wake.set()

    def _read_interval_s(self) -> float:
        return LATEST_READ_INTERVAL_S if all(each.latest_only for each in self._watchers) else READ_INTERVAL_S

    def _latest_pause_s(self) -> float:
        count = sum(each.latest_only for each in self._watchers)
        return max(LATEST_PAUSE_S, min(count / LATEST_BATCHES_PER_S, MAX_LATEST_PAUSE_S))

    def _raise_if_stopping(self) -> None:
        if self._stopping.is_set():
            raise ServerStoppingError

    async def _start_position(self, token: ResumeToken | None) -> Position | None:
        return await (read_end_position(self._scripts) if token is None else resolve_token(self._scripts, token))

    async def _read_after(self, position: Position) -> tuple[list[StoredEvent], bool]:
        """Return events after a position, and whether those are all."""
        read = await resend(lambda: read_events(self._scripts, position), unsent_s=STORE_WAIT_S, unsure_s=STORE_WAIT_S)
        if read is None:
            raise WatchPositionLostError
        events, more = read
        return events, not more

    def _joins_reader(self, watcher: _Watcher, position: Position) -> bool:
        """Let a watcher follow the reader, if every event after its position is kept here or still to be read.

        Returns:
            Whether the watcher follows the reader now.
        """
        if self._position is None:
            self._position = position.copy()
            self._kept_behind = position.copy()
            self._wanted.set()
        if not position.reaches(self._kept_behind):
            return False
        watcher.next = self._deleted
        return True

    async def _follow_reader(self, watcher: _Watcher, position: Position) -> AsyncGenerator[EventBatch | None, None]:
        sent_at = time.monotonic()
        while True:
            self._raise_if_stopping()
            if watcher.is_lost:
                raise WatchPositionLostError
            if watcher.next is None or watcher.next < self._deleted:
                raise WatcherTooSlowError
            watcher.wake.clear()
            # If no event matches its filter, it is not woken, and its position follows here.
            end = position if self._position is None else self._position
            selected, examined = watcher.select(self._kept, watcher.next - self._deleted, position, end)
            watcher.next = self._deleted + examined
            left_s = sent_at + HEARTBEAT_S - time.monotonic()
            if selected or left_s <= 0:
                yield selected, position.token()
                sent_at = time.monotonic()
                until = sent_at + self._latest_pause_s() if watcher.latest_only and selected else sent_at
                while (pause_s := until - time.monotonic()) > 0 and not await _is_set(self._stopping, pause_s):
                    yield None
            elif not await _is_set(watcher.wake, left_s):
                yield None

    async def _read(self, position: Position) -> bool:
        """Read more events, and wake the watchers whose filter they may match. Return whether there is more to read."""
        read = await read_events(self._scripts, position)
        if read is None:
            for watcher in self._watchers:
                watcher.is_lost = True
                watcher.wake.set()
            self._pause_reader()  # the next watcher starts it again, from another position
            return False
        events, more = read
        position.move_behind(events)
        self._kept += events
        self._delete_first(max(0, len(self._kept) - MAX_KEPT_EVENTS))
        owners = {None, *(each.event.owner for each in events)} if events else set()
        end = self._deleted + len(self._kept)
        for watcher in self._watchers:
            if watcher.filter.owner in owners:
                watcher.wake.set()
            elif watcher.next == end - len(events):
                watcher.next = end
        return more

    def _pause_reader(self) -> None:
        self._wanted.clear()
        self._position = None
        self._delete_first(len(self._kept))

    def _delete_first(self, count: int) -> None:
        self._kept_behind.move_behind(self._kept[:count])
        del self._kept[:count]
        self._deleted += count


async def _is_set(event: asyncio.Event, timeout_s: float) -> bool:
    """Return whether an event is set within a time in seconds, and within CHECK_S."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(min(timeout_s, CHECK_S)):
            await event.wait()
    return event.is_set()
