"""The nodes of a store that accept writes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio import RedisCluster

from callback_server.store.connection.client import StoreClient

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
