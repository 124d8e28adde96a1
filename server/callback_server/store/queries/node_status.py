"""The status of a store, for operators."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import ResponseError

from callback_server.store import keys
from callback_server.store.connection.client import StoreClient
from callback_server.store.connection.nodes import NodeCommand, attached_replicas, primaries
from callback_server.store.engines import product_of, read_server_info, service_of
from callback_server.store.epochs.known import Epoch, Known

_PROBE_MS: Final = 1000
"""How long the key of a measurement may stay if it is not deleted, in milliseconds."""


@dataclass(frozen=True, slots=True)
class NodeMemory:
    """The memory of a node, in bytes."""

    used: int
    """What the node uses."""
    limit: int
    """What the node may use (`maxmemory`). 0: no limit."""
    of_machine: int
    """The memory of its machine. 0: unknown."""


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """The status of one node that accepts writes. Outside of a cluster, it is the store."""

    name: str
    """The address of the node. Empty outside of a cluster."""
    product: str
    """The engine, such as `Valkey`."""
    version: str
    """The version of the product."""
    service: str
    """The managed store that the node says to be, such as `Amazon MemoryDB`. Empty: it says nothing of one."""
    is_primary: bool
    """Whether the node accepts writes."""
    replicas: int
    """How many replicas follow the node."""
    needed_replicas: int | None
    """Without how many replicas the node accepts no writes (`min-replicas-to-write`). None: it hides that."""
    memory: NodeMemory
    """Its memory."""
    is_append_only: bool
    """Whether the node writes an append-only file."""
    last_append_failed: bool
    """Whether its last write to that file failed. The node then refuses writes."""
    last_rewrite_failed: bool
    """Whether its last rewrite of that file failed."""
    clock_ahead_s: float
    """How far the clock of the node is ahead of this machine's, in seconds."""


async def read_node_status(client: StoreClient) -> list[NodeStatus]:
    """Return the status of every node that accepts writes. Only reads. Call it within `safety.refusals`."""
    return [await _read_status(name, ask) for name, ask in await primaries(client)]


async def time_writes(client: StoreClient, count: int) -> list[float]:
    """Measure `count` times how long a write takes until its reply, in seconds.

    The time includes the fsync that `appendfsync` requires. No data stays. Call it within `safety.refusals`.
    """
    took = []
    for _ in range(count):
        began = time.perf_counter()
        await client.set(keys.PROBE_KEY, b"", px=_PROBE_MS)
        took.append(time.perf_counter() - began)
    await client.delete(keys.PROBE_KEY)
    return took


async def time_behind(client: StoreClient) -> float:
    """Return how far the store's clock is behind the time of its data, at most of all partitions, in seconds.

    0: no clock has stepped back. Only reads. Call it within `safety.refusals`.
    """
    shown = []
    for _name, ask in await primaries(client):
        seconds, microseconds = await ask("TIME")
        shown.append(seconds * 1_000_000 + microseconds)
    pipeline = client.pipeline(transaction=False)
    for partition in range(keys.PARTITIONS):
        pipeline.get(keys.key(partition, "clock"))
    kept = [int(each.partition(b":")[0]) for each in await pipeline.execute() if each]
    return float(max(0, max(kept, default=0) - min(shown)) / 1e6)


async def count_older(client: StoreClient, known: Mapping[str, Known]) -> int:
    """Return how many partitions lack a known epoch or its steps, by their tags. Only reads. Call it within `refusals`.

    A replica that was promoted before it had the epoch counts too, until a server has met it.
    """
    pipeline = client.pipeline(transaction=False)
    for tag in known:
        partition = keys.partition_of_tag(tag)
        pipeline.hgetall(keys.key(partition, "epochs"))
        pipeline.xrevrange(keys.key(partition, "events"), count=1)
    replies = await pipeline.execute()
    found = zip(known.values(), replies[::2], replies[1::2], strict=True)
    return sum(_is_older(*each) for each in found)


def _is_older(known: Known, epochs: Mapping[bytes, bytes], newest_event: Sequence[tuple[bytes, object]]) -> bool:
    begun = {int(name): value.partition(b":")[0].decode() for name, value in epochs.items() if name.isdigit()}
    ours = known.epoch
    last = Epoch(max(begun, default=0), begun.get(max(begun, default=0), ""), "")
    if ours.is_of_other_store(last):
        return not (last.is_accepted and last.number > ours.number)
    if begun.get(ours.number) != ours.id:
        is_newer = any(id_[0] == "f" and (number, id_) > (ours.number, ours.id) for number, id_ in begun.items())
        return not is_newer and ours.number >= int(epochs.get(b"first", 0))
    events = int(newest_event[0][0].partition(b"-")[2]) if newest_event else 0
    return ours.number == last.number and known.counted_ids.endswith(ours.id) and events < known.steps


async def read_node_memory(client: StoreClient) -> dict[str, NodeMemory]:
    """Return the memory of every node that accepts writes, by its name. Call it within `safety.refusals`."""
    return {name: _memory_of(await ask("INFO", "memory")) for name, ask in await primaries(client)}


def _memory_of(info: Mapping[str, Any]) -> NodeMemory:
    return NodeMemory(info["used_memory"], info.get("maxmemory", 0), info.get("total_system_memory", 0))


async def _read_status(name: str, ask: NodeCommand) -> NodeStatus:
    info = await read_server_info(ask)
    for section in ("replication", "memory", "persistence"):
        info = {**info, **await ask("INFO", section)}
    product, version = product_of(info)
    return NodeStatus(
        name=name,
        product=product,
        version=version,
        service=service_of(info),
        is_primary=info["role"] == "master",
        replicas=attached_replicas(info),
        needed_replicas=await _needed_replicas(ask),
        memory=_memory_of(info),
        is_append_only=bool(info.get("aof_enabled")),
        last_append_failed=info.get("aof_last_write_status", "ok") != "ok",
        last_rewrite_failed=info.get("aof_last_bgrewrite_status", "ok") != "ok",
        clock_ahead_s=await _clock_ahead(ask),
    )


async def _needed_replicas(ask: NodeCommand) -> int | None:
    try:
        return int((await ask("CONFIG GET", "min-replicas-to-write"))["min-replicas-to-write"])
    except (ResponseError, KeyError):  # as managed stores answer
        return None


async def _clock_ahead(ask: NodeCommand) -> float:
    sent = time.time()
    seconds, microseconds = await ask("TIME")
    received = time.time()
    return float(seconds + microseconds / 1e6 - (sent + received) / 2)
