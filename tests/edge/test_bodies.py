"""All bodies share one budget of memory, and every reserved byte is freed."""

import asyncio
import json

import pytest
from pydantic import ValidationError
from soak.counts import count
from support.edge import (
    EdgeProcess,
    answering_after,
    ask,
    http_request,
    new_state,
    parse_answers,
    refusing,
    running_edge,
    send_raw,
)
from support.wait import wait_until

from callback_edge import metrics
from callback_edge.settings import EdgeSettings

LIMIT = 10_000
ROOM = {"body_limit_bytes": LIMIT, "max_body_bytes_in_flight": 5 * LIMIT}
CHUNKED = b"POST /cb/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(autouse=True)
async def given_back():
    """Check that each test frees all bytes, however its requests end."""
    yield
    await wait_until(lambda: held() == 0)


def held():
    """Return the bytes that the edges of this process hold."""
    (sample,) = (each for family in metrics.BODY_BYTES_IN_FLIGHT.collect() for each in family.samples)
    return sample.value


def post(size, *, sent=None, path=None):
    """Return a request with a body, or the first part of it."""
    whole = http_request(path or f"/cb/{new_state()}", "POST", [], b"x" * size)
    return whole if sent is None else whole[: len(whole) - size + sent]


async def fill(edge, bodies=5):
    """Open connections whose bodies lack their last byte."""
    connections = [await edge.connect() for _ in range(bodies)]
    for _, writer in connections:
        writer.write(post(LIMIT, sent=LIMIT - 1))
    await wait_until(lambda: held() == bodies * (LIMIT - 1))
    return connections


async def test_a_body_beyond_the_budget_is_refused_and_counted_and_its_bytes_are_freed(plane):
    async with running_edge(plane.target, **ROOM) as edge:
        waiting = await fill(edge)
        before = metrics.limited("max_body_bytes_in_flight")._value.get()
        for asked in (post(6), post(LIMIT)):
            (answer,) = parse_answers(await send_raw(edge.port, asked), ["POST"])
            assert (answer.status, json.loads(answer.body)["code"]) == (503, "too_many_calls")
            assert int(answer["retry-after"]) >= 1
            answer.assert_fixed_headers()
        assert metrics.limited("max_body_bytes_in_flight")._value.get() == before + 2
        assert plane.requests == []
        assert (await ask(edge, f"/cb/{new_state()}")).status == 200  # a request without a body needs no bytes
        for _, writer in waiting:
            writer.write(b"x")
        answers = [parse_answers(await edge.rest(*each), ["POST"])[0].status for each in waiting]
        assert answers == [200] * 5
        await wait_until(lambda: held() == 0)
        assert (await ask(edge, f"/cb/{new_state()}", "POST", [], b"x" * LIMIT)).status == 200


async def test_a_body_that_exceeds_the_budget_half_way_is_refused_before_more_of_it_is_read(plane):
    async with running_edge(plane.target, body_limit_bytes=LIMIT, max_body_bytes_in_flight=LIMIT) as edge:
        first, second = await edge.connect(), await edge.connect()
        first[1].write(post(LIMIT, sent=6_000))
        await wait_until(lambda: held() == 6_000)
        second[1].write(post(LIMIT, sent=3_000))
        await wait_until(lambda: held() == 9_000)
        second[1].write(b"x" * 2_000)
        head = await second[0].readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nconnection: close\r\n" in head.lower()
        second[1].close()
        await wait_until(lambda: held() == 6_000)
        first[1].write(b"x" * 4_000)
        assert b"HTTP/1.1 200 " in await edge.rest(*first)
    assert [len(each.request_body) for each in plane.requests] == [LIMIT]


async def test_a_client_that_leaves_within_its_body_frees_its_bytes(plane):
    async with running_edge(plane.target, **ROOM) as edge:
        for _ in range(count(3, 50)):
            for _, writer in await fill(edge):
                writer.transport.abort()
            await wait_until(lambda: held() == 0)
    assert plane.requests == []


async def test_a_call_holds_its_body_until_its_end_after_its_caller_has_gone(plane):
    gate = asyncio.Event()
    plane.script = answering_after(gate)
    async with running_edge(plane.target, **ROOM) as edge:
        for started in range(1, 6):
            _, writer = await edge.connect()
            writer.write(post(LIMIT))
            await plane.until(lambda started=started: plane.started == started)
            writer.transport.abort()
        await wait_until(lambda: not edge.listener._running)
        assert held() == 5 * LIMIT
        assert (await ask(edge, f"/cb/{new_state()}", "POST", [], b"x")).status == 503
        gate.set()
        await plane.until(lambda: plane.ended == 5)
        await wait_until(lambda: held() == 0)


REFUSED = {
    "of no address of ours": (post(10, path="/nowhere"), 404),
    "without a state": (post(10, path="/cbq/state"), 400),
    "of another method": (post(10).replace(b"POST", b"BREW"), 405),
    "of a HEAD": (post(10).replace(b"POST", b"HEAD"), 200),
    "too late": (post(10, sent=9), 408),
    "too large": (CHUNKED + b"1000\r\n%s\r\n" % (b"x" * 4096) * 3, 413),
    "wrong half-way": (CHUNKED + b"3\r\nabc\r\nzz\r\n", 400),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_a_body_without_a_call_frees_its_bytes(plane, what):
    asked, status = REFUSED[what]
    async with running_edge(plane.target, body_timeout_s=0.2, **ROOM) as edge:
        raw = await send_raw(edge.port, asked)
        assert raw.startswith(b"HTTP/1.1 %d " % status)
        await wait_until(lambda: held() == 0)
    assert plane.requests == []


async def test_a_refused_call_frees_its_bytes(plane):
    async with running_edge(plane.target, max_requests_in_flight=1, **ROOM) as edge:
        for reason in ("STATE_UNKNOWN", "HANDLER_FAILED", "CALL_IN_PROGRESS"):
            plane.script = refusing(reason)
            await ask(edge, f"/cb/{new_state()}", "POST", [], b"x" * LIMIT)
            await wait_until(lambda: held() == 0)


async def test_held_bytes_and_refusals_are_metrics(plane):
    async with EdgeProcess(plane.target, body_limit_bytes=10, max_body_bytes_in_flight=10) as edge:
        port = await edge.port()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post(10, sent=7))
        await wait_until(lambda: is_held(edge, 7))
        assert b"HTTP/1.1 503 " in await send_raw(port, post(4))
        found = await edge.metrics()
        assert found[("callback_edge_limited_total", ("limit", "max_body_bytes_in_flight"))] == 1
        writer.write(b"xxx")
        assert b"HTTP/1.1 200 " in await reader.read()
        writer.close()
        await wait_until(lambda: is_held(edge, 0))


async def is_held(edge, size):
    return (await edge.metrics())[("callback_edge_body_bytes_in_flight",)] == size


def test_the_budget_must_hold_at_least_one_body():
    with pytest.raises(ValidationError, match="max_body_bytes_in_flight is 99, less than body_limit_bytes, 100"):
        EdgeSettings(body_limit_bytes=100, max_body_bytes_in_flight=99)
    EdgeSettings(body_limit_bytes=100, max_body_bytes_in_flight=100)
