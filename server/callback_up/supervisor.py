"""Supervisor of child processes: start, watch, restart and stop them in order.

1. Every child dies with this process, whatever ends it.
2. Each child has its own session, so Ctrl-C in the terminal reaches only the supervisor, which stops them in order.
3. A child that dies is restarted after a second. A child that never becomes healthy, or that reports wrong settings by
   its exit code, ends the supervisor.
"""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO

from callback_launcher.child import Child
from callback_launcher.errors import LaunchError
from callback_process import logs
from callback_process.tasks import TaskSet

log = logs.get_logger()

RESTART_DELAY_S = 1.0
"""Delay before a restart, in seconds."""
MAX_FAILED_STARTS = 5
"""Number of failed starts in a row after which the supervisor gives up."""
EXIT_SETTINGS = 2
"""Exit code of a child with wrong settings: a restart would not help."""


class ChildSettingsError(LaunchError):
    """A child refused its settings, and has logged the reason."""

    exit_code = 2


class Supervisor:
    """Supervisor of children. Call `run` once, on the main thread."""

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
        self._inherit = inherit
        self._on_line = on_line
        self._healthy = {child: asyncio.Event() for child in children}
        self._readers = TaskSet()
        self._threads = ThreadPoolExecutor(2 * len(children))  # for each child, one waits for its end, and one stops it

    async def run(self, stopping: asyncio.Event, when_ready: Callable[[], Awaitable[None]]) -> None:
        """Keep the children running until `stopping` is set, then stop them.

        Args:
            stopping: Event that starts the stop.
            when_ready: Called once, when all children are healthy.

        Raises:
            LaunchError: A child cannot be kept running. The others have been stopped.
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
            for child in reversed(self._children):
                await self._stop(child)
            await self._readers.wait()
            self._threads.shutdown()

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
            pid = self._start(child)
            if await loop.run_in_executor(self._threads, child.becomes_healthy):
                log.info("child_healthy", child=child.name, child_pid=pid, after_s=round(loop.time() - began, 2))
                failed_starts = 0
                self._healthy[child].set()
                code = await loop.run_in_executor(self._threads, child.wait)
                self._healthy[child].clear()
            else:
                if child.is_running:
                    log.error("child_start_timed_out", child=child.name, start_s=child.start_s)
                code = child.kill()
                failed_starts += 1
                if code == EXIT_SETTINGS:
                    raise ChildSettingsError(
                        f"the {child.name} refuses its settings; its last lines above have the reason"
                    )
                if failed_starts == MAX_FAILED_STARTS:
                    raise LaunchError(
                        f"the {child.name} does not start: {_describe(code)}, {failed_starts} times in a row; "
                        "see its last lines above"
                    )
            log.error("child_died", child=child.name, how=_describe(code), delay_s=RESTART_DELAY_S)
            await asyncio.sleep(RESTART_DELAY_S)

    def _start(self, child: Child) -> int:
        """Start a child, and return its process id."""
        on_line = child.on_line or self._on_line
        # Standard output is reserved for the ready line.
        process = child.spawn(output=subprocess.PIPE if on_line else sys.stderr.fileno(), inherit=self._inherit)
        log.info("child_started", child=child.name, child_pid=process.pid)
        if on_line and process.stdout:
            self._readers.start(_read(process.stdout, on_line))
        return process.pid

    async def _stop(self, child: Child) -> None:
        if not child.is_running:
            return
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, child.stop)
        except LaunchError:
            log.error("child_stop_timed_out", child=child.name, stop_s=child.stop_s)
        log.info("child_stopped", child=child.name, how=_describe(child.wait()))


async def _read(output: IO[bytes], on_line: Callable[[str], None]) -> None:
    stream = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), output)
    while True:
        try:
            line = await stream.readline()
        except ValueError:
            continue  # the line exceeds the reader's limit: drop it, because the child must not block
        if not line:
            return
        on_line(line.decode("utf-8", "replace").rstrip())


def _describe(code: int | None) -> str:
    return f"ended by signal {-code}" if code is not None and code < 0 else f"ended with status {code}"
