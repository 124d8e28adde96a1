"""The disk of a store on this machine: a full one ends Redis and Valkey, which cannot say why any more.

With `appendfsync always` a store exits at its first write that fails. So the directory of its data is read while it
answers, and its disk is looked at when it does not. A store on another machine can only say it in an error reply.
"""

from __future__ import annotations

import os
from typing import Final

from redis.exceptions import ResponseError

from callback_process.addresses import Address
from callback_server.store.connection.client import ClusterClient, StoreClient
from callback_server.store.connection.nodes import primaries

FULL_BYTES: Final = 1024 * 1024
"""A disk with less free space than this is full, in bytes: a store fails before the last byte is used."""
DISK_FULL: Final = "the disk of the store is full"
"""How the problem of a full disk begins."""
_NO_SPACE: Final = "No space left on device"
"""What a store that goes on without its disk says in the replies to writes."""


async def local_directories(client: StoreClient) -> frozenset[str]:
    """Return the directories on this machine in which the nodes of a store keep their data. Only reads.

    Call it within `safety.refusals`.
    """
    found = set[str]()
    own = {} if isinstance(client, ClusterClient) else client.connection_pool.connection_kwargs
    for name, ask in await primaries(client):
        host = name.rpartition(":")[0] or own.get("host", "")
        if "path" in own or Address(host, 0).is_loopback:
            try:
                found.add(str((await ask("CONFIG GET", "dir"))["dir"]))
            except (ResponseError, KeyError):  # it hides its settings
                continue
    return frozenset(found)


def why_full(directories: frozenset[str], errors: str) -> str:
    """Return that a disk of the store is full, and which. Empty: none is, as far as this machine can know.

    Args:
        directories: The directories of its data on this machine.
        errors: What the store has said, or what the client says of it.
    """
    for directory in sorted(directories):
        try:
            disk = os.statvfs(directory)
        except OSError:  # it is in a container, or this user cannot reach it
            continue
        free = disk.f_bavail * disk.f_frsize
        if free < FULL_BYTES:
            return f"{DISK_FULL}: {directory} has {free // 1024} KiB left"
    return f"{DISK_FULL}: {errors}" if _NO_SPACE in errors else ""
