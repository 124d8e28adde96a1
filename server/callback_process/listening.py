"""Taking an address to listen on."""

import socket

from callback_process.addresses import Address, parse_bind


def listen(bind: str) -> socket.socket:
    """Listen on `HOST:PORT`; nothing is accepted yet. Port 0 picks one.

    Raises:
        OSError: the address is taken, or is not this machine's. The text says which and why.
    """
    host, port = parse_bind(bind)
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of an earlier run do not count
        listening.bind((host, port))
        listening.listen()  # with that option two may bind an address: this finds out
    except OSError as error:
        listening.close()
        raise OSError(f"can not listen on {bind}: {error.strerror}") from None
    return listening


def address_of(listening: socket.socket) -> Address:
    """Where a socket listens, with its real port."""
    host, port = listening.getsockname()[:2]
    return Address(host, port)
