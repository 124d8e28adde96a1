"""A program as a child process, which ends with this process and can be started again after its end."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from callback_launcher import die_with_parent
from callback_launcher.errors import LaunchError

START_S: Final = 120.0
"""Time limit for a child to become healthy, in seconds."""
POLL_S = 0.025
"""Interval of health checks while a child starts, in seconds."""
LAST_LINES = 5
"""Number of lines of a log in the message about a child that ended by itself."""


@dataclass(kw_only=True, eq=False)
class Child:
    """A program to run. It dies with the thread that starts it. Those of `asyncio.to_thread` last as long as a loop."""

    name: str
    """Name in logs and messages."""
    command: Sequence[str]
    """Absolute path of the program, and its arguments."""
    is_healthy: Callable[[], bool]
    """Health check while the child starts. False or an OSError means not yet."""
    stop_s: float = 60
    """Time limit to end after SIGTERM, in seconds; then the child is killed."""
    start_s: float | None = START_S
    """Time limit to become healthy, in seconds. None means no limit."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Environment variables in addition to those of this process."""
    inherits_settings: bool = False
    """Whether it also gets the settings (`CALLBACK_…`) in the environment of this process."""
    log: Path | None = None
    """File to which its output and errors are appended. None: `spawn` says where they go."""
    death_signal: signal.Signals = signal.SIGKILL
    """Signal that the child gets when this process dies."""
    after: "Child | None" = None
    """Child that must be healthy before a supervisor starts this one."""
    on_line: Callable[[str], None] | None = None
    """Receives each line of its output from a supervisor. None: the function of the supervisor does."""
    process: "subprocess.Popen[Any] | None" = field(default=None, init=False)
    """The process as last started."""
    _logged: int = field(default=0, init=False)
    """Size of its log before that, in bytes."""

    @property
    def is_running(self) -> bool:
        """Return whether it was started and has not ended."""
        return self.process is not None and self.process.poll() is None

    def spawn(
        self, *arguments: str, output: int = subprocess.DEVNULL, inherit: Sequence[int] = ()
    ) -> "subprocess.Popen[Any]":
        """Start it in a session of its own, so that Ctrl-C in the terminal does not reach it. Do not wait.

        Args:
            arguments: More arguments of the program.
            output: File descriptor for its output and errors, or `subprocess.PIPE`, if it has no log.
            inherit: File descriptors that it keeps open.
        """
        with_parent = (die_with_parent.__file__, str(os.getpid()), str(int(self.death_signal)))
        outer = {n: v for n, v in os.environ.items() if self.inherits_settings or not n.startswith("CALLBACK_")}
        with contextlib.nullcontext(output) if self.log is None else self.log.open("ab") as stream:
            self._logged = 0 if self.log is None else self.log.stat().st_size
            self.process = subprocess.Popen(  # noqa: S603  # a program of this product, or a store
                (sys.executable, "-I", "-S", *with_parent, *self.command, *arguments),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**outer, **self.environment},
                pass_fds=inherit,
                start_new_session=True,
            )
        return self.process

    def becomes_healthy(self) -> bool:
        """Wait until it is healthy or has ended, or the time is over. Return whether it is healthy."""
        began = time.monotonic()
        while self.is_running and (self.start_s is None or time.monotonic() < began + self.start_s):
            with contextlib.suppress(OSError):  # it does not listen yet
                if self.is_healthy():
                    return self.is_running
            time.sleep(POLL_S)
        return False

    def start(self) -> None:
        """Start it, and wait until it is healthy.

        Raises:
            LaunchError: It ended, or is not healthy in time.
        """
        self.spawn()
        self.require_healthy()

    def require_healthy(self) -> None:
        """Wait until it is healthy. Raise LaunchError as `start` does."""
        if not self.becomes_healthy():
            self.require_running()
            raise LaunchError(f"{self.name} is not ready after {self.start_s:.0f} s; see its log: {self.log}")

    def require_running(self) -> None:
        """Raise LaunchError if it has ended by itself."""
        if not self.is_running:
            text = f"{self.name} ended by itself. The last lines of its log {self.log}:"
            raise LaunchError("\n".join([text, *self.said().splitlines()[-LAST_LINES:]]))

    def said(self) -> str:
        """Return what it has logged since its last start."""
        return "" if self.log is None else self.log.read_bytes()[self._logged :].decode(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self.process is not None:
            self.process.send_signal(number)

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait until it ends, and return its exit code. None if it was never started.

        Raises:
            subprocess.TimeoutExpired: It does not end in time.
        """
        return None if self.process is None else self.process.wait(timeout_s)

    def kill(self) -> int | None:
        """Kill it as a crash does, and return its exit code."""
        self.signal(signal.SIGKILL)
        return self.wait()

    def stop(self) -> int | None:
        """Stop it gracefully, and return its exit code.

        Raises:
            LaunchError: It did not stop in time, and was killed.
        """
        self.signal(signal.SIGTERM)
        try:
            return self.wait(self.stop_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise LaunchError(f"{self.name} did not stop in {self.stop_s:.0f} s; see its log: {self.log}") from None

    def restart(self) -> None:
        """Stop it gracefully, start it again, and wait until it is healthy.

        Raises:
            LaunchError: It had ended by itself, did not stop in time, ended, or is not healthy in time.
        """
        self.require_running()
        self.stop()
        self.start()


@contextlib.asynccontextmanager
async def running(*children: Child, ends_gracefully: bool = False) -> AsyncIterator[None]:
    """Start children at the same time, and run them in the body. Kill them afterwards.

    Args:
        children: The children.
        ends_gracefully: Whether they are stopped after a body without an error, in place of killed.

    Raises:
        LaunchError: One does not start or stop.
    """
    try:
        await _at_once(child.start for child in children)
        yield
        if ends_gracefully:
            await _at_once(child.stop for child in children)
    finally:
        for child in children:
            child.kill()


async def _at_once(functions: Iterable[Callable[[], object]]) -> None:
    """Call functions in threads, and wait until all have ended. Raise the error of the first that failed."""
    ended = await asyncio.gather(*map(asyncio.to_thread, functions), return_exceptions=True)
    for error in ended:
        if isinstance(error, BaseException):
            raise error
