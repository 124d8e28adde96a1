"""Faults: kills, stops and pauses of the processes of a system, in a random order that a seed determines."""

import asyncio
import itertools
import random
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Final

from callback_launcher.child import Child
from callback_launcher.store import Store
from callback_prove.history import History, Injected
from callback_prove.system import LEASE_S

Fault = Callable[[Child, float], Awaitable[None]]
"""A fault of a process. The number is the length of a pause, in seconds."""

PAUSES_S: Final = (0.2, 1.0, 0.2, 1.0, 0.2, 1.0, LEASE_S + 2.0)
"""Lengths of pauses, in seconds: unnoticed, noticed, and longer than the lease of a call."""
RATE_S: Final = 2.0
"""Average time between two faults, in seconds."""


async def kill(process: Child, _pause_s: float) -> None:
    """Kill it as a crash does, and start it again."""
    process.kill()
    await asyncio.to_thread(process.start)


async def stop(process: Child, _pause_s: float) -> None:
    """Stop it gracefully, and start it again."""
    await asyncio.to_thread(process.restart)


async def pause(process: Child, pause_s: float) -> None:
    """Suspend it for a while, as a hypervisor does."""
    process.signal(signal.SIGSTOP)
    await asyncio.sleep(pause_s)
    process.signal(signal.SIGCONT)


async def cut(process: Child, _pause_s: float) -> None:
    """Close every connection of clients to a store."""
    if isinstance(process, Store):
        await process.execute("CLIENT", "KILL", "TYPE", "normal")


FAULTS: Final[Mapping[str, Sequence[Fault]]] = {
    "store": (kill, pause, cut),
    "server": (kill, stop, pause),
    "edge": (kill, stop, pause),
    "worker": (kill, stop, pause),
    "handler": (kill, stop, pause),
    "http-handler": (kill, stop, pause),
}
"""The faults of each kind of process."""


def kind_of(process: Child) -> str:
    """Return the kind of a process: its name without the number."""
    return process.name.rpartition("-")[0]


class Injector:
    """Injects faults into processes, each one again only when it has recovered."""

    def __init__(
        self, processes: Sequence[Child], history: History, *, seed: int, has_long_pauses: bool = True
    ) -> None:
        self._history = history
        self._pauses_s = PAUSES_S if has_long_pauses else PAUSES_S[:-1]
        self._random = random.Random(seed)  # noqa: S311  # reproducible faults, not a secret
        self._recovering: dict[Child, asyncio.Task[None]] = {}
        kinds = sorted(FAULTS.keys() & {kind_of(process) for process in processes})
        groups = [
            self._shuffled(
                [(process, fault) for process in processes if kind_of(process) == kind for fault in FAULTS[kind]]
            )
            for kind in kinds
        ]
        self._plan = itertools.chain.from_iterable(zip(*groups, strict=True))
        self.kinds = len(kinds)
        """Number of kinds of processes: as many faults have hit each kind once."""

    def _shuffled(self, choices: Sequence[tuple[Child, Fault]]) -> Iterator[tuple[Child, Fault]]:
        """Yield each choice equally often, in a random order, without end."""
        while True:
            yield from self._random.sample(choices, len(choices))

    async def inject(self) -> None:
        """Inject the next fault. It lasts, and its process recovers, after the return.

        Raises:
            LaunchError: The process ended by itself, or did not recover from its last fault.
        """
        process, fault = next(self._plan)
        if process in self._recovering:
            await self._recovering[process]
        process.require_running()
        self._history.add(Injected(at=time.time(), fault=fault.__name__, process=process.name))
        self._recovering[process] = asyncio.create_task(fault(process, self._random.choice(self._pauses_s)))
        await asyncio.sleep(self._random.uniform(0, 2 * RATE_S))  # this is the rate of the faults

    async def recover(self) -> None:
        """Wait until all processes have recovered.

        Raises:
            LaunchError: One did not.
        """
        await asyncio.gather(*self._recovering.values())
