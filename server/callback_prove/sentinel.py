"""Proof: three Sentinels watch a primary and its replica, which take over from each other under load.

Half of the servers ask the Sentinels for the primary. The other half reach it at one address, which follows later, as
that of a load balancer does, and leads to the old primary again for a while. In each cycle the primary is killed or
suspended for longer than the Sentinels wait, comes back as a primary, and becomes a replica once they notice it. A
primary that is slow for a second, because the machine is busy, is replaced too: the next cycle begins with the new one.
"""

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import Sequence
from typing import Final

import redis

from callback_process.addresses import Address
from callback_prove.errors import ProveError
from callback_prove.failover import LONGEST_S, REPLICATION, follow
from callback_prove.history import History, Injected
from callback_prove.proof import Settings, running, say, under_load, wait_for_successes
from callback_prove.system import START_S, CommandProcess, Launcher, Store, System
from callback_prove.tunnel import Tunnel
from callback_prove.wait import wait_until

SENTINELS: Final = 3
SERVICE: Final = "callbacks"
DOWN_AFTER_MS: Final = 1000
FAILOVER_TIMEOUT_MS: Final = 5000
PUBLISH_PERIOD_MS: Final = 250
"""How often Sentinels talk. After four of these periods they make a primary that came back a replica: by default 8
seconds."""
FAULTS: Final = ("kill", "suspend")


class Sentinel(CommandProcess):
    """A Sentinel that watches a primary."""

    def __init__(
        self,
        launcher: Launcher,
        name: str,
        primary: Address,
        *settings: str,
        address: Address | None = None,
        down_after_ms: int = DOWN_AFTER_MS,
        lines: Sequence[str] = (),
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
        """
        self.address = address or launcher.take()
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
            launcher.store, str(file), "--sentinel", "--bind", self.address.host, "--port", str(self.address.port),
            "--dir", str(data), *settings,
        ]  # fmt: skip
        super().__init__(launcher, "sentinel", name, command, self._is_ready_to_watch)

    async def _is_ready_to_watch(self) -> bool:
        try:
            await self.execute("SENTINEL", "DEBUG", "PUBLISH-PERIOD", PUBLISH_PERIOD_MS)
        except redis.RedisError:  # it does not listen yet
            return False
        return True

    async def primary(self) -> str:
        """Return the address of the primary that it names, `HOST:PORT`."""
        return ":".join(await self.execute("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE))

    async def knows_all(self) -> bool:
        """Return whether it knows the replica and the other Sentinels."""
        replicas = await self.execute("SENTINEL", "REPLICAS", SERVICE)
        others = await self.execute("SENTINEL", "SENTINELS", SERVICE)
        return len(replicas) == 1 and len(others) == SENTINELS - 1


async def prove(settings: Settings, history: History) -> None:
    """Run the proof. Each fault comes equally often.

    Raises:
        ProveError: The proof has no result.
    """
    choices = random.Random(settings.seed)  # noqa: S311  # reproducible faults, not a secret
    with Launcher(settings.directory, settings.durability) as launcher:
        primary, replica = (Store(launcher, f"store-{n}", *REPLICATION) for n in (1, 2))
        sentinels = [Sentinel(launcher, f"sentinel-{n}", primary.address) for n in range(1, SENTINELS + 1)]
        async with contextlib.AsyncExitStack() as stack:
            address = await stack.enter_async_context(Tunnel(str(primary.address)))
            await stack.enter_async_context(running(primary, replica))
            await follow(replica, str(primary.address))
            await stack.enter_async_context(running(*sentinels))
            await settled(sentinels, primary, replica)
            hosts = ",".join(str(sentinel.address) for sentinel in sentinels)
            urls = f"redis+sentinel://{hosts}/{SERVICE}", f"redis://{address.address}"
            system = System(launcher, *urls, size=settings.size)
            workload = await stack.enter_async_context(under_load(system, history, settings))
            plan = list[str]()
            for cycle in range(settings.cycles):
                await wait_for_successes(workload, settings.min_successes)
                primary, replica = await settled(sentinels, primary, replica)
                address.lead_to(str(primary.address))
                plan = plan or choices.sample(FAULTS, len(FAULTS))
                fault = plan.pop()
                history.add(Injected(at=time.time(), fault=fault, process=primary.name))
                if fault == "kill":
                    await primary.kill()
                else:
                    primary.signal(signal.SIGSTOP)
                await _wait_until_named(sentinels, replica)
                await asyncio.sleep(choices.uniform(0, LONGEST_S))
                address.lead_to(str(replica.address))
                history.add(Injected(at=time.time(), fault="return", process=primary.name))
                if fault == "kill":
                    await primary.start()
                else:
                    primary.signal(signal.SIGCONT)
                address.lead_to(str(primary.address))
                await asyncio.sleep(choices.uniform(0, LONGEST_S))
                address.lead_to(str(replica.address))
                say(f"failover {cycle + 1} of {settings.cycles}: {fault} of {primary.name}")
                primary, replica = await settled(sentinels, replica, primary)
                address.lead_to(str(primary.address))
            await wait_for_successes(workload, settings.min_successes)


async def _wait_until_named(sentinels: Sequence[Sentinel], primary: Store) -> None:
    """Wait until all Sentinels name a primary. Raises ProveError if that takes too long."""

    async def is_named() -> bool:
        return {await sentinel.primary() for sentinel in sentinels} == {str(primary.address)}

    if not await wait_until(is_named, timeout_s=START_S):
        raise ProveError(f"the Sentinels do not make {primary.name} the primary; see the log {sentinels[0].log}")


async def settled(sentinels: Sequence[Sentinel], primary: Store, replica: Store) -> tuple[Store, Store]:
    """Wait until all Sentinels know everything and name a primary that the other store follows. Return the two.

    Raises:
        ProveError: That takes too long.
    """
    named, other = primary, replica

    async def is_settled() -> bool:
        nonlocal named, other
        if await sentinels[0].primary() != str(named.address):
            named, other = other, named
        try:
            role = await other.execute("ROLE")
        except redis.RedisError:  # it starts
            return False
        follows = role[0] == "slave" and role[2] == named.address.port and role[3] == "connected"
        return follows and all(
            [await each.primary() == str(named.address) and await each.knows_all() for each in sentinels]
        )

    if not await wait_until(is_settled, timeout_s=START_S):
        raise ProveError(f"no store becomes a replica of the other again; see the log {sentinels[0].log}")
    return named, other
