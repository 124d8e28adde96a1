"""Become a program that ends when its parent does: `python -I -S tied.py PARENT_PID SIGNAL PROGRAM ARGUMENTS…`.

Started by the supervisor in place of each child. It asks the kernel for SIGNAL on the parent's death, which an `exec`
keeps, and becomes the program. On Linux; elsewhere it only becomes the program, and what a killed supervisor leaves
behind is found by the lock that it holds on the data directory.

It stands alone, on the standard library only, so that it starts in the time of a bare interpreter.
"""

import os
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, death_signal: int, command: list[str]) -> None:
    """Tie this process to its parent and become the command. Returns only if the parent is gone already."""
    if sys.platform == "linux":
        import ctypes

        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
        if os.getppid() != parent:  # it died before it could be asked about: no signal would come any more
            return
    os.execv(command[0], command)  # noqa: S606 - what it is for; there is no shell to be wanted


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
