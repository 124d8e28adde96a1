"""Fetch of keys and certificates over HTTPS. The settings decide which URLs are fetched, never a caller alone.

1. The addresses of a host are checked after its name is resolved, and the connection is made to a checked address. The
   name is not resolved again. TLS verifies the certificate for the name.
2. Redirects are not followed, and compressed answers are refused. Size and time are limited.
3. Environment variables for proxies have no effect. Behind a proxy of the settings, the proxy resolves the names.
"""

from __future__ import annotations

import asyncio
import functools
import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpcore

from callback_process.addresses import IPNetwork
from callback_process.public_addresses import AddressError, Resolve, checked_addresses, resolve

MAX_BYTES: Final = 256 * 1024
"""Size limit of an answer, in bytes."""
TIME_LIMIT_S: Final = 10.0
"""Time limit of a fetch, from the look-up of the name to the last byte, in seconds."""
CONNECT_TIMEOUT_S: Final = 3.0
"""Time limit of a connection to one address, in seconds."""
_MAX_AGE: Final = re.compile(r"(?:^|[,\s])max-age=\"?([0-9]{1,9})")
_NOT_FRESH: Final = re.compile(r"(?:^|[,\s])no-(?:cache|store)\b")
_NUMBER: Final = re.compile(r"[0-9]{1,9}")


class FetchError(Exception):
    """Nothing usable was fetched. The text says why, and contains nothing of the content."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """Answer of a source."""

    content: bytes
    fresh_s: float | None
    """Time for which the answer is fresh, by its Cache-Control, in seconds. None: the source does not say."""


class Fetcher:
    """Fetcher of small files. It keeps no connections.

    Args:
        proxy: URL of an HTTP proxy for all fetches, which then resolves and checks the names. None: connect directly.
        private_networks: Networks that are not public and whose addresses can be reached all the same.
        resolve: Resolves names.
        network: Makes connections. None: TCP.
        tls: Settings of TLS. None: trust the authorities of the system.
        time_limit_s: Time limit of a fetch, in seconds. None: `TIME_LIMIT_S`.
    """

    def __init__(
        self,
        proxy: str | None = None,
        *,
        private_networks: Sequence[IPNetwork] = (),
        resolve: Resolve = resolve,
        network: httpcore.AsyncNetworkBackend | None = None,
        tls: ssl.SSLContext | None = None,
        time_limit_s: float | None = None,
    ) -> None:
        self._proxy = proxy
        self._network = network or httpcore.AnyIOBackend()
        self._resolve = resolve
        self._private_networks = private_networks
        self._given_tls = tls
        self._time_limit_s = TIME_LIMIT_S if time_limit_s is None else time_limit_s

    async def fetch(self, url: str) -> Fetched:
        """Fetch a URL that the settings allow.

        Raises:
            FetchError: The source is not public, does not answer in time, or not as it must.
        """
        # A proxy resolves and checks the names itself.
        network = _Network(self._network, self._resolve if self._proxy is None else None, self._private_networks)
        try:
            async with (
                asyncio.timeout(self._time_limit_s),
                self._pool(network) as pool,
                self._answer(pool, url) as answer,
            ):
                return await _read(answer)
        except (TimeoutError, httpcore.TimeoutException):
            raise FetchError(f"no complete answer within {self._time_limit_s:g} s") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError) as error:
            raise FetchError(_text_of(error)) from None
        finally:
            await network.close()

    def _pool(self, network: httpcore.AsyncNetworkBackend) -> httpcore.AsyncConnectionPool:
        if self._proxy is not None:
            return httpcore.AsyncHTTPProxy(self._proxy, ssl_context=self._tls, network_backend=network)
        return httpcore.AsyncConnectionPool(ssl_context=self._tls, network_backend=network)

    def _answer(self, pool: httpcore.AsyncConnectionPool, url: str) -> Any:
        headers = [("accept", "*/*"), ("accept-encoding", "identity"), ("user-agent", "callback-server")]
        times = dict.fromkeys(("connect", "read", "write", "pool"), self._time_limit_s)
        return pool.stream("GET", url, headers=headers, extensions={"timeout": times})

    @functools.cached_property
    def _tls(self) -> ssl.SSLContext:
        return self._given_tls or ssl.create_default_context()


class _Network(httpcore.AsyncNetworkBackend):
    """Network on which only public addresses can be reached, and those of the given networks.

    It can close its connections: httpcore leaves one open if its TLS handshake is cancelled. Without `resolve`, it
    connects to the host of a proxy.
    """

    def __init__(
        self,
        network: httpcore.AsyncNetworkBackend,
        resolve: Resolve | None,
        private_networks: Sequence[IPNetwork],
    ) -> None:
        self._network = network
        self._resolve = resolve
        self._private_networks = private_networks
        self._streams: list[httpcore.AsyncNetworkStream] = []

    async def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, *args: Any, **options: Any
    ) -> httpcore.AsyncNetworkStream:
        """Connect to a host, by one of its addresses if all of them are public."""
        addresses = [host] if self._resolve is None else await self._checked_addresses(self._resolve, host, port)
        problem = FetchError(f"{host} has no address")
        for address in addresses:
            wait_s = timeout if self._resolve is None else CONNECT_TIMEOUT_S
            try:
                # An address is not resolved again.
                stream = await self._network.connect_tcp(address, port, wait_s, *args, **options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                problem = FetchError(f"{host} cannot be reached at {address}: {_text_of(error)}")
            else:
                self._streams.append(stream)
                return stream
        raise problem

    async def _checked_addresses(self, resolve: Resolve, host: str, port: int) -> list[str]:
        try:
            return await checked_addresses(host, port, resolve=resolve, private_networks=self._private_networks)
        except AddressError as error:
            raise FetchError(str(error)) from None

    async def close(self) -> None:
        for stream in self._streams:
            await stream.aclose()


async def _read(answer: httpcore.Response) -> Fetched:
    headers = [(name.lower(), value.decode("latin-1")) for name, value in answer.headers]
    if answer.status != 200:
        redirect = ", a redirect, which is not followed" if 300 <= answer.status < 400 else ""
        raise FetchError(f"the answer is a {answer.status}{redirect}")
    if any(name == b"content-encoding" and value.strip().lower() != "identity" for name, value in headers):
        raise FetchError("the answer is compressed")
    chunks, size = [], 0
    async for chunk in answer.aiter_stream():
        size += len(chunk)
        if size > MAX_BYTES:
            raise FetchError(f"the answer has more than {MAX_BYTES} bytes")
        chunks.append(chunk)
    return Fetched(b"".join(chunks), _fresh_s(headers))


def _fresh_s(headers: Sequence[tuple[bytes, str]]) -> float | None:
    """Return the time for which an answer is fresh (RFC 9111, 4.2), in seconds."""
    control = ",".join(value for name, value in headers if name == b"cache-control").lower()
    if _NOT_FRESH.search(control):
        return 0.0
    found = _MAX_AGE.search(control)
    if found is None:
        return None
    ages = [int(value) for name, value in headers if name == b"age" and _NUMBER.fullmatch(value)]
    return float(max(0, int(found[1]) - max(ages, default=0)))


def _text_of(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
