"""Addresses of the servers of a target. They are looked up again and again, each time in a thread.

gRPC knows no list of names. It looks a single name up again only when a connection is lost, so it would never use a
server that joins, nor leave an address that the name no longer has.
"""

import asyncio
import contextlib
import ipaddress
import random
import socket
import threading
import time
from concurrent.futures import Future

from callback_shared.targets import hosts_of

GETADDRINFO = socket.getaddrinfo
"""Looks up a name."""
INTERVAL_S = 5.0
"""Longest interval between two look-ups, in seconds. The real one is random, from 80 % of it."""
FAILURE_INTERVAL_S = 1.0
"""Shortest interval between two look-ups because of failures, in seconds."""

_Endpoint = tuple[str, str]
"""An IP address and a port."""


class Addresses:
    """The addresses of a valid target, as a target of gRPC. One thread, or one at a time, may use them.

    A name that does not exist is left out. While the resolver fails, the last addresses stay. If none is known, gRPC is
    left to look up the first name, and to say why that fails.
    """

    def __init__(self, target: str) -> None:
        """Look up nothing yet, unless the target has only IP addresses."""
        hosts = hosts_of(target)
        first = ":".join(hosts[0]) if hosts else ""
        self.target = f"dns:///{first}" if len(hosts) > 1 else target
        """The target as of the last `refresh`."""
        self._hosts = [] if len(hosts) == 1 and _is_address(hosts[0][0]) else hosts
        self.options = (("grpc.default_authority", first),) if len(self._hosts) == 1 else ()
        """The channel options that keep the name, for TLS and in requests. They are not for a TLS name of its own."""
        self._endpoints: dict[_Endpoint, list[_Endpoint]] = {}
        """The addresses of each host, of the last look-up."""
        self._taken = self._endpoints
        """The same, of the last `refresh`."""
        self._used: set[_Endpoint] = set()
        self._search = Future[None]()
        """The end of the last look-up."""
        self._has_looked = False
        self._started_at = self._due_at = -INTERVAL_S
        if all(_is_address(host) for host, _ in self._hosts):
            self._find(self._search)
            self.refresh()
            self._hosts = []
        else:
            self._search.set_result(None)

    @property
    def is_known(self) -> bool:
        """Whether there is nothing to look up, or a look-up has ended."""
        return not self._hosts or self._has_looked

    def refresh(self) -> bool:
        """Take the result of the last look-up, and start the next one if it is due. Return whether the target changed.

        This does not wait.
        """
        self._look_up_if_due()
        if self._taken is self._endpoints:  # most times, in each request of a client
            return False
        self._taken = endpoints = self._endpoints
        order = [endpoint for host in self._hosts for endpoint in endpoints.get(host, ())]
        if not order or self._used == set(order):
            return False
        self._used = set(order)
        self.target = _grpc_target(order)
        return True

    def failed(self) -> None:
        """Look up the names now, or as soon as they may be, because no server was reachable."""
        self._due_at = min(self._due_at, self._started_at + FAILURE_INTERVAL_S)
        self._look_up_if_due()

    def look_up(self) -> Future[None]:
        """Start a look-up, unless one runs, and return its end. It never fails."""
        if self._hosts and self._search.done():
            self._started_at = time.monotonic()
            self._due_at = self._started_at + INTERVAL_S * random.uniform(0.8, 1)  # noqa: S311  # spreads processes
            search = Future[None]()
            # Not a thread of a pool: Python waits for those before it exits, and a resolver can take a minute.
            thread = threading.Thread(target=self._find, args=(search,), name="addresses", daemon=True)
            with contextlib.suppress(RuntimeError):  # no thread can be started, as when Python exits
                thread.start()
                self._search = search
        return self._search

    async def look_up_within(self, timeout_s: float) -> bool:
        """Look up the names now, and `refresh`. After the timeout, in seconds, the last addresses stay."""
        if self._hosts:
            await asyncio.wait([asyncio.wrap_future(self.look_up())], timeout=timeout_s)
        return self.refresh()

    def _look_up_if_due(self) -> None:
        if time.monotonic() >= self._due_at:
            self.look_up()

    def _find(self, search: Future[None]) -> None:
        try:
            self._endpoints = {host: found for host in self._hosts if (found := self._find_host(host))}
        finally:
            self._has_looked = True
            search.set_result(None)

    def _find_host(self, host: _Endpoint) -> list[_Endpoint]:
        name, port = host
        try:
            found = GETADDRINFO(name.strip("[]"), int(port), type=socket.SOCK_STREAM)
        except UnicodeError:  # no name of DNS, such as one with a label of 64 letters
            return []
        except OSError as error:
            return [] if error.errno == socket.EAI_NONAME else self._endpoints.get(host, [])
        return [(str(endpoint[0]), port) for *_, endpoint in found]


def _grpc_target(endpoints: list[_Endpoint]) -> str:
    """Return the target with these addresses, in their order."""
    if not any(":" in ip for ip, _ in endpoints):
        return "ipv4:" + ",".join(dict.fromkeys(f"{ip}:{port}" for ip, port in endpoints))
    # A list has addresses of one kind. An IPv6 socket reaches IPv4 by mapped addresses (RFC 4291, 2.5.5.2).
    ipv6 = [(ip if ":" in ip else f"::ffff:{ip}", port) for ip, port in endpoints]
    return "ipv6:" + ",".join(dict.fromkeys(f"[{ip}]:{port}" for ip, port in ipv6))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
