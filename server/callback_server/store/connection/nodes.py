"""The nodes of a store that accept writes."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from callback_server.store.connection.client import ClusterClient, StoreClient

NodeCommand = Callable[..., Awaitable[Any]]


async def primaries(client: StoreClient) -> list[tuple[str, NodeCommand]]:
    """Return every node that accepts writes: its address ("" outside of a cluster), and how to send it a command."""
    if not isinstance(client, ClusterClient):
        return [("", client.execute_command)]
    await client.initialize()  # before its first command the client knows no nodes

    def on(node: Any) -> NodeCommand:
        async def ask(*command: str) -> Any:
            return await client.execute_command(*command, target_nodes=node)

        return ask

    return [(node.name, on(node)) for node in client.get_primaries()]


def attached_replicas(info: Mapping[str, Any]) -> int:
    """Return how many replicas are connected to a node, from its `INFO replication`.

    `connected_slaves` counts connections: also a backup (`redis-cli --rdb`), which has no port, and for a time the
    former connection of a replica that has connected again.
    """
    connected = [each for name, each in info.items() if re.fullmatch(r"slave\d+", name)]
    return len({(each["ip"], each["port"]) for each in connected if each["port"]})
