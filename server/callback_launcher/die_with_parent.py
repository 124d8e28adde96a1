"""Run a program that ends when its parent ends: `python -I -S die_with_parent.py PARENT_PID SIGNAL PROGRAM ARGUMENTS…`.

The supervisor starts each child through this script. The script asks the kernel to send SIGNAL when the parent dies,
and then replaces itself with the program; the request survives `exec`. This works on Linux. On other systems the script
only runs the program, and the lock on the data directory reveals the children of a killed supervisor.

The script uses the standard library only, so that it starts as fast as a bare interpreter.
"""

import os
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, death_signal: int, command: list[str]) -> None:
    """Request the signal and replace this process with the command. Return only if the parent is already gone."""
    if sys.platform == "linux":
        import ctypes

        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
        if os.getppid() != parent:  # it died before the request, so no signal will come
            return
    os.execv(command[0], command)  # noqa: S606  # the purpose of this script; no shell is wanted


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
