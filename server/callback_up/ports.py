"""Reservation of addresses, from before the first child starts until the supervisor ends."""

import errno
import socket

from callback_launcher.errors import LaunchError
from callback_process.addresses import Address
from callback_process.listener import address_of, bound_socket


def reserve(address: Address, option: str) -> tuple[Address, socket.socket]:
    """Reserve an address for a child.

    The returned socket is bound but does not listen. While it is open, the system does not pick the port for another
    process, and refuses it to processes that request it, except to those that set SO_REUSEADDR, as the children do. So
    a picked port stays the same when a child is restarted.

    Args:
        address: Address on loopback; port 0 picks a free port.
        option: Option or variable with the address, for messages.

    Returns:
        The address with its real port, and the socket that reserves it.

    Raises:
        LaunchError: The address is not on loopback, is in use, or does not exist on this machine.
    """
    if not address.is_loopback:
        raise LaunchError(
            f"{option} {address} is reachable from other machines, and `callback up` has no authentication: "
            f"use an address on loopback, as in {option} 127.0.0.1:{address.port}"
        )
    try:
        held = bound_socket(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise LaunchError(
                f"port {address.port} of {address.host} is in use by another program; stop that program, or choose "
                f"another port: {option} {address._replace(port=0)} picks a free one"
            ) from None
        raise LaunchError(f"{option} {address}: {error.strerror}") from None
    return address._replace(port=address_of(held).port), held
