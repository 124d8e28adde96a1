"""The checks of `callback doctor` that a running server makes of itself, for administrators.

They use the settings with which the process has started, and read its files again. What needs the settings file, or is
on the machine of an edge, only `callback doctor` finds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from callback_process.findings import Finding
from callback_server.operations import doctor
from callback_server.settings import ServerSettings

MAX_AGE_S: Final = 60.0
"""How long findings are used, in seconds. The checks write to the store, and connect to handlers."""


class SelfCheck:
    """The findings of a server about itself. Requests at the same time share one check.

    A check goes on without them: what cannot be reached can take it longer than a client waits, and the next request
    gets what it found.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._check: asyncio.Task[Sequence[Finding]] | None = None
        self._checked_at = float("-inf")
        self.check_time_s = 0.0
        """When the checks ended, in seconds since the epoch."""

    async def findings(self) -> Sequence[Finding]:
        """Return the findings, at most `MAX_AGE_S` old."""
        if self._check is None or (self._check.done() and time.monotonic() - self._checked_at > MAX_AGE_S):
            self._check = asyncio.create_task(self._run())
        return await asyncio.shield(self._check)

    async def _run(self) -> Sequence[Finding]:
        found = [finding for check in doctor.CHECKS async for finding in check(self._settings)]
        found += [finding async for finding in doctor.check_report_only(self._settings, changed=None)]
        self._checked_at, self.check_time_s = time.monotonic(), time.time()
        return found
