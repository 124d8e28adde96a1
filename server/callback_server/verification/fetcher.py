"""Fetch of keys and certificates over HTTPS. The settings decide which URLs are fetched, never a caller alone.

1. The addresses of a host are checked after its name is resolved, and the connection is made to a checked address. The
   name is not resolved again. TLS verifies the certificate for the name.
2. Redirects are not followed, and compressed answers are refused. Size and time are limited.
3. Environment variables for proxies have no effect. Behind a proxy of the settings, the proxy resolves the names.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpcore

from callback_process.addresses import IPNetwork

MAX_BYTES: Final = 256 * 1024
"""Size limit of an answer, in bytes."""
TIME_LIMIT_S: Final = 10.0
"""Time limit of a fetch, from the look-up of the name to the last byte, in seconds."""
CONNECT_TIMEOUT_S: Final = 3.0
"""Time limit of a connection to one address, in seconds."""
MAX_ADDRESSES: Final = 3
"""Number of addresses of a host that are tried."""

_NOT_PUBLIC: Final = [
    ipaddress.ip_network(each)
    for each in (
        "192.0.0.0/24",  # for protocols, RFC 6890
        "192.88.99.0/24",  # 6to4 relays, RFC 7526
        "::/96",  # addresses that contain an IPv4 address: compatible, RFC 4291
        "::ffff:0:0/96",  # mapped, RFC 4291
        "64:ff9b::/96",  # NAT64, RFC 6052
        "64:ff9b:1::/48",  # NAT64, RFC 8215
        "2001::/32",  # Teredo, RFC 4380
        "2002::/16",  # 6to4, RFC 3056
        "3fff::/20",  # documentation, RFC 9637
        "5f00::/16",  # segment routing, RFC 9602
        "fec0::/10",  # site-local, RFC 3879
    )
]
"""Networks that reach other addresses, or that Python 3.11 counts as global."""
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


Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns the addresses of a host and port; raises OSError."""


def is_public(address: str) -> bool:
    """Return whether an address is one of the public internet, for a single host."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return found.is_global and not found.is_multicast and not any(found in network for network in _NOT_PUBLIC)


async def resolve(host: str, port: int) -> Sequence[str]:
    """Return the addresses of a host, as the system resolves it."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


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
        problem: Exception = FetchError(f"{host} has no address")
        for address in addresses[:MAX_ADDRESSES]:
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
            addresses = list(dict.fromkeys(await resolve(host, port)))
        except OSError as error:
            raise FetchError(f"{host} cannot be resolved: {error.strerror or 'no answer'}") from None
        for address in addresses:
            if not is_public(address) and not _is_within(address, self._private_networks):
                raise FetchError(f"{host} has the address {address}, which is not public")
        return addresses

    async def close(self) -> None:
        for stream in self._streams:
            await stream.aclose()


def _is_within(address: str, networks: Sequence[IPNetwork]) -> bool:
    try:
        return any(ipaddress.ip_address(address) in network for network in networks)
    except ValueError:
        return False


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
