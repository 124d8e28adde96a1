"""An append-only file whose end is broken after a power loss: what docs/operations.md says makes the store start again.

A file system can leave a part of the last write, or zeros in its place. Neither was acknowledged.
"""

import subprocess

import pytest
import redis
from support.deployed import OPERATIONS
from support.store import StoreProcess, program
from support.tools import require

from callback_launcher.errors import LaunchError

TAILS = {
    "torn": b"*3\r\n$3\r\nSET\r\n$4\r\nlast\r\n$5\r\nha",
    "zeros": bytes(4096),
    "torn, then zeros": b"*3\r\n$3\r\nSET\r\n$4\r\nlast\r\n$5\r\nha" + bytes(4096),
}


@pytest.fixture(params=["valkey", "redis"])
def store(tmp_path, request):
    """A store that was killed. `check_aof` is the program of its engine that repairs a file."""
    store = StoreProcess(tmp_path, kind=request.param).start()
    with redis.Redis(port=store.port) as client:
        client.bgrewriteaof()
        for n in range(100):
            client.set(f"acknowledged {n}", n)
    store.kill()
    if request.param == "redis":
        store.check_aof = require("redis-check-aof")
    else:
        store.check_aof = tmp_path / "valkey-check-aof"  # the server is this program too, under this name
        store.check_aof.symlink_to(program("valkey"))
    yield store
    store.stop()


def append(store, tail):
    """Append to the file that the store wrote last."""
    with last_file(store).open("ab") as file:
        file.write(tail)


def last_file(store):
    return max((store.directory / "appendonlydir").glob("*.incr.aof"), key=lambda file: int(file.name.split(".")[2]))


def everything(store):
    with redis.Redis(port=store.port) as client:
        return {name: client.get(name) for name in client.scan_iter()}


ALL = {f"acknowledged {n}".encode(): b"%d" % n for n in range(100)}


def test_a_store_starts_by_itself_on_a_torn_tail(store):
    append(store, TAILS["torn"])
    assert everything(store.start()) == ALL


@pytest.mark.parametrize("tail", ["zeros", "torn, then zeros"])
def test_a_tail_with_zeros_needs_the_documented_command_and_loses_nothing_acknowledged(store, tail):
    append(store, TAILS[tail])
    with pytest.raises(LaunchError, match="Bad file format"):
        store.start()
    assert store.process.wait(60) == 1
    assert "valkey-check-aof --fix appendonlydir/appendonly.aof.7.incr.aof" in OPERATIONS.read_text()
    fixed = subprocess.run(
        [store.check_aof, "--fix", last_file(store)], cwd=store.directory, input="y\n", text=True, capture_output=True,
        check=False,
    )  # fmt: skip
    assert fixed.returncode == 0, fixed.stdout
    assert everything(store.start()) == ALL
