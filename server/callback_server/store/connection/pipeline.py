"""Sends commands to the store together: those that are asked for at the same time go in one write, on one connection.

A command by itself costs either side a read, a write and a turn of its loop, which is more than most scripts take; and
a durable store writes to disk once for all that came together.

1. Who comes first is sent at once. What comes while that is under way waits for its replies, and then goes together;
   but not for long: then it goes on another connection, for a large body or a slow script is no reason for all to wait.
2. Nothing is sent twice, and what has been sent is not taken back: who was cancelled does not disturb the others.
3. A refusal is the command's own. If a connection fails, or is slow, it is closed, and of what it has not answered by
   then nothing is known. What waits is left to the others; if there is none, nothing was sent for any of it.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Iterable, Sequence
from typing import Any, Final, cast

import hiredis
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import ConnectionPool, DefaultParser
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    InvalidResponse,
    RedisClusterException,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from callback_server.store.connection.client import SOCKET_TIMEOUT_S, NotSentError, StoreClient, StoreConnection

CONNECTIONS_PER_NODE: Final = 2
"""How many connections there are to a store, or to a node of a cluster."""
PATIENCE_S: Final = 0.005
"""How long what comes waits for the replies of what was sent last, in seconds."""
COMMANDS_AT_ONCE: Final = 128
BYTES_AT_ONCE: Final = 512 * 1024
"""Beyond, commands are not sent together: each of them is to be answered in time."""
OPEN_AGAIN_S: Final = 1.0
"""How long those that there are do without one that could not be opened."""
NODES_AT_MOST: Final = 5
"""How many nodes a command is sent to, one after another, while its slot moves on."""

Argument = str | bytes | int
_Sent = tuple[bytes, "asyncio.Future[Any]"]
"""A command as it is written, and who gets the reply."""
_REFUSALS: Final = (ResponseError, AuthenticationError, BusyLoadingError)
"""What redis-py makes of a reply. Its other errors are a connection's."""
_ELSEWHERE: Final = (AskError, TryAgainError)
"""What a node says that knows who has the slot, MOVED among it. It did nothing."""
_AWAY: Final = (NotSentError, ClusterDownError)
"""A node that can not be reached, or is cut off from its cluster, and did nothing: another one may have its place."""
_NOT_YET: Final = object()
"""In place of a reply that is not whole."""


class Pipeline:
    """The ways to a store, or to the nodes of a cluster."""

    def __init__(self, client: StoreClient) -> None:
        self._client = client
        self._to: dict[str, NodePipeline] = {}
        """By a node's name; "" alone."""
        self._finding_out = asyncio.Lock()
        """Held by who asks a cluster's client, which finds out by that where a slot is now: for all others too."""

    def send(self, key: str, *command: Argument) -> Awaitable[Any]:
        """Sends a command about one key. Gives the reply, to come, which is to be awaited at once.

        Its errors are those of redis-py; a `NotSentError` only if the command was certainly not sent.
        """
        packed = hiredis.pack_command(command)  # type: ignore[arg-type]  # a tuple of any length
        if isinstance(self._client, Redis):
            return self._road("", self._client.connection_pool).send(packed)
        return self._send_in_cluster(self._client, key, packed, command)

    async def _send_in_cluster(
        self, client: RedisCluster, key: str, packed: bytes, command: tuple[Argument, ...]
    ) -> Any:
        for _ in range(NODES_AT_MOST):
            await client.initialize()
            node = _node(client, key)
            try:
                return await self._road(node.name, node).send(packed)
            except _ELSEWHERE:
                async with self._finding_out:
                    if _node(client, key) is node:  # nobody else knows yet who is there now
                        return await client.execute_command(*command)
            except _AWAY:
                if self._finding_out.locked():
                    raise  # no need to wait for one that can not be reached, and by many
                async with self._finding_out:  # by the client's `execute_command` it would close all connections
                    await client.nodes_manager.initialize(last_failed_node_name=node.name)
                if _node(client, key) is node:
                    raise
        raise RedisClusterException("the slot has moved on each time")

    def _road(self, name: str, end: ConnectionPool | ClusterNode) -> NodePipeline:
        road = self._to.get(name)
        if road is None or not road.leads_to(end):  # the cluster was looked at anew
            if isinstance(self._client, RedisCluster):
                self._leave_all_but(self._client.get_primaries())
            road = self._to[name] = NodePipeline(end)
        return road

    def _leave_all_but(self, nodes: list[ClusterNode]) -> None:
        for name, road in [*self._to.items()]:
            if not any(road.leads_to(node) for node in nodes):
                self._to.pop(name).leave()


class NodePipeline:
    """The lanes to one end, and what waits for them."""

    def __init__(self, end: ConnectionPool | ClusterNode) -> None:
        self._end = end
        self._waiting = deque[_Sent]()
        self._is_going = False
        """What waits is looked at in the next turn of the loop: until then more may come, to go together."""
        self._lanes: list[PipelinedConnection] = []
        self._idle: list[StoreConnection] = []
        """Connections that are ours, and closed."""
        self._opening: asyncio.Task[None] | None = None
        self._failed_at = -math.inf
        """When another one could not be opened."""
        self._patience: asyncio.TimerHandle | None = None
        self._is_left = False

    def leads_to(self, end: ConnectionPool | ClusterNode) -> bool:
        """Whether this is its end."""
        return self._end is end

    def leave(self) -> None:
        """Has its connections closed, each once it is free: nothing is sent any more but what waits."""
        self._is_left = True
        self.go_on()

    def send(self, packed: bytes) -> asyncio.Future[Any]:
        """The reply, to come."""
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[Any] = loop.create_future()
        self._waiting.append((packed, reply))
        if not self._is_going:
            self._is_going = True
            loop.call_soon(self._go)
        return reply

    def _go(self) -> None:
        self._is_going = False
        self.go_on()

    def go_on(self) -> None:
        """Sends what waits, as far as lanes are free, and has another one opened if they are not."""
        if self._waiting and self._waits_for_replies():
            return
        for lane in [*self._lanes]:
            if not lane.is_free:
                continue
            if lane.connection.should_reconnect():  # type: ignore[no-untyped-call]  # redis-py's
                lane.close()
            elif some := self._take():
                lane.send(some)
            elif self._is_left:
                lane.close()
        if self._waiting and self._opening is None and self._may_open():
            self._opening = asyncio.create_task(self._open())

    def _waits_for_replies(self) -> bool:
        """Has what waits looked at again in time, if a lane was sent something just now. False: it need not wait."""
        loop = asyncio.get_running_loop()
        until = max((lane.sent_at for lane in self._lanes if not lane.is_free), default=-math.inf) + PATIENCE_S
        if until <= loop.time():
            return False
        if self._patience is None:
            self._patience = loop.call_at(until, self._wait_no_longer)
        return True

    def _wait_no_longer(self) -> None:
        self._patience = None
        self.go_on()

    def _may_open(self) -> bool:
        if not self._lanes:
            return True
        is_time = asyncio.get_running_loop().time() >= self._failed_at + OPEN_AGAIN_S
        return is_time and len(self._lanes) < CONNECTIONS_PER_NODE

    def closed(self, lane: PipelinedConnection) -> None:
        """Does without a lane."""
        self._lanes.remove(lane)
        self._idle.append(lane.connection)
        self.go_on()

    async def _open(self) -> None:
        try:
            connection = await _connected(self._end, self._idle)
            try:
                self._lanes.append(PipelinedConnection(self, connection))
            except NotSentError:
                self._idle.append(connection)
                raise
        except BaseException as error:
            self._failed_at = asyncio.get_running_loop().time()
            if not self._lanes:
                waiting, self._waiting = self._waiting, deque()
                _fail(waiting, error, NotSentError)
            if not isinstance(error, Exception):
                raise
        finally:
            self._opening = None
        self.go_on()

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


class PipelinedConnection(asyncio.Protocol):
    """A connection that redis-py has made, and what was sent on it. It reads and writes by itself.

    redis-py takes several turns of the loop, a timer and a task for what is one write and one read here.
    """

    def __init__(self, road: NodePipeline, connection: StoreConnection) -> None:
        self.connection = connection
        self._road = road
        self._sent = deque[_Sent]()
        """What has no reply yet."""
        self._replies = hiredis.Reader(
            protocolError=InvalidResponse, replyError=DefaultParser.parse_error, notEnoughData=_NOT_YET
        )
        self.sent_at = 0.0
        """When something was sent last."""
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._transport, self._streams = connection.taken_over_by(self)

    @property
    def is_free(self) -> bool:
        """Whether something can be sent now."""
        return not self._sent and not self._transport.is_closing()

    def send(self, some: Sequence[_Sent]) -> None:
        """Sends commands. Only while it is free."""
        loop = asyncio.get_running_loop()
        self._sent.extend(some)
        self.sent_at = loop.time()
        if self._timer is None:
            self._timer = loop.call_at(self.sent_at + SOCKET_TIMEOUT_S, self._look)
        self._transport.write(b"".join([packed for packed, _ in some]))

    def close(self) -> None:
        """Closes it; nothing is under way."""
        self._close(RedisConnectionError("closed"))

    def data_received(self, data: bytes) -> None:
        """Gives each its reply."""
        try:
            self._replies.feed(data)
            while (answer := self._replies.gets()) is not _NOT_YET:
                self._answer(answer)
        except (RedisConnectionError, InvalidResponse) as error:
            self._close(error)
            return
        if not self._sent:
            self._road.go_on()

    def eof_received(self) -> None:
        """The store has closed the connection."""
        self._close(RedisConnectionError("the store has closed the connection"))

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is no more."""
        self._streams.connection_lost(exc)  # whoever closes it by redis-py waits for that
        self._close(exc or RedisConnectionError("the connection was closed"))

    def _answer(self, answer: Any) -> None:
        if isinstance(answer, hiredis.PushNotification):
            return
        if not self._sent:
            raise InvalidResponse("a reply to nothing")
        if isinstance(answer, Exception) and not isinstance(answer, _REFUSALS):
            raise answer
        _, reply = self._sent.popleft()
        if reply.done():  # who asked was cancelled
            return
        if isinstance(answer, Exception):
            reply.set_exception(answer)
        else:
            reply.set_result(answer)

    def _look(self) -> None:
        """Gives up if the replies are late. One timer does for all that is sent in its time."""
        self._timer = None
        if not self._sent:
            return
        loop = asyncio.get_running_loop()
        late_at = self.sent_at + SOCKET_TIMEOUT_S
        if loop.time() < late_at:
            self._timer = loop.call_at(late_at, self._look)
        else:
            self._close(TimeoutError("no reply in time"))

    def _close(self, error: Exception) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._transport.abort()
        self.connection.let_go()
        _fail(self._sent, error, RedisConnectionError)
        self._road.closed(self)


def _node(client: RedisCluster, key: str) -> ClusterNode:
    return cast("ClusterNode", client.get_node_from_key(key))  # None is said of replicas alone


def _fail(some: Iterable[_Sent], error: BaseException, kind: type[RedisConnectionError]) -> None:
    for _, reply in some:
        if reply.done():
            continue
        if isinstance(error, Exception):
            failure = kind(str(error))
            failure.__cause__ = error
            reply.set_exception(failure)
        else:
            reply.cancel()


async def _connected(end: ConnectionPool | ClusterNode, idle: list[StoreConnection]) -> StoreConnection:
    """A connection that nobody else has: one of these, or one more, which is then ours."""
    if idle:
        connection = idle.pop()
    elif isinstance(end, ConnectionPool):
        return cast("StoreConnection", await end.get_connection())  # type: ignore[no-untyped-call]  # redis-py's
    else:
        connection = cast("StoreConnection", end.acquire_connection())
    try:
        await connection.disconnect(nowait=True)  # it may be an old one, whose node has closed it
        await connection.connect()
    except BaseException:
        idle.append(connection)
        raise
    return connection
