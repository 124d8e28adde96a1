"""Listen addresses of a handler server.

gRPC silently takes some malformed addresses for another one, and gives no reason for refusing others. These checks run
before it, and raise errors that do.
"""

import re
import socket

_UNIX = re.compile(r"(unix|unix-abstract):.+")
_HOST_PORT = re.compile(r"(?:\[([^]]+)\]|([^][:/]+)):([0-9]{1,5})")


def is_unix(address: str) -> bool:
    """Return whether an address is a Unix socket."""
    return _UNIX.fullmatch(address) is not None


def check_listen_address(address: str) -> None:
    """Check that a server can listen on an address.

    Raises:
        ValueError: The address is malformed.
        OSError: The address is in use, or does not belong to this machine.
    """
    if is_unix(address):
        return
    parts = _HOST_PORT.fullmatch(address)
    if parts is None or int(parts[3]) > 65_535:
        raise ValueError(f"cannot listen on {address!r}: use HOST:PORT or unix:/path")
    try:
        _try_to_listen(parts[1] or parts[2], int(parts[3]))
    except OSError as error:
        raise OSError(f"cannot listen on {address}: {error.strerror}") from error


def _try_to_listen(host: str, port: int) -> None:
    """Listen for a moment on one of the addresses of the host. gRPC requires only one, too."""
    problems = []
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        try:
            with socket.socket(family, kind, protocol) as listener:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(address)
                listener.listen()
                return
        except OSError as error:
            problems.append(error)
    raise problems[0]
