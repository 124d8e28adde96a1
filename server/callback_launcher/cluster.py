"""Clusters: nodes that form one, that join and leave, and slots that move between them."""

import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Final

import redis

from callback_launcher.child import running
from callback_launcher.launcher import Launcher
from callback_launcher.store import REPLICATION, Store
from callback_launcher.wait import wait_until
from callback_process.addresses import Address

PRIMARIES: Final = 3
SLOTS: Final = 16384
EVENLY: Final = [range(n * SLOTS // PRIMARIES, (n + 1) * SLOTS // PRIMARIES) for n in range(PRIMARIES)]
"""The slots of each primary."""
NODE_TIMEOUT_S: Final = 2.0
"""Time without an answer after which the other nodes hold an election, in seconds."""
LOOK_S: Final = 0.2
"""Interval between two looks at all nodes, in seconds."""
KEYS: Final = 100
"""Number of keys that move at a time in the classic way."""
MIGRATE_MS: Final = 5000


class Node(Store):
    """A store that is a node of a cluster."""

    def __init__(self, launcher: Launcher, name: str, *, bus: Address | None = None, **options: Any) -> None:
        """Create a node that belongs to no cluster yet.

        Args:
            launcher: Gives its directory and addresses.
            name: Name of the process.
            bus: Address for the other nodes. None: a free one.
            options: More arguments of `Store`.
        """
        self.bus = bus or launcher.take()
        settings = [
            "--cluster-enabled", "yes", "--cluster-port", str(self.bus.port), "--protected-mode", "no",
            "--cluster-node-timeout", str(int(NODE_TIMEOUT_S * 1000)), *REPLICATION,
            "--cluster-allow-replica-migration", "no",  # otherwise a primary without slots becomes one more replica
        ]  # fmt: skip
        super().__init__(launcher, name, *settings, **options)

    async def id(self) -> str:
        """Return its id."""
        return str(await self.execute("CLUSTER", "MYID"))

    async def has_role(self, role: str) -> bool:
        """Return whether it has a role: `master` or `slave`."""
        return bool((await self.execute("ROLE"))[0] == role)

    async def take_over(self) -> None:
        """Take over from its primary."""
        await self.execute("CLUSTER", "FAILOVER")
        await wait_until(lambda: self.has_role("master"))

    async def move_by_keys(self, slot: int, target: "Node") -> None:
        """Move a slot in the classic way."""
        await self.begin_to_move(slot, target)
        while keys := await self.execute("CLUSTER", "GETKEYSINSLOT", slot, KEYS):
            await self.move_keys(keys, target)
        await self.give_slot(slot, target)

    async def begin_to_move(self, slot: int, target: "Node") -> None:
        """Begin to move a slot in the classic way."""
        await target.execute("CLUSTER", "SETSLOT", slot, "IMPORTING", await self.id())
        await self.execute("CLUSTER", "SETSLOT", slot, "MIGRATING", await target.id())

    async def move_keys(self, keys: Iterable[str], target: "Node") -> None:
        """Move these keys of a slot."""
        await self.execute("MIGRATE", target.address.host, target.address.port, "", 0, MIGRATE_MS, "KEYS", *keys)

    async def give_slot(self, slot: int, target: "Node") -> None:
        """Complete the move of a slot in the classic way."""
        for node in (target, self):
            await node.execute("CLUSTER", "SETSLOT", slot, "NODE", await target.id())

    async def move_slot(self, slot: int, target: "Node") -> None:
        """Move a slot in the way of Valkey 9."""
        await self.execute("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", await target.id())

        async def is_over() -> bool:
            states = {job["state"] for job in await self.execute("CLUSTER", "GETSLOTMIGRATIONS")}
            return states <= {"success", "failed", "canceled", "cancelled"}

        await wait_until(is_over)


class Cluster:
    """Stores that form a cluster: first the primaries, then a replica of each or none at all."""

    def __init__(self, nodes: Sequence[Node], *, spares: Sequence[Node] = ()) -> None:
        """Create a cluster of empty stores that do not run yet. The spares do not belong to it at first."""
        self.nodes = [*nodes]
        self.spares = spares
        self.url = f"redis+cluster://{','.join(str(node.address) for node in nodes)}"

    @contextlib.asynccontextmanager
    async def running(self, slots: Sequence[Iterable[int]] = EVENLY) -> AsyncIterator[None]:
        """Run its nodes and spares in the body. Each primary owns these slots, and other nodes are their replicas.

        Raises:
            LaunchError: They do not start, or do not form a cluster.
        """
        async with running(*self.nodes, *self.spares):
            primaries, replicas = self.nodes[: len(slots)], self.nodes[len(slots) :]
            for n, node in enumerate(self.nodes):
                await node.execute("CLUSTER", "SET-CONFIG-EPOCH", n + 1)
            for node, owned in zip(primaries, slots, strict=True):
                await node.execute("CLUSTER", "ADDSLOTS", *owned)
            await self._meet(self.nodes[1:])
            for primary, replica in zip(primaries, replicas, strict=False):
                await self._replicate(replica, primary)
            await self.wait_until_whole()
            yield

    async def add_spares(self, primary: Node | None = None) -> Node:
        """Let the spares join: as replicas of a primary, or without it the first as a primary of the others.

        Return the primary. A new one has no slot yet.

        Raises:
            LaunchError: They do not join in time.
        """
        primary = primary or self.spares[0]
        await self._meet(self.spares)
        for spare in self.spares:
            if spare is not primary:
                await self._replicate(spare, primary)
            for node in self.nodes:
                await self._retry(node, "CLUSTER", "COUNT-FAILURE-REPORTS", await spare.id())
        self.nodes += self.spares
        await self.wait_until_whole()
        return primary

    async def remove_spares(self) -> None:
        """Let the spares leave. They have no slot.

        Raises:
            LaunchError: The cluster does not become whole in time.
        """
        self.nodes = [node for node in self.nodes if node not in self.spares]
        left = [await spare.id() for spare in self.spares]
        for spare in reversed(self.spares):
            await spare.execute("CLUSTER", "RESET", "HARD")
        for node in self.nodes:
            for each in left:
                with contextlib.suppress(redis.ResponseError):  # another node has told it already
                    await node.execute("CLUSTER", "FORGET", each)
        await self.wait_until_whole()

    async def _meet(self, nodes: Sequence[Node]) -> None:
        first = self.nodes[0]
        for node in nodes:
            await node.execute("CLUSTER", "MEET", first.address.host, first.address.port, first.bus.port)

    async def _replicate(self, replica: Node, primary: Node) -> None:
        await self._retry(replica, "CLUSTER", "REPLICATE", await primary.id())

    async def _retry(self, node: Node, *words: str) -> None:
        """Execute a command once the node knows the others."""

        async def is_done() -> bool:
            with contextlib.suppress(redis.ResponseError):
                await node.execute(*words)
                return True
            return False

        await wait_until(is_done, f"{node.name} does not know the other nodes; see its log: {node.log}")

    async def wait_until_whole(self) -> None:
        """Wait until all slots are served, and each primary has its replica.

        Raises:
            LaunchError: That takes too long.
        """
        await wait_until(self._is_whole, "the cluster does not recover; see the logs of its nodes", pause_s=LOOK_S)

    async def _is_whole(self) -> bool:
        try:
            for node in self.nodes:
                if "cluster_state:ok" not in await node.execute("CLUSTER", "INFO"):
                    return False
            roles = [await node.execute("ROLE") for node in self.nodes]
        except redis.RedisError:
            return False
        primaries, replicas = ([role for role in roles if role[0] == kind] for kind in ("master", "slave"))
        return all(role[3] == "connected" for role in replicas) and all(
            len(role[2]) * len(primaries) == len(replicas) for role in primaries
        )

    async def of_role(self, role: str) -> list[Node]:
        """Return the nodes of a role: `master` or `slave`."""
        return [node for node in self.nodes if await node.has_role(role)]
