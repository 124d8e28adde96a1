"""The program under test."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from callback_conform.changes import Changes


class CommandError(Exception):
    """The command cannot be started. The text says why."""


class Program(Protocol):
    """A running program."""

    lines: list[str]
    """The lines of its standard output so far, without those that a step has taken."""
    exit_code: int | None
    """None while it runs."""

    def write(self, line: str) -> None:
        """Write a line to its standard input."""
        ...

    def terminate(self) -> None:
        """Ask it to stop, as SIGTERM does."""
        ...

    async def kill(self) -> None:
        """End it, and wait until it has ended."""
        ...


class Launch(Protocol):
    """Starts the program under test."""

    async def __call__(self, variables: Mapping[str, str], changes: Changes) -> Program:
        """Start it with these environment variables. It notifies `changes` of each line and of its end."""
        ...


class Process:
    """A program in a process of its own. Its standard error goes to a file."""

    def __init__(self, process: asyncio.subprocess.Process, changes: Changes) -> None:
        self.lines: list[str] = []
        self.exit_code: int | None = None
        self._process = process
        self._changes = changes
        self._reading = asyncio.create_task(self._read())

    def write(self, line: str) -> None:
        """Write a line to its standard input."""
        if self._process.stdin is not None:
            self._process.stdin.write(f"{line}\n".encode())

    def terminate(self) -> None:
        """Send SIGTERM."""
        if self.exit_code is None:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                self._process.send_signal(signal.SIGTERM)

    async def kill(self) -> None:
        """Kill it with its children, and wait until it has ended."""
        if self.exit_code is None:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.killpg(self._process.pid, signal.SIGKILL)
        await self._reading

    async def _read(self) -> None:
        if self._process.stdout is not None:
            while line := await self._process.stdout.readline():
                self.lines.append(line.decode(errors="replace").rstrip("\r\n"))
                self._changes.notify()
        self.exit_code = await self._process.wait()
        self._changes.notify()


def launch_command(command: Sequence[str], log: Path) -> Launch:
    """Return how to start a command. Its standard error is added to the file `log`. Starting raises CommandError."""

    async def launch(variables: Mapping[str, str], changes: Changes) -> Program:
        with log.open("ab") as errors:
            try:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=errors,
                    env={**os.environ, **variables},
                    start_new_session=True,
                    limit=64 * 1024 * 1024,
                )
            except OSError as error:
                raise CommandError(f"{command[0]} cannot be started: {error.strerror}") from None
        return Process(process, changes)

    return launch
