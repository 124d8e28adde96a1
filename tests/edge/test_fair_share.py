"""Limits per caller: concurrency, connections, and requests for unknown states."""

import asyncio
import contextlib
from types import SimpleNamespace

import pytest
from pydantic import ValidationError
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

from callback_edge.limits import per_address
from callback_edge.settings import EdgeSettings

PROXY = {"trusted_proxies": ["127.0.0.1"]}


def named(address):
    return [("X-Forwarded-For", address)]


def assert_limited(answer, status, code):
    assert answer.status == status
    assert f'"code": "{code}"'.encode() in answer.body
    assert int(answer["retry-after"]) >= 1
    answer.assert_fixed_headers()


async def limited(edge, limit):
    return (await edge.metrics()).get(("callback_edge_limited_total", ("limit", limit)), 0)


async def test_a_caller_has_a_limit_of_concurrent_requests_and_others_are_served(plane):
    gate = asyncio.Event()
    plane.script = answering_after(gate)
    async with running_edge(plane.target, max_requests_in_flight_per_address=3, **PROXY) as edge:
        mine = [asyncio.create_task(ask(edge, f"/cb/{new_state()}", headers=named("6.6.6.6"))) for _ in range(3)]
        await plane.until(lambda: plane.started == 3)
        assert_limited(await ask(edge, f"/cb/{new_state()}", headers=named("6.6.6.6")), 429, "too_many_requests")
        other = asyncio.create_task(ask(edge, f"/cb/{new_state()}", headers=named("6.6.6.7")))
        await plane.until(lambda: plane.started == 4)
        gate.set()
        assert [answer.status for answer in await asyncio.gather(*mine, other)] == [200] * 4
        assert (await ask(edge, f"/cb/{new_state()}", headers=named("6.6.6.6"))).status == 200


async def test_a_request_counts_while_its_body_arrives(plane):
    async with running_edge(plane.target, max_requests_in_flight_per_address=2, trusted_proxies=[]) as edge:
        head = f"POST /cb/{new_state()} HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n".encode()
        slow = [await edge.connect() for _ in range(2)]
        for _, writer in slow:
            writer.write(head)
        await wait_until(lambda: is_limited(edge))
        slow[0][1].close()
        await wait_until(lambda: is_served(edge))
        slow[1][1].close()


async def is_limited(edge):
    return (await ask(edge, f"/cb/{new_state()}")).status == 429


async def is_served(edge):
    return (await ask(edge, f"/cb/{new_state()}")).status == 200


async def test_a_connection_outlives_a_request_beyond_the_limit(plane):
    gate = asyncio.Event()
    plane.script = answering_after(gate)
    async with running_edge(plane.target, max_requests_in_flight_per_address=1, trusted_proxies=[]) as edge:
        first = asyncio.create_task(ask(edge, f"/cb/{new_state()}"))
        await plane.until(lambda: plane.started == 1)
        reader, writer = await edge.connect()
        writer.write(http_request(f"/cb/{new_state()}", close=False))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 429 ")
        gate.set()
        await first
        writer.write(http_request(f"/cb/{new_state()}"))
        assert b"HTTP/1.1 200 " in await edge.rest(reader, writer)


async def test_requests_at_the_servers_are_limited_including_those_of_callers_that_hung_up(plane):
    gate = asyncio.Event()
    plane.script = answering_after(gate)
    async with EdgeProcess(plane.target, max_requests_in_flight=2) as edge:
        for started in (1, 2):
            _, writer = await asyncio.open_connection("127.0.0.1", await edge.port())
            writer.write(http_request(f"/cb/{new_state()}"))
            await plane.until(lambda started=started: plane.started == started)
            writer.transport.abort()
        (answer,) = parse_answers(await send_raw(await edge.port(), http_request(f"/cb/{new_state()}")))
        assert_limited(answer, 503, "too_many_calls")
        (answer,) = parse_answers(await send_raw(await edge.port(), http_request("/cb/x", "HEAD")), ["HEAD"])
        assert answer.status == 200
        assert await limited(edge, "max_requests_in_flight") == 1
        gate.set()
        await plane.until(lambda: plane.ended == 2)

        async def is_answered():  # the edge hears a little later that they have ended
            (answer,) = parse_answers(await send_raw(await edge.port(), http_request(f"/cb/{new_state()}")))
            return answer.status == 200

        await wait_until(is_answered, what="an answer once the requests have ended")


async def test_the_log_has_no_line_for_each_request_beyond_the_limit(plane):
    gate = asyncio.Event()
    plane.script = answering_after(gate)
    async with EdgeProcess(plane.target, max_requests_in_flight=1) as edge:
        port = await edge.port()
        first = asyncio.create_task(send_raw(port, http_request(f"/cb/{new_state()}")))
        await plane.until(lambda: plane.started == 1)
        (answer,) = parse_answers(await send_raw(port, http_request(f"/cb/{new_state()}")))
        assert_limited(answer, 503, "too_many_calls")
        gate.set()
        await first
        edge.process.terminate()
        await edge.end()
        assert edge.events("call_refused") == []


async def test_a_connection_beyond_the_limit_is_answered_and_closed_and_the_others_are_served(plane):
    async with EdgeProcess(plane.target, max_connections=3) as edge:
        port = await edge.port()
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        await wait_until(lambda: connections(edge, 3))
        for asked in (b"", http_request(f"/cb/{new_state()}"), http_request("/cb/x", "POST", [], b"x" * 900_000)):
            (answer,) = parse_answers(await send_raw(port, asked))
            assert_limited(answer, 503, "too_many_calls")
            assert answer["connection"] == "close"
        assert plane.requests == []
        assert await limited(edge, "max_connections") == 3
        for _, writer in held:
            writer.write(http_request(f"/cb/{new_state()}"))
        for reader, writer in held:
            assert b"HTTP/1.1 200 " in await reader.read()
            writer.close()
        await wait_until(lambda: connections(edge, 0))
        assert b"HTTP/1.1 200 " in await send_raw(port, http_request(f"/cb/{new_state()}"))


async def connections(edge, count):
    return (await edge.metrics())[("callback_edge_connections",)] == count


async def test_refused_connections_that_stay_open_are_cut_and_do_not_count(plane):
    async with EdgeProcess(plane.target, max_connections=1) as edge:
        port = await edge.port()
        gate = asyncio.Event()
        plane.script = answering_after(gate)
        _, held = await asyncio.open_connection("127.0.0.1", port)
        held.write(http_request(f"/cb/{new_state()}"))
        await plane.until(lambda: plane.started)  # so it is not idle, and gives its place to no other
        stubborn = [await asyncio.open_connection("127.0.0.1", port) for _ in range(400)]
        await wait_until(lambda: is_counted(edge, 400))
        assert (await edge.metrics())[("callback_edge_connections",)] <= 1 + 256
        gate.set()
        held.close()
        await wait_until(lambda: serves(port))
        await wait_until(lambda: connections(edge, 0))
        for reader, writer in stubborn:
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.close()


async def is_counted(edge, count):
    return await limited(edge, "max_connections") == count


async def serves(port):
    try:
        return b"HTTP/1.1 200 " in await send_raw(port, http_request(f"/cb/{new_state()}"))
    except ConnectionResetError:  # beyond the number of refusals that get an answer
        return False


async def test_only_a_caller_with_too_many_unknown_states_is_refused_and_without_a_look_up(plane):
    async with running_edge(plane.target, unknown_states_per_minute_per_address=3, **PROXY) as edge:
        plane.script = refusing("STATE_UNKNOWN", "NOT_FOUND")
        tries = [f"/cb/{new_state()}", f"/cbq/state?state={new_state()}", "/cb/not-even-a-state"]
        assert [(await ask(edge, path, headers=named("6.6.6.6"))).status for path in tries] == [404] * 3
        asked = len(plane.requests)
        for path in (f"/cb/{new_state()}", f"/cbq/state?state={new_state()}", "/cb/x"):
            answer = await ask(edge, path, headers=named("6.6.6.6"))
            assert_limited(answer, 429, "too_many_requests")
            assert int(answer["retry-after"]) <= 20
        assert len(plane.requests) == asked
        plane.script = answering(plain(b"ok"))
        assert (await ask(edge, f"/cb/{new_state()}", headers=named("6.6.6.7"))).status == 200


async def test_only_unknown_states_count(plane):
    async with running_edge(plane.target, unknown_states_per_minute_per_address=1, trusted_proxies=[]) as edge:
        for reason in ("CALLBACK_CLOSED", "VERIFICATION_FAILED", "HANDLER_FAILED", "STORE_UNAVAILABLE"):
            plane.script = refusing(reason)
            await ask(edge, f"/cb/{new_state()}")
        plane.script = answering(plain(b"gone", 404))
        for _ in range(5):
            assert (await ask(edge, f"/cb/{new_state()}")).body == b"gone"
        for path, method in (("/nowhere", "GET"), ("/cbq/state", "GET"), ("/cb/x", "HEAD"), ("/cb/x", "OPTIONS")):
            await ask(edge, path, method)
        assert (await ask(edge, f"/cb/{new_state()}")).body == b"gone"


@pytest.mark.parametrize(
    "script", [answering(plain(b"")), refusing("STATE_UNKNOWN", "NOT_FOUND"), refusing("INTERNAL")]
)
async def test_a_handshake_counts_for_any_state(plane, script):
    """Otherwise a handshake would avoid the limit, and a charge for some states only would reveal them."""
    asks = ("OPTIONS", [("WebHook-Request-Origin", "sender.example")])
    async with running_edge(plane.target, unknown_states_per_minute_per_address=2, trusted_proxies=[]) as edge:
        plane.script = script
        for _ in range(2):
            await ask(edge, f"/cb/{new_state()}", *asks)
        assert (await ask(edge, f"/cb/{new_state()}", *asks)).status == 204
        assert len(plane.requests) == 2
        assert_limited(await ask(edge, f"/cb/{new_state()}"), 429, "too_many_requests")


async def test_a_closed_case_that_looks_unknown_counts_as_unknown(plane):
    for path in (f"/cb/{new_state()}", f"/cbq/state?state={new_state()}"):
        async with running_edge(plane.target, unknown_states_per_minute_per_address=1, trusted_proxies=[]) as edge:
            plane.script = refusing("CALLBACK_CLOSED")
            statuses = [(await ask(edge, path)).status for _ in range(2)]
            assert statuses == ([404, 429] if path.startswith("/cbq/") else [410, 410])


async def test_zero_is_no_limit(plane):
    gate = asyncio.Event()
    names = ("max_connections_per_address", "max_requests_in_flight_per_address")
    any_number = dict.fromkeys((*names, "unknown_states_per_minute_per_address"), 0)
    async with running_edge(plane.target, trusted_proxies=[], **any_number) as edge:
        plane.script = refusing("STATE_UNKNOWN", "NOT_FOUND")
        assert {(await ask(edge, f"/cb/{new_state()}")).status for _ in range(700)} == {404}
        await plane.until(lambda: plane.started == plane.ended)  # the last one is counted after its caller has it
        plane.reset()
        plane.script = answering_after(gate)
        calls = [asyncio.create_task(ask(edge, f"/cb/{new_state()}")) for _ in range(250)]
        await plane.until(lambda: plane.started == 250)
        gate.set()
        assert {answer.status for answer in await asyncio.gather(*calls)} == {200}


@pytest.fixture
def all_at_once(monkeypatch):
    """Let no time pass for the limits on unknown states, however long the requests of a test take."""
    monkeypatch.setattr(per_address, "time", SimpleNamespace(monotonic_ns=lambda: 0))


@pytest.mark.usefixtures("all_at_once")
async def test_a_provider_may_call_600_deleted_urls_at_once(plane):
    async with running_edge(plane.target, trusted_proxies=[]) as edge:
        plane.script = refusing("STATE_UNKNOWN", "NOT_FOUND")
        statuses = [(await ask(edge, f"/cb/{new_state()}")).status for _ in range(602)]
        assert statuses == [*[404] * 600, 429, 429]


async def test_an_address_has_a_limit_of_connections_and_others_are_served(plane):
    async with EdgeProcess(plane.target, max_connections_per_address=2, trusted_proxies="[]") as edge:
        port = await edge.port()
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        await wait_until(lambda: connections(edge, 2))
        (answer,) = parse_answers(await send_raw(port, http_request(f"/cb/{new_state()}")))
        assert_limited(answer, 429, "too_many_requests")
        assert answer["connection"] == "close"
        assert await limited(edge, "max_connections_per_address") == 1
        assert b"HTTP/1.1 200 " in await asked_from("127.0.0.2", port)
        for _, writer in held:
            writer.close()
        await wait_until(lambda: connections(edge, 0))
        assert await serves(port)


async def asked_from(address, port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    writer.write(http_request(f"/cb/{new_state()}"))
    raw = await reader.read()
    writer.close()
    return raw


@pytest.mark.parametrize("trusted", [{}, {"trusted_proxies": "127.0.0.1"}])
async def test_a_peer_that_may_be_a_proxy_has_no_limit_of_connections(plane, trusted):
    async with EdgeProcess(plane.target, max_connections_per_address=2, **trusted) as edge:
        port = await edge.port()
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        await wait_until(lambda: connections(edge, 3))
        assert await serves(port)
        assert await limited(edge, "max_connections_per_address") == 0
        for _, writer in held:
            writer.close()


@pytest.mark.usefixtures("all_at_once")
async def test_a_48_of_ipv6_has_16_times_the_limit_of_a_caller(plane):
    async with running_edge(plane.target, unknown_states_per_minute_per_address=1, **PROXY) as edge:
        plane.script = refusing("STATE_UNKNOWN", "NOT_FOUND")
        addresses = [*(f"2001:db8:0:{n:x}::1" for n in range(17)), "2001:db8:1::1"]
        statuses = [(await ask(edge, f"/cb/{new_state()}", headers=named(each))).status for each in addresses]
        assert statuses == [*[404] * 16, 429, 404]


async def test_a_64_of_ipv6_is_one_caller(plane):
    async with running_edge(plane.target, unknown_states_per_minute_per_address=2, **PROXY) as edge:
        plane.script = refusing("STATE_UNKNOWN", "NOT_FOUND")
        addresses = ["2001:db8::1", "2001:db8::ffff:0:0:1", "2001:db8::2", "2001:db8:0:1::1"]
        statuses = [(await ask(edge, f"/cb/{new_state()}", headers=named(each))).status for each in addresses]
        assert statuses == [404, 404, 429, 404]


async def test_a_limited_caller_cannot_pretend_to_be_another(plane):
    async with running_edge(plane.target, unknown_states_per_minute_per_address=2, **PROXY) as edge:
        plane.script = refusing("STATE_UNKNOWN", "NOT_FOUND")
        said = [[*named(f"6.6.6.{n}"), *named("198.51.100.7")] for n in range(3)]
        statuses = [(await ask(edge, f"/cb/{new_state()}", headers=each)).status for each in said]
        assert statuses == [404, 404, 429]


async def test_without_trusted_proxies_no_limit_per_address_applies(plane):
    """One peer may be a proxy for all callers."""
    settings = {"unknown_states_per_minute_per_address": 1, "max_requests_in_flight_per_address": 1}
    gate = asyncio.Event()
    async with EdgeProcess(plane.target, **settings) as edge:
        assert (await edge.until_logged("address_limits_off"))["level"] == "warning"
        port = await edge.port()
        plane.script = refusing("STATE_UNKNOWN", "NOT_FOUND")
        for _ in range(3):
            assert b"HTTP/1.1 404 " in await send_raw(port, http_request(f"/cb/{new_state()}"))
        plane.script = answering_after(gate)
        calls = [asyncio.create_task(send_raw(port, http_request(f"/cb/{new_state()}"))) for _ in range(3)]
        await plane.until(lambda: plane.started == 6)
        gate.set()
        assert all(b"HTTP/1.1 200 " in raw for raw in await asyncio.gather(*calls))


async def test_refusals_are_counted_by_the_limit(plane):
    settings = {"unknown_states_per_minute_per_address": 1, "max_requests_in_flight_per_address": 1}
    gate = asyncio.Event()
    async with EdgeProcess(plane.target, trusted_proxies="[]", **settings) as edge:
        port = await edge.port()
        plane.script = answering_after(gate)
        call = asyncio.create_task(send_raw(port, http_request(f"/cb/{new_state()}")))
        await plane.until(lambda: plane.started == 1)
        await send_raw(port, http_request(f"/cb/{new_state()}"))
        gate.set()
        await call
        for _ in range(3):
            await send_raw(port, http_request("/cb/x"))
        assert await limited(edge, "max_requests_in_flight_per_address") == 1
        assert await limited(edge, "unknown_states_per_minute_per_address") == 2


@pytest.mark.parametrize("limit", ["max_connections", "max_requests_in_flight", "max_body_bytes_in_flight"])
def test_a_limit_is_at_least_one(limit):
    with pytest.raises(ValidationError, match=limit):
        EdgeSettings(**{limit: 0})
