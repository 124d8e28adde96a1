"""What the processes of a system have in common, and the system itself: servers and edges on a store."""

import itertools
import socket
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final, Self

from callback_launcher.child import Child
from callback_launcher.programs import is_ready, python, store_program, variables
from callback_process.addresses import Address
from callback_process.listener import address_of, bound_socket

START_S: Final = 120.0
"""Time limit for a process to become ready, in seconds."""
STOP_S: Final = 60.0
"""Time limit for a process to end, in seconds."""
NO_SETTINGS: Final[Mapping[str, object]] = MappingProxyType({})


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
        """
        self._store = store
        self.directory = directory
        self.durability = durability
        self._held: list[socket.socket] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        for held in self._held:
            held.close()

    @property
    def store(self) -> str:
        """Path of the program of stores and Sentinels. Raise LaunchError if this machine has none."""
        return self._store or store_program()

    def take(self) -> Address:
        """Return a free address."""
        self._held.append(bound_socket(Address("127.0.0.1", 0)))
        return address_of(self._held[-1])

    def log(self, name: str) -> Path:
        """Return the log of a process."""
        return self.directory / f"{name}.log"

    def serving(self, kind: str, name: str, **settings: object) -> Child:
        """Return a server or an edge, with settings in addition to its admin address."""
        admin = self.take()
        return Child(
            name=name,
            command=python(f"callback_{kind}"),
            environment=variables(kind, ADMIN_BIND=admin, **settings),
            is_healthy=partial(is_ready, admin),
            start_s=START_S,
            stop_s=STOP_S,
            log=self.log(name),
        )


class System:
    """Servers and edges on a store."""

    def __init__(
        self,
        launcher: Launcher,
        *store_urls: str,
        servers: int = 1,
        edges: int = 1,
        server: Mapping[str, object] = NO_SETTINGS,
        edge: Mapping[str, object] = NO_SETTINGS,
    ) -> None:
        """Create the processes.

        Args:
            launcher: Gives their directory and addresses.
            store_urls: URLs of the store. The servers have one each, in turn.
            servers: Number of servers.
            edges: Number of edges, which know all servers.
            server: Settings of the servers.
            edge: Settings of the edges.
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


def target(addresses: Sequence[Address]) -> str:
    """Return the target of clients that use all of these servers."""
    return f"ipv4:{','.join(map(str, addresses))}"
