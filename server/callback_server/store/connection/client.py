"""The connection to the store, and what its errors mean to us.

redis-py resends a command by default when its reply is lost. Nothing is resent here: retries are off, and what is safe
to send again is decided where its meaning is known.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager
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
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterError,
    MaxConnectionsError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)
from redis.maint_notifications import MaintNotificationsConfig

from callback_server import metrics

SOCKET_TIMEOUT_S: Final = 2.0
"""How long one command may take. With `appendfsync always` that includes an fsync."""
CONNECT_TIMEOUT_S: Final = 1.0
POOL_SIZE: Final = 64
POOL_WAIT_S: Final = 2.0

StoreClient = Redis | RedisCluster


class StoreError(Exception):
    """The store did not do, or did not say that it did, what it was asked.

    `maybe_done` is False only where it is certain that nothing was changed.
    """

    def __init__(self, message: str, *, maybe_done: bool) -> None:
        super().__init__(message)
        self.maybe_done = maybe_done


class NotSentError(RedisConnectionError):
    """No connection could be made, so nothing was sent."""


class StoreConnection(AbstractConnection):
    """A connection of redis-py, that can be had for another protocol than its streams."""

    async def connect(self) -> None:
        """Connects, if it is not.

        Raises:
            NotSentError: it can not be.
            AuthenticationError: the store does not take who we are.
        """
        try:
            await super().connect()  # type: ignore[no-untyped-call]  # redis-py's
        except AuthenticationError:
            raise  # it was reached, and trying again will not help
        except (RedisConnectionError, RedisTimeoutError, RuntimeError) as error:  # RuntimeError: see store_errors
            raise NotSentError(str(error)) from error

    def taken_over_by(self, protocol: asyncio.Protocol) -> tuple[asyncio.Transport, asyncio.Protocol]:
        """Has another protocol read what comes from now on. Returns what it writes to, and who has read so far.

        Raises:
            NotSentError: the store has closed it already, and who has read so far was told.
        """
        transport = cast("asyncio.StreamWriter", self._writer).transport
        if transport.is_closing() or cast("asyncio.StreamReader", self._reader).at_eof():
            self.let_go()
            raise NotSentError("the store has closed the connection")
        streams = transport.get_protocol()
        transport.set_protocol(protocol)
        return cast("asyncio.Transport", transport), cast("asyncio.Protocol", streams)

    def let_go(self) -> None:
        """Is closed, for redis-py too, and can be connected anew."""
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
"""What a store's URL can begin with."""


def check_url(url: str) -> None:
    """Refuses what is no URL of a store. The text repeats none of it, for it can hold a password.

    Raises:
        ValueError: it begins with none of our schemes, or can not be read.
    """
    scheme = urlsplit(url).scheme if url.isprintable() else ""
    if scheme not in SCHEMES:
        raise ValueError(f"must begin with {', '.join(f'{each}://' for each in SCHEMES)}")
    parts = urlsplit(url)
    try:
        parse_url(url.replace(_CLUSTER, "redis", 1))
        if scheme != "unix" and "@" in f"{parts.path}{parts.query}{parts.fragment}":
            raise ValueError  # the password has a `/`, `?` or `#`; the piece before it would be looked up as the host
    except ValueError:
        raise ValueError(
            "must be a URL as in redis://user:password@host:6379/0, with what is special in a password percent-encoded"
        ) from None


def with_password(url: str, password: str) -> str:
    """A URL of one of our schemes that has no password, with one."""
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}").geturl()


def connect(url: str) -> StoreClient:
    """A client for a URL of one of our schemes: `redis://host:port/db`, `unix:///path`, `redis+cluster://host:port`.

    Connects at the first command. User, password and database are part of the URL, as redis-py reads them.
    """
    options: dict[str, Any] = {
        "socket_timeout": SOCKET_TIMEOUT_S,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
        # On, it makes redis-py 8.1 overlook an unread reply on a pooled connection, and a connection that has died.
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
    scheme = urlsplit(url).scheme
    if scheme == _CLUSTER:
        client = RedisCluster.from_url(
            url.replace(_CLUSTER, "redis", 1),
            max_connections=2 * POOL_SIZE,
            reinitialize_steps=0,  # else the fifth slot that has moved closes the connections of all others
            **options,
        )
        # Its constructor takes no class for its nodes' connections; they are made with these, now and later.
        for known in (client.connection_kwargs, client.nodes_manager.connection_kwargs):
            known["connection_class"] = _TcpConnection
        for node in client.nodes_manager.startup_nodes.values():
            node.connection_class = _TcpConnection
        return client
    pool = BlockingConnectionPool.from_url(url, max_connections=POOL_SIZE, timeout=POOL_WAIT_S, **options)
    pool.connection_class = _CLASSES[scheme]
    return Redis.from_pool(pool)  # and so closes it


_REFUSAL_WORDS: Final = (
    "MISCONF", "BUSY", "NOREPLICAS",
    "UNBLOCKED",  # who waited for mail, as the store became a replica
)  # fmt: skip
"""How the errors begin that redis-py has no class for. Of the others it takes the first word away."""


class _StoreErrors:
    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        match error:
            case None:
                return
            # A RedisClusterException: no node could be reached, or none has the slot.
            case NotSentError() | AuthenticationError() | MaxConnectionsError() | RedisClusterException():
                raise _counted(error, maybe_done=False) from error
            # It does nothing now.
            case BusyLoadingError() | ClusterError() | OutOfMemoryError() | ReadOnlyError() | TryAgainError():
                raise _counted(error, maybe_done=False) from error
            # uvloop says RuntimeError where a connection is found closed at the moment of writing to it.
            case RedisConnectionError() | RedisTimeoutError() | OSError() | RuntimeError():
                # The blocking pool says in this way that no connection became free.
                sent = str(error) != "No connection available."
                raise _counted(error, maybe_done=sent) from error
            case ResponseError():
                if str(error).startswith(_REFUSAL_WORDS):
                    raise _counted(error, maybe_done=False) from error
            case RedisError():
                raise _counted(error, maybe_done=True) from error


_STORE_ERRORS: Final = _StoreErrors()


def store_errors() -> AbstractContextManager[None]:
    """Turns what redis-py raises into `StoreError`. A fault of ours (a script's error) passes through."""
    return _STORE_ERRORS  # no generator: that takes three times as long, for every command


def _counted(error: Exception, *, maybe_done: bool) -> StoreError:
    metrics.STORE_ERRORS.labels("unknown" if maybe_done else "refused").inc()
    return StoreError(str(error), maybe_done=maybe_done)
