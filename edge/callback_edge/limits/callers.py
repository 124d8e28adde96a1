"""Who a request comes from: its connection's peer, or whom a trusted proxy names. Pure.

`X-Forwarded-For` and `X-Forwarded-Proto` count only from a peer that the operator lists; from anyone else they are
words like all the rest. Each proxy appends whom it was reached by, so the list is read from its end: whoever is not a
trusted proxy is the caller, and what stands before that is the caller's own invention.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from callback_process.addresses import IPNetwork

_IPV6_PREFIX: Final = 64
"""What one subscriber has at least (RFC 6177): all its addresses count as one."""
_IPV6_SITE_PREFIX: Final = 48
"""What one subscriber has at most, as a rule (RFC 6177): 65,536 times a /64."""
_WITH_PORT: Final = re.compile(r"([0-9.]+):[0-9]{1,5}|\[([^]]*:[^]]*)\](?::[0-9]{1,5})?")

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Caller:
    """Where a request comes from."""

    address: str = ""
    """Of the caller. IPv4 in IPv6 is IPv4. Empty if it is not known."""
    group: str = ""
    """What counts as one caller: an IPv4 address, or a /64 of IPv6."""
    site: str = ""
    """Of IPv6 the /48, whose callers may all be one; else empty."""
    is_https: bool = False
    """Whether the caller's own connection was TLS, as far as is known."""


class Callers:
    """Tells who the caller is.

    Args:
        trusted: the proxies whose word counts.
    """

    def __init__(self, trusted: Iterable[IPNetwork]) -> None:
        self._trusted = tuple(trusted)

    def peer(self, address: str) -> "Peer":
        """Return the other end of a connection, by its address; empty if it has none."""
        parsed = _parse(address)
        return Peer(self, _caller(parsed), is_trusted=parsed is not None and self._is_trusted(parsed))

    def named_in(self, entries: Sequence[str]) -> IPAddress | None:
        """Return the last of these who is no trusted proxy; the first, if all are; None if that can not be said.

        An entry that is empty or no address ends the search: what stands before it may be the caller's invention.
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
    """The other end of a connection, which may be a proxy."""

    def __init__(self, callers: Callers, caller: Caller, *, is_trusted: bool) -> None:
        self._callers = callers
        self.is_trusted = is_trusted
        """Whether its word about who the caller is counts."""
        self.caller = caller
        """The peer itself, as a caller."""

    def caller_of(self, headers: Iterable[tuple[bytes, bytes]]) -> Caller:
        """Return who sent a request that came from here. Names of headers are in lower case."""
        if not self.is_trusted:
            return self.caller
        entries: list[str] = []
        is_https = False
        for name, value in headers:
            if name == b"x-forwarded-for":
                entries += (each.strip(" \t") for each in value.decode("latin-1").split(","))
            elif name == b"x-forwarded-proto":
                is_https = value.rpartition(b",")[2].strip(b" \t").lower() == b"https"
        named = self._callers.named_in(entries)
        return _caller(named, is_https=is_https) if named else replace(self.caller, is_https=is_https)


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
        address = ipaddress.ip_address(text.partition("%")[0])  # a zone is this machine's word, not the caller's
    except ValueError:
        return None
    return (address.version == 6 and address.ipv4_mapped) or address


def _without_port(entry: str) -> str:
    """Return the address of `ADDRESS`, `IPV4:PORT`, `[IPV6]` or `[IPV6]:PORT`."""
    match = _WITH_PORT.fullmatch(entry)
    return match[1] or match[2] if match else entry
