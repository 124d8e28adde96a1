"""Addresses of our own: known to be free before anything starts, and ours for as long as the supervisor lives."""

import errno
import socket

from callback_process.addresses import Address
from callback_up.errors import UpError


def reserve(address: Address, option: str) -> tuple[Address, socket.socket]:
    """Take an address for a child.

    The socket that is returned is bound and does not listen. As long as it is open, the system gives the port to nobody
    who asks for any port, and refuses it to those who ask for this one, except for those that, like our children, set
    SO_REUSEADDR. So a port that was picked stays the same when a child is started again.

    Args:
        address: on loopback; port 0 picks one.
        option: what the address was given with, for the message.

    Returns:
        The address with its real port, and the socket that holds it.

    Raises:
        UpError: it is not on loopback, it is taken, or there is no such address here.
    """
    if not address.is_loopback:
        raise UpError(
            f"{option} {address} could be reached from other machines, and nothing here asks who is calling: "
            f"take an address on loopback, as in {option} 127.0.0.1:{address.port}"
        )
    held = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET)
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((address.host, address.port))
    except OSError as error:
        held.close()
        if error.errno == errno.EADDRINUSE:
            raise UpError(
                f"port {address.port} of {address.host} is taken by another program; choose another with "
                f"{option} {address._replace(port=0)}, which picks one, or stop that program"
            ) from None
        raise UpError(f"{option} {address}: {error.strerror}") from None
    return address._replace(port=held.getsockname()[1]), held
