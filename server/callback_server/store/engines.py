"""Which engine a store is, by what it says of itself in INFO, and which engines cannot keep the promises.

Every engine below also reports a `redis_version`, for clients that know Redis only. What identifies it is a field of
its own, as its source shows (read in November 2026): `dragonfly_version` in dragonfly `src/server/server_family.cc`,
`garnet_version` in garnet `libs/server/Metrics/Info/GarnetInfoMetrics.cs`, `kvrocks_version` in kvrocks
`src/server/server.cc`, and `mvcc_depth` of the section `keydb` in KeyDB `src/server.cpp`. An engine without such a
field is taken for what it says that it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from callback_server.store.connection.nodes import NodeCommand

MIN_REDIS: Final = (7, 0)
MIN_VALKEY: Final = (7, 2)

_USE: Final = "use Valkey or Redis"
_REFUSED: Final[Mapping[str, tuple[str, str]]] = {
    "dragonfly_version": ("Dragonfly", "it has no append-only file, so a stop loses acknowledged calls"),
    "garnet_version": ("Garnet", "it has no streams and no WAITAOF, which callbacks and their durability need"),
    "kvrocks_version": ("Kvrocks", "it has no append-only file, and by default a power loss loses acknowledged calls"),
    "mvcc_depth": ("KeyDB", "it is a fork of Redis 6, without what scripts and durability need of Redis 7"),
}
"""By its field: the engine, and why it is refused. `docs/operations.md` has the sources."""

SERVICES: Final = ("Amazon ElastiCache", "Amazon MemoryDB")
"""What `os` of INFO names in a managed store."""
REDIS_ENTERPRISE: Final = "Redis Enterprise"
"""The product behind Azure Managed Redis (its documentation, "Architecture"). Its own modules recognize it by the field
`rlec_version` of INFO (RedisTimeSeries, `src/config.c`)."""


def product_of(info: Mapping[str, Any]) -> tuple[str, str]:
    """Return the name and the version of an engine, from its `INFO`."""
    for field, (name, _why) in _REFUSED.items():
        if field in info:
            return name, str(info[field] if field.endswith("_version") else info["redis_version"])
    if info.get("server_name") == "valkey":
        return "Valkey", str(info["valkey_version"])
    return "Redis", str(info["redis_version"])


async def read_server_info(ask: NodeCommand) -> Mapping[str, Any]:
    """Return the `INFO server` of a node, with what identifies KeyDB, which says that only in a section of its own."""
    info: Mapping[str, Any] = await ask("INFO", "server")
    return info if product_of(info)[0] != "Redis" else {**info, **await ask("INFO", "keydb")}


def service_of(info: Mapping[str, Any]) -> str:
    """Return the managed store that an `INFO server` names, or its product. Empty: none that is known."""
    if "rlec_version" in info:
        return REDIS_ENTERPRISE
    return next((name for name in SERVICES if info.get("os") == name), "")


def engine_problems(info: Mapping[str, Any]) -> list[str]:
    """Return why an engine cannot be used, from what `read_server_info` returns."""
    for field, (name, why) in _REFUSED.items():
        if field in info:
            return [f"the store is {name}: {why}; {_USE}"]
    name, version = product_of(info)
    minimum = MIN_VALKEY if name == "Valkey" else MIN_REDIS
    if tuple(int(part) for part in version.split(".")[:2]) < minimum:
        return [f"{name} {version} is too old; use {'.'.join(map(str, minimum))} or newer"]
    return []
