"""Checks at start-up that the settings and the version of a store are safe.

An acknowledged step must survive a crash and a power loss (README, "What is promised"), which depends on the store. A
store that may lose data is refused, and the error names the setting to change.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, cast

from redis.asyncio import RedisCluster
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from callback_server.store import keys
from callback_server.store.connection.client import StoreClient
from callback_server.store.connection.errors import StoreError, store_errors
from callback_server.store.script_arguments import numbers
from callback_server.store.scripts import Script

MIN_REDIS: Final = (7, 0)
MIN_VALKEY: Final = (8, 0)
UPGRADE_SCHEMA: Final = Script("upgrade_schema", numbers("version", "partitions"), key="schema")

_HIDDEN: Final = (
    "the store hides its settings (CONFIG GET is refused); make sure of appendonly yes, appendfsync always and "
    "maxmemory-policy noeviction, then set store_durability to unchecked"
)


class Durability(enum.StrEnum):
    """How durable the store is, as the operator declares it."""

    ALWAYS = "always"
    """`appendfsync always`: every acknowledged step is on disk. A store with another value is refused."""
    EVERYSEC = "everysec"
    """`appendfsync everysec`: a power loss can lose the last second. A crash of the store alone loses nothing."""
    UNCHECKED = "unchecked"
    """The store hides its settings, as managed stores do. The operator is responsible for them."""


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
        stored = await client.execute_command(
            "EVAL",
            UPGRADE_SCHEMA.source,
            1,
            keys.SCHEMA_KEY,
            *UPGRADE_SCHEMA.pack(version=keys.SCHEMA_VERSION, partitions=keys.PARTITIONS),
        )
        if different := layout_problem(stored.decode(errors="replace")):
            raise UnsafeStoreError(different)


async def setting_problems(client: StoreClient, durability: Durability) -> list[str]:
    """Return all problems with the settings and the versions of a store. Only reads. Call it within `refusals`."""
    wrong: list[str] = []
    for _name, ask in await primaries(client):
        wrong += _version_problems(cast("Mapping[str, Any]", await ask("INFO", "server")))
        if durability is not Durability.UNCHECKED:
            wrong += await _setting_problems(ask, durability)
    return list(dict.fromkeys(wrong))


async def stored_layout(client: StoreClient) -> str | None:
    """Return the layout of the store as `version:partitions`. None: the store is new. Call it within `refusals`."""
    stored = cast("bytes | None", await client.get(keys.SCHEMA_KEY))
    return None if stored is None else stored.decode(errors="replace")


def layout_problem(stored: str | None) -> str | None:
    """Return the problem with the layout of a store, if its version is not ours or next to ours."""
    if stored is None:
        return None
    version, ours = re.fullmatch(r"([1-9]\d{0,8}):(\d{1,9})", stored), keys.SCHEMA_VERSION
    if version is None or int(version[2]) != keys.PARTITIONS:
        advice = "use another store"
    elif int(version[1]) > ours + 1:
        advice = "use the release that raised it, or the one before that"
    elif int(version[1]) < ours - 1:
        advice = "run the releases between first, one after the other"
    else:
        return None
    return (
        f"the store is laid out as {stored} (version:partitions) and this release works with "
        f"{max(ours - 1, 1)} to {ours + 1}:{keys.PARTITIONS}; {advice}"
    )


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


NodeCommand = Callable[..., Awaitable[Any]]


async def primaries(client: StoreClient) -> list[tuple[str, NodeCommand]]:
    """Return every node that accepts writes: its address ("" outside of a cluster), and how to send it a command."""
    if not isinstance(client, RedisCluster):
        return [("", client.execute_command)]
    await client.initialize()  # before its first command the client knows no nodes

    def on(node: Any) -> NodeCommand:
        async def ask(*command: str) -> Any:
            return await client.execute_command(*command, target_nodes=node)

        return ask

    return [(node.name, on(node)) for node in client.get_primaries()]


def _version_problems(info: Mapping[str, Any]) -> list[str]:
    name, minimum = ("valkey", MIN_VALKEY) if info.get("server_name") == "valkey" else ("redis", MIN_REDIS)
    version = str(info[f"{name}_version"])
    if tuple(int(part) for part in version.split(".")[:2]) < minimum:
        return [f"{name.capitalize()} {version} is too old; use {'.'.join(map(str, minimum))} or newer"]
    return []


async def _setting_problems(ask: NodeCommand, durability: Durability) -> list[str]:
    try:
        settings = {
            name: (await ask("CONFIG GET", name))[name]
            for name in ("appendonly", "appendfsync", "no-appendfsync-on-rewrite", "maxmemory-policy")
        }
    except (NoPermissionError, ResponseError, KeyError):
        return [_HIDDEN]
    wrong = []
    if settings["appendonly"] != "yes":
        wrong.append("appendonly is no, so the store loses everything when it stops; set appendonly yes")
    elif settings["appendfsync"] == "no" or (
        settings["appendfsync"] != "always" and durability is not Durability.EVERYSEC
    ):
        accept = ", or accept that with store_durability everysec" if durability is Durability.ALWAYS else ""
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
