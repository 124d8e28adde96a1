"""`callback up` as a real process, and helpers to inspect and control it."""

import os
import re
import signal
import subprocess
from pathlib import Path

import grpc
import httpx
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from support.system import Process
from support.wait import DEADLINE_S, wait_until_sync

READY = re.compile(r"ready edge=(?P<edge>\S+:\d+) grpc=(?P<grpc>\S+:\d+)( console=(?P<console>\S+:\d+))?\n")


def is_running(pid):
    """Return whether a process runs. A zombie, which waits for its parent, does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # it ended before, or while its file was read
        return False


def serves_reflection(target, credentials=None):
    """Return whether a server answers reflection requests, with its own services among them."""
    with grpc.secure_channel(target, credentials) if credentials else grpc.insecure_channel(target) as channel:
        try:
            names = ProtoReflectionDescriptorDatabase(channel).get_services()
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
                raise
            return False
    return "callback.v1.CallbacksService" in names


class Up(Process):
    """A `callback up` on a data directory. `start()` starts it; `log` is the standard error of all its runs.

    Options are those of the command line: `edge="127.0.0.1:0"`, `demo=True`; None leaves one out. There is no console
    unless the option `console` is given.
    """

    def __init__(self, data_dir, log, **options):
        super().__init__("callback_cli", log)
        self.is_healthy = self._answers
        usual = {"edge": "127.0.0.1:0", "grpc": "127.0.0.1:0", "no-console": None if "console" in options else True}
        self.options = {"data-dir": str(data_dir), **usual, **options}
        self.stdin = subprocess.DEVNULL
        self.output = None
        """Its standard output."""
        self.edge = self.grpc = self.console = None

    def spawn(self):
        """Start it in a process group of its own, as a shell does, without waiting. Forget the run before."""
        self.close()
        options = [
            f"--{name}" if value is True else f"--{name}={value}"
            for name, value in self.options.items()
            if value is not None
        ]
        reading, writing = os.pipe()
        self.output = os.fdopen(reading)
        super().spawn(
            "up", *options, stdin=self.stdin, stdout=writing, own_group=True, preloaded=["callback_up.main"]
        )  # fmt: skip
        os.close(writing)
        return self

    def start(self):
        """Start it, and wait for its ready line."""
        self.spawn()
        found = READY.fullmatch(line := self.output.readline())
        assert found, f"{line!r}\n{self.said()}"
        self.edge, self.grpc, self.console = found["edge"], found["grpc"], found["console"]
        return self

    def child(self, name):
        """Return the process id of a child, as last started."""
        return [event["child_pid"] for event in self.events("child_started") if event["child"] == name][-1]

    def children(self):
        """Return the process ids of all children that were ever started in this run."""
        return [event["child_pid"] for event in self.events("child_started")]

    def _answers(self):
        """Return whether store, server and edge answer: a lookup of an unknown state must give "not found"."""
        try:
            answer = httpx.get(f"http://{self.edge}/cb/00000000-0000-4000-8000-000000000000", timeout=60)
        except httpx.TransportError:
            return False
        return answer.status_code == 404

    def wait_healthy(self):
        """Wait until store, server and edge answer."""
        wait_until_sync(self.is_healthy, what="callback up")

    def ends(self):
        """Wait for the end of the supervisor, and return its exit code."""
        return self.process.wait(DEADLINE_S)

    def interrupt(self):
        """Press Ctrl-C: the terminal's whole process group gets the signal. Return the exit code."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.ends()

    def close(self):
        """Kill the supervisor if it still runs, and wait for nothing else."""
        if self.process is not None:
            self.process.kill()
            self.ends()
            self.output.close()
