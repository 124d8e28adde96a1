"""Proof: everything is restarted, one process after another, under a steady load, as for an upgrade.

These are the edges, the servers, the handlers, and the nodes of a cluster: a replica is restarted, then takes over from
its primary, which is restarted as a replica. Callers use only edges that are not being restarted, as a load balancer
does. Calls may fail only while a node of the store is restarted. Their number is in the report.

Before that, the proof measures how many requests this machine serves, and has no result if these are too few: what
fails then would say nothing about restarts.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final

from callback_launcher.child import Child
from callback_launcher.cluster import PRIMARIES, Cluster, Node
from callback_launcher.launcher import Launcher
from callback_prove.errors import ProveError
from callback_prove.history import History, Requested, Restarted, of_type
from callback_prove.modes import MODES
from callback_prove.proof import Settings, say, under_load, wait_for_successes
from callback_prove.system import System
from callback_prove.workload import REQUESTS, Workload

RATE: Final = 100.0
"""Number of requests per second."""
DRAIN_S: Final = 2.0
"""Default of the setting `drain_s`, in seconds."""
WARM_UP_S: Final = 3.0
"""Length of the load before the measurement, in seconds."""
MEASURED_S: Final = 5.0
"""Length of the measurement of what this machine serves, in seconds."""
HEADROOM: Final = 1.5
"""How many times the load a machine must be able to serve: a process that starts takes time of the processors too."""


async def require_speed(workload: Workload, history: History, rate: float) -> None:
    """Raise ProveError if this machine serves too few requests, with as many callers as it takes to know."""
    callers = math.ceil(HEADROOM * rate / (REQUESTS * len(MODES)))  # each has a response or more per second
    async with workload.calling(callers):
        await asyncio.sleep(WARM_UP_S)
        before = len(of_type(history.steps, Requested))
        await asyncio.sleep(MEASURED_S)
        served = (len(of_type(history.steps, Requested)) - before) / MEASURED_S
        say(f"this machine serves at least {served:.0f} requests per second")
        if served < HEADROOM * rate:  # end at once: the callers would wait for long
            raise ProveError(
                f"this machine serves {served:.0f} requests per second at the moment, and {rate:g} beside a restart "
                f"take {HEADROOM * rate:.0f}; use --rate {max(1, served // HEADROOM):.0f}, or wait until nothing else "
                "runs"
            )


async def prove(settings: Settings, history: History) -> None:
    """Run the proof.

    Raises:
        ProveError: The proof has no result.
    """
    settings = replace(settings, rate=settings.rate or RATE)

    @contextlib.asynccontextmanager
    async def restarting(process: Child, *, may_fail: bool) -> AsyncIterator[None]:
        began = time.time()
        yield
        history.add(Restarted(began=began, ended=time.time(), process=process.name, may_fail=may_fail))
        say(f"restarted {process.name}")

    launcher = Launcher(settings.directory, settings.durability)
    nodes = [Node(launcher, f"node-{n}") for n in range(1, 2 * PRIMARIES + 1)]
    cluster = Cluster(nodes)
    # An HTTP handler is one process at one URL: no other takes its calls while it is restarted.
    size = replace(settings.size, http_handlers=0)
    system = System(launcher, cluster.url, size=size, drain_s=DRAIN_S)
    async with cluster.running(), under_load(system, history, settings) as workload:
        await require_speed(workload, history, settings.rate or RATE)
        for _ in range(settings.cycles):
            await wait_for_successes(workload, settings.min_successes)
            for edge, address in zip(system.edges, system.edge_addresses, strict=True):
                async with restarting(edge, may_fail=False):
                    workload.avoided.add(address)
                    await asyncio.to_thread(edge.restart)
                    workload.avoided.discard(address)
            for process in (*system.servers, *system.handlers):
                async with restarting(process, may_fail=False):
                    await asyncio.to_thread(process.restart)
            for primary, replica in zip(nodes[:PRIMARIES], nodes[PRIMARIES:], strict=True):
                for node, other in ((replica, primary), (primary, replica)):
                    async with restarting(node, may_fail=True):
                        if node in await cluster.of_role("master"):
                            await other.take_over()
                            await cluster.wait_until_whole()
                        await asyncio.to_thread(node.restart)
                        await cluster.wait_until_whole()
            await wait_for_successes(workload, settings.min_successes)
