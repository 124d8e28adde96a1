"""The client of the store, and the connections that it makes. Nothing is resent: retries are off (see errors.py)."""

from __future__ import annotations

import asyncio
from typing import Any, Final, cast
from urllib.parse import quote, urlsplit

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AskError, AuthenticationError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.maint_notifications import MaintNotificationsConfig

from callback_server.store.connection.errors import NotSentError, refused_ask

SOCKET_TIMEOUT_S: Final = 2.0
"""Timeout of one command, in seconds. With `appendfsync always`, that includes an fsync."""
CONNECT_TIMEOUT_S: Final = 1.0
POOL_SIZE: Final = 64
POOL_WAIT_S: Final = 2.0

StoreClient = Redis | RedisCluster


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


_CLASSES: Final = {"redis": _TcpConnection, "rediss": _TlsConnection, "unix": _UnixConnection}
_CLUSTER: Final = "redis+cluster"
SCHEMES: Final = (*_CLASSES, _CLUSTER)
"""The schemes of a store URL."""


def check_url(url: str) -> None:
    """Refuse a text that is not a URL of a store. The error repeats nothing of it, because it can hold a password.

    Raises:
        ValueError: The text has none of our schemes, or cannot be parsed.
    """
    scheme = urlsplit(url).scheme if url.isprintable() else ""
    if scheme not in SCHEMES:
        raise ValueError(f"must begin with {', '.join(f'{each}://' for each in SCHEMES)}")
    parts = urlsplit(url)
    try:
        parse_url(url.replace(_CLUSTER, "redis", 1))
        if scheme != "unix" and "@" in f"{parts.path}{parts.query}{parts.fragment}":
            raise ValueError  # the password has a `/`, `?` or `#`, and the text before that would be taken for the host
    except ValueError:
        raise ValueError(
            "must be a URL such as redis://user:password@host:6379/0, "
            "with special characters of the password percent-encoded"
        ) from None


def with_password(url: str, password: str) -> str:
    """Return a URL that has no password with this one."""
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}").geturl()


def connect(url: str) -> StoreClient:
    """Return a client for a URL: `redis://host:port/db`, `unix:///path` or `redis+cluster://host:port`.

    The client connects at its first command. User, password and database are part of the URL, as redis-py reads them.
    """
    options: dict[str, Any] = {
        "socket_timeout": SOCKET_TIMEOUT_S,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
        # If enabled, redis-py 8.1 overlooks an unread reply on a pooled connection, and a connection that was lost.
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
    scheme = urlsplit(url).scheme
    if scheme == _CLUSTER:
        client = RedisCluster.from_url(
            url.replace(_CLUSTER, "redis", 1),
            max_connections=2 * POOL_SIZE,
            reinitialize_steps=0,  # otherwise the fifth slot that has moved closes all connections
            **options,
        )
        # The constructor accepts no class for the connections of its nodes. They are made with these arguments.
        for known in (client.connection_kwargs, client.nodes_manager.connection_kwargs):
            known["connection_class"] = _TcpConnection
        for node in client.nodes_manager.startup_nodes.values():
            node.connection_class = _TcpConnection
        return client
    pool = BlockingConnectionPool.from_url(url, max_connections=POOL_SIZE, timeout=POOL_WAIT_S, **options)
    pool.connection_class = _CLASSES[scheme]
    return Redis.from_pool(pool)  # a client that is made so closes its pool
