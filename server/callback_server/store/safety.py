"""Checks that the settings, the version and the replicas of a store are safe: at start-up, and again while it serves.

An acknowledged step must survive a crash and a power loss (README, "Promises"), which depends on the store. A
store that may lose data is refused, and the error names the setting to change. A failover leads to another node, which
may have other settings.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Self, cast

from redis.exceptions import AuthenticationError, NoPermissionError, ReadOnlyError, ResponseError

from callback_server.store.connection.client import ClusterClient, StoreClient
from callback_server.store.connection.errors import StoreError, store_errors
from callback_server.store.connection.nodes import NodeCommand, attached_replicas, primaries
from callback_server.store.connection.sentinels import Sentinels
from callback_server.store.engines import engine_problems, read_server_info
from callback_server.store.schema import upgrade_schema

HIDDEN: Final = (
    "the store hides its settings (CONFIG GET is refused); make sure of appendonly yes, appendfsync always and "
    "maxmemory-policy noeviction, then set store_durability to unchecked"
)
"""The problem of a store whose settings cannot be read."""


class Fsync(enum.StrEnum):
    """When a step is on the disk of a node, as the operator declares it."""

    ALWAYS = "always"
    """`appendfsync always`: every acknowledged step is on disk. A store with another value is refused."""
    EVERYSEC = "everysec"
    """`appendfsync everysec`: a power loss can lose the last second. A crash of the store alone loses nothing."""
    UNCHECKED = "unchecked"
    """The store hides its settings, as managed stores do. The operator is responsible for them."""


@dataclass(frozen=True, slots=True)
class Durability:
    """How durable the store is, as the operator declares it."""

    fsync: Fsync
    replicas: int = 0
    """How many replicas have every acknowledged step on disk: all that a primary has."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the durability that a setting names.

        Raises:
            ValueError: It names none.
        """
        if replicated := re.fullmatch(r"replicated:([1-9])", text):
            return cls(Fsync.ALWAYS, int(replicated[1]))
        if text not in tuple(Fsync):
            raise ValueError("must be always, everysec, unchecked, or replicated:N with N = 1 to 9")
        return cls(Fsync(text))


class UnsafeStoreError(Exception):
    """The store is not safe. The text names the setting to change."""


async def check_store(client: StoreClient, durability: Durability) -> None:
    """Refuse a store that is unsafe, too old, or has another layout. Set the layout of a new store (see keys.py).

    Raises:
        UnsafeStoreError: The store has problems; the text names all of them.
        StoreError: The store cannot be reached.
    """
    with refusals():
        wrong = await setting_problems(client, durability)
        if wrong:
            raise UnsafeStoreError("; ".join(wrong))
        if different := await upgrade_schema(client):
            raise UnsafeStoreError(different)


async def setting_problems(client: StoreClient, durability: Durability) -> list[str]:
    """Return all problems with the settings and the versions of a store. Only reads. Call it within `refusals`."""
    wrong: list[str] = []
    for _name, ask in await primaries(client):
        wrong += engine_problems(await read_server_info(ask))
        if durability.fsync is not Fsync.UNCHECKED:
            wrong += await _setting_problems(ask, durability.fsync)
        if durability.replicas:
            wrong += await _replica_problems(client, ask, durability.replicas)
    return list(dict.fromkeys(wrong))


async def _replica_problems(client: StoreClient, ask: NodeCommand, waited_for: int) -> list[str]:
    """Return the problems that keep an acknowledged step from surviving every failover.

    WAIT and WAITAOF count any replicas. So each replica must be waited for: one that cannot be elected would stand in
    for one that can.

    Raises:
        ReadOnlyError: The node is not the primary any more, as after a failover that is not noticed yet.
    """
    try:
        await ask("WAITAOF", "0", "0", "1")
    except ResponseError as error:
        if "unknown command" in str(error).lower():
            needed = "use Redis 7.2 or Valkey 7.2 or newer"
            return [f"it does not know WAITAOF, which store_durability replicated needs; {needed}"]
        if (await ask("INFO", "replication"))["role"] != "master":  # a replica refuses it
            raise ReadOnlyError("the node is not the primary any more") from error
        raise
    known = await known_replicas(client, ask)
    if known > waited_for:
        seen = f"a primary has {known} replicas and store_durability replicated:{waited_for} waits for {waited_for}"
        advice = f"set store_durability replicated:{known}, or remove a replica, also one that is never elected"
        return [f"{seen}, so a failover can lose acknowledged calls; {advice}"]
    return []


async def known_replicas(client: StoreClient, ask: NodeCommand) -> int:
    """Return how many replicas a primary has, with those that cluster or Sentinels know and that are away."""
    attached = attached_replicas(await ask("INFO", "replication"))
    if isinstance(client, ClusterClient):
        nodes = cast("Mapping[str, Mapping[str, Any]]", await ask("CLUSTER NODES"))
        myself = next(node["node_id"] for node in nodes.values() if "myself" in node["flags"])
        return max(attached, [node["master_id"] for node in nodes.values()].count(myself))
    sentinels = client.connection_pool.connection_kwargs.get("sentinels")
    return max(attached, await sentinels.count_replicas()) if isinstance(sentinels, Sentinels) else attached


@contextmanager
def refusals() -> Iterator[None]:
    """Raise `StoreError` for a store that cannot be reached, and `UnsafeStoreError` for one that refuses a command."""
    try:
        with store_errors():
            yield
    except StoreError as error:
        if isinstance(error.__cause__, AuthenticationError):
            raise UnsafeStoreError(f"it refuses user or password of store_url: {error}") from error
        raise
    except ResponseError as error:  # the store answers and refuses: no such database, no permission
        # The store repeats a command that it does not know with its arguments. One of HELLO and AUTH is the password.
        said = str(error).partition(", with args")[0]
        raise UnsafeStoreError(f"it refuses a command: {said}") from None


async def _setting_problems(ask: NodeCommand, fsync: Fsync) -> list[str]:
    try:
        settings = {
            name: (await ask("CONFIG GET", name))[name]
            for name in ("appendonly", "appendfsync", "no-appendfsync-on-rewrite", "maxmemory-policy")
        }
    except (NoPermissionError, ResponseError, KeyError):
        return [HIDDEN]
    wrong = []
    if settings["appendonly"] != "yes":
        wrong.append("appendonly is no, so the store loses everything when it stops; set appendonly yes")
    elif settings["appendfsync"] == "no" or (settings["appendfsync"] != "always" and fsync is not Fsync.EVERYSEC):
        accept = ", or accept that with store_durability everysec" if fsync is Fsync.ALWAYS else ""
        wrong.append(
            f"appendfsync is {settings['appendfsync']}, so a power loss loses acknowledged calls; "
            f"set appendfsync always{accept}"
        )
    elif settings["no-appendfsync-on-rewrite"] != "no":
        wrong.append(
            "no-appendfsync-on-rewrite is yes, so nothing is on disk while the file is rewritten; "
            "set no-appendfsync-on-rewrite no"
        )
    if settings["maxmemory-policy"] != "noeviction":
        wrong.append(
            f"maxmemory-policy is {settings['maxmemory-policy']}, so a full store deletes cases; "
            "set maxmemory-policy noeviction"
        )
    return wrong
