"""gRPC targets: whether one says where to connect, and whether what is sent there stays on this machine.

A token in plain text must not leave it. And gRPC takes the port 443 where none is given, which nobody means.
"""

import ipaddress
import re

DEFAULT_TARGET = "127.0.0.1:50051"
"""The address at which `callback up` listens."""

_ADDRESS = re.compile(r"\[([^]]+)\](?::\w+)?|([^:]+)(?::\w+)?")
_HOST = r"(?:[^\s,:/\[\]]+|\[[0-9a-fA-F:.]+(?:%\w+)?\])"
_HOST_PORT = re.compile(rf"{_HOST}:([0-9]{{1,5}})")
_WITHOUT_PORT = re.compile(r"(?:unix|unix-abstract|vsock|xds):/{0,3}[^\s/].*")


def problem_of(target: str) -> str | None:
    """Return what is wrong with a target, as what follows it in a sentence; None: it says where to connect."""
    if target.lower().startswith(("http://", "https://")):
        return "is a URL; leave http:// away and give HOST:PORT, as in 127.0.0.1:50051"
    if _WITHOUT_PORT.fullmatch(target):
        return None
    scheme, addresses = _parts(target)
    parts = addresses.split(",") if scheme in ("ipv4", "ipv6") else [addresses]
    if all((given := _HOST_PORT.fullmatch(part)) and 0 < int(given[1]) <= 65_535 for part in parts):
        return None
    if any(re.fullmatch(_HOST, part) for part in parts):
        return "has no port; give HOST:PORT, as in 127.0.0.1:50051"
    return "is neither HOST:PORT nor a gRPC target such as dns:///callback:50051 or unix:/run/callback.sock"


def check_target(target: str) -> None:
    """Refuse what does not say where to connect.

    Raises:
        ValueError: The text says what is wrong with it.
    """
    if problem := problem_of(target):
        raise ValueError(f"the target {target!r} {problem}")


def is_local(target: str) -> bool:
    """Whether a target is a Unix socket, or loopback with all of its addresses.

    Names are not looked up: only `localhost` counts. What is not understood is somewhere else.
    """
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    return all(_is_loopback(address) for address in _parts(target)[1].split(","))


def _parts(target: str) -> tuple[str, str]:
    """The scheme of a target, empty if it has none, and its address or addresses."""
    scheme, _, rest = target.partition(":")
    if scheme not in ("dns", "ipv4", "ipv6"):
        return "", target
    # dns://SERVER/HOST:PORT names the DNS server first.
    return scheme, rest[2:].partition("/")[2] if rest.startswith("//") else rest


def _is_loopback(address: str) -> bool:
    parts = _ADDRESS.fullmatch(address)
    host = address if parts is None else parts[1] or parts[2]
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
