"""Targets of gRPC: whether one names an address and a port, whether it is on this machine, and several servers in one.

A target must name its port because gRPC would silently use port 443. A token in plain text must not leave this machine.
"""

import ipaddress
import re

DEFAULT_TARGET = "127.0.0.1:50051"
"""The address at which `callback up` listens."""

_ADDRESS = re.compile(r"\[([^]]+)\](?::\w+)?|([^:]+)(?::\w+)?")
_HOST = r"(?:[^\s,:/\[\]]+|\[[0-9a-fA-F:.]+(?:%\w+)?\])"
_HOST_PORT = re.compile(rf"{_HOST}:([0-9]{{1,5}})")
_WITHOUT_PORT = re.compile(r"(?:unix|unix-abstract|vsock|xds):/{0,3}[^\s/].*")


def target_problem(target: str) -> str | None:
    """Return what is wrong with a target, as the rest of a sentence that begins with it. None if it is valid."""
    if target.lower().startswith(("http://", "https://")):
        return "is a URL. Use HOST:PORT without a scheme, such as 127.0.0.1:50051"
    if _WITHOUT_PORT.fullmatch(target):
        return None
    scheme, addresses = _parts(target)
    parts = [addresses] if scheme == "dns" else addresses.split(",")
    if all((given := _HOST_PORT.fullmatch(part)) and 0 < int(given[1]) <= 65_535 for part in parts):
        return None
    if any(re.fullmatch(_HOST, part) for part in parts):
        return "has no port. Use HOST:PORT, such as 127.0.0.1:50051"
    return "is not valid. Use HOST:PORT or a gRPC target such as dns:///callback:50051 or unix:/run/callback.sock"


def check_target(target: str, *, needs_name: bool = False) -> None:
    """Check that a target is valid.

    Args:
        target: The target.
        needs_name: Whether TLS is used without the name in the server's certificate: then there must be one server.

    Raises:
        ValueError: It is not. The message says what is wrong with it.
    """
    if problem := target_problem(target):
        raise ValueError(f"the target {target!r} {problem}")
    if needs_name and has_several(target):
        raise ValueError(f"the target {target!r} has several servers, so TLS needs the server_name of all")


def has_several(target: str) -> bool:
    """Return whether a target lists several servers, separated by commas."""
    return "," in _parts(target)[1]


def servers_of(target: str) -> list[str]:
    """Return each server of a target as a target of its own."""
    scheme, servers = _parts(target)
    if scheme == "dns" or _WITHOUT_PORT.fullmatch(target):
        return [target]
    return [f"{scheme}:{each}" if scheme else each for each in servers.split(",")]


def hosts_of(target: str) -> list[tuple[str, str]]:
    """Return the hosts of a valid target with their ports, in order. Empty: gRPC finds the server in a way of its own.

    That is a Unix socket, addresses (`ipv4:`), or a name with the DNS server to ask (`dns://SERVER/HOST:PORT`).
    """
    scheme, servers = _parts(target)
    if _WITHOUT_PORT.fullmatch(target) or scheme in ("ipv4", "ipv6") or re.match("dns://[^/]", target):
        return []
    pairs = (server.rpartition(":") for server in servers.split(","))
    return [(host, port) for host, _, port in pairs]


def is_local(target: str) -> bool:
    """Return whether a target is a Unix socket, or has only loopback addresses.

    Host names are not resolved: `localhost` is the only name that counts as local. A target that cannot be parsed is
    not local.
    """
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    return all(_is_loopback(address) for address in _parts(target)[1].split(","))


def _parts(target: str) -> tuple[str, str]:
    """Return the scheme of a target, empty if it has none, and its address or addresses."""
    scheme, _, rest = target.partition(":")
    if scheme not in ("dns", "ipv4", "ipv6"):
        return "", target
    # In dns://SERVER/HOST:PORT the DNS server comes first.
    return scheme, rest[2:].partition("/")[2] if rest.startswith("//") else rest


def _is_loopback(address: str) -> bool:
    parts = _ADDRESS.fullmatch(address)
    host = address if parts is None else parts[1] or parts[2]
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
