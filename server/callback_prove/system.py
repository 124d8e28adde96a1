"""The system of a proof: a store, servers, edges and handlers, each in a process that can be killed and stopped.

All processes listen on loopback, on ports that stay theirs across restarts, and end with this process.
"""

import asyncio
import contextlib
import itertools
import json
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self

import redis.asyncio

from callback_process.addresses import Address
from callback_prove.errors import ProveError
from callback_prove.history import Ran
from callback_prove.worker import ACTIVITIES, runs
from callback_up.child import Child, python, variables
from callback_up.children import is_ready, store_program
from callback_up.ports import reserve

DEADLINE_S: Final = 3
"""Deadline of the handlers, in seconds."""
LEASE_S: Final = DEADLINE_S + 10
"""Lease of a call, in seconds."""
MAX_ATTEMPTS: Final = 20
"""Number of attempts after which a delivery is dead."""
START_S: Final = 120.0
"""Time limit for a process to become ready, in seconds."""
STOP_S: Final = 60.0
"""Time limit for a process to end, in seconds."""
SERVING: Final = (b"worker_connected", b"handlers_listening")
"""The log events of handlers that can be given calls."""
GRACE_S: Final = 5
"""Grace period of processes that are stopped, in seconds."""


class Launcher:
    """What the processes of a system have in common: their directory, durability, and addresses on loopback.

    No other program gets an address that it has taken. Use it as a context manager, which gives the addresses back.
    """

    def __init__(self, directory: Path, durability: str = "always", *, store: str | None = None) -> None:
        """Create a launcher.

        Args:
            directory: Directory of the logs and of the data of stores.
            durability: Setting `store_durability` of the servers.
            store: Path of the program of stores and Sentinels. None: Valkey, or else Redis.

        Raises:
            UpError: This machine has no Valkey or Redis.
        """
        self.store = store or store_program()
        self.directory = directory
        self.durability = durability
        self._held: list[socket.socket] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        for held in self._held:
            held.close()

    def take(self) -> Address:
        """Return a free address."""
        address, held = reserve(Address("127.0.0.1", 0), "a proof")
        self._held.append(held)
        return address


class Process(Child):
    """A process of the system, with its log in a file."""

    def __init__(
        self,
        launcher: Launcher,
        kind: str,
        name: str,
        command: Sequence[str],
        is_healthy: Callable[[], Awaitable[bool]],
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Create a process of a kind, such as `server`. Its name is that in the history, and that of its log."""
        super().__init__(
            name=name, command=command, is_healthy=is_healthy, start_s=START_S, stop_s=STOP_S, environment=environment
        )
        self.kind = kind
        self.log = launcher.directory / f"{name}.log"

    async def start(self) -> None:
        """Start it, and wait until it is ready.

        Raises:
            ProveError: It ended, or is not ready in time.
        """
        await self._run()
        await self._wait_until_ready()

    async def _run(self, *arguments: str) -> None:
        outer = {name: value for name, value in os.environ.items() if not name.startswith("CALLBACK_")}
        with self.log.open("ab") as log:
            await self.spawn(*arguments, output=log.fileno(), environment=outer)

    async def _wait_until_ready(self) -> None:
        if not await self.becomes_healthy():
            self.require_running()
            raise ProveError(f"{self.name} is not ready after {START_S:.0f} s; see its log: {self.log}")

    def require_running(self) -> None:
        """Raise ProveError if it has ended by itself."""
        if not self.is_running:
            last = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
            raise ProveError("\n".join([f"{self.name} ended by itself. The last lines of its log {self.log}:", *last]))

    async def stop(self) -> None:
        """Stop it gracefully. One that does not stop is killed.

        Raises:
            ProveError: It had ended by itself, or did not stop in time.
        """
        self.require_running()
        try:
            await super().stop()
        except TimeoutError:
            raise ProveError(f"{self.name} did not stop in {STOP_S:.0f} s; see its log: {self.log}") from None

    async def restart(self) -> None:
        """Stop it gracefully, start it again, and wait until it is ready.

        Raises:
            ProveError: It did not stop in time, ended, or is not ready in time.
        """
        await self.stop()
        await self.start()


class Handler(Process):
    """A process with handlers. Each of its starts has a diary, whose path is the last argument of the command."""

    def __init__(self, launcher: Launcher, kind: str, name: str, command: Sequence[str]) -> None:
        """Create one; the arguments are those of `Process`."""
        super().__init__(launcher, kind, name, command, self._serves)
        self._directory = launcher.directory
        self._diaries: list[Path] = []
        self._ends: list[float] = []
        self._logged = 0
        """Size of the log before the last start, in bytes."""

    async def start(self) -> None:
        """Start it. It is ready when it is, because calls wait for it or fail as not started."""
        self._logged = self.log.stat().st_size if self.log.exists() else 0
        diary = self._directory / f"{self.name}.{len(self._diaries)}.diary"
        diary.touch()
        self._diaries.append(diary)
        await self._run(str(diary))

    async def restart(self) -> None:
        """Do as `Process.restart`: wait until it can be given calls."""
        await super().restart()
        await self._wait_until_ready()

    async def _serves(self) -> bool:
        return any(event in self.log.read_bytes()[self._logged :] for event in SERVING)

    async def wait(self) -> int | None:
        """Wait until it ends, and note when it did."""
        code = await super().wait()
        if len(self._ends) < len(self._diaries):
            self._ends.append(time.time())
        return code

    def runs(self) -> Iterator[Ran]:
        """Yield all runs of its handlers. It must have ended."""
        for diary, ended in zip(self._diaries, self._ends, strict=True):
            yield from runs(diary, ended)


class CommandProcess(Process):
    """A process that executes the commands of Redis: a store, or a Sentinel."""

    address: Address
    """Address that it listens on."""
    connection: Mapping[str, Any] = {}
    """More options of a client, such as its password."""

    async def pong(self) -> bool:
        """Return whether it executes commands."""
        try:
            return bool(await self.execute("PING"))
        except redis.RedisError:  # it does not listen yet, or loads its data
            return False

    async def execute(self, *words: str | int) -> Any:
        """Execute one command, and return its reply.

        Raises:
            redis.RedisError: It is unreachable, or replied with an error.
        """
        host, port = self.address
        async with redis.asyncio.Redis(host=host, port=port, decode_responses=True, **self.connection) as client:
            return await client.execute_command(*words)  # type: ignore[no-untyped-call]  # redis has no type for it


class Store(CommandProcess):
    """A store on a TCP port, with its data in a directory of its own."""

    def __init__(
        self,
        launcher: Launcher,
        name: str,
        *settings: str,
        address: Address | None = None,
        wrapper: Sequence[str] = (),
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Create a store.

        Args:
            launcher: Gives its directory and address.
            name: Name of the process and of the directory of its data.
            settings: More settings, as arguments of the program.
            address: Address to listen on. None: a free one.
            wrapper: Command that runs the program. Empty: none.
            environment: More environment variables.
        """
        self.address = address or launcher.take()
        self.url = f"redis://{self.address}"
        self.data = launcher.directory / name
        self.data.mkdir()
        fsync = "everysec" if launcher.durability == "everysec" else "always"
        command = [
            *wrapper, launcher.store, "--bind", self.address.host, "--port", str(self.address.port),
            "--dir", str(self.data), "--save", "", "--appendonly", "yes", "--appendfsync", fsync,
            "--maxmemory-policy", "noeviction", *settings,
        ]  # fmt: skip
        super().__init__(launcher, "store", name, command, self.pong, environment)


@dataclass(frozen=True)
class Size:
    """Number of processes of a system."""

    servers: int = 2
    edges: int = 2
    workers: int = 4
    """Handlers that connect to the servers."""
    handlers: int = 4
    """Handlers that servers connect to."""


class System:
    """Servers, edges and handlers on a store."""

    def __init__(self, launcher: Launcher, *store_urls: str, size: Size, drain_s: float = 0) -> None:
        """Create the processes.

        Args:
            launcher: Gives their directory, addresses and durability.
            store_urls: URLs of the store. The servers have one each, in turn.
            size: Number of processes.
            drain_s: Setting `drain_s` of servers and edges, in seconds.
        """
        grpc, edges, pushed = (
            [launcher.take() for _ in range(count)] for count in (size.servers, size.edges, size.handlers)
        )
        self.target = _target(grpc)
        self.edge_addresses = [str(address) for address in edges]
        activity = {"deadline_s": DEADLINE_S, "retry": {"initial_s": 0.2, "max_s": 2, "max_attempts": MAX_ATTEMPTS}}
        activities = {}
        if size.workers:
            activities[ACTIVITIES["pull"]] = activity
        if size.handlers:
            activities[ACTIVITIES["push"]] = {**activity, "target": _target(pushed)}
        self.activities = [*activities]
        server = {
            "STORE_DURABILITY": launcher.durability,
            "BOX_URL": f"http://{self.edge_addresses[0]}",
            "STATE_KEY": secrets.token_hex(),
            "ACTIVITIES": json.dumps(activities),
        }

        def serving(kind: str, n: int, **settings: object) -> Process:
            admin = launcher.take()
            environment = variables(kind, ADMIN_BIND=admin, DRAIN_S=drain_s, GRACE_S=GRACE_S, **settings)
            command = python(f"callback_{kind}")
            return Process(launcher, kind, f"{kind}-{n}", command, partial(is_ready, admin), environment)

        self.servers = [
            serving("server", n, **server, STORE_URL=store_url, GRPC_BIND=address)
            for n, (address, store_url) in enumerate(zip(grpc, itertools.cycle(store_urls)), 1)
        ]
        self.edges = [serving("edge", n, BIND=address, SERVER_TARGET=self.target) for n, address in enumerate(edges, 1)]
        commands = [
            *[("worker", n, "pull", self.target) for n in range(1, size.workers + 1)],
            *[("handler", n, "push", str(address)) for n, address in enumerate(pushed, 1)],
        ]
        self.handlers = [
            Handler(launcher, kind, f"{kind}-{n}", python("callback_prove.worker", how, address))
            for kind, n, how, address in commands
        ]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run all processes in the body. Handlers end last, so that what they did is in their diaries.

        Raises:
            ProveError: A process does not start or stop.
        """
        everything = [*self.servers, *self.edges, *self.handlers]
        try:
            await asyncio.gather(*(process.start() for process in (*self.servers, *self.handlers)))
            await asyncio.gather(*(process.start() for process in self.edges))
            yield
            for processes in (self.edges, self.servers, self.handlers):
                await asyncio.gather(*(process.stop() for process in processes))
        finally:
            await asyncio.gather(*(process.kill() for process in everything))

    def runs(self) -> Iterator[Ran]:
        """Yield all runs of the handlers. They must have ended."""
        for handler in self.handlers:
            yield from handler.runs()


def _target(addresses: Sequence[Address]) -> str:
    return f"ipv4:{','.join(map(str, addresses))}"
