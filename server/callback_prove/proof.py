"""What all proofs share: their settings, and the steps from the end of the load to the complete history."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from callback import AsyncCallbackClient, Handlers, Worker
from callback_launcher.wait import PAUSE_S
from callback_prove import report
from callback_prove.errors import ProveError
from callback_prove.history import Generated, History, of_type
from callback_prove.modes import MODES
from callback_prove.system import LEASE_S, Size, System
from callback_prove.workload import Workload

QUIET_S: Final = LEASE_S + 60.0
"""Time limit for all calls and deliveries to end, in seconds: a lease, and the retries of deliveries."""
PROGRESS_S: Final = 5.0
"""Interval of the lines about the progress, in seconds."""
LIMIT_S: Final = 300.0
"""Time limit for the successes that a proof needs, in seconds."""


@dataclass(frozen=True, kw_only=True)
class OwnSystem:
    """A system of the user."""

    client: Callable[[], AsyncCallbackClient]
    """Makes a client of it."""
    worker: Callable[[Handlers], Worker]
    """Makes a worker of it."""
    namespace: str
    """Activity and label of the cases. Nothing else of the system may use it."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of a proof."""

    directory: Path
    """Directory of the data, the logs and the history."""
    seconds: float = 60
    """Length of the load, at least."""
    cycles: int = 10
    """Number of repetitions."""
    seed: int = 0
    """Seed of all choices."""
    durability: str
    """Setting `store_durability` of the servers."""
    own: OwnSystem | None = None
    """The system of the user. None: the proof starts its own."""
    size: Size = field(default_factory=Size)
    callers: int = 2
    """Number of callers of each mode."""
    rate: float | None = None
    """Number of requests per second. None: as many as the callers send."""
    min_successes: int = 5
    """Number of successes of each mode before and after the faults, without which a proof says nothing."""
    quiet_s: float = QUIET_S
    """Time limit for all calls to end after the load, and for a watch to receive all events, in seconds."""


def say(text: str) -> None:
    """Print a line for the person who watches, on standard error."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


@contextlib.asynccontextmanager
async def under_load(system: System, history: History, settings: Settings) -> AsyncIterator[Workload]:
    """Run a system under load in the body. Afterwards, complete the history: what is recorded, and what ran.

    Raises:
        LaunchError: A process of the system does not start or stop.
    """
    async with system.running():
        workload = Workload(
            system.target, system.edge_addresses, history, activities=system.activities, seed=settings.seed
        )
        async with calling(workload, history, settings):
            yield workload
    history.add(*system.runs())


@contextlib.asynccontextmanager
async def calling(workload: Workload, history: History, settings: Settings) -> AsyncIterator[None]:
    """Let a workload run in the body. Afterwards, complete the history with what is recorded."""
    async with workload.running():
        telling = asyncio.create_task(_tell(history))
        try:
            async with (
                workload.calling(settings.callers) if settings.rate is None else workload.calling_at(settings.rate)
            ):
                yield
            say("waiting for the end of all calls, and reading what is recorded")
            case_ids = [step.case_id for step in of_type(history.steps, Generated) if step.case_id]
            await workload.read(case_ids, timeout_s=settings.quiet_s)
            if settings.own is not None:
                await workload.remove()
        finally:
            telling.cancel()


async def _tell(history: History) -> None:
    while True:
        await asyncio.sleep(PROGRESS_S)
        say(report.progress(history.steps))


async def wait_for_successes(workload: Workload, number: int) -> None:
    """Wait until the callers of each mode got a number of successes more than now.

    Raises:
        ProveError: They did not get them in time.
    """
    before = workload.successes.copy()
    try:
        async with asyncio.timeout(LIMIT_S):
            while True:
                missing = [mode for mode in MODES if workload.successes[mode] < before[mode] + number]
                if not missing:
                    return
                await asyncio.sleep(PAUSE_S)
    except TimeoutError:
        raise ProveError(f"callers got too few successes in {LIMIT_S:.0f} s: {', '.join(missing)}") from None
