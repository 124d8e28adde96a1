"""A cluster of two primaries, and the ways in which a slot moves from one to the other."""

import asyncio
import contextlib

from redis.crc import key_slot
from support.store import Launcher, program
from support.tools import require

from callback_launcher import cluster
from callback_server.store import keys

STAYING = keys.PARTITIONS - 1
"""The partition whose slot stays at the source."""


def slot_of(partition):
    """Return the slot of a partition."""
    return key_slot(keys.tag(partition).encode())


class Cluster:
    """Two primaries: `source` owns the slots of some partitions, `target` all others. `url` is that of the source.

    All slots of the source but one are to move: a primary without slots would become a replica.
    """

    def __init__(self, source, target, moving):
        self.source, self.target = source, target
        self._moving = moving
        self.url = f"redis+cluster://{source.address}"

    async def keys_of(self, partition):
        """Return the keys of a partition that the source has."""
        return await self.source.execute("CLUSTER", "GETKEYSINSLOT", slot_of(partition), 100_000)

    async def reshard(self):
        """Move these slots with the tool of Redis, which uses the classic way. Return its exit code."""
        tool = await asyncio.create_subprocess_exec(
            require("redis-cli"), "--cluster", "reshard", str(self.source.address),
            "--cluster-from", await self.source.id(), "--cluster-to", await self.target.id(),
            "--cluster-slots", str(len(self._moving)), "--cluster-yes", "--cluster-pipeline", "1",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await tool.communicate()
        return tool.returncode, output.decode()

    async def migrate_slots(self):
        """Move these slots with the command of Valkey 9. Return 0 when all are at the target."""
        for partition in self._moving:
            await self.source.move_slot(slot_of(partition), self.target)
        jobs = await self.source.execute("CLUSTER", "GETSLOTMIGRATIONS")
        assert {job["state"] for job in jobs} == {"success"}, jobs
        return 0, ""


@contextlib.asynccontextmanager
async def running_cluster(tmp_path_factory, kind, *, moving=range(1)):
    """Run a `Cluster` of a kind of store, whose source owns the slots of the partitions `moving`."""
    of_source = {slot_of(partition) for partition in (*moving, STAYING)}
    launcher = Launcher(tmp_path_factory.mktemp("cluster"), store=program(kind))
    nodes = [cluster.Node(launcher, name) for name in ("source", "target")]
    async with cluster.Cluster(nodes).running([of_source, {*range(cluster.SLOTS)} - of_source]):
        yield Cluster(*nodes, moving)
