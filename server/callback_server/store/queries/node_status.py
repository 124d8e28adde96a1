"""How a store is doing: what it says about itself, for who operates it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from callback_server.store import keys
from callback_server.store.connection.client import StoreClient
from callback_server.store.safety import NodeCommand, primaries

_PROBE_MS: Final = 1000
"""How long what is written to measure may stay, if it is not removed."""


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One node that takes writes; alone, the store."""

    name: str
    """Its address on a cluster; empty alone."""
    product: str
    """`Valkey` or `Redis`."""
    version: str
    """Its version."""
    is_primary: bool
    """Whether it takes writes."""
    replicas: int
    """How many replicas follow it."""
    used_memory: int
    """What it uses, in bytes."""
    max_memory: int
    """What it may use, in bytes; 0: no limit."""
    machine_memory: int
    """What its machine has, in bytes; 0: it does not say."""
    is_append_only: bool
    """Whether it writes an append-only file."""
    last_append_failed: bool
    """Whether its last write to that file failed. It refuses writes then."""
    last_rewrite_failed: bool
    """Whether its last attempt to shorten that file failed."""
    clock_ahead_s: float
    """How far its clock is ahead of this machine's, in seconds."""


async def read_node_status(client: StoreClient) -> list[NodeStatus]:
    """Asks every node that takes writes. Only reads. Call it within `safety.refusals`."""
    return [await _condition(name, ask) for name, ask in await primaries(client)]


async def time_writes(client: StoreClient, count: int) -> list[float]:
    """How long a write takes until it is answered, in seconds, each of `count` times.

    What the store's `appendfsync` asks for is part of it. Nothing stays. Call it within `safety.refusals`.
    """
    took = []
    for _ in range(count):
        began = time.perf_counter()
        await client.set(keys.PROBE_KEY, b"", px=_PROBE_MS)
        took.append(time.perf_counter() - began)
    await client.delete(keys.PROBE_KEY)
    return took


async def _condition(name: str, ask: NodeCommand) -> NodeStatus:
    info: Mapping[str, Any] = {}
    for section in ("server", "replication", "memory", "persistence"):
        info = {**info, **await ask("INFO", section)}
    is_valkey = info.get("server_name") == "valkey"
    return NodeStatus(
        name=name,
        product="Valkey" if is_valkey else "Redis",
        version=str(info["valkey_version" if is_valkey else "redis_version"]),
        is_primary=info["role"] == "master",
        replicas=info.get("connected_slaves", 0),
        used_memory=info["used_memory"],
        max_memory=info.get("maxmemory", 0),
        machine_memory=info.get("total_system_memory", 0),
        is_append_only=bool(info.get("aof_enabled")),
        last_append_failed=info.get("aof_last_write_status", "ok") != "ok",
        last_rewrite_failed=info.get("aof_last_bgrewrite_status", "ok") != "ok",
        clock_ahead_s=await _clock_ahead(ask),
    )


async def _clock_ahead(ask: NodeCommand) -> float:
    asked = time.time()
    seconds, microseconds = await ask("TIME")
    answered = time.time()
    return float(seconds + microseconds / 1e6 - (asked + answered) / 2)
