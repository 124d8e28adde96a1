"""The client of the store, and the connections that it makes. Nothing is resent: retries are off (see errors.py)."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any, Final, Self, cast
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    ConnectionPool,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.driver_info import DriverInfo
from redis.exceptions import AskError, AuthenticationError, RedisClusterException
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.maint_notifications import MaintNotificationsConfig

from callback_server.store.connection.errors import NO_PRIMARY, NotSentError, refused_ask
from callback_server.store.connection.sentinels import Sentinels
from callback_server.store.connection.store_url import Topology, parse_store_url

SOCKET_TIMEOUT_S: Final = 2.0
"""Timeout of one command, in seconds. With `appendfsync always`, that includes an fsync."""
CONNECT_TIMEOUT_S: Final = 1.0
POOL_SIZE: Final = 64
POOL_WAIT_S: Final = 2.0


class StoreConnection(AbstractConnection):
    """A connection of redis-py that another protocol can take over from its streams."""

    async def connect(self) -> None:
        """Connect, unless it is connected.

        Raises:
            NotSentError: The store cannot be reached.
            AuthenticationError: The store refuses user or password.
        """
        try:
            await super().connect()  # type: ignore[no-untyped-call]  # redis-py's
        except AuthenticationError:
            raise  # the store was reached, and another attempt does not help
        except (RedisConnectionError, RedisTimeoutError, RuntimeError) as error:  # RuntimeError: see errors.py
            raise NotSentError(str(error)) from error

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """Return the next reply. It is never an ASK, which redis-py would follow.

        Raises:
            RedisError: The reply is an error, or there is none.
        """
        try:
            return await super().read_response(*args, **kwargs)
        except AskError as error:
            raise refused_ask(error) from None
        except NO_PRIMARY:
            self.mark_for_reconnect()  # type: ignore[no-untyped-call]  # redis-py's
            raise

    def hand_over(self, protocol: asyncio.Protocol) -> tuple[asyncio.Transport, asyncio.Protocol]:
        """Let another protocol read the connection from now on.

        Returns:
            The transport to write to, and the protocol that has read so far.

        Raises:
            NotSentError: The store has closed the connection already.
        """
        transport = cast("asyncio.StreamWriter", self._writer).transport
        if transport.is_closing() or cast("asyncio.StreamReader", self._reader).at_eof():
            self.release()
            raise NotSentError("the store has closed the connection")
        streams = transport.get_protocol()
        transport.set_protocol(protocol)
        return cast("asyncio.Transport", transport), cast("asyncio.Protocol", streams)

    def release(self) -> None:
        """Close the connection for redis-py too, so that it can be connected again."""
        self._parser.on_disconnect()  # type: ignore[no-untyped-call]  # redis-py's
        self.reset_should_reconnect()  # type: ignore[no-untyped-call]  # redis-py's
        self._close()  # type: ignore[no-untyped-call]  # redis-py's


class _TcpConnection(StoreConnection, Connection):
    pass


class _TlsConnection(StoreConnection, SSLConnection):
    pass


class _UnixConnection(StoreConnection, UnixDomainSocketConnection):
    pass


class _FoundBySentinels(StoreConnection):
    """A connection to the node that is the primary whenever it connects."""

    def __init__(self, *, sentinels: Sentinels, **options: Any) -> None:
        super().__init__(**options)
        self._sentinels = sentinels

    async def connect(self) -> None:
        """Find the primary and connect to it, unless it is connected.

        Raises:
            NotSentError: The Sentinels do not know a primary, or it cannot be reached.
            AuthenticationError: It refuses user or password.
        """
        if not self.is_connected:
            self.host, self.port = await self._sentinels.find_primary()
        await super().connect()


class _SentinelTcpConnection(_FoundBySentinels, _TcpConnection):
    pass


class _SentinelTlsConnection(_FoundBySentinels, _TlsConnection):
    pass


class ClusterClient(RedisCluster):
    """A client that asks the addresses of its URL again where no node that it knows can be reached.

    redis-py forgets them once it has found the nodes, whose addresses can all become others.
    """

    def __init__(self, addresses: list[tuple[str, int]], *, is_tls: bool, **options: Any) -> None:
        """Create a client. `options` are the arguments of redis-py."""
        super().__init__(startup_nodes=[ClusterNode(*each) for each in addresses], ssl=is_tls, **options)
        # The constructor accepts no class for the connections of its nodes. They are made with these arguments.
        kind = _TlsConnection if is_tls else _TcpConnection
        for known in (self.connection_kwargs, self.nodes_manager.connection_kwargs):
            known["connection_class"] = kind
        self._of_url = dict(self.nodes_manager.startup_nodes)
        for node in self._of_url.values():
            node.connection_class = kind

    async def initialize(self, *args: Any, **kwargs: Any) -> Self:
        """Find the nodes, unless they are known.

        Raises:
            RedisClusterException: None can be reached, or not all slots are served.
        """
        await self._or_by_url(functools.partial(super().initialize, *args, **kwargs))
        return self

    async def find_nodes_again(self, failed: str) -> None:
        """Find out which nodes there are now. `failed` is the name of one that failed, which is asked last.

        Raises:
            RedisClusterException: As for `initialize`.
        """
        await self._or_by_url(functools.partial(self.nodes_manager.initialize, last_failed_node_name=failed))

    async def _or_by_url(self, find: Callable[[], Awaitable[Any]]) -> None:
        """Find the nodes, if need be again by the addresses of the URL that were forgotten."""
        try:
            await find()
        except RedisClusterException:
            known = self.nodes_manager.startup_nodes
            forgotten = {name: node for name, node in self._of_url.items() if name not in known}
            if not forgotten:
                raise
            known.update(forgotten)
            await find()


StoreClient = Redis | ClusterClient
_DRIVER: Final = DriverInfo()
"""What connections say of themselves. redis-py would look for its version in its metadata for each of them."""
_CLASSES: Final = {"redis": _TcpConnection, "rediss": _TlsConnection, "unix": _UnixConnection}


def connect(url: str) -> StoreClient:
    """Return a client for a URL (see store_url.py).

    The client connects at its first command.
    """
    options: dict[str, Any] = {
        "socket_timeout": SOCKET_TIMEOUT_S,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
        "driver_info": _DRIVER,
        # If enabled, redis-py 8.1 overlooks an unread reply on a pooled connection, and a connection that was lost.
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
    parsed = parse_store_url(url)
    if parsed.topology is Topology.CLUSTER:
        return ClusterClient(
            parsed.addresses,
            is_tls=parsed.is_tls,
            max_connections=2 * POOL_SIZE,
            reinitialize_steps=0,  # otherwise the fifth slot that has moved closes all connections
            **options,
            **{name: value for name, value in parsed.options.items() if name != "db"},
        )
    limits: dict[str, Any] = {"max_connections": POOL_SIZE, "timeout": POOL_WAIT_S}
    if parsed.topology is Topology.SENTINEL:
        of_sentinel = options | dict(parsed.sentinel_options) | ({"ssl": True} if parsed.is_tls else {})
        pool = BlockingConnectionPool(
            connection_class=_SentinelTlsConnection if parsed.is_tls else _SentinelTcpConnection,
            sentinels=Sentinels(parsed.addresses, parsed.service, of_sentinel),
            **limits,
            **options,
            **parsed.options,
        )
    else:
        pool = BlockingConnectionPool.from_url(url, **limits, **options)
        pool.connection_class = _CLASSES[urlsplit(url).scheme]
    return Redis.from_pool(pool)  # a client that is made so closes its pool


def drop_connections(pool: ConnectionPool) -> None:
    """Close the connections of a pool: those in use once they are free. The node is no longer the primary."""
    for idle in pool._available_connections:  # noqa: SLF001  # redis-py closes them only in a coroutine
        cast("StoreConnection", idle).release()
    for used in pool._in_use_connections:  # noqa: SLF001  # likewise
        used.mark_for_reconnect()  # type: ignore[no-untyped-call]  # redis-py's
