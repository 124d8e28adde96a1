"""Reads the names of all keys of the partitions, a few at a time, while the store is in use."""

from __future__ import annotations

from collections.abc import AsyncIterator

from callback_server.store import keys
from callback_server.store.connection.client import StoreClient
from callback_server.store.connection.errors import store_errors
from callback_server.store.connection.nodes import primaries


async def scan_keys(client: StoreClient, count: int) -> AsyncIterator[list[tuple[int, str]]]:
    """Yield the keys of all partitions, about `count` at a time: the partition, and the key without its tag.

    A key that exists throughout is yielded at least once, unless its slot moves meanwhile.

    Raises:
        StoreError: A node did not answer.
    """
    with store_errors():
        nodes = await primaries(client)
    for _name, ask in nodes:
        cursor = "0"
        while True:
            with store_errors():
                position, found = await ask("SCAN", cursor, "MATCH", "{cb:*", "COUNT", str(count))
            if isinstance(position, dict):  # of a cluster: the position at each node
                (position,) = position.values()
            cursor = str(int(position))
            parsed = (keys.parse(key.decode()) for key in found)
            yield [each for each in parsed if each is not None]
            if cursor == "0":
                break
