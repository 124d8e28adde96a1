"""The system of a proof: a store, servers, edges and handlers, each in a process that can be killed and stopped.

All processes listen on loopback, on ports that stay theirs across restarts, and end with this process.
"""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import redis.asyncio

from callback_process.addresses import Address
from callback_prove.errors import ProveError
from callback_prove.history import Ran
from callback_prove.wait import wait_until
from callback_prove.worker import ACTIVITIES, runs
from callback_up import die_with_parent
from callback_up.children import is_ready, store_program
from callback_up.errors import UpError
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


class Process:
    """A process of the system, with its log in a file. It can be started again after its end."""

    def __init__(
        self,
        kind: str,
        name: str,
        command: Sequence[str],
        directory: Path,
        *,
        environment: Mapping[str, str] | None = None,
        is_ready: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        """Create a process.

        Args:
            kind: Kind of process, such as `server`.
            name: Name in the history and of its log.
            command: Absolute path of the program, and its arguments.
            directory: Directory of the log.
            environment: Environment variables in addition to those of this process, without those of Callback.
            is_ready: Health check after a start. False or an OSError means not yet. None: it needs no wait.
        """
        self.kind = kind
        self.name = name
        self.log = directory / f"{name}.log"
        self._command = command
        self._environment = environment or {}
        self._is_ready = is_ready
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it, and wait until it is ready.

        Raises:
            ProveError: It ended, or is not ready in time.
        """
        self._spawn(self._command)
        if self._is_ready is not None and not await wait_until(self._answers, timeout_s=START_S):
            raise ProveError(f"{self.name} is not ready after {START_S:.0f} s; see its log: {self.log}")

    def _spawn(self, command: Sequence[str]) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CALLBACK_")}
        with_parent = [sys.executable, "-I", "-S", str(Path(die_with_parent.__file__)), str(os.getpid()), "9"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  # our own programs, and the store
                [*with_parent, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**environment, **self._environment},
                start_new_session=True,  # Ctrl-C reaches only this process, which ends the others
            )

    def require_running(self) -> None:
        """Raise ProveError if it has ended by itself."""
        if self._process is None or self._process.poll() is not None:
            last = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
            raise ProveError("\n".join([f"{self.name} ended by itself. The last lines of its log {self.log}:", *last]))

    async def _answers(self) -> bool:
        self.require_running()
        try:
            return self._is_ready is None or await self._is_ready()
        except OSError:
            return False

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self._process is not None:
            self._process.send_signal(number)

    async def kill(self) -> None:
        """Kill it as a crash does."""
        self.signal(signal.SIGKILL)
        await self._wait()

    async def stop(self) -> None:
        """Stop it gracefully. One that does not stop is killed.

        Raises:
            ProveError: It had ended by itself, or did not stop in time.
        """
        self.require_running()
        self.signal(signal.SIGTERM)
        try:
            await self._wait()
        except subprocess.TimeoutExpired:
            await self.kill()
            raise ProveError(f"{self.name} did not stop in {STOP_S:.0f} s; see its log: {self.log}") from None

    async def restart(self) -> None:
        """Stop it gracefully, start it again, and wait until it is ready.

        Raises:
            ProveError: It did not stop in time, ended, or is not ready in time.
        """
        await self.stop()
        await self.start()

    async def _wait(self) -> None:
        if self._process is not None:
            await asyncio.to_thread(self._process.wait, STOP_S)


class Handler(Process):
    """A process with handlers. Each of its starts has a diary, whose path is the last argument of the command."""

    def __init__(self, kind: str, name: str, command: Sequence[str], directory: Path) -> None:
        """Create one; the arguments are those of `Process`."""
        super().__init__(kind, name, command, directory)
        self._directory = directory
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
        self._spawn([*self._command, str(diary)])

    async def restart(self) -> None:
        """Do as `Process.restart`: wait until it can be given calls."""

        async def serves() -> bool:
            self.require_running()
            return any(event in self.log.read_bytes()[self._logged :] for event in SERVING)

        await super().restart()
        if not await wait_until(serves, timeout_s=START_S):
            raise ProveError(f"{self.name} is not ready after {START_S:.0f} s; see its log: {self.log}")

    async def _wait(self) -> None:
        await super()._wait()
        if len(self._ends) < len(self._diaries):
            self._ends.append(time.time())

    def runs(self) -> Iterator[Ran]:
        """Yield all runs of its handlers. It must have ended."""
        for diary, ended in zip(self._diaries, self._ends, strict=True):
            yield from runs(diary, ended)


class Store(Process):
    """A store on a TCP port, with its data in a directory of its own."""

    def __init__(
        self,
        name: str,
        address: Address,
        directory: Path,
        *,
        durability: str = "always",
        settings: Sequence[str] = (),
        wrapper: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Create a store.

        Args:
            name: Name of the process and of the directory of its data.
            address: Address to listen on.
            directory: Directory of the log and the data.
            durability: Setting `store_durability` of the servers.
            settings: More settings, as arguments of the program.
            wrapper: Command that runs the program. Empty: none.
            environment: More environment variables.

        Raises:
            ProveError: This machine has no Valkey or Redis.
        """
        self.address = address
        self.url = f"redis://{address}"
        self.data = directory / name
        self.data.mkdir()
        fsync = "everysec" if durability == "everysec" else "always"
        command = [
            *wrapper, find_store(), "--bind", address.host, "--port", str(address.port), "--dir", str(self.data),
            "--save", "", "--appendonly", "yes", "--appendfsync", fsync, "--maxmemory-policy", "noeviction",
            *settings,
        ]  # fmt: skip
        super().__init__("store", name, command, directory, environment=environment, is_ready=self._pong)

    async def _pong(self) -> bool:
        try:
            return bool(await self.execute("PING"))
        except redis.RedisError:  # it does not listen yet, or loads its data
            return False

    async def execute(self, *words: str | int) -> Any:
        """Execute one command, and return its reply.

        Raises:
            redis.RedisError: It is unreachable, or replied with an error.
        """
        return await execute(self.address, *words)


async def execute(address: Address, *words: str | int) -> Any:
    """Execute one command at a store or a Sentinel, and return its reply.

    Raises:
        redis.RedisError: It is unreachable, or replied with an error.
    """
    async with redis.asyncio.Redis(host=address.host, port=address.port, decode_responses=True) as client:
        return await client.execute_command(*words)  # type: ignore[no-untyped-call]  # redis has no type for it


def find_store() -> str:
    """Return the path of Valkey or Redis.

    Raises:
        ProveError: This machine has neither.
    """
    try:
        return store_program()
    except UpError as error:
        raise ProveError(str(error)) from None


def python(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module with this interpreter. PYTHONPATH decides which one, as for any program."""
    return [sys.executable, "-P", "-m", module, *arguments]


class Ports:
    """Addresses on loopback that no other program gets. Use it as a context manager."""

    def __init__(self) -> None:
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

    def __init__(
        self,
        directory: Path,
        ports: Ports,
        *store_urls: str,
        size: Size,
        durability: str = "always",
        drain_s: float = 0,
    ) -> None:
        """Create the processes.

        Args:
            directory: Directory of their logs.
            ports: Source of their addresses.
            store_urls: URLs of the store. The servers have one each, in turn.
            size: Number of processes.
            durability: Setting `store_durability` of the servers.
            drain_s: Setting `drain_s` of servers and edges, in seconds.
        """
        servers = [(ports.take(), ports.take()) for _ in range(size.servers)]
        edges = [(ports.take(), ports.take()) for _ in range(size.edges)]
        pushed = [ports.take() for _ in range(size.handlers)]
        self.target = _target([address for address, _ in servers])
        self.edge_addresses = [str(address) for address, _ in edges]
        activity = {"deadline_s": DEADLINE_S, "retry": {"initial_s": 0.2, "max_s": 2, "max_attempts": MAX_ATTEMPTS}}
        activities = {}
        if size.workers:
            activities[ACTIVITIES["pull"]] = activity
        if size.handlers:
            activities[ACTIVITIES["push"]] = {**activity, "target": _target(pushed)}
        self.activities = [*activities]
        common = {
            "CALLBACK_STORE_DURABILITY": durability,
            "CALLBACK_BOX_URL": f"http://{self.edge_addresses[0]}",
            "CALLBACK_STATE_KEY": secrets.token_hex(),
            "CALLBACK_ACTIVITIES": json.dumps(activities),
            "CALLBACK_DRAIN_S": str(drain_s),
            "CALLBACK_GRACE_S": str(GRACE_S),
        }
        self.servers = [
            Process(
                "server", f"server-{n}", python("callback_server"), directory,
                environment={
                    **common, "CALLBACK_STORE_URL": store_urls[(n - 1) % len(store_urls)],
                    "CALLBACK_GRPC_BIND": str(address), "CALLBACK_ADMIN_BIND": str(admin),
                },
                is_ready=_readiness(admin),
            )
            for n, (address, admin) in enumerate(servers, 1)
        ]  # fmt: skip
        self.edges = [
            Process(
                "edge", f"edge-{n}", python("callback_edge"), directory,
                environment={
                    "CALLBACK_EDGE_BIND": str(address), "CALLBACK_EDGE_ADMIN_BIND": str(admin),
                    "CALLBACK_EDGE_SERVER_TARGET": self.target, "CALLBACK_EDGE_DRAIN_S": str(drain_s),
                    "CALLBACK_EDGE_GRACE_S": str(GRACE_S),
                },
                is_ready=_readiness(admin),
            )
            for n, (address, admin) in enumerate(edges, 1)
        ]  # fmt: skip
        self.handlers = [
            *(
                Handler("worker", f"worker-{n}", python("callback_prove.worker", "pull", self.target), directory)
                for n in range(1, size.workers + 1)
            ),
            *(
                Handler("handler", f"handler-{n}", python("callback_prove.worker", "push", str(address)), directory)
                for n, address in enumerate(pushed, 1)
            ),
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


def _readiness(admin: Address) -> Callable[[], Awaitable[bool]]:
    return lambda: is_ready(admin)
