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
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Final

import redis

from callback_process.addresses import Address
from callback_prove.errors import ProveError
from callback_prove.failover import REPLICATION
from callback_prove.faults import pause
from callback_prove.history import History, Injected
from callback_prove.proof import Settings, running, say, under_load, wait_for_successes
from callback_prove.system import START_S, Launcher, Store, System
from callback_prove.wait import wait_until

PRIMARIES: Final = 3
SLOTS: Final = 16384
EVENLY: Final = [range(n * SLOTS // PRIMARIES, (n + 1) * SLOTS // PRIMARIES) for n in range(PRIMARIES)]
"""The slots of each primary."""
NODE_TIMEOUT_S: Final = 2.0
"""Time without an answer after which the other nodes hold an election, in seconds."""
SUSPENDED_S: Final = 3 * NODE_TIMEOUT_S
"""Length of a suspension: time for an election."""
SERVED_S: Final = 2.0
"""Time for which a node that joined serves its slots, in seconds."""
LOOK_S: Final = 0.2
"""Interval between two looks at all nodes, in seconds."""
KEYS: Final = 100
"""Number of keys that move at a time in the classic way."""
MIGRATE_MS: Final = 5000


class Node(Store):
    """A store that is a node of a cluster."""

    def __init__(
        self,
        launcher: Launcher,
        name: str,
        *,
        address: Address | None = None,
        bus: Address | None = None,
        wrapper: Sequence[str] = (),
    ) -> None:
        """Create a node that belongs to no cluster yet. `bus` is its address for the other nodes."""
        self.bus = bus or launcher.take()
        settings = [
            "--cluster-enabled", "yes", "--cluster-port", str(self.bus.port), "--protected-mode", "no",
            "--cluster-node-timeout", str(int(NODE_TIMEOUT_S * 1000)), *REPLICATION,
            "--cluster-allow-replica-migration", "no",  # otherwise a primary without slots becomes one more replica
        ]  # fmt: skip
        super().__init__(launcher, name, *settings, address=address, wrapper=wrapper)


class Cluster:
    """Stores that form a cluster: first the primaries, then a replica of each or none at all."""

    def __init__(self, nodes: Sequence[Node], *, spares: Sequence[Node] = ()) -> None:
        """Create a cluster of running, empty stores. The spares do not belong to it yet."""
        self.nodes = [*nodes]
        self.spares = spares
        self._has_replicas = True
        self.url = f"redis+cluster://{','.join(str(node.address) for node in nodes)}"

    async def form(self, slots: Sequence[Iterable[int]] = EVENLY) -> None:
        """Give each primary its slots, and make the other nodes their replicas.

        Raises:
            ProveError: The cluster does not form in time.
        """
        primaries, replicas = self.nodes[: len(slots)], self.nodes[len(slots) :]
        self._has_replicas = bool(replicas)
        for n, node in enumerate(self.nodes):
            await node.execute("CLUSTER", "SET-CONFIG-EPOCH", n + 1)
        for node, owned in zip(primaries, slots, strict=True):
            await node.execute("CLUSTER", "ADDSLOTS", *owned)
        await self._meet(self.nodes[1:])
        for primary, replica in zip(primaries, replicas, strict=False):
            await self._retry(replica, "CLUSTER", "REPLICATE", await id_of(primary))
        await self.wait_until_whole()

    async def add_spares(self) -> Node:
        """Let the spares join as a primary and its replica. Return the primary, which has no slot yet.

        Raises:
            ProveError: They do not join in time.
        """
        primary, replica = self.spares
        await self._meet(self.spares)
        await self._retry(replica, "CLUSTER", "REPLICATE", await id_of(primary))
        for node in self.nodes:
            await self._retry(node, "CLUSTER", "COUNT-FAILURE-REPORTS", await id_of(primary))
        self.nodes += self.spares
        await self.wait_until_whole()
        return primary

    async def remove_spares(self) -> None:
        """Let the spares leave. They have no slot.

        Raises:
            ProveError: The cluster does not become whole in time.
        """
        self.nodes = [node for node in self.nodes if node not in self.spares]
        left = [await id_of(spare) for spare in self.spares]
        for spare in reversed(self.spares):
            await spare.execute("CLUSTER", "RESET", "HARD")
        for node in self.nodes:
            for each in left:
                await node.execute("CLUSTER", "FORGET", each)
        await self.wait_until_whole()

    async def _meet(self, nodes: Sequence[Node]) -> None:
        first = self.nodes[0]
        for node in nodes:
            await node.execute("CLUSTER", "MEET", first.address.host, first.address.port, first.bus.port)

    async def _retry(self, node: Store, *words: str) -> None:
        """Execute a command once the node knows the others."""

        async def is_done() -> bool:
            with contextlib.suppress(redis.ResponseError):
                await node.execute(*words)
                return True
            return False

        if not await wait_until(is_done, timeout_s=START_S):
            raise ProveError(f"{node.name} does not know the other nodes; see its log: {node.log}")

    async def wait_until_whole(self) -> None:
        """Wait until all slots are served, and each primary has its replica.

        Raises:
            ProveError: That takes too long.
        """
        if not await wait_until(self._is_whole, timeout_s=START_S, pause_s=LOOK_S):
            raise ProveError("the cluster does not recover; see the logs of its nodes")

    async def _is_whole(self) -> bool:
        try:
            for node in self.nodes:
                if "cluster_state:ok" not in await node.execute("CLUSTER", "INFO"):
                    return False
            roles = [await node.execute("ROLE") for node in self.nodes]
        except redis.RedisError:
            return False
        replicas = [role for role in roles if role[0] == "slave"]
        return (
            (1 + self._has_replicas) * (len(roles) - len(replicas)) == len(roles)
            and all(role[3] == "connected" for role in replicas)
            and all(len(role[2]) == self._has_replicas for role in roles if role[0] == "master")
        )

    async def of_role(self, role: str) -> list[Store]:
        """Return the nodes of a role: `master` or `slave`."""
        return [node for node in self.nodes if (await node.execute("ROLE"))[0] == role]


async def id_of(node: Store) -> str:
    """Return the id of a node."""
    return str(await node.execute("CLUSTER", "MYID"))


async def kill(cluster: Cluster, choices: random.Random) -> Store:
    """Kill a primary, and start it again after the election."""
    node = choices.choice(await cluster.of_role("master"))
    await node.kill()
    await asyncio.sleep(SUSPENDED_S)
    await node.start()
    return node


async def suspend(cluster: Cluster, choices: random.Random) -> Store:
    """Suspend a primary for longer than the node timeout."""
    node = choices.choice(await cluster.of_role("master"))
    await pause(node, SUSPENDED_S)
    return node


async def take_over(cluster: Cluster, choices: random.Random) -> Store:
    """Let a replica take over from its primary, as for maintenance."""
    node = choices.choice(await cluster.of_role("slave"))
    await fail_over_to(node)
    return node


async def fail_over_to(node: Store) -> None:
    """Let a replica take over from its primary."""
    await node.execute("CLUSTER", "FAILOVER")

    async def is_primary() -> bool:
        return bool((await node.execute("ROLE"))[0] == "master")

    await wait_until(is_primary, timeout_s=START_S)


async def move_by_keys(cluster: Cluster, choices: random.Random) -> Store:
    """Move a slot with data to another primary in the classic way."""
    source, target = choices.sample(await cluster.of_role("master"), 2)
    return await _move(_move_by_keys, source, target)


async def move_whole(cluster: Cluster, choices: random.Random) -> Store:
    """Move a slot with data to another primary in the way of Valkey 9."""
    source, target = choices.sample(await cluster.of_role("master"), 2)
    return await _move(move_slot, source, target)


async def add_and_remove(cluster: Cluster, choices: random.Random) -> Store:
    """Let a primary and its replica join, move slots to it in both ways and back, and let them leave."""
    (source,) = choices.sample(await cluster.of_role("master"), 1)
    new = await cluster.add_spares()
    for move in (_move_by_keys, move_slot):
        await _move(move, source, new)
    await asyncio.sleep(SERVED_S)  # it serves them under load
    while await new.execute("DBSIZE"):
        for move in (_move_by_keys, move_slot):
            await _move(move, new, source)
    await cluster.remove_spares()
    return new


Move = Callable[[Store, Store, int], Awaitable[None]]
"""A way to move a slot from a store to another one."""


async def _move(move: Move, source: Store, target: Store) -> Store:
    """Move a slot with data, if the source has one. Return the source."""
    key = await source.execute("RANDOMKEY")
    if key is not None:
        await move(source, target, int(await source.execute("CLUSTER", "KEYSLOT", key)))
    return source


async def _move_by_keys(source: Store, target: Store, slot: int) -> None:
    await begin_to_move(source, target, slot)
    while keys := await source.execute("CLUSTER", "GETKEYSINSLOT", slot, KEYS):
        await move_keys(source, target, keys)
    await give_slot(source, target, slot)


async def begin_to_move(source: Store, target: Store, slot: int) -> None:
    """Begin to move a slot in the classic way."""
    source_id, target_id = await id_of(source), await id_of(target)
    await target.execute("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
    await source.execute("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)


async def move_keys(source: Store, target: Store, keys: Iterable[str]) -> None:
    """Move these keys of a slot."""
    await source.execute("MIGRATE", target.address.host, target.address.port, "", 0, MIGRATE_MS, "KEYS", *keys)


async def give_slot(source: Store, target: Store, slot: int) -> None:
    """Complete the move of a slot in the classic way."""
    for node in (target, source):
        await node.execute("CLUSTER", "SETSLOT", slot, "NODE", await id_of(target))


async def move_slot(source: Store, target: Store, slot: int) -> None:
    """Move a slot in the way of Valkey 9."""
    await source.execute("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", await id_of(target))

    async def is_over() -> bool:
        states = {job["state"] for job in await source.execute("CLUSTER", "GETSLOTMIGRATIONS")}
        return states <= {"success", "failed", "canceled", "cancelled"}

    await wait_until(is_over, timeout_s=START_S)


Fault = Callable[[Cluster, random.Random], Awaitable[Store]]
"""A fault of a cluster, which returns the node that it hit first."""
FAULTS: Final[Sequence[Fault]] = (kill, suspend, take_over, move_by_keys, move_whole, add_and_remove)


@contextlib.asynccontextmanager
async def running_cluster(cluster: Cluster, slots: Sequence[Iterable[int]] = EVENLY) -> AsyncIterator[None]:
    """Run the nodes and spares of a cluster in the body.

    Raises:
        ProveError: They do not start, or do not form a cluster.
    """
    async with running(*cluster.nodes, *cluster.spares):
        await cluster.form(slots)
        yield


async def prove(settings: Settings, history: History) -> None:
    """Run the proof. Each fault comes equally often.

    Raises:
        ProveError: The proof has no result.
    """
    with Launcher(settings.directory, settings.durability) as launcher:
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
        await stack.enter_async_context(running_cluster(cluster))
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
