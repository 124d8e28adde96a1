"""All bodies share one budget of memory, each caller has a part of it, and every reserved byte is freed."""

import asyncio

import pytest
from pydantic import ValidationError
from soak.counts import count
from support.edge import (
    EdgeProcess,
    answer_to,
    answering,
    ask,
    chunk,
    http_request,
    parse_answers,
    plain,
    raw_request,
    refusing,
    running_edge,
    sample,
)
from support.wait import wait_until

from callback_edge.settings import EdgeSettings

LIMIT = 10_000
ROOM = {"body_limit_bytes": LIMIT, "max_body_bytes_in_flight": 5 * LIMIT}
CHUNKED = "Transfer-Encoding: chunked"


async def until_held(size):
    """Wait until the edges of this process hold so many bytes."""
    await wait_until(lambda: sample("body_bytes_in_flight") == size, what=f"{size} bytes")


@pytest.fixture(autouse=True)
async def given_back():
    """Check that each test frees all bytes, however its requests end."""
    yield
    await until_held(0)


def post(size, *, sent=None, path=None):
    """Return a request with a body, or the first part of it."""
    whole = http_request(path, "POST", body=b"x" * size)
    return whole if sent is None else whole[: len(whole) - size + sent]


def chunked(*sizes):
    """Return the head of a chunked request and its first chunks."""
    return raw_request(CHUNKED, body=b"".join(chunk(b"x" * size) for size in sizes))


async def fill(edge, bodies=5):
    """Open connections whose bodies lack their last byte."""
    connections = [await edge.connect() for _ in range(bodies)]
    for _, writer in connections:
        writer.write(post(LIMIT, sent=LIMIT - 1))
    await until_held(bodies * LIMIT)
    return connections


async def test_a_body_beyond_the_budget_is_refused_and_counted_and_its_bytes_are_freed(plane):
    async with running_edge(plane.target, **ROOM) as edge:
        waiting = await fill(edge)
        before = sample("limited_total", limit="max_body_bytes_in_flight")
        for asked in (post(6), post(LIMIT)):
            answer = await answer_to(edge, asked)
            assert answer.problem == (503, "too_many_calls")
            assert int(answer["retry-after"]) >= 1
        assert sample("limited_total", limit="max_body_bytes_in_flight") == before + 2
        assert plane.requests == []
        assert (await ask(edge)).status == 200  # a request without a body needs no bytes
        for _, writer in waiting:
            writer.write(b"x")
        answers = [parse_answers(await edge.rest(*each), ["POST"])[0].status for each in waiting]
        assert answers == [200] * 5
        await until_held(0)
        assert (await ask(edge, method="POST", body=b"x" * LIMIT)).status == 200


async def test_a_chunked_body_that_exceeds_the_budget_half_way_is_refused_before_more_of_it_is_read(plane):
    async with running_edge(plane.target, body_limit_bytes=LIMIT, max_body_bytes_in_flight=LIMIT) as edge:
        first, second = await edge.connect(), await edge.connect()
        first[1].write(chunked(6_000))
        await until_held(6_000)
        second[1].write(chunked(3_000))
        await until_held(9_000)
        second[1].write(chunk(b"x" * 2_000))
        head = await second[0].readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nconnection: close\r\n" in head.lower()
        second[1].close()
        await until_held(6_000)
        first[1].write(chunk(b"x" * 4_000) + chunk(b""))
        assert (await first[0].readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        first[1].close()
    assert [len(each.request_body) for each in plane.requests] == [LIMIT]


async def test_a_declared_body_counts_before_it_comes(plane):
    """Bodies that together exceed the budget would otherwise all be refused half-way."""
    async with running_edge(plane.target, **ROOM) as edge:
        waiting = [await edge.connect() for _ in range(5)]
        for _, writer in waiting:
            writer.write(post(LIMIT, sent=0))
        await until_held(5 * LIMIT)
        answer = await answer_to(edge, post(1))
        assert answer.status == 503
        for _, writer in waiting:
            writer.close()


async def test_a_large_body_counts_until_a_server_has_it_and_not_while_its_call_runs(plane):
    gate = plane.hold()
    size = 1 << 20
    async with running_edge(plane.target, max_body_bytes_in_flight=size) as edge:
        calls = []
        for started in (1, 2, 3):
            calls.append(asyncio.create_task(ask(edge, method="POST", body=b"x" * size)))
            await plane.until(lambda started=started: plane.started == started)
            await until_held(0)
        gate.set()
        assert [answer.status for answer in await asyncio.gather(*calls)] == [200] * 3


async def test_a_large_call_that_a_server_refuses_with_the_edge_is_not_kept_for_another(plane, log):
    plane.script = refusing("ROLE_MISSING", "PERMISSION_DENIED")
    async with running_edge(plane.target) as edge:
        answer = await ask(edge, method="POST", body=b"x" * (1 << 20))
        assert (answer.status, answer["retry-after"], len(plane.requests)) == (503, "5", 1)
        await until_held(0)
    log.clear()


async def test_a_caller_has_a_part_of_the_budget_and_others_are_served(plane):
    own = {**ROOM, "max_body_bytes_in_flight_per_address": 2 * LIMIT, "trusted_proxies": ["127.0.0.1"]}
    async with running_edge(plane.target, **own) as edge:

        def named(address):
            return http_request(method="POST", headers=[("X-Forwarded-For", address)], body=b"x" * LIMIT)[:-LIMIT]

        flooder, flooders_network = "2001:db8::1", "2001:db8::2"
        waiting = [await edge.connect() for _ in range(2)]
        for _, writer in waiting:
            writer.write(named(flooder))
        await until_held(2 * LIMIT)
        before = sample("limited_total", limit="max_body_bytes_in_flight_per_address")
        answer = await answer_to(edge, named(flooders_network))
        assert answer.problem == (429, "too_many_requests")
        assert int(answer["retry-after"]) >= 1
        assert sample("limited_total", limit="max_body_bytes_in_flight_per_address") == before + 1
        answer = await answer_to(edge, named("2001:db8:1::") + b"x" * LIMIT)
        assert answer.status == 200
        for _, writer in waiting:
            writer.close()


async def test_a_caller_that_does_not_take_large_answers_gets_no_more(plane):
    """An answer is not refused, because its call has ended. It counts until it is taken."""
    size = 1 << 20
    plane.script = answering(plain(b"x" * size))
    own = {"max_body_bytes_in_flight_per_address": size, "trusted_proxies": [], "send_buffer_bytes": 4096}
    async with running_edge(plane.target, **own) as edge:
        waiting = [await edge.connect() for _ in range(2)]
        for _, writer in waiting:
            writer.transport.pause_reading()
            writer.write(http_request())
        await until_held(2 * size)
        assert (await ask(edge)).status == 429
        for reader, writer in waiting:
            writer.transport.resume_reading()
            assert len(await edge.rest(reader, writer)) > size
        await until_held(0)
        assert (await ask(edge)).status == 200


async def test_a_client_that_leaves_within_its_body_frees_its_bytes(plane):
    async with running_edge(plane.target, **ROOM) as edge:
        for _ in range(count(3, 50)):
            for _, writer in await fill(edge):
                writer.transport.abort()
            await until_held(0)
    assert plane.requests == []


async def test_a_call_holds_its_body_until_its_end_after_its_caller_has_gone(plane):
    gate = plane.hold()
    async with running_edge(plane.target, **ROOM) as edge:
        for started in range(1, 6):
            _, writer = await edge.connect()
            writer.write(post(LIMIT))
            await plane.until(lambda started=started: plane.started == started)
            writer.transport.abort()
        await edge.until_disconnected()
        assert sample("body_bytes_in_flight") == 5 * LIMIT
        assert (await ask(edge, method="POST", body=b"x")).status == 503
        gate.set()
        await plane.until(lambda: plane.ended == 5)
        await until_held(0)


REFUSED = {
    "of no address of ours": (post(10, path="/nowhere"), 404),
    "without a state": (post(10, path="/cbq/state"), 400),
    "of another method": (post(10).replace(b"POST", b"BREW"), 405),
    "of a HEAD": (post(10).replace(b"POST", b"HEAD"), 200),
    "too late": (post(10, sent=9), 408),
    "too late, in chunks": (chunked(1), 408),
    "too large": (chunked(4096, 4096, 4096), 413),
    "wrong half-way": (raw_request(CHUNKED, body=chunk(b"abc") + b"zz\r\n"), 400),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_a_body_without_a_call_frees_its_bytes(plane, what):
    asked, status = REFUSED[what]
    async with running_edge(plane.target, body_timeout_s=0.2, **ROOM) as edge:
        assert (await answer_to(edge, asked)).status == status
        await until_held(0)
    assert plane.requests == []


async def test_a_refused_call_frees_its_bytes(plane):
    async with running_edge(plane.target, max_requests_in_flight=1, **ROOM) as edge:
        for reason in ("STATE_UNKNOWN", "HANDLER_FAILED", "CALL_IN_PROGRESS"):
            plane.script = refusing(reason)
            await ask(edge, method="POST", body=b"x" * LIMIT)
            await until_held(0)


async def test_held_bytes_and_refusals_are_metrics(plane):
    async with EdgeProcess(plane.target, body_limit_bytes=10, max_body_bytes_in_flight=10) as edge:
        held = await edge.connect()
        held[1].write(post(10, sent=7))
        await edge.until_metric("body_bytes_in_flight", 10)
        assert (await answer_to(edge, post(4))).status == 503
        assert await edge.metric("limited_total", limit="max_body_bytes_in_flight") == 1
        held[1].write(b"xxx")
        assert b"HTTP/1.1 200 " in await edge.rest(*held)
        await edge.until_metric("body_bytes_in_flight", 0)


def test_the_budget_must_hold_at_least_one_body():
    with pytest.raises(ValidationError, match="max_body_bytes_in_flight is 99, less than body_limit_bytes, 100"):
        EdgeSettings(body_limit_bytes=100, max_body_bytes_in_flight=99)
    with pytest.raises(ValidationError, match="in_flight_per_address is 99, less than body_limit_bytes, 100"):
        EdgeSettings(body_limit_bytes=100, max_body_bytes_in_flight_per_address=99)
    EdgeSettings(body_limit_bytes=100, max_body_bytes_in_flight=100, max_body_bytes_in_flight_per_address=0)
