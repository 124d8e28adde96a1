"""The connections to one target: as many as may be in use at once, kept for a short time after each request.

The name of the target is resolved for each new connection, and its addresses are checked and tried in order.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from typing import Final

from callback_process.addresses import IPNetwork
from callback_process.public_addresses import AddressError, Resolve, checked_addresses, resolve
from callback_server.domain.http_target import HttpTarget
from callback_server.handlers.http.connection import Connection

MAX_IDLE_S: Final = 1.0
"""How long an idle connection is used again, in seconds. If the handler closes it while a request is sent over it, it
is not known whether the handler got that request: so it is shorter than the time after which servers close one, by
default 2 s for gunicorn."""


class NotConnectedError(Exception):
    """There is no connection, so nothing was sent. The text says why."""


class ConnectionPool:
    """Connections to a target."""

    def __init__(
        self,
        target: HttpTarget,
        *,
        tls: Callable[[], ssl.SSLContext | None],
        server_name: str | None,
        private_networks: Sequence[IPNetwork],
        max_in_flight: int,
        resolve: Resolve = resolve,
    ) -> None:
        """Create it without a connection.

        Args:
            target: The target.
            tls: Returns the settings of TLS for a new connection. None: plain text.
            server_name: The name that the certificate must have. None: the host of the target.
            private_networks: Networks that are not public, and in which the target may be.
            max_in_flight: Maximum number of connections in use. Further requests wait for one.
            resolve: Resolves names.
        """
        self._target = target
        self._tls = tls
        self._server_name = server_name or target.host
        self._private_networks = private_networks
        self._resolve = resolve
        self._slots = asyncio.Semaphore(max_in_flight)
        self._idle: dict[Connection, asyncio.TimerHandle] = {}
        """The idle connections, the one that was used last at the end, each with the timer that closes it."""
        self._waits: set[asyncio.Timeout] = set()
        """The time limits of the requests that wait for a connection."""
        self._is_stopped = False
        self._look_up: asyncio.Task[list[str]] | None = None
        """The look-up of the addresses that runs."""

    async def acquire(self, timeout_s: float) -> Connection:
        """Return a connection for one request. Call `release` after it.

        Raises:
            NotConnectedError: There is none in this time, or the pool was stopped.
        """
        try:
            async with asyncio.timeout(timeout_s) as limit:
                self._waits.add(limit)
                try:
                    return await self._take(timeout_s)
                finally:
                    self._waits.discard(limit)
        except TimeoutError:
            stopped = "the server stopped before it could send the call"
            why = stopped if self._is_stopped else f"none was free or could be made in {timeout_s:g} s"
            raise NotConnectedError(why) from None

    def release(self, connection: Connection) -> None:
        """Take a connection back after its request."""
        self._slots.release()
        if connection.end_exchange() and not self._is_stopped:
            timer = asyncio.get_running_loop().call_later(MAX_IDLE_S, self._close_idle, connection)
            self._idle[connection] = timer
        else:
            connection.close()

    def stop(self) -> None:
        """Give no more connections: the requests that wait for one fail."""
        self._is_stopped = True
        for limit in self._waits:
            if not limit.expired():
                limit.reschedule(asyncio.get_running_loop().time())

    def close(self) -> None:
        """Stop, and close the idle connections."""
        self.stop()
        if self._look_up is not None:
            self._look_up.cancel()
        for connection in [*self._idle]:
            self._close_idle(connection)

    async def _take(self, timeout_s: float) -> Connection:
        await self._slots.acquire()
        try:
            if self._is_stopped:
                raise TimeoutError
            while self._idle:
                connection, timer = self._idle.popitem()
                timer.cancel()
                if connection.is_usable:
                    return connection
                connection.close()
            return await self.connect(timeout_s)
        except BaseException:
            self._slots.release()
            raise

    async def connect(self, timeout_s: float) -> Connection:
        """Make a new connection.

        Args:
            timeout_s: How long it may take, in seconds, by the limit of the caller. Each address gets a part of it.

        Raises:
            NotConnectedError: No address can be reached.
        """
        target = self._target
        try:
            addresses = await self._addresses()
        except AddressError as error:
            raise NotConnectedError(str(error)) from None
        loop, tls = asyncio.get_running_loop(), self._tls()
        problem = ""
        for address in addresses:
            try:
                async with asyncio.timeout(timeout_s / len(addresses)):
                    # An address is not resolved again.
                    _, connection = await loop.create_connection(
                        Connection, address, target.port, ssl=tls, server_hostname=self._server_name if tls else None
                    )
                    return connection
            except TimeoutError:
                problem = f"{address} does not answer"
            except (OSError, ssl.CertificateError) as error:
                problem = f"{address}: {_text_of(error)}"
        raise NotConnectedError(problem)

    async def _addresses(self) -> list[str]:
        """Look the addresses up: once for all that wait for them.

        A look-up cannot be stopped. Else each call to a name whose server does not answer would leave one behind.
        """
        if self._look_up is None:
            self._look_up = asyncio.ensure_future(
                checked_addresses(
                    self._target.host,
                    self._target.port,
                    resolve=self._resolve,
                    private_networks=self._private_networks,
                )
            )
            self._look_up.add_done_callback(self._end_look_up)
        return await asyncio.shield(self._look_up)

    def _end_look_up(self, look_up: asyncio.Task[list[str]]) -> None:
        self._look_up = None
        if not look_up.cancelled():
            look_up.exception()  # all that waited for it may be gone

    def _close_idle(self, connection: Connection) -> None:
        self._idle.pop(connection).cancel()
        connection.close()


def _text_of(error: Exception) -> str:
    """Return what is wrong, without the parts of the text that are for programmers."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or type(error).__name__}"
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
