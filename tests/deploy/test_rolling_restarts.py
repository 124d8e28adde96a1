"""Rolling restarts of every process under load: no call is lost, and no call is made twice.

With `CALLBACK_SOAK=1` the test runs ten rounds over two servers and two edges, otherwise one round with fewer calls.
"""

import contextlib
import itertools
from collections import Counter

import pytest
from soak.counts import count
from support.deployed import HOST, PROXIES, running_fleet, running_proxy
from support.handler import handler_service
from support.load import Load
from support.system import own_store
from support.wait import wait_until

from callback import CallStatus, Response

ROUNDS = count(1, 10)
PER_SECOND = count(20, 50)
"""Number of calls per second through each proxy."""
CASES = 8


@pytest.fixture
async def handler():
    """Run a handler that responds with the body it received."""
    async with handler_service("order-paid", deadline_s=60) as service:  # the process of the tests may be slow

        async def echo(call):
            return Response(call.query["n"])

        service.script = echo
        yield service


@pytest.fixture
async def fleet(tmp_path, handler):
    """Run two servers and two edges on their own store."""
    options = {"activities": handler.config, "server": {"CALLBACK_RECORDED_CALLS_PER_CASE": "1000000"}}
    with own_store(tmp_path) as store:
        async with running_fleet(tmp_path, store, **options) as running:
            yield running


async def test_rolling_restarts_lose_nothing(tmp_path, fleet, handler):
    loads, cases = {}, {}
    async with contextlib.AsyncExitStack() as stack:
        for kind in PROXIES:
            cases[kind] = [
                await fleet.client.generate_callback_url(
                    ("record", "order-paid")[n % 2], Response("recorded"), allow_multiple_calls=True
                )
                for n in range(CASES)
            ]
            proxy = await stack.enter_async_context(running_proxy(kind, tmp_path / kind, fleet.addresses))
            requests = requests_of([proxy.own(case.url) for case in cases[kind]])
            loads[kind] = Load(from_many_callers(proxy), requests, per_second=PER_SECOND)
        async with contextlib.AsyncExitStack() as running:
            for load in loads.values():
                await running.enter_async_context(load.running())
            codes = []
            for _ in range(ROUNDS):
                for process in (*fleet.servers, *fleet.edges):
                    codes.append(await fleet.restart(process))
                    await wait_until(lambda process=process: has_worked(process), what=f"calls of {process.log.stem}")

    assert set(codes) == {0}
    for kind, load in loads.items():
        expected = {n: (200, str(n) if n % 2 else "recorded") for n in range(load.sent)}
        print(f"{kind}: {load.sent} calls, {len(codes)} restarts")
        assert {n: answer for n, answer in load.answers.items() if answer != expected[n]} == {}, kind
        assert set(load.answers) == set(expected), kind
        recorded = Counter()
        for case in cases[kind]:
            async for call in fleet.client.list_calls(case.case_id, page_size=100):
                assert call.status is CallStatus.SUCCEEDED
                recorded[int(call.query["n"])] += 1
        assert recorded == Counter(range(load.sent)), kind
    assert len(handler.calls) == len(set(handler.calls)) == sum(load.sent // 2 for load in loads.values())


def from_many_callers(proxy):
    """Return a function that connects to a proxy, each time from another address: the requests of one are limited."""
    hosts = itertools.cycle(range(1, 255))
    return lambda: proxy.connect(source=f"127.0.1.{next(hosts)}")


async def has_worked(process):
    """Return whether a process has ended a call since its start: on a slow machine it may be found late."""
    counters = ("callback_calls_total", "callback_edge_requests_total")
    return any(each.value for each in await process.metrics() if each.name in counters)


def requests_of(paths):
    """Return a function that returns the bytes of the nth request, to one of the paths in turn."""

    def request(n):
        method = ("GET", "POST")[n // CASES % 2]
        return f"{method} {paths[n % CASES]}?n={n} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 0\r\n\r\n".encode()

    return request
