"""The measured programs, each a process of its own: the baselines, and Callback with every feature on."""

import asyncio
import contextlib
import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from bench.baselines.chain_server import CASES
from support.installed import build_node, install_go, install_node
from support.languages import language_problem
from support.store import StoreProcess, free_port
from support.system import SystemLauncher

from callback import AsyncCallbackClient, Response
from callback_launcher import child
from callback_launcher.child import Child
from callback_launcher.launcher import System
from callback_server.access.roles import Role
from callback_server.access.tokens import add_token

BENCH = Path(__file__).parents[1]
ANSWER = Response(b"thank you")


def processor_s(pid):
    """Return the processor time of a process, in seconds, from its Linux CPU clock (`clock_getcpuclockid(3)`)."""
    return time.clock_gettime(~pid << 3 | 2)


async def charged(processes, load):
    """Await a load, and add to its results the processor time per request of each process, by name."""
    before = {name: processor_s(pid) for name, pid in processes.items()}
    seen = await load
    used_us = {name: (processor_s(pid) - before[name]) * 1e6 for name, pid in processes.items()}
    each_us = {name: round(us / max(1, seen["requests"]), 1) for name, us in used_us.items()}
    return {**seen, "processor_us": each_us, "all_us": sum(each_us.values()), "worker_us": each_us.get("worker")}


def resident_bytes(pid):
    """Return the resident memory of a process, in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Subject:
    """A program to call: its address, its paths, and its processes by name."""

    name: str
    port: int
    paths: list[str]
    processes: dict[str, int]


def accept_connections(*ports):
    """Return True if something listens on each of these ports of loopback. Else raise OSError."""
    for port in ports:
        socket.create_connection(("127.0.0.1", port)).close()
    return True


class NotInstalledError(Exception):
    """A rival program is not available here; the message says why."""


@contextlib.asynccontextmanager
async def running(program, *arguments, directory, ports=()):
    """Run a program on the PATH, or a Python file of this folder, once it accepts connections. Yield the `Child`.

    It logs into the directory.
    """
    command = [sys.executable, str(BENCH / program)] if program.endswith(".py") else [shutil.which(program)]
    name = Path(program).stem
    started = Child(
        name=name, command=[*command, *map(str, arguments)], log=directory / f"{name}.log",
        is_healthy=functools.partial(accept_connections, *ports),
    )  # fmt: skip
    async with child.running(started):
        yield started


@contextlib.asynccontextmanager
async def listening(file, *arguments, directory):
    """Run a file that listens on a port, its first argument. Yield the program and the port."""
    port = free_port()
    async with running(file, port, *arguments, directory=directory, ports=[port]) as program:
        yield program, port


def install(language, directory):
    """Install the packed client of a language, with the handler that accepts. Return the command of the handler."""
    if problem := language_problem(language):
        raise NotInstalledError(problem)
    home = directory / f"client-{language}"
    home.mkdir()
    if language == "Go":
        return install_go(home, BENCH / "kit" / "accepting.go", flags=())["accepting"]
    build_node()
    return install_node(home, BENCH / "kit" / "accepting.mjs")["accepting"]


@contextlib.asynccontextmanager
async def hello(directory):
    """Run the bare framework."""
    async with listening("baselines/hello.py", directory=directory) as (program, port):
        yield Subject("hello", port, ["/"], {"hello": program.process.pid})


@contextlib.asynccontextmanager
async def chain(directory):
    """Run the hand-written chain."""
    with StoreProcess(directory / "chain-store") as store:
        async with (
            listening("baselines/chain_server.py", store.port, directory=directory) as (server, server_port),
            listening("baselines/chain_edge.py", server_port, directory=directory) as (edge, port),
        ):
            processes = {"edge": edge.process.pid, "server": server.process.pid, "store": store.process.pid}
            yield Subject("chain", port, [f"/{number}" for number in range(CASES)], processes)


@contextlib.asynccontextmanager
async def webhook(directory):
    """Run a rival, adnanh/webhook.

    It stores nothing, and starts a program for each call: here one that does nothing.
    """
    if shutil.which("webhook") is None:
        raise NotInstalledError("webhook is not installed")
    hooks, port = directory / "hooks.json", free_port()
    hooks.write_text(json.dumps([{"id": "bench", "execute-command": "/bin/true", "response-message": "thank you"}]))
    command = ["webhook", "-ip", "127.0.0.1", "-port", port, "-hooks", hooks]
    async with running(*command, directory=directory, ports=[port]):
        yield Subject("webhook", port, ["/hooks/bench"], {})  # the programs that it starts use most of the time


@contextlib.asynccontextmanager
async def restate(directory):
    """Run a rival, Restate: its server, and a handler of its SDK that it calls as Callback calls a push handler.

    Both come from npm and run with their defaults: an invocation is on disk when it is answered.
    """
    home = directory / "restate"
    shutil.copytree(BENCH / "rivals" / "restate", home)
    _npm_install(home)
    (binary,) = home.glob("node_modules/@restatedev/restate-server-*/bin/restate-server")
    port, admin, handler_port = free_port(), free_port(), free_port()
    config = home / "restate.toml"
    config.write_text(
        f"""
base-dir = "{home / "data"}"
bind-ip = "127.0.0.1"
bind-port = {free_port()}
listen-mode = "tcp"
disable-telemetry = true
ingress.bind-address = "127.0.0.1:{port}"
admin.bind-address = "127.0.0.1:{admin}"
"""
    )
    async with (
        running("node", home / "handler.mjs", handler_port, directory=directory, ports=[handler_port]) as handler,
        running(str(binary), "--config-file", config, directory=directory, ports=[admin, port]) as server,
    ):
        async with httpx.AsyncClient(timeout=30) as http:
            deployment = {"uri": f"http://127.0.0.1:{handler_port}"}
            (await http.post(f"http://127.0.0.1:{admin}/deployments", json=deployment)).raise_for_status()
            (await http.get(f"http://127.0.0.1:{port}/accepting/accept")).raise_for_status()
        processes = {"server": server.process.pid, "handler": handler.process.pid}
        yield Subject("restate", port, ["/accepting/accept"], processes)


def _npm_install(home):
    """Install the packages in a folder's `package.json`, without running any of their scripts."""
    if shutil.which("npm") is None:
        raise NotInstalledError("npm is not installed")
    command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--no-progress"]
    ran = subprocess.run(command, cwd=home, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise NotInstalledError(f"npm does not install it: {ran.stderr.strip()}")


class Deployment(System):
    """Callback on a running store: servers and edges with access control, limits, recording, metrics and info logs.

    `client` is the client of an internal service. `tokens` are those of the principals, and `administrators` those of
    as many administrators. `environment` is that of all its processes.
    """

    def __init__(self, directory, store, *, servers=1, edges=1, config="", administrators=0, environment=()):
        environment = dict(environment)
        self.directory = directory
        self.store = store
        principals = directory / "principals.toml"
        self.tokens = {
            "edge": add_token(principals, "edge", [Role.EDGE], None),
            "service": add_token(principals, "service", [Role.OWNER], None),
            "worker": add_token(principals, "worker", [Role.WORKER], None, activities=["*"]),
        }
        self.administrators = [
            add_token(principals, f"admin-{number}", [Role.ADMIN], None) for number in range(administrators)
        ]
        edge_token = directory / "edge.token"
        edge_token.write_text(self.tokens["edge"])
        file = directory / "callback.toml"
        file.write_text(config)
        common = {"CALLBACK_CONFIG": str(file), **environment}
        ours = SystemLauncher(directory, [sys.executable], server=common, edge=common)
        super().__init__(
            ours,
            store.url,
            servers=servers,
            edges=edges,
            server={"STATE_KEY": "k" * 32, "PRINCIPALS_FILE": principals, "DRAIN_S": 0},
            edge={"SERVER_TOKEN_FILE": edge_token, "TRUSTED_PROXIES": "127.0.0.1/32", "DRAIN_S": 0},
        )
        self.grpc = self.target.removeprefix("ipv4:").split(",")
        self.ports = [int(address.rpartition(":")[2]) for address in self.edge_addresses]
        self.client = None

    @property
    def processes(self):
        """Return the processes by name, with a number if there are several of a kind."""
        named = {"store": self.store.process.pid}
        for kind, processes in (("edge", self.edges), ("server", self.servers)):
            for number, each in enumerate(processes, 1):
                named[kind if len(processes) == 1 else f"{kind} {number}"] = each.process.pid
        return named

    async def metric(self, name, **labels):
        """Return the sum of a metric over all processes; 0 if it does not exist yet."""
        found = [each for process in (*self.servers, *self.edges) for each in await process.metrics()]
        return sum(each.value for each in found if each.name == name and labels.items() <= each.labels.items())

    async def paths(self, activity, count):
        """Create this many cases that allow any number of calls, and return their paths."""
        made = await asyncio.gather(
            *(self.client.generate_callback_url(activity, ANSWER, allow_multiple_calls=True) for _ in range(count))
        )
        return [urlsplit(each.url).path for each in made]


@contextlib.asynccontextmanager
async def running_deployment(directory, store, **options):
    """Run a `Deployment`. Create its directory."""
    directory.mkdir()
    deployment = Deployment(directory, store, **options)
    async with (
        deployment.running(),
        AsyncCallbackClient(deployment.target, token=deployment.tokens["service"]) as deployment.client,
    ):
        yield deployment
