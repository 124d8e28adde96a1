"""The command line on a pseudo-terminal of a given width, with typed input."""

import asyncio
import contextlib
import fcntl
import os
import struct
import termios
from concurrent.futures import ThreadPoolExecutor

from support.fork_server import start


class Shown:
    """The result of a run on a terminal: its exit code, and everything on the screen."""

    def __init__(self, code, screen):
        self.code = code
        self.screen = screen.decode().replace("\r\n", "\n")

    def __repr__(self):
        return f"exit code {self.code}\n{self.screen}"


async def run_on_terminal(*arguments, typed=b"", columns=80, **environment):
    """Run `callback …` with a terminal as its three streams."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    inherited = {
        name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "FORCE_COLOR")
    }
    try:
        program = start(
            "callback_cli", *arguments,
            stdin=theirs, stdout=theirs, stderr=theirs, env={**inherited, "TERM": "xterm-256color", **environment},
        )  # fmt: skip
        reading = asyncio.create_task(asyncio.to_thread(_read, ours))
        os.write(ours, typed)
        try:
            code = await asyncio.to_thread(program.wait, 60)
        finally:
            program.kill()
            os.close(theirs)  # ends the reading
            screen = await reading
    finally:
        os.close(ours)
    return Shown(code, screen)


@contextlib.contextmanager
def reading(terminal):
    """Read from our end of a terminal in a thread, until the other end is closed. Yield the future of the bytes."""
    with ThreadPoolExecutor(1) as threads:
        yield threads.submit(_read, terminal)
    os.close(terminal)


def _read(terminal):
    parts = []
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # the other end is closed
            return b"".join(parts)
        parts.append(part)
