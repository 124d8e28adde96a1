"""A log event that may come often, such as one for each request while the store is down: a line a second, with a count.

Under overload, a line for each of them would cost more than the work itself, and hide every other event.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

INTERVAL_S: Final = 1.0
"""The shortest time between two lines of an event, in seconds."""


class LimitedEvent:
    """An event of the log: the first is a line at once, those of the next second are one line at its end, and so on.

    A line has the fields of the newest event, and the number of events: as `count`, or, if they have kinds, as `counts`
    by kind. Use it on the event loop.
    """

    def __init__(self, write: Callable[..., None], event: str) -> None:
        """Create it.

        Args:
            write: Writes a line, such as `get_logger().warning`.
            event: The name of the event.
        """
        self._write = write
        self._event = event
        self._loop: asyncio.AbstractEventLoop | None = None
        self.is_waiting = False
        """Whether less than `INTERVAL_S` has passed since the last line."""
        self._counts = Counter[str]()
        self._fields: dict[str, Any] = {}

    def log(self, kind: str = "", **fields: Any) -> None:
        """Log an event."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # the timer of a loop that has ended never fires
            self._loop, self.is_waiting = loop, False
            self._counts.clear()
        self._counts[kind] += 1
        self._fields = fields
        if not self.is_waiting:
            self._write_line()

    def _write_line(self) -> None:
        self.is_waiting = bool(self._counts)
        if self._counts and self._loop is not None:
            counts = dict(self._counts)
            counted = {"count": counts[""]} if "" in counts else {"counts": counts}
            self._counts.clear()
            self._write(self._event, **self._fields, **counted)
            self._loop.call_later(INTERVAL_S, self._write_line)
