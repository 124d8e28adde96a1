"""A complete system in separate processes: a store, a server and an edge, with handlers that tests write.

`running_system` is for tests of failures: each process can be killed, stopped and restarted on the same address, and
its log can be read.
"""

import asyncio
import contextlib
import json
import os

import httpx
from prometheus_client.parser import text_string_to_metric_families
from support.fork_server import start
from support.services import services_at
from support.store import Launcher, StoreProcess, free_port
from support.wait import DEADLINE_S

from callback import AsyncCallbackClient
from callback_launcher import launcher
from callback_launcher.child import Child
from callback_launcher.programs import is_ready, variables


def assert_events(lines):
    """Assert that each line of a started process's log is an event: no library wrote to the log by itself."""
    for number, line in enumerate(lines):
        assert line.startswith("{"), "\n".join(lines[number:])
        json.loads(line)


class Process(Child):
    """`python -m package` with settings from the environment; `facts` are the fields of its `ready` event.

    It is forked from a fork server, or started by `interpreter`, a command, if there is one.
    """

    def __init__(self, package, log, *, interpreter=None, **environment):
        super().__init__(
            name=log.stem, command=[package], is_healthy=self._ready, stop_s=60, environment=environment, log=log
        )
        self.interpreter = interpreter
        self.facts = None

    def spawn(self, *arguments, stdout=None, **options):
        """Start it, and forget the run before. Options are those of `fork_server.start`."""
        self.facts = None
        environment = {**os.environ, **self.environment}
        with self.log.open("ab") as log:
            self._logged = self.log.stat().st_size
            self.process = start(
                *self.command, *arguments, env=environment, stdout=stdout, stderr=log, interpreter=self.interpreter,
                **options,
            )  # fmt: skip
        return self

    def _ready(self):
        """Return whether it has logged that it is ready."""
        self.facts = next(iter(self.events("ready")), None)
        return self.facts is not None

    async def admin(self, path, method="GET"):
        """Return the answer of its admin port."""
        async with httpx.AsyncClient(timeout=DEADLINE_S) as http:
            return await http.request(method, f"http://{self.facts['admin']}{path}")

    async def metrics(self):
        """Return the samples of its metrics."""
        families = text_string_to_metric_families((await self.admin("/metrics")).text)
        return [sample for family in families for sample in family.samples]

    def events(self, name=None):
        """Return the events that it logged since its last start."""
        events = [json.loads(line) for line in self.said().splitlines() if line.startswith("{") and line.endswith("}")]
        return [event for event in events if name in (None, event["event"])]

    def wait(self, timeout_s=None):
        """Wait until it ends. If it was ready, assert that it has logged only events."""
        was_running = self.is_running
        code = super().wait(timeout_s)
        if was_running and self.facts:
            assert_events(self.said().splitlines())
        return code


class SystemLauncher(Launcher):
    """A launcher of servers and edges with these environment variables, by kind."""

    def __init__(self, directory, interpreter=None, **environment):
        super().__init__(directory)
        self._interpreter = interpreter
        self._environment = environment

    def serving(self, kind, name, **settings):
        """Return a server or an edge, a `Process`."""
        admin = self.take()
        environment = variables(kind, ADMIN_BIND=admin, **settings) | self._environment[kind]
        process = Process(f"callback_{kind}", self.log(name), interpreter=self._interpreter, **environment)
        has_logged = process.is_healthy
        process.is_healthy = lambda: has_logged() and is_ready(admin)
        return process


class System(launcher.System):
    """A running system. `http` calls the edge, `client` is the client of an internal service."""

    def __init__(self, directory, store, *, store_url=None, config="", server=(), edge=()):
        self.directory = directory
        self.store = store
        file = directory / "callback.toml"
        file.write_text(config)
        common = {"CALLBACK_CONFIG": str(file)}
        settings = {"STATE_KEY": "k" * 32, "PLATFORM_URL": "https://platform.example", "DRAIN_S": 0}
        ours = SystemLauncher(directory, server=common | dict(server), edge=common | dict(edge))
        super().__init__(ours, store_url or store.url, server=settings, edge={"DRAIN_S": 0})
        self.grpc = self.target.removeprefix("ipv4:")
        (self.server,), (self.edge,) = self.servers, self.edges
        self.http = self.client = None

    async def start_server(self):
        """Start the server, and wait until the edge can call it: a call waits for only a second for that."""
        await asyncio.to_thread(self.server.start)
        await asyncio.to_thread(self.edge.require_healthy)


@contextlib.asynccontextmanager
async def running_system(directory, store, **options):
    """Run a `System` on a running store, in an empty directory.

    Args:
        directory: Directory for logs and configuration.
        store: A running `StoreProcess`.
        options: `config` (TOML: activities), `store_url` (a proxy before the store), `server` and `edge` (environment).
    """
    system = System(directory, store, **options)
    # Idle connections expire before the edge closes them: a request on a closing connection fails.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=2)
    async with (
        system.running(),
        httpx.AsyncClient(base_url=system.url, timeout=60, limits=limits) as system.http,
        AsyncCallbackClient(system.grpc, retry=False) as system.client,
    ):
        yield system


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
        await asyncio.to_thread(process.start)
        async with services_at(address, options=reconnects, process=process, store=store) as services:
            yield services
    finally:
        await asyncio.to_thread(process.kill)


async def is_idle(edge):
    """Return whether an edge, a `Process`, has no request in progress."""
    return [each.value for each in await edge.metrics() if each.name == "callback_edge_requests_in_flight"] == [0]


def own_store(directory, **options):
    """Return a store for one test alone, in a directory of its own. The test may kill and truncate it."""
    return StoreProcess(directory / "store", **options)


@contextlib.asynccontextmanager
async def system_of_its_own(directory, **options):
    """Run a `System` on a store that it has alone, both in this directory."""
    with own_store(directory) as store:
        async with running_system(directory, store, **options) as system:
            yield system
