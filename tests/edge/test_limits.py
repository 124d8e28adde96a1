"""Limits of size and time for requests and readers."""

import asyncio
import contextlib
import socket

import pytest
from support.edge import (
    DEADLINE_S,
    EdgeProcess,
    answer_to,
    answering,
    ask,
    chunk,
    http_request,
    new_state,
    parse_answers,
    plain,
    raw_request,
    refusing,
    running_edge,
    send_raw,
)

from callback_process.http import connection

LIMIT = 1 << 20
CHUNKED = "Transfer-Encoding: chunked"
LAST = "Connection: close"


async def send_until_answered(edge, request, piece):
    """Send a request, and pieces of its body until the answer comes. Return it, and how many bytes were sent."""
    reader, writer = await edge.connect()
    writer.write(request)
    raw = asyncio.create_task(reader.read())
    sent = 0
    async with asyncio.timeout(DEADLINE_S):
        with contextlib.suppress(ConnectionError):
            while sent < 50 * LIMIT and not raw.done():
                writer.write(piece)
                await writer.drain()
                sent += len(piece)
                await asyncio.sleep(0)
        (answer,) = parse_answers(await raw)
    writer.close()
    return answer, sent


async def test_a_body_of_exactly_the_limit_is_a_call(plane, edge):
    body = b"x" * LIMIT
    assert (await ask(edge, method="POST", body=body)).status == 200
    assert (await answer_to(edge, raw_request(CHUNKED, LAST, body=chunk(body) + chunk(b"")))).status == 200
    assert [len(invoked.request_body) for invoked in plane.requests] == [LIMIT, LIMIT]


async def test_a_body_of_one_byte_more_is_too_large_and_no_call(plane, edge):
    body = b"x" * (LIMIT + 1)
    for request in (
        http_request(method="POST", body=body),
        raw_request(CHUNKED, LAST, body=chunk(body) + chunk(b"")),
        raw_request(f"Content-Length: {10**15}"),  # refused before the body comes
    ):
        assert (await answer_to(edge, request)).problem == (413, "body_too_large")
    assert plane.requests == []


@pytest.mark.parametrize("chunks", [chunk(b"x" * 65_536), chunk(b"x") * 10_000], ids=["large", "tiny"])
async def test_a_client_that_never_stops_sending_is_cut(plane, chunks):
    """The amount of unread data, and where it waits, make no difference."""

    async def send(path):
        _, writer = await edge.connect()
        writer.write(raw_request(CHUNKED, path=path))
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(chunks)
                await writer.drain()
        writer.close()

    async with running_edge(plane.target, body_limit_bytes=1000) as edge, asyncio.timeout(DEADLINE_S):
        await asyncio.gather(*(send(path) for path in (None, "/cb/x", "/nowhere", "/cbq/state")))
        await edge.until_disconnected()
    assert plane.requests == []


async def test_bytes_after_the_last_request_of_a_connection_are_not_kept(plane):
    """Otherwise a sender can fill the memory while its handler runs."""
    gate = plane.hold()
    async with EdgeProcess(plane.target) as process:
        reader, writer = await process.connect()
        writer.write(http_request(method="POST", body=b"x" * 1000))
        await plane.until(lambda: plane.started == 1)
        before = process.resident_bytes()
        for _ in range(400):
            writer.write(b"x" * 65_536)
            await writer.drain()
        assert process.resident_bytes() - before < 16 * LIMIT
        gate.set()
        assert b"HTTP/1.1 200 " in await reader.read()
        writer.close()


@pytest.mark.parametrize("path", [f"/cb/{new_state()}", "/nowhere"], ids=["call", "nowhere"])
@pytest.mark.parametrize(
    "piece",
    [
        chunk(b"x" * 65_536),
        b"1;" + b"x" * 10_000 + b"\r\nx\r\n",
        b"1" + b" " * 10_000 + b"\r\nx\r\n",
        b"1;" + b"a=b;" * 100 + b"\r\nx\r\n",
    ],
    ids=["chunks", "large extensions", "spaces", "small extensions"],
)
async def test_an_endless_chunked_body_is_refused_soon_after_the_limit_which_includes_extensions(
    plane, edge, path, piece
):
    answer, sent = await send_until_answered(
        edge, raw_request(CHUNKED, path=path), piece * max(1, 65_536 // len(piece))
    )
    assert answer.problem == ((404, "not_found") if path == "/nowhere" else (413, "body_too_large"))
    assert sent < 20 * LIMIT
    assert plane.requests == []


def padded(*, extension=0, last=0, trailer=0):
    """Return a chunked body of 500 bytes, with so many bytes of extensions and trailers besides."""
    first = b"1f4;" + b"x" * extension + b"\r\n" + b"b" * 500 + b"\r\n"
    return first + b"0;" + b"x" * last + b"\r\nX: " + b"x" * trailer + b"\r\n\r\n"


async def test_extensions_and_trailers_have_the_room_that_the_body_leaves(plane):
    async with running_edge(plane.target, body_limit_bytes=1000) as edge:
        for body, status in [
            (padded(extension=400), 200),
            (padded(extension=400, last=200), 413),
            (padded(trailer=400), 200),
            (padded(trailer=600), 413),
            (chunk(b"x") * 1001 + chunk(b""), 413),
        ]:
            assert (await answer_to(edge, raw_request(CHUNKED, LAST, body=body))).status == status
    assert [len(invoked.request_body) for invoked in plane.requests] == [500, 500]


async def test_a_limit_of_zero_allows_no_body(plane):
    async with running_edge(plane.target, body_limit_bytes=0) as edge:
        assert (await ask(edge, method="POST")).status == 200
        assert (await ask(edge, method="POST", body=b"x")).status == 413


async def test_a_browser_gets_a_page_for_a_body_that_is_too_large(plane, edge):
    answer = await answer_to(edge, raw_request("Accept: text/html", f"Content-Length: {LIMIT * 2}"))
    assert (answer.status, answer["content-type"]) == (413, "text/html; charset=utf-8")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("HEAD", "/cb/x", 200), ("OPTIONS", "/cb/x", 204), ("FOO", "/cb/x", 405), ("POST", "/nowhere", 404)],
)
async def test_an_answer_before_the_body_closes_the_connection_and_is_not_lost(plane, edge, method, path, status):
    reader, writer = await edge.connect()
    writer.write(raw_request("Content-Length: 900000", method=method, path=path))
    head = await reader.readuntil(b"\r\n\r\n")
    writer.write(b"x" * 900_000)
    await writer.drain()
    (answer,) = parse_answers(head + await edge.rest(reader, writer), [method])
    assert (answer.status, answer["connection"]) == (status, "close")
    answer.assert_fixed_headers()


async def test_a_refused_call_whose_body_was_read_keeps_its_connection(plane, edge):
    plane.script = refusing("STATE_UNKNOWN")
    requests = [http_request(method="POST", body=b"x" * 1000, close=False) for _ in range(3)]
    requests.append(http_request())
    answers = parse_answers(await send_raw(edge.port, b"".join(requests)))
    assert [answer.status for answer in answers] == [404] * 4


def lazy_client(port, *, requests, close=False):
    """Connect, send a request, and read nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    client.sendall(http_request(close=close) * requests)
    return client


async def test_a_reader_that_takes_nothing_loses_its_connection(plane, edge, limits):
    limits(connection, WRITE_TIMEOUT_S=0.2)
    plane.script = answering(plain(b"x" * LIMIT))
    with lazy_client(edge.port, requests=8):
        await plane.until(lambda: plane.ended)
        await edge.until_disconnected()


async def test_a_reader_that_leaves_the_last_bytes_loses_its_connection(plane, limits):
    """The last bytes fit into the buffers, so only the close waits for the client."""
    limits(connection, WRITE_TIMEOUT_S=0.2)
    plane.script = answering(plain(b"x" * 60_000))
    async with running_edge(plane.target, send_buffer_bytes=4096) as edge:
        with lazy_client(edge.port, requests=1, close=True):
            await plane.until(lambda: plane.ended)
            await edge.until_disconnected()


async def test_a_stop_cuts_a_client_that_does_not_read(plane):
    plane.script = answering(plain(b"x" * LIMIT))
    async with running_edge(plane.target) as edge:
        with lazy_client(edge.port, requests=8):
            await plane.until(lambda: plane.ended)
            await edge.stop()
            assert not edge.listener.connections


async def test_a_reader_that_is_slow_but_reads_gets_all_of_it(plane, edge, limits):
    limits(connection, WRITE_TIMEOUT_S=2)
    body = bytes(range(256)) * 4096
    plane.script = answering(plain(body))
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port, limit=1024)
    writer.write(http_request())
    raw = b""
    while data := await reader.read(4096):
        raw += data
        await asyncio.sleep(0)
    writer.close()
    assert parse_answers(raw)[0].body == body
