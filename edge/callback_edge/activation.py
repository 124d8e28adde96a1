"""Socket that systemd passes to the process (sd_listen_fds(3)).

The socket listens also while the process restarts, so no client is refused meanwhile.
"""

import os
import socket
from typing import Final

_FIRST_FD: Final = 3


def passed_socket() -> socket.socket | None:
    """Return the socket that was passed to this process. Return None if there is none.

    Raises:
        OSError: The passed file is not exactly one listening TCP socket. The message is for an operator.
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None  # no socket, or one for the parent process
    count = os.environ.get("LISTEN_FDS", "0")
    if count == "0":
        return None
    if count != "1":
        raise OSError(f"{count} sockets were passed (LISTEN_FDS), but the edge accepts one: keep one ListenStream=")
    try:
        passed = socket.socket(fileno=_FIRST_FD)
        is_usable = (
            passed.family in (socket.AF_INET, socket.AF_INET6)
            and passed.type == socket.SOCK_STREAM
            and passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        )
    except OSError:
        is_usable = False
    if not is_usable:
        raise OSError("the passed file (LISTEN_FDS) is not a listening TCP socket: use ListenStream=PORT")
    passed.set_inheritable(False)
    return passed
