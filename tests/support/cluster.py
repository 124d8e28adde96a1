"""A cluster of two primaries, and the ways in which a slot moves from one to the other."""

import asyncio
import contextlib

import redis.asyncio
from redis.crc import key_slot
from support.store import program
from support.tools import require

from callback_prove import cluster as kit
from callback_prove.system import Launcher
from callback_server.store import keys

STAYING = keys.PARTITIONS - 1
"""The partition whose slot stays at the source."""


def slot_of(partition):
    """Return the slot of a partition."""
    return key_slot(keys.tag(partition).encode())


class Cluster:
    """Two primaries: the first owns the slots of some partitions, the second all others. `url` is that of the first.

    All slots of the first but one are to move: a primary without slots would become a replica. `source` and `target`
    are clients of the two.
    """

    def __init__(self, nodes, moving):
        self._nodes = nodes
        self._moving = moving
        self.url = f"redis+cluster://{nodes[0].address}"
        self.source, self.target = (redis.asyncio.Redis(port=node.address.port) for node in nodes)

    async def begin(self, partition):
        """Begin to move the slot of a partition in the classic way."""
        await kit.begin_to_move(*self._nodes, slot_of(partition))

    async def keys_of(self, partition):
        """Return the keys of a partition that the source has."""
        return await self._nodes[0].execute("CLUSTER", "GETKEYSINSLOT", slot_of(partition), 100_000)

    async def move(self, moved):
        """Move these keys to the target."""
        await kit.move_keys(*self._nodes, moved)

    async def end(self, partition):
        """Give the slot to the target."""
        await kit.give_slot(*self._nodes, slot_of(partition))

    async def reshard(self):
        """Move these slots with the tool of Redis, which uses the classic way. Return its exit code."""
        source, target = self._nodes
        tool = await asyncio.create_subprocess_exec(
            require("redis-cli"), "--cluster", "reshard", str(source.address),
            "--cluster-from", await kit.id_of(source), "--cluster-to", await kit.id_of(target),
            "--cluster-slots", str(len(self._moving)), "--cluster-yes", "--cluster-pipeline", "1",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await tool.communicate()
        return tool.returncode, output.decode()

    async def migrate_slots(self):
        """Move these slots with the command of Valkey 9. Return 0 when all are at the target."""
        for partition in self._moving:
            await kit.move_slot(*self._nodes, slot_of(partition))
        jobs = await self._nodes[0].execute("CLUSTER", "GETSLOTMIGRATIONS")
        assert {job["state"] for job in jobs} == {"success"}, jobs
        return 0, ""


@contextlib.asynccontextmanager
async def running_cluster(tmp_path_factory, kind, *, moving=range(1)):
    """Run a `Cluster` of a kind of store, whose source owns the slots of the partitions `moving`."""
    of_source = {slot_of(partition) for partition in (*moving, STAYING)}
    with Launcher(tmp_path_factory.mktemp("cluster"), store=program(kind)) as launcher:
        nodes = [kit.Node(launcher, name) for name in ("source", "target")]
        slots = of_source, {*range(kit.SLOTS)} - of_source
        async with kit.running_cluster(kit.Cluster(nodes), slots):
            cluster = Cluster(nodes, moving)
            async with cluster.source, cluster.target:
                yield cluster
