"""Checks at start-up that the settings and the version of a store are safe.

An acknowledged step must survive a crash and a power loss (README, "What is promised"), which depends on the store. A
store that may lose data is refused, and the error names the setting to change.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, cast

from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from callback_server.store.connection.client import StoreClient
from callback_server.store.connection.errors import StoreError, store_errors
from callback_server.store.connection.nodes import NodeCommand, primaries
from callback_server.store.schema import layout_problem, upgrade_schema

MIN_REDIS: Final = (7, 0)
MIN_VALKEY: Final = (8, 0)

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
        if different := layout_problem(await upgrade_schema(client)):
            raise UnsafeStoreError(different)


async def setting_problems(client: StoreClient, durability: Durability) -> list[str]:
    """Return all problems with the settings and the versions of a store. Only reads. Call it within `refusals`."""
    wrong: list[str] = []
    for _name, ask in await primaries(client):
        wrong += _version_problems(cast("Mapping[str, Any]", await ask("INFO", "server")))
        if durability is not Durability.UNCHECKED:
            wrong += await _setting_problems(ask, durability)
    return list(dict.fromkeys(wrong))


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
