"""Addresses as text: `HOST:PORT` to listen on, with an IPv6 host in brackets; and networks."""

import ipaddress
from typing import NamedTuple

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


class Address(NamedTuple):
    """Host and TCP port. `parse_bind` reads its `str`."""

    host: str
    """Name or IP address; IPv6 without brackets."""
    port: int
    """0 to 65535. With 0 the system picks a free port."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it. A name other than `localhost` is not resolved."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_bind(text: str) -> Address:
    """Parse an address to listen on.

    Args:
        text: `127.0.0.1:8080`, `localhost:8080` or `[::1]:8080`. With port 0 the system picks a free port.

    Raises:
        ValueError: The text is not an address. The message describes the expected form and does not repeat the text,
            because a value that belongs to another setting can be a secret.
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
    """Parse a network, `10.0.0.0/24` or `2001:db8::/32`, or an address, which is a network of one address.

    IPv4 mapped to IPv6, `::ffff:10.0.0.0/120`, becomes IPv4: systems show IPv4 peers of a dual-stack socket like this.

    Raises:
        ValueError: The text is neither. The message is for the person who wrote it.
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
