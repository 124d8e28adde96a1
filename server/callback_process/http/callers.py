"""Caller of a request: the peer of its connection, or the address that a trusted proxy names. Pure.

`X-Forwarded-For` and `X-Forwarded-Proto` count only if the peer is one of the operator's proxies. Each proxy appends
the address of its own peer, so the list is read from its end: the last address that is not a trusted proxy is the
caller. A caller can invent every entry before that one.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from callback_process.addresses import IPNetwork

_IPV6_PREFIX: Final = 64
"""Smallest network of one subscriber (RFC 6177): all its addresses count as one."""
_IPV6_SITE_PREFIX: Final = 48
"""Usual largest network of one subscriber (RFC 6177): 65,536 times a /64."""
_WITH_PORT: Final = re.compile(r"([0-9.]+):[0-9]{1,5}|\[([^]]*:[^]]*)\](?::[0-9]{1,5})?")

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Caller:
    """Origin of a request."""

    address: str = ""
    """IP address. IPv4 in IPv6 is IPv4. Empty if unknown."""
    group: str = ""
    """Unit of the limits per address: an IPv4 address, or a /64 of IPv6."""
    site: str = ""
    """The /48 of an IPv6 address, which may belong to one subscriber. Empty for IPv4."""
    is_https: bool = False
    """Whether the caller's own connection uses TLS, as far as is known."""


class CallerResolver:
    """Finds the caller of a request.

    Args:
        trusted_proxies: The proxies whose headers count.
    """

    def __init__(self, trusted_proxies: Iterable[IPNetwork]) -> None:
        self._trusted = tuple(trusted_proxies)

    def peer(self, address: str) -> "Peer":
        """Return the peer of a connection, by its address. An empty address is an unknown peer."""
        parsed = _parse(address)
        return Peer(self, _caller(parsed), is_trusted=parsed is not None and self._is_trusted(parsed))

    def last_untrusted(self, entries: Sequence[str]) -> IPAddress | None:
        """Return the last entry that is not a trusted proxy, the first if all are, or None if that is unknown.

        An entry that is empty or not an address ends the search: a caller can invent the entries before it.
        """
        parsed = None
        for entry in reversed(entries):
            parsed = _parse(_without_port(entry))
            if parsed is None or not self._is_trusted(parsed):
                break
        return parsed

    def _is_trusted(self, address: IPAddress) -> bool:
        return any(address in network for network in self._trusted)


class Peer:
    """Other end of a connection, which may be a proxy."""

    def __init__(self, resolver: CallerResolver, caller: Caller, *, is_trusted: bool) -> None:
        self._resolver = resolver
        self.is_trusted = is_trusted
        """Whether its forwarding headers count."""
        self.caller = caller
        """The peer itself, as a caller."""

    def caller_of(self, headers: Iterable[tuple[bytes, bytes]]) -> Caller:
        """Return the caller of a request from this peer. Names of headers are in lower case."""
        if not self.is_trusted:
            return self.caller
        entries: list[str] = []
        is_https = False
        for name, value in headers:
            if name == b"x-forwarded-for":
                entries += (each.strip(" \t") for each in value.decode("latin-1").split(","))
            elif name == b"x-forwarded-proto":
                is_https = value.rpartition(b",")[2].strip(b" \t").lower() == b"https"
        if address := self._resolver.last_untrusted(entries):
            return _caller(address, is_https=is_https)
        return replace(self.caller, is_https=True) if is_https else self.caller


def _caller(address: IPAddress | None, *, is_https: bool = False) -> Caller:
    if address is None:
        return Caller()
    if address.version == 4:
        return Caller(str(address), str(address), is_https=is_https)
    group, site = (
        str(ipaddress.IPv6Network((address, prefix), strict=False)) for prefix in (_IPV6_PREFIX, _IPV6_SITE_PREFIX)
    )
    return Caller(str(address), group, site, is_https)


def _parse(text: str) -> IPAddress | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])  # a zone means something only on this machine
    except ValueError:
        return None
    return (address.version == 6 and address.ipv4_mapped) or address


def _without_port(entry: str) -> str:
    """Return the address of `ADDRESS`, `IPV4:PORT`, `[IPV6]` or `[IPV6]:PORT`."""
    match = _WITH_PORT.fullmatch(entry)
    return match[1] or match[2] if match else entry
