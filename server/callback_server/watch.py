"""Tells who watches of each change of a case or a call, as the scripts wrote it down.

1. One reader for all watchers of this process, and only while somebody watches: it looks into every partition, and
   keeps the last events that it has read. Each watcher goes through those at its own pace; one that falls behind is
   told so, and holds up nobody.
2. A watcher that begins reads for itself, from its place to the end. From there on it follows the reader, and passes
   over what it has seen: it misses nothing, and sees nothing twice.
3. Events of a partition are in their order, so those of a case are. A place names the last event of each partition.
   Each event is told with the place behind it: from there on, exactly those are told that follow it.
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
from callback_server.store.connection.client import StoreError
from callback_server.store.connection.resend import resend
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
"""How often the reader looks for events, in seconds."""
STORE_PAUSE_S: Final = 1.0
"""How long it waits for a store that is away, in seconds."""
BEGIN_S: Final = 3.0
"""How long a watcher that begins waits for it, in seconds."""
HEARTBEAT_S: Final = 15.0
"""After how long a watcher that has got nothing gets its place, in seconds."""
MOST_KEPT: Final = 30_000
"""How many events the reader keeps: about half a kilobyte each."""
MOST_AT_ONCE: Final = 500
"""How many events are sent together."""
MOST_WATCHERS: Final = 1000
"""How many watchers this process has."""
MOST_WATCHERS_EACH: Final = 100
"""How many of them may be of one principal."""

EventBatch = tuple[list[tuple[Event, str]], str]
"""Some events, each with the token of the place behind it; and the token of the place behind all that was looked at."""


class _Watcher:
    def __init__(self, keeps: EventFilter) -> None:
        self.filter = keeps
        self.next: int | None = None
        """Which of the reader's events it looks at next, counted from the first one ever. None: it reads for itself."""
        self.wake = asyncio.Event()
        self.is_lost = False
        """Whether events that it has not seen are no longer kept."""

    def look(self, events: Sequence[StoredEvent], at: int, position: Position) -> tuple[list[tuple[Event, str]], int]:
        """What it is to be told of these events, from one on, and how far it has looked by then, as has its place."""
        told = list[tuple[Event, str]]()
        while at < len(events) and len(told) < MOST_AT_ONCE:
            partition, number, mark, event = events[at]
            at += 1
            if number > position.numbers[partition]:
                position.move(partition, number, mark)
                if self.filter.keeps(event):
                    told.append((event, position.token()))
        return told, at


class WatchHub:
    """The reader, and those who watch."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._watchers: dict[_Watcher, None] = {}
        self._of_principal: Counter[str] = Counter()
        self._wanted = asyncio.Event()
        self._position: Position | None = None
        """How far the reader has read. None: nobody follows it."""
        self._kept: list[StoredEvent] = []
        """What it read last."""
        self._kept_behind = Position([], [])
        """What is kept lies behind this place, without a hole."""
        self._forgotten = 0
        """How many events before those have been kept."""
        self._stopping = False

    async def watch(
        self, principal: str, keeps: EventFilter, token: ResumeToken | None
    ) -> AsyncGenerator[EventBatch, None]:
        """Tells of events from a place on, for ever; None: from now on. At first it tells the place alone.

        Raises:
            WatchPositionLostError: events after the place are no longer kept, or the store has lost that place.
            WatcherTooSlowError: what is told is taken more slowly than it comes.
            TooManyWatchersError: there are as many as there may be.
            ServerStoppingError: this process ends.
            StoreError: the store does not answer, at the beginning.
        """
        self._go_on()
        if len(self._watchers) >= MOST_WATCHERS or self._of_principal[principal] >= MOST_WATCHERS_EACH:
            raise TooManyWatchersError
        watcher = _Watcher(keeps)
        self._watchers[watcher] = None
        self._of_principal[principal] += 1
        metrics.WATCHERS.inc()
        try:
            is_at_end = token is None
            position = await resend(lambda: self._place(token), unsent_s=BEGIN_S, unsure_s=BEGIN_S)
            if position is None:
                raise WatchPositionLostError
            yield [], position.token()
            while not (is_at_end and self._follows(watcher, position)):
                self._go_on()
                events, is_at_end = await self._read_after(position)
                at = 0
                while at < len(events):
                    told, at = watcher.look(events, at, position)
                    if told:
                        yield told, position.token()
            async with contextlib.aclosing(self._follow(watcher, position)) as following:
                async for each in following:
                    yield each
        finally:
            del self._watchers[watcher]
            self._of_principal[principal] -= 1
            metrics.WATCHERS.dec()

    async def run(self) -> None:
        """Reads for those who watch, until it is cancelled."""
        while True:
            await self._wanted.wait()
            position = self._position
            if position is None or all(watcher.next is None for watcher in self._watchers):
                self._rest()
                continue
            pause_s = STORE_PAUSE_S
            try:
                pause_s = 0 if await self._read(position) else READ_INTERVAL_S
            except StoreError as error:
                log.warning("events_not_read", error=str(error))
            except Exception:  # those who watch must not wait in vain for ever
                log.exception("events_fault")
            await asyncio.sleep(pause_s)

    def stop(self) -> None:
        """Tells those who watch to go elsewhere, and lets nobody begin."""
        self._stopping = True
        for watcher in self._watchers:
            watcher.wake.set()

    def _go_on(self) -> None:
        if self._stopping:
            raise ServerStoppingError

    async def _place(self, token: ResumeToken | None) -> Position | None:
        return await (read_end_position(self._scripts) if token is None else resolve_token(self._scripts, token))

    async def _read_after(self, position: Position) -> tuple[list[StoredEvent], bool]:
        """Events after a place, and whether those are all."""
        read = await resend(lambda: read_events(self._scripts, position), unsent_s=BEGIN_S, unsure_s=BEGIN_S)
        if read is None:
            raise WatchPositionLostError
        events, more = read
        return events, not more

    def _follows(self, watcher: _Watcher, position: Position) -> bool:
        """Has a watcher that has seen all follow the reader, if all after its place is kept here or yet to be read."""
        if self._position is None:
            self._position = position.copy()
            self._kept_behind = position.copy()
            self._wanted.set()
        if not position.reaches(self._kept_behind):
            return False
        watcher.next = self._forgotten
        return True

    async def _follow(self, watcher: _Watcher, position: Position) -> AsyncGenerator[EventBatch, None]:
        told_at = time.monotonic()
        while True:
            self._go_on()
            if watcher.is_lost:
                raise WatchPositionLostError
            if watcher.next is None or watcher.next < self._forgotten:
                raise WatcherTooSlowError
            watcher.wake.clear()
            told, looked = watcher.look(self._kept, watcher.next - self._forgotten, position)
            watcher.next = self._forgotten + looked
            if looked == len(self._kept) and self._position is not None:
                position.advance(self._position)  # nothing of what it was not woken for is for it
            left_s = told_at + HEARTBEAT_S - time.monotonic()
            if told or left_s <= 0:
                yield told, position.token()
                told_at = time.monotonic()
            else:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(left_s):
                        await watcher.wake.wait()

    async def _read(self, position: Position) -> bool:
        """Reads on, and wakes those who have something to look at. True: there is more to read."""
        read = await read_events(self._scripts, position)
        if read is None:
            for watcher in self._watchers:
                watcher.is_lost = True
                watcher.wake.set()
            self._rest()  # and begin anew for who comes next
            return False
        events, more = read
        for partition, number, mark, _ in events:
            position.move(partition, number, mark)
        self._kept += events
        self._forget(max(0, len(self._kept) - MOST_KEPT))
        owners = {None, *(each.event.owner for each in events)} if events else set()
        end = self._forgotten + len(self._kept)
        for watcher in self._watchers:
            if watcher.filter.owner in owners:
                watcher.wake.set()
            elif watcher.next == end - len(events):
                watcher.next = end
        return more

    def _rest(self) -> None:
        self._wanted.clear()
        self._position = None
        self._forget(len(self._kept))

    def _forget(self, count: int) -> None:
        for partition, number, mark, _ in self._kept[:count]:
            self._kept_behind.move(partition, number, mark)
        del self._kept[:count]
        self._forgotten += count
