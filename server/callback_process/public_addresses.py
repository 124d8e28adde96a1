"""Addresses of hosts that a setting names, checked before a connection: public ones, and those of allowed networks.

A name is resolved once for a connection, and all of its addresses are checked. The connection is then made to a checked
address, so that a name that changes its address leads nowhere else.
"""

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from callback_process.addresses import IPNetwork

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

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns the addresses of a host and port; raises OSError."""


class AddressError(Exception):
    """A host cannot be resolved, or has an address that is not allowed. The text says which."""


def is_public(address: str) -> bool:
    """Return whether an address is one of the public internet, for a single host."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return found.is_global and not found.is_multicast and not any(found in network for network in _NOT_PUBLIC)


async def resolve(host: str, port: int) -> Sequence[str]:
    """Return the addresses of a host, as the system resolves it.

    It has a thread of its own. The event loop has four for all, and a name server that does not answer would keep them:
    the system cannot stop a look-up.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[Sequence[str]] = loop.create_future()

    def look_up() -> None:
        try:
            addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            settle = partial(found.set_result, [str(address[0]) for *_, address in addresses])
        except (OSError, UnicodeError) as error:
            settle = partial(found.set_exception, error)
        with suppress(RuntimeError):  # the event loop has ended
            loop.call_soon_threadsafe(lambda: found.done() or settle())

    threading.Thread(target=look_up, name="look-up", daemon=True).start()
    return await found


async def checked_addresses(
    host: str, port: int, *, resolve: Resolve, private_networks: Sequence[IPNetwork]
) -> list[str]:
    """Return the addresses of a host, in the order in which to try them.

    Args:
        host: A name or an address.
        port: The port.
        resolve: Resolves names.
        private_networks: Networks that are not public and whose addresses are allowed all the same.

    Raises:
        AddressError: There is none, or one is neither public nor in these networks.
    """
    try:
        addresses = list(dict.fromkeys(await resolve(host, port)))
    except OSError as error:
        raise AddressError(f"{host} cannot be resolved: {error.strerror or 'no answer'}") from None
    except UnicodeError:  # no name of DNS, such as one with a label of 64 letters
        raise AddressError(f"{host} cannot be resolved: it is no name of a host") from None
    for address in addresses:
        if not is_public(address) and not _is_within(address, private_networks):
            raise AddressError(f"{host} has the address {address}, which is not public")
    if not addresses:
        raise AddressError(f"{host} has no address")
    return addresses[:MAX_ADDRESSES]


def _is_within(address: str, networks: Sequence[IPNetwork]) -> bool:
    try:
        return any(ipaddress.ip_address(address) in network for network in networks)
    except ValueError:
        return False
