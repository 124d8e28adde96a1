"""Waiting until something has happened: a message, a line of output, a connection, an end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

PATIENCE_S: Final = 20.0
"""How long a step waits for what a correct program does at once, in seconds: also on a busy machine."""


class ScenarioError(Exception):
    """The program did not do what the scenario expects."""


class Changes:
    """Wakes the step that waits whenever something has happened."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._changed = asyncio.Event()
        self._patience_s = patience_s

    def notify(self) -> None:
        """Wake the step that waits."""
        self._changed.set()

    async def wait_for(self, find: Callable[[], T | None], what: str, within_s: float | None = None) -> T:
        """Return the first value of `find` that is not None.

        Raises:
            ScenarioError: There was none within `within_s` seconds; by default within the patience.
        """
        within_s = self._patience_s if within_s is None else within_s
        try:
            async with asyncio.timeout(within_s):
                while (found := find()) is None:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise ScenarioError(f"no {what} within {within_s:g} s") from None
        return found

    async def never(self, find: Callable[[], T | None], what: str, for_s: float) -> None:
        """Return after `for_s` seconds.

        Raises:
            ScenarioError: Meanwhile `find` found something.
        """
        try:
            await self.wait_for(find, what, for_s)
        except ScenarioError:
            return
        raise ScenarioError(f"there must be no {what}")
