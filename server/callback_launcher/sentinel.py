"""Sentinels, which watch a primary and its replica."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import redis

from callback_launcher.child import running
from callback_launcher.launcher import Launcher
from callback_launcher.store import CommandProcess, Store
from callback_launcher.wait import wait_until
from callback_process.addresses import Address

SENTINELS: Final = 3
SERVICE: Final = "callbacks"
DOWN_AFTER_MS: Final = 1000
FAILOVER_TIMEOUT_MS: Final = 5000
PUBLISH_PERIOD_MS: Final = 250
"""How often Sentinels talk. After four of these periods they make a primary that came back a replica: by default 8
seconds."""


class Sentinel(CommandProcess):
    """A Sentinel that watches a primary."""

    check = ("SENTINEL", "DEBUG", "PUBLISH-PERIOD", PUBLISH_PERIOD_MS)

    def __init__(
        self,
        launcher: Launcher,
        name: str,
        primary: Address,
        *settings: str,
        address: Address | None = None,
        down_after_ms: int = DOWN_AFTER_MS,
        lines: Sequence[str] = (),
        **options: Any,
    ) -> None:
        """Create a Sentinel.

        Args:
            launcher: Gives its directory and address.
            name: Name of the process.
            primary: Address of the primary.
            settings: More settings, as arguments of the program.
            address: Address to listen on. None: a free one.
            down_after_ms: Time without an answer after which the primary counts as down, in milliseconds.
            lines: More lines of its configuration.
            options: More arguments of `CommandProcess`.
        """
        address = address or launcher.take()
        data = launcher.directory / name
        data.mkdir()
        file = data / "sentinel.conf"
        monitored = [
            f"sentinel monitor {SERVICE} {primary.host} {primary.port} {SENTINELS // 2 + 1}",
            f"sentinel down-after-milliseconds {SERVICE} {down_after_ms}",
            f"sentinel failover-timeout {SERVICE} {FAILOVER_TIMEOUT_MS}",
        ]
        file.write_text("\n".join([*monitored, *lines, ""]), encoding="utf-8")
        command = [
            launcher.store, str(file), "--sentinel", "--bind", address.host, "--port", str(address.port),
            "--dir", str(data), *settings,
        ]  # fmt: skip
        super().__init__(launcher, name, address, command, **options)

    async def primary(self) -> str:
        """Return the address of the primary that it names, `HOST:PORT`."""
        return ":".join(await self.execute("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE))

    async def knows_all(self) -> bool:
        """Return whether it knows the replica and the other Sentinels."""
        replicas = await self.execute("SENTINEL", "REPLICAS", SERVICE)
        others = await self.execute("SENTINEL", "SENTINELS", SERVICE)
        return len(replicas) == 1 and len(others) == SENTINELS - 1


class Watched:
    """A primary, its replica, and the Sentinels that watch them. The stores take over from each other."""

    def __init__(self, primary: Store, replica: Store, sentinels: Sequence[Sentinel]) -> None:
        """Create a group of processes that do not run yet."""
        self.stores = primary, replica
        self.sentinels = sentinels
        self.hosts = ",".join(str(sentinel.address) for sentinel in sentinels)
        """The addresses of the Sentinels, as in a `store_url`."""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run all in the body, once the replica has the data and the Sentinels know everything.

        Raises:
            LaunchError: They do not start, or do not find each other in time.
        """
        primary, replica = self.stores
        async with running(primary, replica):
            await replica.follow(str(primary.address))
            async with running(*self.sentinels):
                await self.settled()
                yield

    async def agrees_on(self, store: Store) -> bool:
        """Return whether all Sentinels name a store as the primary."""
        return {await each.primary() for each in self.sentinels} == {str(store.address)}

    async def settled(self) -> tuple[Store, Store]:
        """Wait until all Sentinels know everything and name a primary that the other store follows. Return the two.

        Raises:
            LaunchError: That takes too long.
        """
        primary, replica = self.stores

        async def is_settled() -> bool:
            nonlocal primary, replica
            if await self.sentinels[0].primary() != str(primary.address):
                primary, replica = replica, primary
            try:
                role = await replica.execute("ROLE")
            except redis.RedisError:  # it starts
                return False
            follows = role[0] == "slave" and role[2] == primary.address.port and role[3] == "connected"
            knows = [await each.knows_all() for each in self.sentinels]
            return follows and all(knows) and await self.agrees_on(primary)

        problem = f"no store becomes a replica of the other again; see the log {self.sentinels[0].log}"
        await wait_until(is_settled, problem)
        return primary, replica
