"""Limits per caller: concurrency, connections, and requests for unknown states."""

import asyncio
import contextlib

import pytest
from pydantic import ValidationError
from support.edge import (
    EdgeProcess,
    answer_to,
    answering,
    ask,
    http_request,
    new_state,
    plain,
    raw_request,
    refusing,
    running_edge,
    sample,
)
from support.wait import wait_until

from callback_edge.limits import per_address
from callback_edge.settings import EdgeSettings

PROXY = {"trusted_proxies": ["127.0.0.1"]}
NO_PROXY = {"trusted_proxies": []}


@pytest.fixture(autouse=True)
def no_time_passes(limits):
    """Let no time pass for the limits on unknown states, however long the requests of a test take."""
    limits(per_address, CLOCK_NS=lambda: 0)


def named(address):
    return [("X-Forwarded-For", address)]


@contextlib.contextmanager
def counting(limit, refusals):
    """Check that a limit refuses so many requests of the edges in this process."""
    before = sample("limited_total", limit=limit)
    yield
    assert sample("limited_total", limit=limit) == before + refusals


def assert_limited(answer, *problem):
    assert answer.problem == problem
    assert int(answer["retry-after"]) >= 1


async def statuses(edge, count=1, path=None, **request):
    return [(await ask(edge, path, **request)).status for _ in range(count)]


async def test_a_caller_has_a_limit_of_concurrent_requests_and_others_are_served(plane):
    gate = plane.hold()
    async with running_edge(plane.target, max_requests_in_flight_per_address=3, **PROXY) as edge:
        mine = [asyncio.create_task(ask(edge, headers=named("6.6.6.6"))) for _ in range(3)]
        await plane.until(lambda: plane.started == 3)
        with counting("max_requests_in_flight_per_address", 1):
            assert_limited(await ask(edge, headers=named("6.6.6.6")), 429, "too_many_requests")
        other = asyncio.create_task(ask(edge, headers=named("6.6.6.7")))
        await plane.until(lambda: plane.started == 4)
        gate.set()
        assert [answer.status for answer in await asyncio.gather(*mine, other)] == [200] * 4
        assert (await ask(edge, headers=named("6.6.6.6"))).status == 200


async def test_a_request_counts_while_its_body_arrives(plane):
    async with running_edge(plane.target, max_requests_in_flight_per_address=2, **NO_PROXY) as edge:

        async def gets(status):
            return await statuses(edge) == [status]

        slow = [await edge.connect() for _ in range(2)]
        for _, writer in slow:
            writer.write(raw_request("Content-Length: 9"))
        await wait_until(lambda: gets(429))
        slow[0][1].close()
        await wait_until(lambda: gets(200))
        slow[1][1].close()


async def test_a_connection_outlives_a_request_beyond_the_limit(plane):
    gate = plane.hold()
    async with running_edge(plane.target, max_requests_in_flight_per_address=1, **NO_PROXY) as edge:
        first = asyncio.create_task(ask(edge))
        await plane.until(lambda: plane.started == 1)
        reader, writer = await edge.connect()
        writer.write(http_request(close=False))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 429 ")
        gate.set()
        await first
        writer.write(http_request())
        assert b"HTTP/1.1 200 " in await edge.rest(reader, writer)


async def test_requests_at_the_servers_are_limited_including_those_of_callers_that_hung_up(plane):
    gate = plane.hold()
    async with EdgeProcess(plane.target, max_requests_in_flight=2) as edge:
        for started in (1, 2):
            _, writer = await edge.connect()
            writer.write(http_request())
            await plane.until(lambda started=started: plane.started == started)
            writer.transport.abort()
        assert_limited(await ask(edge), 503, "too_many_calls")
        assert await statuses(edge, path="/cb/x", method="HEAD") == [200]
        assert await edge.metric("limited_total", limit="max_requests_in_flight") == 1
        gate.set()
        await plane.until(lambda: plane.ended == 2)

        async def is_answered():  # the edge hears a little later that they have ended
            return await statuses(edge) == [200]

        await wait_until(is_answered, what="an answer once the requests have ended")
        await edge.stop()
        assert edge.events("call_refused") == []  # no line for each request beyond the limit


async def test_a_connection_beyond_the_limit_is_answered_and_closed_and_the_others_are_served(plane):
    async with EdgeProcess(plane.target, max_connections=3) as edge:
        held = [await edge.connect() for _ in range(3)]
        await edge.until_metric("connections", 3)
        for request in (b"", http_request(), http_request("/cb/x", "POST", body=b"x" * 900_000)):
            answer = await answer_to(edge, request)
            assert_limited(answer, 503, "too_many_calls")
            assert answer["connection"] == "close"
        assert plane.requests == []
        assert await edge.metric("limited_total", limit="max_connections") == 3
        for each in held:
            each[1].write(http_request())
            assert b"HTTP/1.1 200 " in await edge.rest(*each)
        await edge.until_metric("connections", 0)
        assert await statuses(edge) == [200]


async def test_refused_connections_that_stay_open_are_cut_and_do_not_count(plane):
    async with EdgeProcess(plane.target, max_connections=1) as edge:
        gate = plane.hold()
        _, held = await edge.connect()
        held.write(http_request())
        await plane.until(lambda: plane.started)  # so it is not idle, and gives its place to no other
        stubborn = [await edge.connect() for _ in range(400)]

        async def all_are_refused():
            return await edge.metric("limited_total", limit="max_connections") == 400

        await wait_until(all_are_refused)
        assert await edge.metric("connections") <= 1 + 256
        gate.set()
        held.close()
        await wait_until(lambda: serves(edge))
        await edge.until_metric("connections", 0)
        for reader, writer in stubborn:
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.close()


async def serves(edge):
    try:
        return await statuses(edge) == [200]
    except (ConnectionResetError, ValueError):  # beyond the number of refusals that get an answer
        return False


async def test_only_a_caller_with_too_many_unknown_states_is_refused_and_without_a_look_up(plane):
    async with running_edge(plane.target, unknown_states_per_minute_per_address=3, **PROXY) as edge:
        plane.script = refusing("STATE_UNKNOWN", "NOT_FOUND")
        tries = [f"/cb/{new_state()}", f"/cbq/state?state={new_state()}", "/cb/not-even-a-state"]
        assert [(await ask(edge, path, headers=named("6.6.6.6"))).status for path in tries] == [404] * 3
        asked = len(plane.requests)
        with counting("unknown_states_per_minute_per_address", 3):
            for path in (None, f"/cbq/state?state={new_state()}", "/cb/x"):
                answer = await ask(edge, path, headers=named("6.6.6.6"))
                assert_limited(answer, 429, "too_many_requests")
                assert int(answer["retry-after"]) <= 20
        assert len(plane.requests) == asked
        plane.script = answering(plain(b"ok"))
        assert await statuses(edge, headers=named("6.6.6.7")) == [200]


async def test_only_unknown_states_count(plane):
    async with running_edge(plane.target, unknown_states_per_minute_per_address=1, **NO_PROXY) as edge:
        for reason in ("CALLBACK_CLOSED", "VERIFICATION_FAILED", "HANDLER_FAILED", "STORE_UNAVAILABLE"):
            plane.script = refusing(reason)
            await ask(edge)
        plane.script = answering(plain(b"gone", 404))
        assert await statuses(edge, 5) == [404] * 5
        for path, method in (("/nowhere", "GET"), ("/cbq/state", "GET"), ("/cb/x", "HEAD"), ("/cb/x", "OPTIONS")):
            await ask(edge, path, method)
        assert (await ask(edge)).body == b"gone"


@pytest.mark.parametrize(
    "script", [answering(plain(b"")), refusing("STATE_UNKNOWN", "NOT_FOUND"), refusing("INTERNAL")]
)
async def test_a_handshake_counts_for_any_state(plane, script):
    """Otherwise a handshake would avoid the limit, and a charge for some states only would reveal them."""
    handshake = {"method": "OPTIONS", "headers": [("WebHook-Request-Origin", "sender.example")]}
    async with running_edge(plane.target, unknown_states_per_minute_per_address=2, **NO_PROXY) as edge:
        plane.script = script
        await statuses(edge, 2, **handshake)
        assert await statuses(edge, **handshake) == [204]
        assert len(plane.requests) == 2
        assert_limited(await ask(edge), 429, "too_many_requests")


async def test_a_closed_case_that_looks_unknown_counts_as_unknown(plane):
    plane.script = refusing("CALLBACK_CLOSED")
    async with running_edge(plane.target, unknown_states_per_minute_per_address=1, **NO_PROXY) as edge:
        assert await statuses(edge, 2) == [410, 410]
        assert await statuses(edge, 2, f"/cbq/state?state={new_state()}") == [404, 429]


async def test_zero_is_no_limit(plane):
    names = ("max_connections_per_address", "max_requests_in_flight_per_address")
    any_number = dict.fromkeys((*names, "unknown_states_per_minute_per_address"), 0)
    async with running_edge(plane.target, **NO_PROXY, **any_number) as edge:
        plane.script = refusing("STATE_UNKNOWN", "NOT_FOUND")
        assert await statuses(edge, 3) == [404] * 3
        await plane.until(lambda: plane.started == plane.ended)  # the last one is counted after its caller has it
        plane.reset()
        gate = plane.hold()
        calls = [asyncio.create_task(ask(edge)) for _ in range(3)]
        await plane.until(lambda: plane.started == 3)
        gate.set()
        assert {answer.status for answer in await asyncio.gather(*calls)} == {200}


def test_a_provider_may_call_600_deleted_urls_at_once():
    assert EdgeSettings().unknown_states_per_minute_per_address == 600


async def test_an_address_has_a_limit_of_connections_and_others_are_served(plane):
    async with EdgeProcess(plane.target, max_connections_per_address=2, trusted_proxies="[]") as edge:
        held = [await edge.connect() for _ in range(2)]
        await edge.until_metric("connections", 2)
        answer = await ask(edge)
        assert_limited(answer, 429, "too_many_requests")
        assert answer["connection"] == "close"
        assert await edge.metric("limited_total", limit="max_connections_per_address") == 1
        other = await edge.connect(local_addr=("127.0.0.2", 0))
        other[1].write(http_request())
        assert b"HTTP/1.1 200 " in await edge.rest(*other)
        for _, writer in held:
            writer.close()
        await edge.until_metric("connections", 0)
        assert await statuses(edge) == [200]


@pytest.mark.parametrize("trusted", [{}, {"trusted_proxies": "127.0.0.1"}])
async def test_a_peer_that_may_be_a_proxy_has_no_limit_of_connections(plane, trusted):
    async with EdgeProcess(plane.target, max_connections_per_address=2, **trusted) as edge:
        held = [await edge.connect() for _ in range(3)]
        await edge.until_metric("connections", 3)
        assert await statuses(edge) == [200]
        assert await edge.metric("limited_total", limit="max_connections_per_address") == 0
        for _, writer in held:
            writer.close()


@pytest.mark.parametrize(
    ("limit", "callers", "expected"),
    [
        (1, [*(f"2001:db8:0:{n:x}::1" for n in range(17)), "2001:db8:1::1"], [*[404] * 16, 429, 404]),
        (2, ["2001:db8::1", "2001:db8::ffff:0:0:1", "2001:db8::2", "2001:db8:0:1::1"], [404, 404, 429, 404]),
        (2, [f"6.6.6.{n}\r\nX-Forwarded-For: 198.51.100.7" for n in range(3)], [404, 404, 429]),
    ],
    ids=["a /48 has 16 times the limit", "a /64 is one caller", "a caller cannot pretend to be another"],
)
async def test_addresses_share_a_limit(plane, limit, callers, expected):
    async with running_edge(plane.target, unknown_states_per_minute_per_address=limit, **PROXY) as edge:
        plane.script = refusing("STATE_UNKNOWN", "NOT_FOUND")
        assert [(await ask(edge, headers=named(each))).status for each in callers] == expected


async def test_without_trusted_proxies_no_limit_per_address_applies(plane):
    """One peer may be a proxy for all callers."""
    settings = {"unknown_states_per_minute_per_address": 1, "max_requests_in_flight_per_address": 1}
    async with EdgeProcess(plane.target, **settings) as edge:
        assert (await edge.until_logged("address_limits_off"))["level"] == "warning"
        plane.script = refusing("STATE_UNKNOWN", "NOT_FOUND")
        assert await statuses(edge, 3) == [404] * 3
        gate = plane.hold()
        calls = [asyncio.create_task(ask(edge)) for _ in range(3)]
        await plane.until(lambda: plane.started == 6)
        gate.set()
        assert [answer.status for answer in await asyncio.gather(*calls)] == [200] * 3


@pytest.mark.parametrize("limit", ["max_connections", "max_requests_in_flight", "max_body_bytes_in_flight"])
def test_a_limit_is_at_least_one(limit):
    with pytest.raises(ValidationError, match=limit):
        EdgeSettings(**{limit: 0})
