"""A socket that systemd passes (sd_listen_fds(3)).

It goes on listening while the process restarts, so nobody who connects meanwhile is refused.
"""

import os
import socket
from typing import Final

_FIRST_FD: Final = 3


def passed_socket() -> socket.socket | None:
    """Return the socket that was passed to this process, or None if none was.

    Raises:
        OSError: what was passed is not one TCP socket that listens. The text can be shown to people.
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None  # nothing, or meant for the process that started us
    count = os.environ.get("LISTEN_FDS", "0")
    if count == "0":
        return None
    if count != "1":
        raise OSError(f"{count} sockets were passed (LISTEN_FDS), and the edge takes one: keep one ListenStream=")
    try:
        passed = socket.socket(fileno=_FIRST_FD)
        is_ours = (
            passed.family in (socket.AF_INET, socket.AF_INET6)
            and passed.type == socket.SOCK_STREAM
            and passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        )
    except OSError:
        is_ours = False
    if not is_ours:
        raise OSError("what was passed (LISTEN_FDS) is not a TCP socket that listens: say ListenStream=PORT")
    passed.set_inheritable(False)
    return passed
