"""Whether what is sent to a gRPC target stays on this machine: a token in plain text must not leave it."""

import ipaddress
import re

_ADDRESS = re.compile(r"\[([^]]+)\](?::\w+)?|([^:]+)(?::\w+)?")


def is_local(target: str) -> bool:
    """Whether a target is a Unix socket, or loopback with all of its addresses.

    Names are not looked up: only `localhost` counts. What is not understood is somewhere else.
    """
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    scheme, _, rest = target.partition(":")
    if scheme in ("dns", "ipv4", "ipv6"):  # dns://SERVER/HOST:PORT names the DNS server first
        target = rest[2:].partition("/")[2] if rest.startswith("//") else rest
    return all(_is_loopback(address) for address in target.split(","))


def _is_loopback(address: str) -> bool:
    parts = _ADDRESS.fullmatch(address)
    host = address if parts is None else parts[1] or parts[2]
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
