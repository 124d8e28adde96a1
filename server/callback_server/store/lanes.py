"""Sends commands to the store together: those that are asked for at the same time go in one write, on one connection.

A command by itself costs either side a read, a write and a turn of its loop, which is more than most scripts take; and
a durable store writes to disk once for all that came together.

1. Who comes first is sent at once. What comes while all lanes are under way goes with the next that is free.
2. Nothing is sent twice, and what has been sent is not taken back: who was cancelled does not disturb the others.
3. A refusal is the command's own. If a connection fails, or is slow, it is closed, and of what it has not answered by
   then nothing is known; if there is none, nothing was sent for any of those that wait. The others go on.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final, cast

import hiredis
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import AbstractConnection, Connection, ConnectionPool
from redis.exceptions import AskError, AuthenticationError, BusyLoadingError, MovedError, ResponseError, TryAgainError
from redis.exceptions import ConnectionError as RedisConnectionError

from callback_server.store.client import SOCKET_TIMEOUT_S, NotSentError, StoreClient

LANES_AT_ONCE: Final = 2
"""How many connections there are to a store, or to a node of a cluster. While one is answered, the other is filled."""
COMMANDS_AT_ONCE: Final = 128
BYTES_AT_ONCE: Final = 512 * 1024
"""Beyond, commands are not sent together: each of them is to be answered in time."""

Argument = str | bytes | int
_Sent = tuple[bytes, "asyncio.Future[Any]"]
"""A command as it is written, and who gets the reply."""
_REFUSALS: Final = (ResponseError, AuthenticationError, BusyLoadingError)
"""What redis-py makes of a reply. Its other errors are a connection's."""
_ELSEWHERE: Final = (MovedError, AskError, TryAgainError)


class Lanes:
    """The ways to a store, or to the nodes of a cluster."""

    def __init__(self, client: StoreClient) -> None:
        self._client = client
        self._to: dict[str, _Road] = {}
        """By a node's name; "" alone."""
        self._finding_out = asyncio.Lock()
        """Held by who asks a cluster's client, which finds out by that where a slot is now: for all others too."""

    async def send(self, key: str, *command: Argument) -> Any:
        """Sends a command about one key, and returns the reply.

        Raises what redis-py raises; a `NotSentError` only if the command was certainly not sent.
        """
        client = self._client
        packed = hiredis.pack_command(command)  # type: ignore[arg-type]  # a tuple of any length
        if isinstance(client, Redis):
            return await self._road("", client.connection_pool).send(packed)
        await client.initialize()
        node = _node(client, key)
        try:
            return await self._road(node.name, node).send(packed)
        except (NotSentError, *_ELSEWHERE) as error:  # so nothing was done
            if isinstance(error, NotSentError) and self._finding_out.locked():
                raise  # no need to wait for one that can not be reached, and by many
            async with self._finding_out:
                if _node(client, key) is node:  # nobody else knows yet who is there now
                    return await client.execute_command(*command)
        node = _node(client, key)
        return await self._road(node.name, node).send(packed)

    def _road(self, name: str, end: ConnectionPool | ClusterNode) -> _Road:
        road = self._to.get(name)
        if road is None or not road.leads_to(end):  # the cluster was looked at anew
            road = self._to[name] = _Road(end)
        return road


class _Road:
    """The lanes to one end, and what waits for them."""

    def __init__(self, end: ConnectionPool | ClusterNode) -> None:
        self._end = end
        self._waiting = deque[_Sent]()
        self._lanes = set[asyncio.Task[None]]()
        self._open = 0
        """How many lanes are under way, or will be."""
        self._opening = False
        """One of them has not taken anything yet."""

    def leads_to(self, end: ConnectionPool | ClusterNode) -> bool:
        """Whether this is its end."""
        return self._end is end

    def send(self, packed: bytes) -> asyncio.Future[Any]:
        """The reply, to come."""
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((packed, reply))
        self._open_lane()
        return reply

    def _open_lane(self) -> None:
        if self._waiting and not self._opening and self._open < LANES_AT_ONCE:
            self._opening = True
            self._open += 1
            task = asyncio.create_task(self._go())
            self._lanes.add(task)  # the loop itself holds tasks only weakly
            task.add_done_callback(self._lanes.discard)

    async def _go(self) -> None:
        try:
            connection = await _connection(self._end)
        except BaseException as error:
            self._opening, self._open = False, self._open - 1
            waiting, self._waiting = self._waiting, deque()
            _fail(waiting, error, NotSentError)
            if isinstance(error, Exception):
                return
            raise
        self._opening, works = False, True
        try:
            while works and (some := self._take()):
                self._open_lane()  # if it was too much for one
                works = await _exchange(connection, some)
        finally:
            # With no step between this and the last look: what comes from now on opens another.
            self._open -= 1
            self._open_lane()
            await _release(self._end, connection)

    def _take(self) -> list[_Sent]:
        some, size = list[_Sent](), 0
        while self._waiting and len(some) < COMMANDS_AT_ONCE:
            size += len(self._waiting[0][0])
            if some and size > BYTES_AT_ONCE:
                break
            sent = self._waiting.popleft()
            if not sent[1].done():  # else who asked was cancelled
                some.append(sent)
        return some


def _node(client: RedisCluster, key: str) -> ClusterNode:
    return cast("ClusterNode", client.get_node_from_key(key))  # None is said of replicas alone


async def _exchange(connection: AbstractConnection, some: Sequence[_Sent]) -> bool:
    """Sends, and gives each its reply. False: the connection failed, and is closed."""
    try:
        async with asyncio.timeout(SOCKET_TIMEOUT_S):
            await connection.send_packed_command([packed for packed, _ in some], check_health=False)
            for _, reply in some:
                try:
                    # Without a time limit of its own, and with the connection left to us.
                    answer = await connection.read_response(timeout=math.inf, disconnect_on_error=False)
                except _REFUSALS as error:
                    if not reply.done():
                        reply.set_exception(error)
                else:
                    if answer is None:  # of a socket that gave up (ETIMEDOUT); none of our scripts answers nil
                        raise RedisConnectionError("the connection timed out")
                    if not reply.done():
                        reply.set_result(answer)
    except BaseException as error:
        _fail(some, error, RedisConnectionError)
        await connection.disconnect(nowait=True)
        if isinstance(error, Exception):
            return False
        raise
    return True


def _fail(some: Iterable[_Sent], error: BaseException, kind: type[RedisConnectionError]) -> None:
    for _, reply in some:
        if reply.done():
            continue
        if isinstance(error, Exception):
            failure = kind(str(error) or "no reply in time")
            failure.__cause__ = error
            reply.set_exception(failure)
        else:
            reply.cancel()


async def _connection(end: ConnectionPool | ClusterNode) -> AbstractConnection:
    if isinstance(end, ConnectionPool):
        return cast("AbstractConnection", await end.get_connection())  # type: ignore[no-untyped-call]  # redis-py's
    connection = end.acquire_connection()
    try:
        await end.disconnect_if_needed(connection)
        await connection.connect()  # type: ignore[no-untyped-call]  # redis-py's
        if await connection.can_read():  # it is at its end, for nothing was asked. A pool looks by itself
            await connection.disconnect()
            await connection.connect()  # type: ignore[no-untyped-call]  # redis-py's
    except BaseException:
        end.release(connection)
        raise
    return connection


async def _release(end: ConnectionPool | ClusterNode, connection: AbstractConnection) -> None:
    if isinstance(end, ConnectionPool):
        await end.release(connection)
    else:
        end.release(cast("Connection", connection))
