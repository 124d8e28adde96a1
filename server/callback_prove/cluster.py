"""Proof: a cluster of three primaries and three replicas fails over and moves slots under load.

Each cycle has one of these faults, in a random order: a primary is killed; a replica takes over in a planned way; a
primary is suspended for longer than the node timeout, loses its slots, and continues; a slot with data moves to another
primary, in the classic way (key by key) or in that of Valkey 9 (as a whole); a primary and its replica join, get slots
in both ways, give them back and leave.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from callback_launcher.cluster import NODE_TIMEOUT_S, PRIMARIES, Cluster, Node
from callback_launcher.launcher import Launcher
from callback_prove.faults import pause
from callback_prove.history import History, Injected
from callback_prove.proof import Settings, say, under_load, wait_for_successes
from callback_prove.system import System

SUSPENDED_S: Final = 3 * NODE_TIMEOUT_S
"""Length of a suspension: time for an election."""
SERVED_S: Final = 2.0
"""Time for which a node that joined serves its slots, in seconds."""


async def kill(cluster: Cluster, choices: random.Random) -> Node:
    """Kill a primary, and start it again after the election."""
    node = choices.choice(await cluster.of_role("master"))
    node.kill()
    await asyncio.sleep(SUSPENDED_S)
    await asyncio.to_thread(node.start)
    return node


async def suspend(cluster: Cluster, choices: random.Random) -> Node:
    """Suspend a primary for longer than the node timeout."""
    node = choices.choice(await cluster.of_role("master"))
    await pause(node, SUSPENDED_S)
    return node


async def take_over(cluster: Cluster, choices: random.Random) -> Node:
    """Let a replica take over from its primary, as for maintenance."""
    node = choices.choice(await cluster.of_role("slave"))
    await node.take_over()
    return node


async def move_by_keys(cluster: Cluster, choices: random.Random) -> Node:
    """Move a slot with data to another primary in the classic way."""
    source, target = choices.sample(await cluster.of_role("master"), 2)
    return await _move(Node.move_by_keys, source, target)


async def move_whole(cluster: Cluster, choices: random.Random) -> Node:
    """Move a slot with data to another primary in the way of Valkey 9."""
    source, target = choices.sample(await cluster.of_role("master"), 2)
    return await _move(Node.move_slot, source, target)


async def add_and_remove(cluster: Cluster, choices: random.Random) -> Node:
    """Let a primary and its replica join, move slots to it in both ways and back, and let them leave."""
    (source,) = choices.sample(await cluster.of_role("master"), 1)
    new = await cluster.add_spares()
    for move in (Node.move_by_keys, Node.move_slot):
        await _move(move, source, new)
    await asyncio.sleep(SERVED_S)  # it serves them under load
    while await new.execute("DBSIZE"):
        for move in (Node.move_by_keys, Node.move_slot):
            await _move(move, new, source)
    await cluster.remove_spares()
    return new


Move = Callable[[Node, int, Node], Awaitable[None]]
"""A way to move a slot from a node to another one."""


async def _move(move: Move, source: Node, target: Node) -> Node:
    """Move a slot with data, if the source has one. Return the source."""
    key = await source.execute("RANDOMKEY")
    if key is not None:
        await move(source, int(await source.execute("CLUSTER", "KEYSLOT", key)), target)
    return source


Fault = Callable[[Cluster, random.Random], Awaitable[Node]]
"""A fault of a cluster, which returns the node that it hit first."""
FAULTS: Final[Sequence[Fault]] = (kill, suspend, take_over, move_by_keys, move_whole, add_and_remove)


async def prove(settings: Settings, history: History) -> None:
    """Run the proof. Each fault comes equally often.

    Raises:
        ProveError: The proof has no result.
    """
    launcher = Launcher(settings.directory, settings.durability)
    nodes = [Node(launcher, f"node-{n}") for n in range(1, 2 * PRIMARIES + 3)]
    cluster = Cluster(nodes[: 2 * PRIMARIES], spares=nodes[2 * PRIMARIES :])
    await prove_with_faults(cluster, FAULTS, launcher, settings, history)


async def prove_with_faults(
    cluster: Cluster, faults: Sequence[Fault], launcher: Launcher, settings: Settings, history: History
) -> None:
    """Run a proof with a cluster that does not run yet. Each fault comes equally often.

    Raises:
        ProveError: The proof has no result.
    """
    choices = random.Random(settings.seed)  # noqa: S311  # reproducible faults, not a secret
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(cluster.running())
        system = System(launcher, cluster.url, size=settings.size)
        workload = await stack.enter_async_context(under_load(system, history, settings))
        plan = list[Fault]()
        for cycle in range(settings.cycles):
            await wait_for_successes(workload, settings.min_successes)
            plan = plan or choices.sample(faults, len(faults))
            fault = plan.pop()
            began = time.time()
            broken = await fault(cluster, choices)
            history.add(Injected(at=began, fault=fault.__name__, process=broken.name))
            await cluster.wait_until_whole()
            say(f"fault {cycle + 1} of {settings.cycles}: {fault.__name__} of {broken.name}")
        await wait_for_successes(workload, settings.min_successes)
