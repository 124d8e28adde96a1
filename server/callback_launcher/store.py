"""Stores on TCP ports, alone or with replicas."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import redis.asyncio

from callback_launcher.child import Child
from callback_launcher.launcher import Launcher
from callback_launcher.programs import store_command
from callback_launcher.wait import wait_until
from callback_process.addresses import Address

REPLICATION: Final = ("--repl-diskless-sync-delay", "0")
"""Settings of a store with replicas. By default, it waits 5 seconds for more replicas before it sends its data."""
NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class CommandProcess(Child):
    """A process that executes the commands of Redis: a store, or a Sentinel."""

    check: Sequence[str | int] = ("PING",)
    """Command that it executes when it is ready."""

    def __init__(
        self, launcher: Launcher, name: str, address: Address, command: Sequence[str],
        connection: Mapping[str, Any] = NOTHING, **options: Any,
    ) -> None:  # fmt: skip
        """Create a process that listens on an address.

        Args:
            launcher: Gives its directory.
            name: Name of the process.
            address: Address that it listens on.
            command: Its command.
            connection: More options of a client, such as its password.
            options: More fields of the child.
        """
        super().__init__(name=name, command=command, is_healthy=self._executes, log=launcher.log(name), **options)
        self.address = address
        self.connection = connection

    def _executes(self) -> bool:
        host, port = self.address
        try:
            with redis.Redis(host=host, port=port, **self.connection) as client:
                client.execute_command(*self.check)
        except (redis.ConnectionError, redis.TimeoutError):  # it does not listen yet, or loads its data
            return False
        return True

    async def execute(self, *words: str | int) -> Any:
        """Execute one command, and return its reply.

        Raises:
            redis.RedisError: It is unreachable, or replied with an error.
        """
        host, port = self.address
        async with redis.asyncio.Redis(host=host, port=port, decode_responses=True, **self.connection) as client:
            return await client.execute_command(*words)  # type: ignore[no-untyped-call]  # redis has no type for it


class Store(CommandProcess):
    """A store on a TCP port."""

    def __init__(
        self,
        launcher: Launcher,
        name: str,
        *settings: str,
        data: Path | None = None,
        address: Address | None = None,
        wrapper: Sequence[str] = (),
        **options: Any,
    ) -> None:
        """Create a store.

        Args:
            launcher: Gives its directory and address, and whether each write is on disk before its answer.
            name: Name of the process.
            settings: More settings, as arguments of the program.
            data: Directory of its data. None: one that is named like the process.
            address: Address to listen on. None: a free one.
            wrapper: Command that runs the program. Empty: none.
            options: More arguments of `CommandProcess`.
        """
        address = address or launcher.take()
        self.url = f"redis://{address}"
        self.data = data or launcher.directory / name
        self.data.mkdir(exist_ok=True)
        fsync = "everysec" if launcher.durability == "everysec" else "always"
        listen = ("--bind", address.host, "--port", str(address.port))
        command = [*wrapper, *store_command(launcher.store, self.data, *listen, *settings, fsync=fsync)]
        super().__init__(launcher, name, address, command, **options)

    async def follow(self, address: str) -> None:
        """Become a replica of the primary at an address (`HOST:PORT`), and wait for its data.

        Raises:
            LaunchError: It does not get the data in time.
        """
        host, _, port = address.rpartition(":")
        await self.execute("REPLICAOF", host, port)

        async def is_up() -> bool:
            state = await self.execute("INFO", "replication")
            return bool(state.get("master_link_status") == "up")

        await wait_until(is_up, f"{self.name} does not become a replica; see its log: {self.log}")
