"""Proof: a primary dies before its replica has the last steps, the replica takes over, and the old primary comes back.

The servers reach the primary at one address, which moves, as that of a load balancer or a virtual IP does. In each
cycle the link to the replica first loses what the primary sends, so that the replica is behind when the primary is
killed. Later the address leads to the old primary again for a while, as a stale record does.
"""

import asyncio
import contextlib
import random
import time
from typing import Final

from callback_launcher.child import running
from callback_launcher.launcher import Launcher
from callback_launcher.store import REPLICATION, Store
from callback_prove.history import History, Injected
from callback_prove.proof import Settings, say, under_load, wait_for_successes
from callback_prove.system import System
from callback_prove.tunnel import Tunnel

LONGEST_S: Final = 2.0
"""Longest time for which the replica is cut off, and for which the address leads to the old primary, in seconds."""


async def prove(settings: Settings, history: History) -> None:
    """Run the proof.

    Raises:
        ProveError: The proof has no result.
    """
    choices = random.Random(settings.seed)  # noqa: S311  # reproducible faults, not a secret

    def note(fault: str, store: Store) -> None:
        history.add(Injected(at=time.time(), fault=fault, process=store.name))

    launcher = Launcher(settings.directory, settings.durability)
    stores = [Store(launcher, f"store-{n}", *REPLICATION) for n in (1, 2, 3)]
    async with contextlib.AsyncExitStack() as stack:
        links = {store: await stack.enter_async_context(Tunnel(str(store.address))) for store in stores}
        address = await stack.enter_async_context(Tunnel(str(stores[0].address)))
        await stack.enter_async_context(running(*stores))
        primary, replica, spare = stores
        await replica.follow(links[primary].address)
        system = System(launcher, f"redis://{address.address}", size=settings.size)
        workload = await stack.enter_async_context(under_load(system, history, settings))
        for cycle in range(settings.cycles):
            await wait_for_successes(workload, settings.min_successes)
            note("cut", replica)
            links[primary].is_losing_answers = True
            await asyncio.sleep(choices.uniform(0, LONGEST_S))
            note("kill", primary)
            primary.kill()
            await replica.execute("REPLICAOF", "NO", "ONE")
            links[primary].cut()
            links[primary].is_losing_answers = False
            await spare.follow(links[replica].address)
            address.lead_to(str(replica.address))
            await wait_for_successes(workload, settings.min_successes)
            await asyncio.to_thread(primary.start)
            note("return", primary)
            address.lead_to(str(primary.address))
            await asyncio.sleep(choices.uniform(0, LONGEST_S))
            address.lead_to(str(replica.address))
            await wait_for_successes(workload, settings.min_successes)
            primary, replica, spare = replica, spare, primary
            say(f"failover {cycle + 1} of {settings.cycles}")
