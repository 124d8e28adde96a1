"""All bodies share one budget of memory, each caller has a part of it, and every reserved byte is freed."""

import asyncio
import json

import pytest
from pydantic import ValidationError
from soak.counts import count
from support.edge import (
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


def chunked(*sizes):
    """Return the head of a chunked request and its first chunks."""
    head = CHUNKED.replace(b"/cb/x", f"/cb/{new_state()}".encode())
    return head + b"".join(b"%x\r\n%s\r\n" % (size, b"x" * size) for size in sizes)


async def fill(edge, bodies=5):
    """Open connections whose bodies lack their last byte."""
    connections = [await edge.connect() for _ in range(bodies)]
    for _, writer in connections:
        writer.write(post(LIMIT, sent=LIMIT - 1))
    await wait_until(lambda: held() == bodies * LIMIT)
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


async def test_a_chunked_body_that_exceeds_the_budget_half_way_is_refused_before_more_of_it_is_read(plane):
    async with running_edge(plane.target, body_limit_bytes=LIMIT, max_body_bytes_in_flight=LIMIT) as edge:
        first, second = await edge.connect(), await edge.connect()
        first[1].write(chunked(6_000))
        await wait_until(lambda: held() == 6_000)
        second[1].write(chunked(3_000))
        await wait_until(lambda: held() == 9_000)
        second[1].write(b"7d0\r\n%s\r\n" % (b"x" * 2_000))
        head = await second[0].readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nconnection: close\r\n" in head.lower()
        second[1].close()
        await wait_until(lambda: held() == 6_000)
        first[1].write(b"fa0\r\n%s\r\n0\r\n\r\n" % (b"x" * 4_000))
        assert (await first[0].readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        first[1].close()
    assert [len(each.request_body) for each in plane.requests] == [LIMIT]


async def test_a_declared_body_counts_before_it_comes(plane):
    """Bodies that together exceed the budget would otherwise all be refused half-way."""
    async with running_edge(plane.target, **ROOM) as edge:
        waiting = [await edge.connect() for _ in range(5)]
        for _, writer in waiting:
            writer.write(post(LIMIT, sent=0))
        await wait_until(lambda: held() == 5 * LIMIT)
        (answer,) = parse_answers(await send_raw(edge.port, post(1)), ["POST"])
        assert answer.status == 503
        for _, writer in waiting:
            writer.close()


async def test_a_large_body_counts_until_a_server_has_it_and_not_while_its_call_runs(plane):
    gate = asyncio.Event()
    plane.script = answering_after(gate)
    size = 1 << 20
    async with running_edge(plane.target, max_body_bytes_in_flight=size) as edge:
        calls = []
        for started in (1, 2, 3):
            calls.append(asyncio.create_task(ask(edge, f"/cb/{new_state()}", "POST", [], b"x" * size)))
            await plane.until(lambda started=started: plane.started == started)
            await wait_until(lambda: held() == 0)
        gate.set()
        assert [answer.status for answer in await asyncio.gather(*calls)] == [200] * 3


async def test_a_large_call_that_a_server_refuses_with_the_edge_is_not_kept_for_another(plane, log):
    plane.script = refusing("ROLE_MISSING", "PERMISSION_DENIED")
    async with running_edge(plane.target) as edge:
        answer = await ask(edge, f"/cb/{new_state()}", "POST", [], b"x" * (1 << 20))
        assert (answer.status, answer["retry-after"], len(plane.requests)) == (503, "5", 1)
        await wait_until(lambda: held() == 0)
    log.clear()


async def test_a_caller_has_a_part_of_the_budget_and_others_are_served(plane):
    own = {**ROOM, "max_body_bytes_in_flight_per_address": 2 * LIMIT, "trusted_proxies": ["127.0.0.1"]}
    async with running_edge(plane.target, **own) as edge:

        def named(address):
            whole = http_request(f"/cb/{new_state()}", "POST", [("X-Forwarded-For", address)], b"x" * LIMIT)
            return whole[:-LIMIT]

        flooder, flooders_network = "2001:db8::1", "2001:db8::2"
        waiting = [await edge.connect() for _ in range(2)]
        for _, writer in waiting:
            writer.write(named(flooder))
        await wait_until(lambda: held() == 2 * LIMIT)
        before = metrics.limited("max_body_bytes_in_flight_per_address")._value.get()
        (answer,) = parse_answers(await send_raw(edge.port, named(flooders_network)), ["POST"])
        assert (answer.status, json.loads(answer.body)["code"]) == (429, "too_many_requests")
        assert int(answer["retry-after"]) >= 1
        assert metrics.limited("max_body_bytes_in_flight_per_address")._value.get() == before + 1
        (answer,) = parse_answers(await send_raw(edge.port, named("2001:db8:1::") + b"x" * LIMIT), ["POST"])
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
        for reader, writer in waiting:
            reader._transport.pause_reading()
            writer.write(http_request(f"/cb/{new_state()}"))
        await wait_until(lambda: held() == 2 * size)
        assert (await ask(edge, f"/cb/{new_state()}")).status == 429
        for reader, writer in waiting:
            reader._transport.resume_reading()
            assert len(await edge.rest(reader, writer)) > size
        await wait_until(lambda: held() == 0)
        assert (await ask(edge, f"/cb/{new_state()}")).status == 200


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
    "too large": (
        CHUNKED.replace(b"/cb/x", f"/cb/{new_state()}".encode()) + b"1000\r\n%s\r\n" % (b"x" * 4096) * 3,
        413,
    ),
    "wrong half-way": (CHUNKED.replace(b"/cb/x", f"/cb/{new_state()}".encode()) + b"3\r\nabc\r\nzz\r\n", 400),
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
        await wait_until(lambda: is_held(edge, 10))
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
    with pytest.raises(ValidationError, match="in_flight_per_address is 99, less than body_limit_bytes, 100"):
        EdgeSettings(body_limit_bytes=100, max_body_bytes_in_flight_per_address=99)
    EdgeSettings(body_limit_bytes=100, max_body_bytes_in_flight=100, max_body_bytes_in_flight_per_address=0)
