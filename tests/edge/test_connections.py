"""How long a connection lives: idle, with a late or slow head, at a limit, and after its last answer."""

import asyncio
import os
import resource
import socket
import time

import pytest
from support.edge import (
    DEADLINE_S,
    EdgeProcess,
    http_request,
    one_answer,
    parse_answers,
    plain,
    running_edge,
)
from support.wait import wait_until

from callback_edge.settings import EdgeSettings
from callback_process.http import connection, listener

FOR_EVER = 3600
SHORT_S = 0.5


async def works(reader, writer):
    writer.write(http_request(close=False))
    return (await one_answer(reader)).status == 200


def assert_timed_out(raw):
    (answer,) = parse_answers(raw)
    assert (answer.problem, answer["connection"]) == ((408, "head_timeout"), "close")


async def test_a_connection_may_be_idle_before_its_first_request_and_between_requests(plane):
    """The time for a head does not count while nothing of it has arrived."""
    async with running_edge(plane.target, keep_alive_timeout_s=FOR_EVER, head_timeout_s=SHORT_S) as edge:
        fresh, idle, slow = await edge.connect(), await edge.kept(), await edge.connect()
        slow[1].write(b"GET ")
        assert_timed_out(await edge.rest(*slow))
        for each in (fresh, idle):
            assert await works(*each)
            each[1].close()


@pytest.mark.parametrize("path", ["/nowhere", "/cb/none", "/cbq/state"])
async def test_a_connection_stays_open_after_a_refusal_if_the_body_of_the_request_has_arrived(edge, path):
    reader, writer = await edge.connect()
    for _ in range(3):
        writer.write(http_request(path, "POST", body=b"x" * 100, close=False))
        answer = await one_answer(reader)
        assert (answer.status // 100, answer.all("connection")) == (4, [])
    writer.close()


def test_the_default_outlives_the_idle_time_of_usual_load_balancers():
    assert EdgeSettings().keep_alive_timeout_s > 60


async def test_an_idle_connection_closes_without_a_word(plane):
    async with running_edge(plane.target, keep_alive_timeout_s=SHORT_S) as edge:
        assert await edge.rest(*await edge.kept()) == b""


async def test_a_connection_whose_first_request_does_not_come_is_told(plane):
    async with running_edge(plane.target, keep_alive_timeout_s=SHORT_S) as edge:
        assert_timed_out(await edge.rest(*await edge.connect()))
    assert plane.requests == []


@pytest.mark.parametrize("start", [b"G", b"GET / HTTP/1.1\r\nHost: a\r\n", http_request("/cb/x")[:-1]])
@pytest.mark.parametrize("how", ["connect", "kept"])
async def test_a_head_that_does_not_arrive_in_time_is_refused(plane, how, start):
    async with running_edge(plane.target, head_timeout_s=SHORT_S) as edge:
        reader, writer = await getattr(edge, how)()
        writer.write(start)
        assert_timed_out(await edge.rest(reader, writer))


async def test_bytes_that_keep_coming_do_not_extend_the_time_for_a_head(plane):
    async with running_edge(plane.target, head_timeout_s=SHORT_S) as edge:
        reader, writer = await edge.connect()
        writer.write(b"GET / HTTP/1.1\r\nX: ")
        rest = asyncio.create_task(reader.read())

        def sends_a_byte_until_the_end():
            writer.write(b"x")
            return rest.done()

        await wait_until(sends_a_byte_until_the_end, what="the end of the time for the head")
        assert_timed_out(await rest)
        writer.close()


async def test_a_head_that_begins_with_the_end_of_another_request_has_its_time_too(plane):
    async with running_edge(plane.target, head_timeout_s=SHORT_S) as edge:
        reader, writer = await edge.connect()
        writer.write(http_request(close=False) + b"GET ")
        assert (await one_answer(reader)).status == 200
        assert_timed_out(await edge.rest(reader, writer))


async def test_requests_that_arrived_in_time_are_answered_by_a_process_that_was_busy(plane):
    async with running_edge(plane.target, keep_alive_timeout_s=SHORT_S) as edge:
        clients = [socket.create_connection(("127.0.0.1", edge.port)) for _ in range(2)]
        (_, first), later = [await asyncio.open_connection(sock=client) for client in clients]
        later[1].write(http_request(close=False))
        await one_answer(later[0])
        for client in clients:
            os.write(client.fileno(), http_request())
        time.sleep(SHORT_S * 2)  # noqa: ASYNC251  # no other task runs, so the time passes before the edge reads
        for each in ((_, first), later):
            assert parse_answers(await edge.rest(*each))[0].status == 200


async def is_closed(reader):
    async with asyncio.timeout(DEADLINE_S):
        return await reader.read() == b""


@pytest.mark.parametrize(
    "limit",
    [{"max_connections": 2}, {"max_connections_per_address": 2, "trusted_proxies": []}],
    ids=["all", "address"],
)
async def test_at_a_limit_the_connection_that_is_idle_the_longest_makes_room(plane, limits, limit):
    limits(listener, MIN_IDLE_S=0)
    async with running_edge(plane.target, **limit) as edge:
        first, second = await edge.kept(), await edge.kept()
        assert await works(*first)
        third = await edge.kept()
        assert await is_closed(second[0])
        assert await works(*first)
        assert await works(*third)
        for _, writer in (first, second, third):
            writer.close()


@pytest.mark.parametrize(
    ("limit", "status"),
    [({"max_connections": 2}, 503), ({"max_connections_per_address": 2, "trusted_proxies": []}, 429)],
    ids=["all", "address"],
)
async def test_a_connection_that_was_in_use_a_moment_ago_makes_no_room(plane, limits, limit, status):
    limits(listener, MIN_IDLE_S=FOR_EVER)
    async with running_edge(plane.target, **limit) as edge:
        held = [await edge.kept(), await edge.connect()]
        (answer,) = parse_answers(await edge.rest(*await edge.connect()))
        assert answer.status == status
        for each in held:
            assert await works(*each)
            each[1].close()


async def test_a_connection_that_waits_for_its_answer_or_is_sending_its_head_makes_no_room(plane, limits):
    limits(listener, MIN_IDLE_S=0)
    async with running_edge(plane.target, max_connections=2) as edge:
        busy, slow = await edge.connect(), await edge.connect()
        slow[1].write(http_request(close=False) + http_request()[:-1])
        await one_answer(slow[0])  # so the edge has the begin of the next head too
        gate = plane.hold(plain(b"done"))
        busy[1].write(http_request())
        await plane.until(lambda: plane.started == 2)
        (answer,) = parse_answers(await edge.rest(*await edge.connect()))
        assert answer.status == 503
        gate.set()
        slow[1].write(b"\n")
        for each in (busy, slow):
            assert parse_answers(await edge.rest(*each))[0].body == b"done"


async def test_the_connections_of_a_proxy_make_no_room(plane, limits):
    """It may send a request at any time."""
    limits(listener, MIN_IDLE_S=0)
    async with running_edge(plane.target, max_connections=1, trusted_proxies=["127.0.0.2"]) as edge:
        proxy = await edge.kept(local_addr=("127.0.0.2", 0))
        (answer,) = parse_answers(await edge.rest(*await edge.connect()))
        assert answer.status == 503
        assert await works(*proxy)
        proxy[1].close()


@pytest.mark.parametrize("is_draining", [False, True])
async def test_the_last_answer_of_a_connection_is_not_followed_by_a_reset(plane, is_draining):
    """A reset can destroy an answer that the client has not read."""
    gate = plane.hold(plain(b"done"))
    async with running_edge(plane.target) as edge:
        reader, writer = await edge.connect()
        writer.write(http_request(close=not is_draining))
        writer.write(http_request(close=False) * 10_000)
        await plane.until(lambda: plane.started)
        if is_draining:
            edge.listener.drain()
        gate.set()
        (answer,) = parse_answers(await edge.rest(reader, writer))
        assert (answer.body, answer["connection"]) == (b"done", "close")
    assert len(plane.requests) == 1


async def test_a_client_that_keeps_its_side_open_after_the_last_answer_is_closed(plane, limits):
    limits(connection, LINGER_S=SHORT_S)
    async with running_edge(plane.target) as edge:
        reader, writer = await edge.connect()
        writer.write(http_request())
        assert parse_answers(await reader.read())[0].status == 200
        await edge.until_disconnected()
        writer.close()


async def test_a_silent_connection_holds_no_stop_back_that_has_other_work(plane):
    async with running_edge(plane.target, grace_s=FOR_EVER, drain_s=0) as edge:
        idle, busy = await edge.kept(), await edge.connect()
        gate = plane.hold(plain(b"done"))
        busy[1].write(http_request())
        await plane.until(lambda: plane.started == 2)
        stop = asyncio.create_task(edge.stop())
        assert await is_closed(idle[0])
        gate.set()
        assert parse_answers(await edge.rest(*busy))[0].body == b"done"
        async with asyncio.timeout(DEADLINE_S):
            await stop
        idle[1].close()


async def test_without_open_files_the_edge_accepts_again_later(plane):
    async with EdgeProcess(plane.target) as edge:
        files = edge.process.pid, resource.RLIMIT_NOFILE
        allowed = resource.prlimit(*files)
        began = time.monotonic()
        resource.prlimit(*files, (1, allowed[1]))
        reader, writer = await edge.connect()
        writer.write(http_request())
        admin = await asyncio.open_connection("127.0.0.1", edge.admin_port)
        await edge.until_logged("accept_failed", 4)
        resource.prlimit(*files, allowed)
        assert parse_answers(await edge.rest(reader, writer))[0].status == 200
        admin[1].write(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert (await admin[0].read()).endswith(b"ok\n")
        admin[1].close()
        await edge.stop()
        # Of each listener, callers' and operators', a line a second.
        assert len(edge.events("accept_failed")) <= 2 * (time.monotonic() - began + 1)
        assert "Traceback" not in "".join(edge.lines)
