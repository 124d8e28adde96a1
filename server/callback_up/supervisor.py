"""Child processes that are started, watched, started again, and stopped in order.

1. A child is tied to this process (`die_with_parent.py`): whatever ends it ends them.
2. A child has a session of its own, so a Ctrl-C in the terminal reaches only the supervisor, which stops them in order.
3. A child that dies is started again, soon at first, then with longer pauses. One that never gets healthy, or that says
   by its exit code that its settings are wrong, ends the supervisor.
"""

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from callback_process import logs
from callback_up import die_with_parent
from callback_up.errors import ChildSettingsError, UpError

log = logs.get_logger()

POLL_S = 0.025
"""How often a child that starts is asked whether it is healthy, in seconds."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
"""The pause before a child is started again: doubled from death to death, the first one again after a calm time."""
CALM_S = 10.0
"""How long a child lives for its next death to count as the first."""
MOST_FAILED_STARTS = 5
"""How often in a row a child may die, or run out of time, before it was healthy."""
EXIT_SETTINGS = 2
"""The exit code that says: started again it would only do the same."""


@dataclass(frozen=True, eq=False)
class Child:
    """A program to keep running."""

    name: str
    """What it is called in logs and messages."""
    command: Sequence[str]
    """The program's absolute path and its arguments."""
    is_healthy: Callable[[], Awaitable[bool]]
    """Whether it does its work. Asked while it starts; False, or an OSError, means not yet."""
    stop_s: float
    """How long it may take to end after SIGTERM; then it is killed."""
    start_s: float | None = None
    """How long it may take to get healthy; then it is killed, and that counts as a failed start. None: any time."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables to set in addition to this process's own."""
    death_signal: signal.Signals = signal.SIGKILL
    """What it gets when the supervisor is gone."""
    after: "Child | None" = None
    """The child that must be healthy whenever this one is started."""
    on_line: Callable[[str], None] | None = None
    """What to do with each line that it prints. None: it prints to standard error itself."""


class Supervisor:
    """Runs children. One `run`, on the main thread: a child's life is tied to the thread that started it."""

    def __init__(self, children: Sequence[Child], *, inherit: Sequence[int] = ()) -> None:
        """Take the children in the order in which they start; they stop in the opposite one.

        Args:
            children: each one after those that it needs.
            inherit: descriptors that all of them keep open.
        """
        self._children = children
        self._inherit = tuple(inherit)
        self._healthy = {child: asyncio.Event() for child in children}
        self._processes: dict[Child, Process] = {}
        self._readers: set[asyncio.Task[None]] = set()

    async def run(self, stopping: asyncio.Event, when_ready: Callable[[], Awaitable[None]]) -> None:
        """Keep the children running until `stopping` is set, then stop them.

        Args:
            stopping: when to stop.
            when_ready: called once, when all of them are healthy.

        Raises:
            UpError: a child can not be kept running. The others have been stopped.
        """
        kept = [asyncio.create_task(self._keep(child)) for child in self._children]
        ready = asyncio.create_task(self._announce(when_ready))
        stop = asyncio.create_task(stopping.wait())
        try:
            waiting = {*kept, ready, stop}
            while not stop.done():
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()  # raises what it raised; of the children's only that ends them
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
        failed_starts, pause_s = 0, FIRST_PAUSE_S
        while True:
            if child.after is not None:
                await self._healthy[child.after].wait()
            began = loop.time()
            process = await self._start(child)
            if await self._gets_healthy(child, process):
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
                    raise ChildSettingsError(f"the {child.name} refuses its settings; it says above which and why")
                if failed_starts == MOST_FAILED_STARTS:
                    raise UpError(
                        f"the {child.name} does not start: {_describe(code)}, {failed_starts} times in a row; "
                        "its last lines are above"
                    )
            if loop.time() - began > CALM_S:
                pause_s = FIRST_PAUSE_S
            log.error("child_died", child=child.name, how=_describe(code), pause_s=pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _start(self, child: Child) -> Process:
        shim = [
            sys.executable,
            "-I",
            "-S",
            str(Path(die_with_parent.__file__)),
            str(os.getpid()),
            str(int(child.death_signal)),
        ]
        process = await asyncio.create_subprocess_exec(
            *shim,
            *child.command,
            stdin=DEVNULL,
            stdout=PIPE if child.on_line else sys.stderr.fileno(),  # standard output is for the ready line
            stderr=None,
            env={**os.environ, **child.environment},
            pass_fds=self._inherit,
            start_new_session=True,
        )
        self._processes[child] = process
        log.info("child_started", child=child.name, child_pid=process.pid)
        if child.on_line and process.stdout:
            reader = asyncio.create_task(_read(process.stdout, child.on_line))
            self._readers.add(reader)
            reader.add_done_callback(self._readers.discard)
        return process

    async def _gets_healthy(self, child: Child, process: Process) -> bool:
        """Wait until the child is healthy or dead. Returns which."""
        try:
            async with asyncio.timeout(child.start_s):
                while process.returncode is None:
                    try:
                        if await child.is_healthy():
                            return process.returncode is None
                    except OSError:
                        pass  # it does not listen yet
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
        await asyncio.gather(*self._readers)


async def _read(stream: asyncio.StreamReader, on_line: Callable[[str], None]) -> None:
    while True:
        try:
            line = await stream.readline()
        except ValueError:
            continue  # longer than the reader's limit: it is dropped, the child must not be blocked
        if not line:
            return
        on_line(line.decode("utf-8", "replace").rstrip())


def _send(process: Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended, only not been noticed yet
        process.send_signal(number)


def _describe(code: int | None) -> str:
    return f"ended by signal {-code}" if code is not None and code < 0 else f"ended with status {code}"
