"""Pipelining: commands that are sent at the same time go to the store in one write, on one connection.

A single command costs each side a read, a write and a turn of its event loop, which is more than most scripts take.
And a durable store writes to disk once for all commands that arrived together.

1. The first command is sent at once. Commands that follow while it is under way wait for its reply and then go
   together. They do not wait long: after `BATCH_WAIT_S` they go on another connection, so that a large body or a slow
   script does not delay all others.
2. Nothing is sent twice, and a sent command is not taken back. A caller that is cancelled does not disturb the
   others.
3. A refusal belongs to one command. When a connection fails, or is too slow, it is closed, and it is unknown whether
   the commands without a reply were done. Commands that wait are left to the other connections. If there is none,
   they were certainly not sent.

This is our own because no library does it. Measured on the real claim script with `appendfsync always`, in commands
per second at 1 / 8 / 32 / 128 commands in flight: this one 2,144 / 6,319 / 8,566 / 11,703, valkey-glide 2.6 1,457 /
4,879 / 8,972 / 11,720, redis-py 2,093 / 4,962 / 8,570 / 11,593; coredis is slower. The processor time of the client
at 32 is 10, 45 and 50 µs per command. And valkey-glide cannot tell a command that was certainly not sent from one
that may have been done, follows ASK without a way to turn that off, and reorders concurrent commands.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable
from typing import Any, Final, cast

import hiredis
from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import ConnectionPool
from redis.exceptions import ClusterDownError, MovedError, RedisClusterException

from callback_server.store import keys
from callback_server.store.connection.client import ClusterClient, StoreClient, StoreConnection, drop_connections
from callback_server.store.connection.errors import NotSentError
from callback_server.store.connection.fence import Fence, Sent
from callback_server.store.connection.pipelined_connection import PackedCommand, PipelinedConnection, fail

CONNECTIONS_PER_NODE: Final = 2
"""Maximum number of connections to a store, or to a node of a cluster. With replicas that confirm writes, twice that.
"""
BATCH_WAIT_S: Final = 0.005
"""How long commands wait for the replies of the commands before them, in seconds."""
MAX_BATCH_COMMANDS: Final = 128
MAX_BATCH_BYTES: Final = 512 * 1024
"""A batch is limited because each of its commands must have its reply in time."""
REOPEN_DELAY_S: Final = 1.0
"""How long to wait before another connection is opened after one could not be opened, in seconds."""
MAX_NODES_TRIED: Final = 5
"""How many nodes a command is sent to, one after another, while its slot moves."""

Argument = str | bytes | int
_NODE_LOST: Final = (NotSentError, ClusterDownError)
"""Errors of a node that cannot be reached or is cut off from its cluster. It did nothing; another may replace it."""


class Pipeline:
    """The pipelined connections to a store, or to the nodes of a cluster."""

    def __init__(self, client: StoreClient, *, replicas: int = 0, fence: Fence | None = None) -> None:
        """Create a pipeline.

        Args:
            client: The client of the store.
            replicas: How many must confirm a durable command before its reply (see replication.py).
            fence: Decides whether the store is one to work on. None: it is.
        """
        self._client = client
        self._replicas = replicas
        self._fence = fence
        self._nodes: dict[tuple[str, int], NodePipeline] = {}
        """The pipelines by the name of the node, which is empty outside of a cluster, and by how many replicas confirm.
        Commands that need no confirmation have their own connections: they do not wait behind those that do."""
        self.refreshing = asyncio.Lock()
        """Held while the client of a cluster finds out where a slot is now, on behalf of all commands."""

    def send(self, key: str, *command: Argument, is_durable: bool = False, sent: Sent | None = None) -> Awaitable[Any]:
        """Send a command about one key and return an awaitable of its reply, which must be awaited at once.

        A durable command has its reply once the required replicas have confirmed it. `sent`, made with the tag of the
        key, then has where it was sent.
        Its errors are those of redis-py, and `NotReplicatedError`. It is a `NotSentError` only if the command was
        certainly not sent.
        """
        packed = hiredis.pack_command(command)  # type: ignore[arg-type]  # a tuple of any length
        replicas = self._replicas if is_durable else 0
        sent = sent or Sent(keys.tag_of(key))
        if isinstance(self._client, Redis):
            return self._node_pipeline("", self._client.connection_pool, replicas).send(packed, key, sent)
        return self._send_in_cluster(self._client, key, packed, replicas, sent)

    async def _send_in_cluster(self, client: ClusterClient, key: str, packed: bytes, replicas: int, sent: Sent) -> Any:
        for _ in range(MAX_NODES_TRIED):
            await client.initialize()
            node = _node(client, key)
            try:
                return await self._node_pipeline(node.name, node, replicas).send(packed, key, sent)
            except MovedError as moved:
                async with self.refreshing:
                    if _node(client, key) is node:  # no other command has found the new node yet
                        await client.nodes_manager.move_slot(moved)
            except _NODE_LOST:
                if self.refreshing.locked():
                    raise  # many commands need not wait for a node that cannot be reached
                async with self.refreshing:  # the client's `execute_command` would close all connections
                    await client.find_nodes_again(node.name)
                if _node(client, key) is node:
                    raise
        raise RedisClusterException("the slot has moved again each time")

    def _node_pipeline(self, name: str, target: ConnectionPool | ClusterNode, replicas: int) -> NodePipeline:
        pipeline = self._nodes.get((name, replicas))
        if pipeline is None or not pipeline.leads_to(target):  # the client has read the nodes of the cluster again
            if isinstance(self._client, ClusterClient):
                self._drain_all_except(self._client.get_primaries())
            pipeline = self._nodes[name, replicas] = NodePipeline(target, replicas, self._fence)
        return pipeline

    def _drain_all_except(self, nodes: list[ClusterNode]) -> None:
        for key, pipeline in [*self._nodes.items()]:
            if not any(pipeline.leads_to(node) for node in nodes):
                self._nodes.pop(key).drain()


class NodePipeline:
    """The connections to one store or node, and the commands that wait for them."""

    def __init__(self, target: ConnectionPool | ClusterNode, replicas: int, fence: Fence | None) -> None:
        self._target = target
        self._replicas = replicas
        self._fence = fence
        self._waiting = deque[PackedCommand]()
        self._is_scheduled = False
        """Whether the next turn of the event loop sends what waits. Until then, more commands may come."""
        self._connections: list[PipelinedConnection] = []
        self._idle: list[StoreConnection] = []
        """Closed connections that belong to this pipeline."""
        self._opening: asyncio.Task[None] | None = None
        self._failed_at = -math.inf
        """When a connection could not be opened last."""
        self._batch_timer: asyncio.TimerHandle | None = None
        self._is_draining = False

    def leads_to(self, target: ConnectionPool | ClusterNode) -> bool:
        """Return whether this pipeline leads to a store or node."""
        return self._target is target

    def drain(self) -> None:
        """Send only what waits, and close each connection when it is free."""
        self._is_draining = True
        self._send_waiting()

    def send(self, packed: bytes, key: str, sent: Sent) -> asyncio.Future[Any]:
        """Send a command and return the future of its reply."""
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[Any] = loop.create_future()
        self._waiting.append((packed, reply, key, sent))
        if not self._is_scheduled:
            self._is_scheduled = True
            loop.call_soon(self._send_scheduled)
        return reply

    def _send_scheduled(self) -> None:
        self._is_scheduled = False
        self._send_waiting()

    def _send_waiting(self) -> None:
        """Send what waits on the connections that are free, and open another one if none is."""
        if self._waiting and self._waits_for_replies():
            return
        for each in [*self._connections]:
            if not each.is_free:
                continue
            if each.connection.should_reconnect():  # type: ignore[no-untyped-call]  # redis-py's
                each.close()
            elif batch := self._next_batch():
                each.send(batch)
            elif self._is_draining:
                each.close()
        if self._waiting and self._opening is None and self._may_open():
            self._opening = asyncio.create_task(self._open())

    def _waits_for_replies(self) -> bool:
        """Return whether what waits must wait longer, because commands were sent just now. Set a timer if it must."""
        loop = asyncio.get_running_loop()
        until = max((each.sent_at for each in self._connections if not each.is_free), default=-math.inf) + BATCH_WAIT_S
        if until <= loop.time():
            return False
        if self._batch_timer is None:
            self._batch_timer = loop.call_at(until, self._end_batch_wait)
        return True

    def _end_batch_wait(self) -> None:
        self._batch_timer = None
        self._send_waiting()

    def _may_open(self) -> bool:
        if not self._connections:
            return True
        is_time = asyncio.get_running_loop().time() >= self._failed_at + REOPEN_DELAY_S
        return is_time and len(self._connections) < CONNECTIONS_PER_NODE

    def _remove(self, closed: PipelinedConnection) -> None:
        self._connections.remove(closed)
        self._idle.append(closed.connection)
        self._send_waiting()

    def _drop_connections(self) -> None:
        """Close all connections of the store, each when it is free. A cluster says itself where a slot is."""
        if isinstance(self._target, ConnectionPool):
            drop_connections(self._target)

    async def _open(self) -> None:
        try:
            connection = await _connected(self._target, self._idle)
            try:
                self._connections.append(
                    PipelinedConnection(
                        connection,
                        replicas=self._replicas,
                        fence=self._fence,
                        on_free=self._send_waiting,
                        on_closed=self._remove,
                        on_no_primary=self._drop_connections,
                    )
                )
            except NotSentError:
                self._idle.append(connection)
                raise
        except BaseException as error:
            self._failed_at = asyncio.get_running_loop().time()
            if not self._connections:
                waiting, self._waiting = self._waiting, deque()
                fail(waiting, error, NotSentError)
            if not isinstance(error, Exception):
                raise
        finally:
            self._opening = None
        self._send_waiting()

    def _next_batch(self) -> list[PackedCommand]:
        batch: list[PackedCommand] = []
        size = 0
        while self._waiting and len(batch) < MAX_BATCH_COMMANDS:
            size += len(self._waiting[0][0])
            if batch and size > MAX_BATCH_BYTES:
                break
            command = self._waiting.popleft()
            if not command[1].done():  # otherwise the sender was cancelled
                batch.append(command)
        return batch


def _node(client: ClusterClient, key: str) -> ClusterNode:
    return cast("ClusterNode", client.get_node_from_key(key))  # it is None only when a replica is asked for


async def _connected(target: ConnectionPool | ClusterNode, idle: list[StoreConnection]) -> StoreConnection:
    """Return a connected connection that no other part uses: an idle one, or a new one from the pool or node."""
    if idle:
        connection = idle.pop()
    elif isinstance(target, ConnectionPool):
        return cast("StoreConnection", await target.get_connection())  # type: ignore[no-untyped-call]  # redis-py's
    else:
        connection = cast("StoreConnection", target.acquire_connection())
    try:
        await connection.disconnect(nowait=True)  # it may be an old one that its node has closed
        await connection.connect()
    except BaseException:
        idle.append(connection)
        raise
    return connection
