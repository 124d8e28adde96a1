"""What the processes of a system have in common, and the system itself: servers and edges on a store."""

import contextlib
import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from callback_launcher.child import Child, running
from callback_launcher.programs import serving, store_program
from callback_process.addresses import Address
from callback_process.listener import address_of, bound_socket

Settings = Mapping[str, object]
"""Settings of a process, by their names in upper case."""


class Launcher:
    """What the processes of a system have in common: their directory, durability, and addresses on loopback."""

    def __init__(self, directory: Path, durability: str = "always", *, store: str | None = None) -> None:
        """Create a launcher.

        Args:
            directory: Directory of the logs and of the data of stores.
            durability: Setting `store_durability` of the servers.
            store: Path of the program of stores and Sentinels. None: Valkey, or else Redis.
        """
        self._store = store
        self.directory = directory
        self.durability = durability

    @property
    def store(self) -> str:
        """Path of the program of stores and Sentinels. Raise LaunchError if this machine has none."""
        return self._store or store_program()

    def take(self) -> Address:
        """Return a free address, which no other program gets while this process runs."""
        held = bound_socket(Address("127.0.0.1", 0))
        address = address_of(held)
        held.detach()  # it stays open
        return address

    def log(self, name: str) -> Path:
        """Return the log of a process."""
        return self.directory / f"{name}.log"

    def serving(self, kind: str, name: str, **settings: object) -> Child:
        """Return a server or an edge, with settings in addition to its admin address."""
        return serving(kind, self.take(), settings, name=name, log=self.log(name))


class System:
    """Servers and edges on a store."""

    def __init__(
        self, launcher: Launcher, *store_urls: str, server: Settings, edge: Settings, servers: int = 1, edges: int = 1
    ) -> None:
        """Create the processes.

        Args:
            launcher: Gives their directory and addresses.
            store_urls: URLs of the store. The servers have one each, in turn.
            server: Settings of the servers.
            edge: Settings of the edges.
            servers: Number of servers.
            edges: Number of edges, which know all servers.
        """
        grpc, http = ([launcher.take() for _ in range(count)] for count in (servers, edges))
        self.target = target(grpc)
        self.edge_addresses = [str(address) for address in http]
        self.url = f"http://{self.edge_addresses[0]}"
        common = {"BOX_URL": self.url, **server}
        self.servers = [
            launcher.serving("server", f"server-{n}", **common, STORE_URL=store_url, GRPC_BIND=address)
            for n, (address, store_url) in enumerate(zip(grpc, itertools.cycle(store_urls)), 1)
        ]
        self.edges = [
            launcher.serving("edge", f"edge-{n}", **edge, BIND=address, SERVER_TARGET=self.target)
            for n, address in enumerate(http, 1)
        ]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the servers, then the edges too, in the body. The edges are stopped first.

        Raises:
            LaunchError: A process does not start or stop.
        """
        async with running(*self.servers, ends_gracefully=True), running(*self.edges, ends_gracefully=True):
            yield


def target(addresses: Sequence[Address]) -> str:
    """Return the target of clients that use all of these servers."""
    return f"ipv4:{','.join(map(str, addresses))}"
