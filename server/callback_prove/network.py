"""Proof: hosts of a cluster are cut off from each other under load.

Each node of the cluster has a host of its own: a network namespace on a bridge. What one host sends to another is lost
while they are cut off from each other. Each cycle has one of these faults, in a random order: a primary is cut off from
all other nodes, while clients still reach it; a replica is; a primary loses its network.
"""

import asyncio
import os
import random
import shutil
import subprocess
from collections.abc import Iterable
from typing import Final, Self

from callback_launcher.cluster import PRIMARIES, Cluster, Node
from callback_launcher.launcher import Launcher
from callback_process.addresses import Address
from callback_prove.cluster import SUSPENDED_S, prove_with_faults
from callback_prove.errors import ProveError
from callback_prove.history import History
from callback_prove.proof import Settings

NETWORK: Final = "198.18.{}.{}"
"""Addresses of the hosts: a network for tests (RFC 2544)."""
NOWHERE: Final = "02:00:00:00:00:00"
"""Link address of no host."""
PORT: Final = 6379
BUS_PORT: Final = 16379


class Hosts:
    """Network namespaces on a bridge, which this machine can reach. Use it as a context manager."""

    def __init__(self, count: int) -> None:
        """Create hosts, which do not exist yet."""
        self._bridge = f"cb{os.getpid()}"
        self._network = os.getpid() % 256
        self._names = {NETWORK.format(self._network, 2 + n): f"{self._bridge}-{n}" for n in range(count)}

    @property
    def addresses(self) -> list[str]:
        """The addresses of the hosts."""
        return [*self._names]

    def __enter__(self) -> Self:
        if shutil.which("ip") is None or os.geteuid() != 0:
            raise ProveError(
                "the proof network needs network namespaces: run it as root on Linux, with the program ip (on Debian: "
                "iproute2)"
            )
        try:
            self._make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _make(self) -> None:
        _ip("link", "add", self._bridge, "type", "bridge")
        _ip("address", "add", NETWORK.format(self._network, 1) + "/24", "dev", self._bridge)
        _ip("link", "set", self._bridge, "up")
        for address, name in self._names.items():
            _ip("netns", "add", name)
            _ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("link", "set", name, "master", self._bridge, "up")
            _ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip("-n", name, "link", "set", device, "up")

    def __exit__(self, *_error: object) -> None:
        for name in self._names.values():
            _ip("netns", "delete", name, must_succeed=False)
        _ip("link", "delete", self._bridge, must_succeed=False)

    def wrapper(self, address: str) -> list[str]:
        """Return the command that runs a program on a host."""
        return [shutil.which("ip") or "ip", "netns", "exec", self._names[address]]

    def cut_off(self, address: str, others: Iterable[str]) -> None:
        """Lose what a host and others send to each other."""
        for other in others:
            for one, another in ((address, other), (other, address)):
                _ip("-n", self._names[one], "neighbor", "replace", another, "lladdr", NOWHERE, "dev", "eth0")

    def connect(self, address: str, others: Iterable[str]) -> None:
        """End a cut."""
        for other in others:
            for one, another in ((address, other), (other, address)):
                _ip("-n", self._names[one], "neighbor", "delete", another, "dev", "eth0")

    def set_link(self, address: str, state: str) -> None:
        """Set the link of a host `up` or `down`."""
        _ip("link", "set", self._names[address], state)


def _ip(*words: str, must_succeed: bool = True) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)  # noqa: S603, S607  # of this machine
    if done.returncode != 0 and must_succeed:
        raise ProveError(f"the proof network needs network namespaces: ip {' '.join(words)}: {done.stderr.strip()}")


async def prove(settings: Settings, history: History) -> None:
    """Run the proof. Each fault comes equally often.

    Raises:
        ProveError: The proof has no result.
    """
    launcher = Launcher(settings.directory, settings.durability)
    with Hosts(2 * PRIMARIES) as hosts:
        nodes = [
            Node(
                launcher,
                f"node-{n}",
                address=Address(address, PORT),
                bus=Address(address, BUS_PORT),
                wrapper=hosts.wrapper(address),
            )
            for n, address in enumerate(hosts.addresses, 1)
        ]

        async def cut_off(node: Node) -> Node:
            others = [each for each in hosts.addresses if each != node.address.host]
            hosts.cut_off(node.address.host, others)
            await asyncio.sleep(SUSPENDED_S)
            hosts.connect(node.address.host, others)
            return node

        async def cut_off_primary(cluster: Cluster, choices: random.Random) -> Node:
            return await cut_off(choices.choice(await cluster.of_role("master")))

        async def cut_off_replica(cluster: Cluster, choices: random.Random) -> Node:
            return await cut_off(choices.choice(await cluster.of_role("slave")))

        async def unplug(cluster: Cluster, choices: random.Random) -> Node:
            node = choices.choice(await cluster.of_role("master"))
            hosts.set_link(node.address.host, "down")
            await asyncio.sleep(SUSPENDED_S)
            hosts.set_link(node.address.host, "up")
            return node

        faults = (cut_off_primary, cut_off_replica, unplug)
        await prove_with_faults(Cluster(nodes), faults, launcher, settings, history)
