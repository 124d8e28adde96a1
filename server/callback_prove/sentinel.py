"""Proof: three Sentinels watch a primary and its replica, which take over from each other under load.

Half of the servers ask the Sentinels for the primary. The other half reach it at one address, which follows later, as
that of a load balancer does, and leads to the old primary again for a while. In each cycle the primary is killed or
suspended for longer than the Sentinels wait, comes back as a primary, and becomes a replica once they notice it. A
primary that is slow for a second, because the machine is busy, is replaced too: the next cycle begins with the new one.
"""

import asyncio
import contextlib
import random
import signal
import time
from functools import partial
from typing import Final

from callback_launcher.launcher import Launcher
from callback_launcher.sentinel import SENTINELS, SERVICE, Sentinel, Watched
from callback_launcher.store import REPLICATION, Store
from callback_launcher.wait import wait_until
from callback_prove.failover import LONGEST_S
from callback_prove.history import History, Injected
from callback_prove.proof import Settings, say, under_load, wait_for_successes
from callback_prove.system import System
from callback_prove.tunnel import Tunnel

FAULTS: Final = ("kill", "suspend")


async def prove(settings: Settings, history: History) -> None:
    """Run the proof. Each fault comes equally often.

    Raises:
        ProveError: The proof has no result.
    """
    choices = random.Random(settings.seed)  # noqa: S311  # reproducible faults, not a secret
    launcher = Launcher(settings.directory, settings.durability)
    primary, replica = (Store(launcher, f"store-{n}", *REPLICATION) for n in (1, 2))
    sentinels = [Sentinel(launcher, f"sentinel-{n}", primary.address) for n in range(1, SENTINELS + 1)]
    watched = Watched(primary, replica, sentinels)
    async with contextlib.AsyncExitStack() as stack:
        address = await stack.enter_async_context(Tunnel(str(primary.address)))
        await stack.enter_async_context(watched.running())
        urls = f"redis+sentinel://{watched.hosts}/{SERVICE}", f"redis://{address.address}"
        system = System(launcher, *urls, size=settings.size)
        workload = await stack.enter_async_context(under_load(system, history, settings))
        plan = list[str]()
        for cycle in range(settings.cycles):
            await wait_for_successes(workload, settings.min_successes)
            primary, replica = await watched.settled()
            address.lead_to(str(primary.address))
            plan = plan or choices.sample(FAULTS, len(FAULTS))
            fault = plan.pop()
            history.add(Injected(at=time.time(), fault=fault, process=primary.name))
            if fault == "kill":
                primary.kill()
            else:
                primary.signal(signal.SIGSTOP)
            problem = f"the Sentinels do not make {replica.name} the primary; see the log {sentinels[0].log}"
            await wait_until(partial(watched.agrees_on, replica), problem)
            await asyncio.sleep(choices.uniform(0, LONGEST_S))
            address.lead_to(str(replica.address))
            history.add(Injected(at=time.time(), fault="return", process=primary.name))
            if fault == "kill":
                await asyncio.to_thread(primary.start)
            else:
                primary.signal(signal.SIGCONT)
            address.lead_to(str(primary.address))
            await asyncio.sleep(choices.uniform(0, LONGEST_S))
            address.lead_to(str(replica.address))
            say(f"failover {cycle + 1} of {settings.cycles}: {fault} of {primary.name}")
            primary, replica = await watched.settled()
            address.lead_to(str(primary.address))
        await wait_for_successes(workload, settings.min_successes)
