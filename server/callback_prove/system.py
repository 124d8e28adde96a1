"""The system of a proof: servers, edges and handlers on a store, each in a process that can be killed and stopped.

All processes listen on loopback, on ports that stay theirs across restarts, and end with this process.
"""

import base64
import contextlib
import json
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from callback_launcher import launcher as launching
from callback_launcher.child import Child, running
from callback_launcher.launcher import Launcher, target
from callback_launcher.programs import python
from callback_prove.history import Ran
from callback_prove.worker import ACTIVITIES, runs

DEADLINE_S: Final = 3
"""Deadline of the handlers, in seconds."""
LEASE_S: Final = DEADLINE_S + 10
"""Lease of a call, in seconds."""
MAX_ATTEMPTS: Final = 20
"""Number of attempts after which a delivery is dead."""
SERVING: Final = ("worker_connected", "handlers_listening")
"""The log events of handlers that can be given calls."""
GRACE_S: Final = 5
"""Grace period of servers and edges that are stopped, in seconds."""


class Handler(Child):
    """A process with handlers. Each of its starts has a diary, whose path is the last argument of the command."""

    def __init__(self, launcher: Launcher, name: str, command: Sequence[str]) -> None:
        super().__init__(name=name, command=command, is_healthy=self._serves, log=launcher.log(name))
        self._directory = launcher.directory
        self._diaries: list[Path] = []
        self._ends: list[float] = []

    def start(self) -> None:
        """Start it. Do not wait until it is healthy: calls wait for it, or fail as not started."""
        diary = self._directory / f"{self.name}.{len(self._diaries)}.diary"
        diary.touch()
        self._diaries.append(diary)
        self.spawn(str(diary))

    def restart(self) -> None:
        """Do as `Child.restart`: wait until it can be given calls."""
        super().restart()
        self.require_healthy()

    def _serves(self) -> bool:
        return any(event in self.said() for event in SERVING)

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait until it ends, and note when it did."""
        code = super().wait(timeout_s)
        if len(self._ends) < len(self._diaries):
            self._ends.append(time.time())
        return code

    def runs(self) -> Iterator[Ran]:
        """Yield all runs of its handlers. It must have ended."""
        for diary, ended in zip(self._diaries, self._ends, strict=True):
            yield from runs(diary, ended)


@dataclass(frozen=True)
class Size:
    """Number of processes of a system."""

    servers: int = 2
    edges: int = 2
    workers: int = 4
    """Handlers that connect to the servers."""
    handlers: int = 4
    """Handlers that servers connect to."""
    http_handlers: int = 2
    """HTTP handlers. Each has an activity of its own, because the target of one is a single URL."""


class System(launching.System):
    """Servers, edges and handlers on a store."""

    def __init__(self, launcher: Launcher, *store_urls: str, size: Size, drain_s: float = 0) -> None:
        """Create the processes.

        Args:
            launcher: Gives their directory, addresses and durability.
            store_urls: URLs of the store. The servers have one each, in turn.
            size: Number of processes.
            drain_s: Setting `drain_s` of servers and edges, in seconds.
        """
        pushed = [launcher.take() for _ in range(size.handlers)]
        activity = {"deadline_s": DEADLINE_S, "retry": {"initial_s": 0.2, "max_s": 2, "max_attempts": MAX_ATTEMPTS}}
        activities = dict[str, dict[str, object]]()
        if size.workers:
            activities[ACTIVITIES["pull"]] = activity
        if size.handlers:
            activities[ACTIVITIES["push"]] = {**activity, "target": target(pushed)}
        posted = {f"http-handler-{n}": launcher.take() for n in range(1, size.http_handlers + 1)}
        for name, address in posted.items():
            http = {"secret_files": [str(_secret(launcher, name))]}
            activities[name] = {**activity, "target": f"http://{address}/", "http": http}
        self.activities = [*activities]
        ending: dict[str, object] = {"DRAIN_S": drain_s, "GRACE_S": GRACE_S}
        server = ending | {
            "STORE_DURABILITY": launcher.durability,
            "STATE_KEY": secrets.token_hex(),
            "ACTIVITIES": json.dumps(activities),
        }
        super().__init__(launcher, *store_urls, servers=size.servers, edges=size.edges, server=server, edge=ending)
        commands = [
            *[(f"worker-{n}", "pull", self.target) for n in range(1, size.workers + 1)],
            *[(f"handler-{n}", "push", str(address)) for n, address in enumerate(pushed, 1)],
            *[(name, "http", str(address), str(_secret(launcher, name))) for name, address in posted.items()],
        ]
        self.handlers = [
            Handler(launcher, name, python("callback_prove.worker", *arguments)) for name, *arguments in commands
        ]
        for name in posted:
            key = base64.b64encode(secrets.token_bytes(32)).decode()
            _secret(launcher, name).write_text(f"whsec_{key}\n", encoding="ascii")

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run all processes in the body. Handlers end last, so that what they did is in their diaries.

        Raises:
            LaunchError: A process does not start or stop, or has ended by itself.
        """
        async with running(*self.handlers, ends_gracefully=True), super().running():
            yield
            for process in (*self.servers, *self.edges, *self.handlers):
                process.require_running()

    def runs(self) -> Iterator[Ran]:
        """Yield all runs of the handlers. They must have ended."""
        for handler in self.handlers:
            yield from handler.runs()


def _secret(launcher: Launcher, name: str) -> Path:
    """Return the file with the secret of an HTTP handler."""
    return launcher.directory / f"{name}.secret"
