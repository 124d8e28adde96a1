"""Addresses to listen on: what gRPC would take for another one, or refuse without a reason, is told before."""

import re
import socket

_UNIX = re.compile(r"(unix|unix-abstract):.+")
_HOST_PORT = re.compile(r"(?:\[([^]]+)\]|([^][:/]+)):([0-9]{1,5})")


def is_unix(address: str) -> bool:
    """Whether an address is a Unix socket."""
    return _UNIX.fullmatch(address) is not None


def check_address(address: str) -> None:
    """Refuse what can not be listened on.

    Raises:
        ValueError: It is no address.
        OSError: It is taken, or not this machine's. The text says which and why.
    """
    if is_unix(address):
        return
    parts = _HOST_PORT.fullmatch(address)
    if parts is None or int(parts[3]) > 65_535:
        raise ValueError(f"{address!r} is no address to listen on: write host:port or unix:/path")
    try:
        _try(parts[1] or parts[2], int(parts[3]))
    except OSError as error:
        raise OSError(f"can not listen on {address}: {error.strerror}") from error


def _try(host: str, port: int) -> None:
    """Listen for a moment on one of the host's addresses: gRPC, too, is content with one."""
    problems = []
    for family, kind, protocol, _, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        try:
            with socket.socket(family, kind, protocol) as listening:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listening.bind(place)
                listening.listen()
                return
        except OSError as error:
            problems.append(error)
    raise problems[0]
