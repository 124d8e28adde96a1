"""Listening sockets, and the servers that accept their connections."""

import asyncio
import socket

from callback_process.addresses import Address, parse_bind


def listen(bind: str) -> socket.socket:
    """Listen on `HOST:PORT`, and accept nothing yet. Port 0 picks a free port.

    Raises:
        OSError: The address is in use, or does not belong to this machine. The text names the address and the reason.
    """
    try:
        return bound_socket(parse_bind(bind), listens=True)
    except OSError as error:
        raise OSError(f"cannot listen on {bind}: {error.strerror}") from None


def bound_socket(address: Address, *, listens: bool = False) -> socket.socket:
    """Return a socket that is bound to an address. Raise OSError if that is not possible."""
    bound = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # ignore connections of an earlier run
        bound.bind(address)
        if listens:
            bound.listen()  # with SO_REUSEADDR two processes can bind an address; only one can listen
    except OSError:
        bound.close()
        raise
    return bound


def address_of(listening: socket.socket) -> Address:
    """Return the address of a listening socket, with its real port."""
    host, port = listening.getsockname()[:2]
    return Address(host, port)


async def stop_accepting(server: asyncio.Server) -> None:
    """Close a server, which serves what it has accepted by then.

    asyncio loses a connection, and leaves it open, if its server closes in the turn of the loop that accepted it
    (python/cpython#109564).
    """
    loop = asyncio.get_running_loop()
    for listening in server.sockets:
        loop.remove_reader(listening.fileno())
    await asyncio.sleep(0)  # what was accepted becomes a connection of the server
    server.close()
