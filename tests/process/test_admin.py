"""The admin port of a process, with well-behaved and hostile peers."""

import asyncio
import contextlib
import socket
import struct

import httpx
import pytest
from support.wait import DEADLINE_S, wait_until

from callback_process import admin
from callback_process.listener import address_of, listen


@contextlib.asynccontextmanager
async def serving(why_not_ready=""):
    async def is_ready():
        return why_not_ready

    listening = listen("127.0.0.1:0")
    address = address_of(listening)
    with admin.AdminServer(listening, is_ready):
        yield address


@pytest.fixture
def short_connections(limits):
    """Limit each connection to half a second."""
    limits(admin, CONNECTION_TIMEOUT_S=0.5)


async def get(address, path="/healthz", **more):
    async with httpx.AsyncClient() as http:
        return await http.request(more.pop("method", "GET"), f"http://{address}{path}", **more)


async def is_closed(reader):
    """Return whether the peer ended the connection, by a close or a reset."""
    try:
        return await asyncio.wait_for(reader.read(), DEADLINE_S) == b""
    except ConnectionError:
        return True


async def test_each_request_has_its_answer(caplog):
    async with serving("it rains") as address:
        assert (await get(address)).text == "ok\n"
        answer = await get(address, "/readyz?x=1")
        assert (answer.status_code, answer.text) == (503, "it rains\n")
        answer = await get(address, "/metrics")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
        assert "python_info" in answer.text
        answer = await get(address, method="HEAD")
        assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, "3", b"")
        assert (await get(address, "/nothing")).status_code == 404
        assert (await get(address, method="POST")).status_code == 405
    assert caplog.records == []


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"", b""),
        (b"GET /metr", b"HTTP/1.1 400 "),
        (b"\x16\x03\x01\x00\xff\x00\r\n\r\n", b"HTTP/1.1 400 "),
        (b"GET /metrics HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 "),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: " + b"x" * 100_000, b"HTTP/1.1 431 "),
        (b"GET /readyz HTTP/1.0\r\n\r\n", b"HTTP/1.1 200 "),
    ],
    ids=["nothing", "half", "garbage", "no host", "endless", "old"],
)
async def test_any_bytes_are_answered_in_http_or_not_at_all(sent, status, capfd, caplog):
    async with serving() as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(sent)
        writer.write_eof()
        with contextlib.suppress(ConnectionError):  # a reset, because of unread bytes
            assert (await reader.readexactly(len(status))) == status
        writer.close()
        assert (await get(address)).text == "ok\n"
    assert capfd.readouterr().err == ""
    assert caplog.records == []


async def test_a_peer_that_disconnects_is_not_logged(capfd, caplog):
    async with serving("x" * 10_000_000) as address:
        for sent in (b"", b"GET /re", b"GET /readyz HTTP/1.0\r\n\r\n"):
            with socket.create_connection(address) as peer:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not an end
                peer.sendall(sent)
        assert (await get(address)).text == "ok\n"
    assert capfd.readouterr().err == ""
    assert caplog.records == []


async def test_one_connection_too_many_is_closed_at_once_and_the_others_are_served():
    async with serving() as address, contextlib.AsyncExitStack() as stack:
        silent = []
        for _ in range(16):
            reader, writer = await asyncio.open_connection(*address)
            stack.callback(writer.close)
            silent.append((reader, writer))
        reader, writer = await asyncio.open_connection(*address)
        stack.callback(writer.close)
        assert await is_closed(reader)
        reader, writer = silent[-1]
        writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert (await reader.read()).endswith(b"\r\n\r\nok\n")
        assert (await get(address)).text == "ok\n"


@pytest.mark.usefixtures("short_connections")
async def test_a_peer_that_sends_byte_by_byte_has_the_same_time_limit():
    async with serving() as address:
        reader, writer = await asyncio.open_connection(*address)

        async def drip():
            writer.write(b"x")
            return reader.at_eof() or reader.exception()

        ended = asyncio.create_task(is_closed(reader))
        writer.write(b"GET /healthz HTTP/1.0\r\nX: ")
        await wait_until(drip, what="the end of the connection")
        assert await ended
        writer.close()


@pytest.mark.usefixtures("short_connections")
async def test_peers_that_do_not_read_have_the_same_time_limit(caplog):
    async with serving("x" * 10_000_000) as address, contextlib.AsyncExitStack() as stack:
        for _ in range(16):
            peer = stack.enter_context(socket.create_connection(address))
            peer.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")

        async def served():
            with contextlib.suppress(httpx.TransportError):
                return (await get(address)).text == "ok\n"

        await wait_until(served, what="a connection that is free")
    assert caplog.records == []


async def test_the_server_stops_without_waiting_for_peers():
    async with serving() as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET")
        assert (await get(address)).text == "ok\n"
    assert await is_closed(reader)
    writer.close()
