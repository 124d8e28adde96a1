"""Limits of size and time for requests and readers."""

import asyncio
import contextlib
import json
import socket

import pytest
from support.edge import (
    DEADLINE_S,
    EdgeProcess,
    answering,
    answering_after,
    ask,
    http_request,
    new_state,
    parse_answers,
    plain,
    refusing,
    running_edge,
    send_raw,
)
from support.wait import wait_until

from callback_edge.http import connection

LIMIT = 1 << 20


def chunked_head(path, *fields):
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", *fields, "", ""]).encode()


def code_of(raw):
    (answer,) = parse_answers(raw)
    answer.assert_fixed_headers()
    return answer.status, json.loads(answer.body)["code"]


async def test_a_body_of_exactly_the_limit_is_a_call(plane, edge):
    body = b"x" * LIMIT
    assert (await ask(edge, f"/cb/{new_state()}", "POST", [], body)).status == 200
    head = chunked_head(f"/cb/{new_state()}", "Connection: close")
    raw = await send_raw(edge.port, head + b"%x\r\n%s\r\n0\r\n\r\n" % (LIMIT, body))
    assert parse_answers(raw)[0].status == 200
    assert [len(invoked.request_body) for invoked in plane.requests] == [LIMIT, LIMIT]


async def test_a_body_of_one_byte_more_is_too_large_and_no_call(plane, edge):
    body = b"x" * (LIMIT + 1)
    assert code_of(await send_raw(edge.port, http_request(f"/cb/{new_state()}", "POST", [], body))) == (
        413,
        "body_too_large",
    )
    head = chunked_head(f"/cb/{new_state()}").replace(b"Host", b"Connection: close\r\nHost")
    raw = await send_raw(edge.port, head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
    assert code_of(raw) == (413, "body_too_large")
    assert plane.requests == []


async def test_a_declared_length_over_the_limit_is_refused_before_the_body_comes(plane, edge):
    head = f"POST /cb/{new_state()} HTTP/1.1\r\nHost: a\r\nContent-Length: {10**15}\r\n\r\n".encode()
    assert code_of(await send_raw(edge.port, head)) == (413, "body_too_large")


async def test_an_endless_chunked_body_is_refused_soon_after_the_limit(plane, edge):
    """It has no Content-Length, and the client reads meanwhile or does not."""
    reader, writer = await edge.connect()
    writer.write(chunked_head(f"/cb/{new_state()}"))
    sent = 0
    chunk = b"%x\r\n%s\r\n" % (65_536, b"x" * 65_536)
    async with asyncio.timeout(DEADLINE_S):
        while sent < 50 * LIMIT:
            try:
                writer.write(chunk)
                await writer.drain()
            except ConnectionError:
                break
            sent += 65_536
            if reader._buffer:
                break  # the answer has come
        raw = await reader.read()
    assert code_of(raw) == (413, "body_too_large")
    assert sent < 20 * LIMIT
    assert plane.requests == []
    writer.close()


@pytest.mark.parametrize(
    "chunks", [b"10000\r\n" + b"x" * 65_536 + b"\r\n", b"1\r\nx\r\n" * 10_000], ids=["large", "tiny"]
)
async def test_a_client_that_never_stops_sending_is_cut(plane, chunks):
    """The amount of unread data, and where it waits, make no difference."""

    async def send(path):
        _, writer = await edge.connect()
        writer.write(chunked_head(path))
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(chunks)
                await writer.drain()
        writer.close()

    async with running_edge(plane.target, body_limit_bytes=1000) as edge, asyncio.timeout(DEADLINE_S):
        await asyncio.gather(*(send(path) for path in (f"/cb/{new_state()}", "/cb/x", "/nowhere", "/cbq/state") * 3))
        await wait_until(lambda: not edge.listener._running)
    assert plane.requests == []


async def test_bytes_after_the_last_request_of_a_connection_are_not_kept(plane):
    """Otherwise a sender can fill the memory while its handler runs."""
    gate = asyncio.Event()
    plane.script = answering_after(gate)
    async with EdgeProcess(plane.target) as process:
        reader, writer = await asyncio.open_connection("127.0.0.1", await process.port())
        writer.write(http_request(f"/cb/{new_state()}", "POST", [], b"x" * 1000))
        await plane.until(lambda: plane.started == 1)
        before = process.resident_bytes()
        for _ in range(1000):
            writer.write(b"x" * 65_536)
            await writer.drain()
        assert process.resident_bytes() - before < 16 * LIMIT
        gate.set()
        assert b"HTTP/1.1 200 " in await reader.read()
        writer.close()


async def test_tiny_chunks_count_like_large_ones(plane):
    async with running_edge(plane.target, body_limit_bytes=100) as edge:
        raw = await send_raw(edge.port, chunked_head(f"/cb/{new_state()}") + b"1\r\nx\r\n" * 1000)
        assert code_of(raw) == (413, "body_too_large")
        assert plane.requests == []


@pytest.mark.parametrize("path", [f"/cb/{new_state()}", "/nowhere"], ids=["call", "nowhere"])
@pytest.mark.parametrize(
    "piece",
    [b"1;" + b"x" * 10_000 + b"\r\nx\r\n", b"1" + b" " * 10_000 + b"\r\nx\r\n", b"1;" + b"a=b;" * 100 + b"\r\nx\r\n"],
    ids=["large", "spaces", "small"],
)
async def test_chunk_extensions_count_for_the_limit_of_a_body(plane, edge, path, piece):
    reader, writer = await edge.connect()
    writer.write(chunked_head(path))
    sent = 0
    async with asyncio.timeout(DEADLINE_S):
        while sent < 50 * LIMIT and not reader._buffer:
            try:
                writer.write(piece * 10)
                await writer.drain()
            except ConnectionError:
                break
            sent += len(piece) * 10
        raw = await reader.read()
    assert code_of(raw) == ((404, "not_found") if path == "/nowhere" else (413, "body_too_large"))
    assert sent < 20 * LIMIT
    assert plane.requests == []
    writer.close()


async def test_the_extensions_of_a_chunked_body_have_the_room_that_the_body_leaves(plane):
    async with running_edge(plane.target, body_limit_bytes=1000) as edge:
        extended = b"1f4;" + b"x" * 400 + b"\r\n" + b"b" * 500 + b"\r\n"
        for chunks, status in [(extended + b"0\r\n\r\n", 200), (extended + b"0;" + b"x" * 200 + b"\r\n\r\n", 413)]:
            raw = await send_raw(edge.port, chunked_head(f"/cb/{new_state()}", "Connection: close") + chunks)
            assert parse_answers(raw)[0].status == status
    assert [len(invoked.request_body) for invoked in plane.requests] == [500]


async def test_trailers_count_for_the_limit_of_a_body(plane):
    async with running_edge(plane.target, body_limit_bytes=1000) as edge:
        for size, status in [(400, 200), (600, 413)]:
            chunks = b"1f4\r\n" + b"b" * 500 + b"\r\n0\r\nX: " + b"x" * size + b"\r\n\r\n"
            raw = await send_raw(edge.port, chunked_head(f"/cb/{new_state()}", "Connection: close") + chunks)
            assert parse_answers(raw)[0].status == status
    assert [len(invoked.request_body) for invoked in plane.requests] == [500]


async def test_a_limit_of_zero_allows_no_body(plane):
    async with running_edge(plane.target, body_limit_bytes=0) as edge:
        assert (await ask(edge, f"/cb/{new_state()}", "POST")).status == 200
        assert (await ask(edge, f"/cb/{new_state()}", "POST", [], b"x")).status == 413


async def test_a_browser_gets_a_page_for_a_body_that_is_too_large(plane, edge):
    head = f"POST /cb/{new_state()} HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\nContent-Length: {LIMIT * 2}\r\n\r\n"
    (answer,) = parse_answers(await send_raw(edge.port, head.encode()))
    assert (answer.status, answer["content-type"]) == (413, "text/html; charset=utf-8")


@pytest.mark.parametrize("framing", ["Content-Length: 10", "Transfer-Encoding: chunked"])
async def test_a_body_that_does_not_arrive_in_time_is_no_call(plane, framing):
    async with running_edge(plane.target, body_timeout_s=0.2) as edge:
        head = f"POST /cb/{new_state()} HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"
        assert code_of(await send_raw(edge.port, head.encode() + b"1")) == (408, "body_timeout")
        assert plane.requests == []


async def test_a_client_that_leaves_within_its_body_makes_no_call(plane, edge):
    _, writer = await edge.connect()
    writer.write(f"POST /cb/{new_state()} HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n123".encode())
    await writer.drain()
    writer.close()
    await ask(edge, f"/cb/{new_state()}")
    await wait_until(lambda: not edge.listener._running)
    assert len(plane.requests) == 1


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("HEAD", "/cb/x", 200), ("OPTIONS", "/cb/x", 204), ("FOO", "/cb/x", 405), ("POST", "/nowhere", 404)],
)
async def test_an_answer_before_the_body_closes_the_connection_and_is_not_lost(plane, edge, method, path, status):
    reader, writer = await edge.connect()
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    writer.write(b"x" * 900_000)
    await writer.drain()
    (answer,) = parse_answers(head + await edge.rest(reader, writer), [method])
    assert (answer.status, answer["connection"]) == (status, "close")
    answer.assert_fixed_headers()


async def test_a_refused_call_whose_body_was_read_keeps_its_connection(plane, edge):
    plane.script = refusing("STATE_UNKNOWN")
    requests = [http_request(f"/cb/{new_state()}", "POST", [], b"x" * 1000, close=False) for _ in range(3)]
    requests.append(http_request(f"/cb/{new_state()}"))
    answers = parse_answers(await send_raw(edge.port, b"".join(requests)))
    assert [answer.status for answer in answers] == [404] * 4


def lazy_client(port, *, requests, close=False):
    """Connect, send a request, and read nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    client.sendall(http_request(f"/cb/{new_state()}", close=close) * requests)
    return client


BEFORE_IDLE_S = 60
"""Time before the edge closes an idle connection."""


async def test_a_reader_that_takes_nothing_loses_its_connection(plane, edge, monkeypatch):
    monkeypatch.setattr(connection, "WRITE_TIMEOUT_S", 0.2)
    plane.script = answering(plain(b"x" * LIMIT))
    with lazy_client(edge.port, requests=8):
        await plane.until(lambda: plane.ended)
        await wait_until(lambda: not edge.listener._running, deadline_s=BEFORE_IDLE_S)


async def test_a_reader_that_leaves_the_last_bytes_loses_its_connection(plane, monkeypatch):
    """The last bytes fit into the buffers, so only the close waits for the client."""
    monkeypatch.setattr(connection, "WRITE_TIMEOUT_S", 0.2)
    plane.script = answering(plain(b"x" * 60_000))
    async with running_edge(plane.target, send_buffer_bytes=4096) as edge:
        with lazy_client(edge.port, requests=1, close=True):
            await plane.until(lambda: plane.ended)
            await wait_until(lambda: not edge.listener._running, deadline_s=BEFORE_IDLE_S)


async def test_a_stop_cuts_a_client_that_does_not_read(plane):
    plane.script = answering(plain(b"x" * LIMIT))
    async with running_edge(plane.target) as edge:
        with lazy_client(edge.port, requests=8):
            await plane.until(lambda: plane.ended)
            await edge.stop()
            assert not edge.listener._running


async def test_a_connection_that_its_client_closes_is_not_kept(plane, edge):
    reader, writer = await edge.connect()
    writer.write(http_request(f"/cb/{new_state()}", close=False))
    await reader.readuntil(b"ok")
    writer.close()
    await wait_until(lambda: not edge.listener._running, deadline_s=BEFORE_IDLE_S)


async def test_a_reader_that_is_slow_but_reads_gets_all_of_it(plane, edge, monkeypatch):
    monkeypatch.setattr(connection, "WRITE_TIMEOUT_S", 2)
    body = bytes(range(256)) * 4096
    plane.script = answering(plain(body))
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port, limit=1024)
    writer.write(http_request(f"/cb/{new_state()}"))
    raw = b""
    while data := await reader.read(4096):
        raw += data
        await asyncio.sleep(0)
    writer.close()
    assert parse_answers(raw)[0].body == body
