"""A cluster of two primaries, and the ways in which a slot moves from one to the other."""

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor

import redis.asyncio
from redis.crc import key_slot
from support.store import StoreProcess
from support.tools import require
from support.wait import wait_until

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

    def __init__(self, processes, source, target, moving):
        self.processes = processes
        self.source, self.target = source, target
        self.moving = moving
        self.url = processes[0].url

    async def begin(self, partition):
        """Begin to move the slot of a partition in the classic way."""
        slot = slot_of(partition)
        await self.target.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", await _name(self.source))
        await self.source.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", await _name(self.target))

    async def keys_of(self, partition):
        """Return the keys of a partition that the source has."""
        return await self.source.execute_command("CLUSTER GETKEYSINSLOT", slot_of(partition), 100_000)

    async def move(self, moved):
        """Move these keys to the target."""
        port = self.target.connection_pool.connection_kwargs["port"]
        for key in moved:
            await self.source.execute_command("MIGRATE", "127.0.0.1", port, key, 0, 5000)

    async def end(self, partition):
        """Give the slot to the target."""
        name = await _name(self.target)
        for node in (self.target, self.source):
            await node.execute_command("CLUSTER SETSLOT", slot_of(partition), "NODE", name)

    async def reshard(self):
        """Move these slots with the tool of Redis, which uses the classic way. Return its exit code."""
        tool = await asyncio.create_subprocess_exec(
            require("redis-cli"), "--cluster", "reshard", f"127.0.0.1:{self.processes[0].port}",
            "--cluster-from", await _name(self.source), "--cluster-to", await _name(self.target),
            "--cluster-slots", str(len(self.moving)), "--cluster-yes", "--cluster-pipeline", "1",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await tool.communicate()
        return tool.returncode, output.decode()

    async def migrate_slots(self):
        """Move these slots with the command of Valkey 9. Return 0 when all are at the target."""
        name = await _name(self.target)
        for partition in self.moving:
            slot = slot_of(partition)
            await self.source.execute_command("CLUSTER MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", name)

            async def is_moved(slot=slot):
                jobs = await self.source.execute_command("CLUSTER GETSLOTMIGRATIONS")
                states = [job[b"state"] for job in jobs]
                assert b"failed" not in states, jobs
                return set(states) == {b"success"}

            await wait_until(is_moved, what=f"slot {slot} at the target")
        return 0, ""


async def _name(node):
    return await node.execute_command("CLUSTER MYID")


@contextlib.asynccontextmanager
async def running_cluster(tmp_path_factory, kind, *, moving=range(1)):
    """Run a `Cluster` of a kind of store, whose source owns the slots of the partitions `moving`."""
    processes = [
        StoreProcess(tmp_path_factory.mktemp("node"), kind=kind, settings=("--cluster-node-timeout", "2000"))
        for _ in range(2)
    ]
    with ThreadPoolExecutor() as threads:  # a new node takes no commands for 2 seconds
        list(threads.map(StoreProcess.start, processes))
    try:
        async with (
            redis.asyncio.Redis(port=processes[0].port) as source,
            redis.asyncio.Redis(port=processes[1].port) as target,
        ):
            await _join(processes, source, target, moving)
            yield Cluster(processes, source, target, moving)
    finally:
        for process in processes:
            process.stop()


async def _join(processes, source, target, moving):
    slots = {slot_of(partition) for partition in (*moving, STAYING)}
    await target.execute_command("CLUSTER DELSLOTS", *slots)
    await source.execute_command("CLUSTER DELSLOTS", *(slot for slot in range(16384) if slot not in slots))
    await target.execute_command("CLUSTER SET-CONFIG-EPOCH", 2)
    await target.execute_command("CLUSTER MEET", "127.0.0.1", processes[0].port, processes[0].cluster_port)

    async def agreed():
        states = [await node.execute_command("CLUSTER INFO") for node in (source, target)]
        return all(
            state["cluster_state"] == "ok"
            and state["cluster_known_nodes"] == "2"
            and state["cluster_slots_ok"] == "16384"
            for state in states
        )

    await wait_until(agreed, what="a cluster of two nodes")
