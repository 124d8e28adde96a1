"""A program as a child process, which ends with this process and can be started again after its end."""

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, STDOUT
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from callback_up import die_with_parent

POLL_S = 0.025
"""Interval of health checks while a child starts, in seconds."""


@dataclass(kw_only=True, eq=False)
class Child:
    """A program to run. Start it on the main thread: children die with the thread that starts them."""

    name: str
    """Name in logs and messages."""
    command: Sequence[str]
    """Absolute path of the program, and its arguments."""
    is_healthy: Callable[[], Awaitable[bool]]
    """Health check while the child starts. False or an OSError means not yet."""
    stop_s: float
    """Time limit to end after SIGTERM, in seconds; then the child is killed."""
    start_s: float | None = None
    """Time limit to become healthy, in seconds. None means no limit."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Environment variables in addition to those of this process."""
    death_signal: signal.Signals = signal.SIGKILL
    """Signal that the child gets when this process dies."""
    after: "Child | None" = None
    """Child that must be healthy before this one starts."""
    on_line: Callable[[str], None] | None = None
    """Receives each line of the child's output. None: the function of the supervisor does."""
    process: asyncio.subprocess.Process | None = field(default=None, init=False)
    """The process as last started."""

    @property
    def is_running(self) -> bool:
        """Return whether it was started and has not ended."""
        return self.process is not None and self.process.returncode is None

    async def spawn(
        self, *arguments: str, output: int, environment: Mapping[str, str] = os.environ, inherit: Sequence[int] = ()
    ) -> asyncio.subprocess.Process:
        """Start it in a session of its own, so that Ctrl-C in the terminal does not reach it.

        Args:
            arguments: More arguments of the program.
            output: File descriptor for its output and errors, or `asyncio.subprocess.PIPE`.
            environment: Environment variables, to which its own are added.
            inherit: File descriptors that it keeps open.
        """
        with_parent = (die_with_parent.__file__, str(os.getpid()), str(int(self.death_signal)))
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", *with_parent, *self.command, *arguments),
            stdin=DEVNULL,
            stdout=output,
            stderr=STDOUT,
            env={**environment, **self.environment},
            pass_fds=inherit,
            start_new_session=True,
        )
        return self.process

    async def becomes_healthy(self) -> bool:
        """Wait until it is healthy or has ended, or the time is over. Return whether it is healthy."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.start_s):
                while self.is_running:
                    with contextlib.suppress(OSError):  # it does not listen yet
                        if await self.is_healthy():
                            return self.is_running
                    await asyncio.sleep(POLL_S)
        return False

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):  # it has ended
                self.process.send_signal(number)

    async def wait(self) -> int | None:
        """Wait until it ends, and return its exit code. None if it was never started."""
        return None if self.process is None else await self.process.wait()

    async def kill(self) -> None:
        """Kill it as a crash does."""
        self.signal(signal.SIGKILL)
        await self.wait()

    async def stop(self) -> None:
        """Stop it gracefully.

        Raises:
            TimeoutError: It did not stop in time, and was killed.
        """
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(self.stop_s):
                await self.wait()
        except TimeoutError:
            await self.kill()
            raise


def python(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module with this interpreter, but never one of the working directory (`-P`)."""
    return [sys.executable, "-P", "-m", module, *arguments]


def variables(kind: str, **settings: object) -> dict[str, str]:
    """Return the environment variables with the settings of a server, an edge or a console."""
    prefix = "CALLBACK_" if kind == "server" else f"CALLBACK_{kind.upper()}_"
    return {f"{prefix}{name}": str(value) for name, value in settings.items()}
