"""The gRPC port: connections are distributed among listeners, and no other process shares the port."""

import asyncio
import socket
import sys
from pathlib import Path

import grpc
import pytest
from support.store import free_port
from support.system import Process
from support.wait import DEADLINE_S, wait_until

from callback_launcher.errors import LaunchError
from callback_server.rpc.grpc_aio.listeners import LISTENERS, Listeners


def make_server(options):
    async def echo(request, _context):
        return request

    handler = grpc.unary_unary_rpc_method_handler(echo)
    return grpc.aio.server(
        handlers=[grpc.method_handlers_generic_handler("echo.Echo", {"Echo": handler})], options=options
    )


@pytest.fixture
async def listeners():
    """Run listeners, and yield them with their port."""
    some = Listeners(make_server)
    port = some.bind("127.0.0.1:0", None)
    await some.start()
    yield some, port
    await some.stop(0)


async def ask(port):
    """Return whether a server replies on a new connection, which is then closed."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        return await channel.unary_unary("/echo.Echo/Echo")(b"x", timeout=DEADLINE_S) == b"x"


LISTEN, TIME_WAIT = "0A", "06"


def sockets(port, state):
    """Count the sockets of a port in a state. The tables of the system have port and state in hexadecimal digits."""
    tables = (Path(f"/proc/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6"))
    rows = [line.split() for table in tables for line in table]
    return sum(int(row[1].split(":")[1], 16) == port and row[3] == state for row in rows)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is one listener")
async def test_several_listeners_share_one_port(listeners):
    assert sockets(listeners[1], LISTEN) == LISTENERS > 1


async def test_every_connection_is_served(listeners):
    assert all(await asyncio.gather(*(ask(listeners[1]) for _ in range(8 * LISTENERS))))


async def test_no_listener_listens_after_a_stop(listeners):
    some, port = listeners
    await some.stop(0)
    assert sockets(port, LISTEN) == 0


@pytest.mark.parametrize("shares", [False, True])
@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("127.0.0.1", "127.0.0.1"), ("127.0.0.1", "localhost"), ("127.0.0.1", "0.0.0.0"), ("0.0.0.0", "127.0.0.1"),
        ("::1", "[::1]"), ("::", "[::]"), ("::", "[::1]"), ("0.0.0.0", "[::]"), ("::", "0.0.0.0"),
    ],
)  # fmt: skip
async def test_a_port_of_another_process_is_refused_even_if_that_process_would_share_it(theirs, ours, shares):
    family = socket.AF_INET6 if ":" in theirs else socket.AF_INET
    with socket.socket(family) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shares)
        if family == socket.AF_INET6:
            other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        other.bind((theirs, free_port()))
        other.listen()
        with pytest.raises(OSError, match="in use"):
            Listeners(make_server).bind(f"{ours}:{other.getsockname()[1]}", None)


async def test_a_port_with_only_closed_connections_is_free(listeners):
    some, port = listeners
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")  # RFC 9113, section 3.4
    await reader.readuntil(b"\0\0\0\4\1\0\0\0\0")  # it has read ours: with unread data it resets the connection
    await some.stop(0)
    await reader.read()  # to the end: the server closes the connection first
    writer.close()
    await wait_until(lambda: sockets(port, TIME_WAIT), what="a closed connection")
    another = Listeners(make_server)
    assert another.bind(f"127.0.0.1:{port}", None) == port
    await another.start()
    assert await ask(port)
    await another.stop(0)


async def test_a_second_server_on_the_port_exits_with_the_reason(tmp_path, store_of):
    settings = {
        "CALLBACK_GRPC_BIND": f"127.0.0.1:{free_port()}", "CALLBACK_ADMIN_BIND": "127.0.0.1:0",
        "CALLBACK_STORE_URL": store_of().url, "CALLBACK_DRAIN_S": "0",
    }  # fmt: skip
    first = Process("callback_server", tmp_path / "first", **settings)
    second = Process("callback_server", tmp_path / "second", **settings)
    await asyncio.to_thread(first.start)
    with pytest.raises(LaunchError, match="cannot be bound; is the port taken"):
        await asyncio.to_thread(second.start)
    assert second.process.returncode != 0
    assert first.stop() == 0
