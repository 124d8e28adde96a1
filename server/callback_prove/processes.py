"""Proof: processes are killed, stopped and paused at random under load."""

import time

from callback_launcher.child import running
from callback_launcher.launcher import Launcher
from callback_launcher.store import Store
from callback_prove.faults import Injector
from callback_prove.history import History
from callback_prove.proof import Settings, under_load, wait_for_successes
from callback_prove.system import System

LONG_S = 60
"""Length of a load in which processes are also paused for longer than a lease, in seconds."""


async def prove(settings: Settings, history: History) -> None:
    """Run the proof. It ends when the time is over and each kind of process had a fault.

    Raises:
        ProveError: The proof has no result.
    """
    launcher = Launcher(settings.directory, settings.durability)
    store = Store(launcher, "store-1")
    system = System(launcher, store.url, size=settings.size)
    injector = Injector(
        [store, *system.servers, *system.edges, *system.handlers],
        history,
        seed=settings.seed,
        has_long_pauses=settings.seconds >= LONG_S,
    )
    async with running(store), under_load(system, history, settings) as workload:
        await wait_for_successes(workload, settings.min_successes)
        end = time.monotonic() + settings.seconds
        injected = 0
        while injected < injector.kinds or time.monotonic() < end:
            await injector.inject()
            injected += 1
        await injector.recover()
        await wait_for_successes(workload, settings.min_successes)
