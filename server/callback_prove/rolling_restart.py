"""Proof: everything is restarted, one process after another, under a steady load, as for an upgrade.

These are the edges, the servers, the handlers, and the nodes of a cluster: a replica is restarted, then takes over from
its primary, which is restarted as a replica. Callers use only edges that are not being restarted, as a load balancer
does. Calls may fail only while a node of the store is restarted. Their number is in the report.
"""

import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final

from callback_prove.cluster import PRIMARIES, Cluster, Node, fail_over_to, running_cluster
from callback_prove.errors import ProveError
from callback_prove.history import History, Requested, Restarted, of_type
from callback_prove.proof import Settings, say, under_load, wait_for_successes
from callback_prove.system import Ports, Process, System

RATE: Final = 100.0
"""Number of requests per second."""
DRAIN_S: Final = 2.0
"""Default of the setting `drain_s`, in seconds."""
WARM_UP_S: Final = 5.0
"""Length of the load before the first restart, in seconds."""
SLOW_S: Final = 1.0
"""Median time of a response above which the load is too much for the machine, in seconds. Handlers take up to 0.3."""


def _require_speed(history: History, rate: float) -> None:
    """Raise ProveError if callers wait too long although nothing was restarted yet."""
    waits = [step.ended - step.began for step in of_type(history.steps, Requested)]
    if (typical := statistics.median(waits) if waits else WARM_UP_S) > SLOW_S:
        raise ProveError(
            f"callers wait {typical:.1f} s although nothing was restarted: this machine cannot serve {rate:g} requests "
            "per second; use a lower --rate"
        )


async def prove(settings: Settings, history: History) -> None:
    """Run the proof.

    Raises:
        ProveError: The proof has no result.
    """
    settings = replace(settings, rate=settings.rate or RATE)

    @contextlib.asynccontextmanager
    async def restarting(process: Process, *, may_fail: bool) -> AsyncIterator[None]:
        began = time.time()
        yield
        history.add(Restarted(began=began, ended=time.time(), process=process.name, may_fail=may_fail))
        say(f"restarted {process.name}")

    with Ports() as ports:
        nodes = [
            Node(f"node-{n}", ports.take(), ports.take(), settings.directory, durability=settings.durability)
            for n in range(1, 2 * PRIMARIES + 1)
        ]
        cluster = Cluster(nodes)
        system = System(
            settings.directory, ports, cluster.url, size=settings.size, durability=settings.durability, drain_s=DRAIN_S
        )
        async with running_cluster(cluster), under_load(system, history, settings) as workload:
            await asyncio.sleep(WARM_UP_S)  # the load that is judged
            _require_speed(history, settings.rate or RATE)
            for _ in range(settings.cycles):
                await wait_for_successes(workload, settings.min_successes)
                for edge, address in zip(system.edges, system.edge_addresses, strict=True):
                    async with restarting(edge, may_fail=False):
                        workload.avoided.add(address)
                        await edge.restart()
                        workload.avoided.discard(address)
                for process in (*system.servers, *system.handlers):
                    async with restarting(process, may_fail=False):
                        await process.restart()
                for primary, replica in zip(nodes[:PRIMARIES], nodes[PRIMARIES:], strict=True):
                    for node, other in ((replica, primary), (primary, replica)):
                        async with restarting(node, may_fail=True):
                            if node in await cluster.of_role("master"):
                                await fail_over_to(other)
                                await cluster.wait_until_whole()
                            await node.restart()
                            await cluster.wait_until_whole()
                await wait_for_successes(workload, settings.min_successes)
