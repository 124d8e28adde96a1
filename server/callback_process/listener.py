"""Listening sockets."""

import socket

from callback_process.addresses import Address, parse_bind


def listen(bind: str) -> socket.socket:
    """Listen on `HOST:PORT`, and accept nothing yet. Port 0 picks a free port.

    Raises:
        OSError: The address is in use, or does not belong to this machine. The text names the address and the reason.
    """
    host, port = parse_bind(bind)
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # ignore connections of an earlier run
        listening.bind((host, port))
        listening.listen()  # with SO_REUSEADDR two processes can bind an address; only one can listen
    except OSError as error:
        listening.close()
        raise OSError(f"cannot listen on {bind}: {error.strerror}") from None
    return listening


def address_of(listening: socket.socket) -> Address:
    """Return the address of a listening socket, with its real port."""
    host, port = listening.getsockname()[:2]
    return Address(host, port)
