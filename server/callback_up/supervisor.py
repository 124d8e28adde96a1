"""Supervisor of child processes: start, watch, restart and stop them in order.

1. Every child dies with this process (`die_with_parent.py`), whatever ends it.
2. Each child has its own session, so Ctrl-C in the terminal reaches only the supervisor, which stops them in order.
3. A child that dies is restarted after a second. A child that never becomes healthy, or that reports wrong settings by
   its exit code, ends the supervisor.
"""

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from callback_process import logs
from callback_process.tasks import TaskSet
from callback_up import die_with_parent
from callback_up.errors import ChildSettingsError, UpError

log = logs.get_logger()

POLL_S = 0.025
"""Interval of health checks while a child starts, in seconds."""
RESTART_DELAY_S = 1.0
"""Delay before a restart, in seconds."""
MAX_FAILED_STARTS = 5
"""Number of failed starts in a row after which the supervisor gives up."""
EXIT_SETTINGS = 2
"""Exit code of a child with wrong settings: a restart would not help."""


@dataclass(frozen=True, eq=False)
class Child:
    """A program to keep running."""

    name: str
    """Name in logs and messages."""
    command: Sequence[str]
    """Absolute path of the program, and its arguments."""
    is_healthy: Callable[[], Awaitable[bool]]
    """Health check while the child starts. False or an OSError means not yet."""
    stop_s: float
    """Time limit to end after SIGTERM, in seconds; then the child is killed."""
    start_s: float | None = None
    """Time limit to become healthy, in seconds; then the child is killed: a failed start. None means no limit."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Environment variables in addition to those of this process."""
    death_signal: signal.Signals = signal.SIGKILL
    """Signal that the child gets when the supervisor dies."""
    after: "Child | None" = None
    """Child that must be healthy before this one starts."""
    on_line: Callable[[str], None] | None = None
    """Receives each line of the child's output. None: the function of the supervisor does."""


class Supervisor:
    """Supervisor of children. Call `run` once, on the main thread: children die with the thread that starts them."""

    def __init__(
        self, children: Sequence[Child], *, inherit: Sequence[int] = (), on_line: Callable[[str], None] | None = None
    ) -> None:
        """Create a supervisor. Children start in the given order, and stop in the reverse order.

        Args:
            children: The children, each after those that it needs.
            inherit: File descriptors that all children keep open.
            on_line: Receives each line of the output of children that have no such function of their own. None: their
                output goes to standard error.
        """
        self._children = children
        self._inherit = tuple(inherit)
        self._on_line = on_line
        self._healthy = {child: asyncio.Event() for child in children}
        self._processes: dict[Child, Process] = {}
        self._readers = TaskSet()

    async def run(self, stopping: asyncio.Event, when_ready: Callable[[], Awaitable[None]]) -> None:
        """Keep the children running until `stopping` is set, then stop them.

        Args:
            stopping: Event that starts the stop.
            when_ready: Called once, when all children are healthy.

        Raises:
            UpError: A child cannot be kept running. The others have been stopped.
        """
        kept = [asyncio.create_task(self._keep(child)) for child in self._children]
        ready = asyncio.create_task(self._announce(when_ready))
        stop = asyncio.create_task(stopping.wait())
        try:
            waiting = {*kept, ready, stop}
            while not stop.done():
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()  # raise the task's error; the task of a child ends only by an error
        finally:
            for task in (*kept, ready, stop):
                task.cancel()
            await asyncio.gather(*kept, ready, stop, return_exceptions=True)
            await self._stop()

    async def _announce(self, when_ready: Callable[[], Awaitable[None]]) -> None:
        for event in self._healthy.values():
            await event.wait()
        await when_ready()

    async def _keep(self, child: Child) -> None:
        loop = asyncio.get_running_loop()
        failed_starts = 0
        while True:
            if child.after is not None:
                await self._healthy[child.after].wait()
            began = loop.time()
            process = await self._start(child)
            if await self._becomes_healthy(child, process):
                log.info(
                    "child_healthy", child=child.name, child_pid=process.pid, after_s=round(loop.time() - began, 2)
                )
                failed_starts = 0
                self._healthy[child].set()
                code = await process.wait()
                self._healthy[child].clear()
            else:
                code = await process.wait()
                failed_starts += 1
                if code == EXIT_SETTINGS:
                    raise ChildSettingsError(
                        f"the {child.name} refuses its settings; its last lines above have the reason"
                    )
                if failed_starts == MAX_FAILED_STARTS:
                    raise UpError(
                        f"the {child.name} does not start: {_describe(code)}, {failed_starts} times in a row; "
                        "see its last lines above"
                    )
            log.error("child_died", child=child.name, how=_describe(code), delay_s=RESTART_DELAY_S)
            await asyncio.sleep(RESTART_DELAY_S)

    async def _start(self, child: Child) -> Process:
        shim = [
            sys.executable,
            "-I",
            "-S",
            str(Path(die_with_parent.__file__)),
            str(os.getpid()),
            str(int(child.death_signal)),
        ]
        on_line = child.on_line or self._on_line
        process = await asyncio.create_subprocess_exec(
            *shim,
            *child.command,
            stdin=DEVNULL,
            stdout=PIPE if on_line else sys.stderr.fileno(),  # standard output is reserved for the ready line
            stderr=STDOUT if on_line else None,
            env={**os.environ, **child.environment},
            pass_fds=self._inherit,
            start_new_session=True,
        )
        self._processes[child] = process
        log.info("child_started", child=child.name, child_pid=process.pid)
        if on_line and process.stdout:
            self._readers.start(_read(process.stdout, on_line))
        return process

    async def _becomes_healthy(self, child: Child, process: Process) -> bool:
        """Wait until the child is healthy or dead, and return whether it is healthy."""
        try:
            async with asyncio.timeout(child.start_s):
                while process.returncode is None:
                    try:
                        if await child.is_healthy():
                            return process.returncode is None
                    except OSError:
                        pass  # not listening yet
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            log.error("child_start_timed_out", child=child.name, start_s=child.start_s)
            _send(process, signal.SIGKILL)
        return False

    async def _stop(self) -> None:
        for child in reversed(self._children):
            process = self._processes.get(child)
            if process is None or process.returncode is not None:
                continue
            _send(process, signal.SIGTERM)
            try:
                async with asyncio.timeout(child.stop_s):
                    await process.wait()
            except TimeoutError:
                log.error("child_stop_timed_out", child=child.name, stop_s=child.stop_s)
                _send(process, signal.SIGKILL)
                await process.wait()
            log.info("child_stopped", child=child.name, how=_describe(process.returncode))
        await self._readers.wait()


async def _read(stream: asyncio.StreamReader, on_line: Callable[[str], None]) -> None:
    while True:
        try:
            line = await stream.readline()
        except ValueError:
            continue  # the line exceeds the reader's limit: drop it, because the child must not block
        if not line:
            return
        on_line(line.decode("utf-8", "replace").rstrip())


def _send(process: Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended, but asyncio has not noticed yet
        process.send_signal(number)


def _describe(code: int | None) -> str:
    return f"ended by signal {-code}" if code is not None and code < 0 else f"ended with status {code}"
