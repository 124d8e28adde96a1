"""A complete system in separate processes: a store, a server and an edge, with handlers that tests write.

`running_system` is for tests of failures: each process can be killed, stopped and restarted on the same address, and
its log can be read.
"""

import asyncio
import contextlib
import json
import os
import signal
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families
from support.fork_server import start
from support.services import services_at
from support.store import StoreProcess, free_port
from support.wait import DEADLINE_S, wait_until

from callback import AsyncCallbackClient
from callback_process.addresses import parse_bind
from callback_up import children


def assert_events(lines):
    """Assert that each line of a started process's log is an event: no library wrote to the log by itself."""
    for number, line in enumerate(lines):
        assert line.startswith(b"{"), b"\n".join(lines[number:]).decode(errors="replace")
        json.loads(line)


class Process:
    """`python -m package` with settings from the environment; `facts` are the fields of its `ready` event.

    It is forked from a fork server, or started by `interpreter`, a command, if there is one.
    """

    def __init__(self, package, log, *, interpreter=None, **environment):
        self.interpreter = interpreter
        self._package = package
        self._environment = {**os.environ, **environment}
        self.log = log
        self.facts = {}
        self.process = None
        self._seen = 0

    async def start(self):
        """Start it, and wait until it logs that it is ready."""
        self._seen = self.log.stat().st_size if self.log.exists() else 0
        self.facts = {}
        with self.log.open("ab") as log:
            self.process = start(
                self._package, env=self._environment, stdout=None, stderr=log, interpreter=self.interpreter
            )
        self.facts = await wait_until(self._ready, deadline_s=120, what=f"ready in {self.log}")
        return self

    async def until_ready(self):
        """Wait until its probe says that it is ready. An edge then reaches a server."""

        async def is_ready():
            with contextlib.suppress(OSError):
                return await children.is_ready(parse_bind(self.facts["admin"]))

        await wait_until(is_ready, what=f"{self.log.stem} that is ready")

    async def admin(self, path):
        """Return the answer of its admin port to a GET."""
        async with httpx.AsyncClient(timeout=DEADLINE_S) as http:
            return await http.get(f"http://{self.facts['admin']}{path}")

    async def metrics(self):
        """Return the samples of its metrics."""
        families = text_string_to_metric_families((await self.admin("/metrics")).text)
        return [sample for family in families for sample in family.samples]

    def _ready(self):
        assert self.process.poll() is None, self.log.read_text()
        return next((event for event in self.events() if event["event"] == "ready"), None)

    def events(self, name=None):
        """Return the events that it logged since its last start."""
        with self.log.open("rb") as log:
            log.seek(self._seen)
            lines = log.read().splitlines()
        events = [json.loads(line) for line in lines if line.startswith(b"{") and line.endswith(b"}")]
        return [event for event in events if name in (None, event["event"])]

    def signal(self, number):
        """Send it a signal."""
        self.process.send_signal(number)

    def kill(self):
        """Kill it as a crash does."""
        self._end(signal.SIGKILL)

    def stop(self):
        """Stop it gracefully, and return its exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(60)
            if self.facts:
                assert_events(self.log.read_bytes()[self._seen :].splitlines())
        return self.process.returncode if self.process else None


class System:
    """A running system. `http` calls the edge, `client` is the client of an internal service."""

    def __init__(self, directory, store, *, store_url=None, config="", server=(), edge=()):
        self.directory = directory
        self.store = store
        file = directory / "callback.toml"
        file.write_text(config)
        common = {"CALLBACK_CONFIG": str(file)}
        grpc, http, admin = (f"127.0.0.1:{free_port()}" for _ in range(3))
        self.url = f"http://{http}"
        self.grpc = grpc
        server_environment = {
            **common, "CALLBACK_GRPC_BIND": grpc, "CALLBACK_BOX_URL": self.url,
            "CALLBACK_STORE_URL": store_url or store.url, "CALLBACK_STATE_KEY": "k" * 32,
            "CALLBACK_PLATFORM_URL": "https://platform.example", "CALLBACK_ADMIN_BIND": "127.0.0.1:0",
            "CALLBACK_DRAIN_S": "0", **dict(server),
        }  # fmt: skip
        edge_environment = {
            **common, "CALLBACK_EDGE_BIND": http, "CALLBACK_EDGE_ADMIN_BIND": admin,
            "CALLBACK_EDGE_SERVER_TARGET": grpc, "CALLBACK_EDGE_DRAIN_S": "0", **dict(edge),
        }  # fmt: skip
        self.server = Process("callback_server", directory / "server.log", **server_environment)
        self.edge = Process("callback_edge", directory / "edge.log", **edge_environment)
        self.http = self.client = None

    async def start_server(self):
        """Start the server, and wait until the edge can call it: a call waits for only a second for that."""
        await self.server.start()
        await self.edge.until_ready()

    async def start_edge(self):
        """Start the edge, and wait until it can call the server."""
        await self.edge.start()
        await self.edge.until_ready()


@contextlib.asynccontextmanager
async def running_system(directory, store, **options):
    """Run a `System` on a running store, in an empty directory.

    Args:
        directory: Directory for logs and configuration.
        store: A running `StoreProcess`.
        options: `config` (TOML: activities), `store_url` (a proxy before the store), `server` and `edge` (environment).
    """
    system = System(directory, store, **options)
    try:
        await system.server.start()
        await system.start_edge()
        # Idle connections expire before the edge closes them: a request on a closing connection fails.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=2)
        async with (
            httpx.AsyncClient(base_url=system.url, timeout=60, limits=limits) as system.http,
            AsyncCallbackClient(system.grpc, retry=False) as system.client,
        ):
            yield system
    finally:
        # Use another thread: handlers of a failed test may still have calls to answer before the two can end.
        await asyncio.to_thread(system.edge.stop)
        await asyncio.to_thread(system.server.stop)


@contextlib.asynccontextmanager
async def running_server(store, log, **environment):
    """Run a server in a process of its own, and yield `Services` of it, with its `process` and its `store`.

    After a kill, `process.start()` starts it again at the same address.
    """
    address = f"127.0.0.1:{free_port()}"
    common = {"CALLBACK_GRPC_BIND": address, "CALLBACK_ADMIN_BIND": "127.0.0.1:0", "CALLBACK_DRAIN_S": "0"}
    process = Process("callback_server", log, **common, CALLBACK_STORE_URL=store.url, **environment)
    reconnects = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500)]
    try:
        await process.start()
        async with services_at(address, options=reconnects, process=process, store=store) as services:
            yield services
    finally:
        await asyncio.to_thread(process.kill)


async def is_idle(edge):
    """Return whether an edge, a `Process`, has no request in progress."""
    return [each.value for each in await edge.metrics() if each.name == "callback_edge_requests_in_flight"] == [0]


def own_store(directory: Path, **options):
    """Run a store for one test alone, in a directory of its own. The test may kill and truncate it."""
    home = directory / "store"
    home.mkdir()
    return StoreProcess(home, **options)


@contextlib.asynccontextmanager
async def system_of_its_own(directory, **options):
    """Run a `System` on a store that it has alone, both in this directory."""
    store = own_store(directory).start()
    try:
        async with running_system(directory, store, **options) as system:
            yield system
    finally:
        await asyncio.to_thread(store.stop)
