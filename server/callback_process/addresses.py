"""Addresses as people write them: `HOST:PORT` to listen on, an IPv6 host in brackets; and networks."""

import ipaddress
from typing import NamedTuple

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


class Address(NamedTuple):
    """A host and a TCP port. Its `str` is what `parse_bind` reads."""

    host: str
    """A name or an IP address; IPv6 without its brackets."""
    port: int
    """0 to 65535. 0 asks the system to pick one."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it. A name counts only if it is `localhost`: others are not looked up."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_bind(text: str) -> Address:
    """Read an address to listen on.

    Args:
        text: `127.0.0.1:8080`, `localhost:8080` or `[::1]:8080`; port 0 asks the system to pick one.

    Raises:
        ValueError: it is something else. The message says what is expected; it does not repeat the text, for what was
            meant for another setting can be a secret.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host or any(c.isspace() or c in "/@" for c in host):
        raise ValueError("must be HOST:PORT, as in 127.0.0.1:8080")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise ValueError("must have an IPv6 address in the brackets, as in [::1]:8080") from None
    elif ":" in host:
        raise ValueError("must have its IPv6 address in brackets, as in [::1]:8080")
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ValueError("must have a port from 0 to 65535")
    return Address(host, int(port))


def parse_network(text: str) -> IPNetwork:
    """Read a network, `10.0.0.0/24` or `2001:db8::/32`, or an address, which is a network of one.

    IPv4 in IPv6, `::ffff:10.0.0.0/120`, is IPv4: so a system shows who came to a socket that serves both.

    Raises:
        ValueError: it is something else, in words for who wrote it.
    """
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError("must be an address or a network, as in 10.0.0.1 or 10.0.0.0/24") from None
    address = ipaddress.ip_network(text.partition("/")[0])
    if network.prefixlen < network.max_prefixlen and address.network_address != network.network_address:
        raise ValueError(f"must be {network} for the network, or {address.network_address} for the address alone")
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    return ipaddress.IPv4Network((mapped, network.prefixlen - 96)) if mapped else network
