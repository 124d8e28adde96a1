"""Ambiguous requests, which a proxy and an edge could parse differently. Each valid one makes exactly one call.

Every payload goes to an edge directly, through nginx, and through haproxy, each time to its own case. Many payloads are
sent at the same time, because some of them last until a timeout.
"""

import asyncio
import contextlib
from typing import NamedTuple

import pytest
from support.deployed import HOST, PROXIES
from support.payloads import BAD, GOOD, NOWHERE, STATE, TOLERATED
from support.system import is_idle
from support.wait import DEADLINE_S, wait_until

from callback import Response

WAYS = ("directly", *PROXIES)
END = f"GET /the-end HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()
PATIENCE_S = 13
"""How long to wait for an answer to what may have none: slightly longer than the body timeouts of an edge and of nginx.
The timeout of haproxy is longer."""
UNDER_WAY = asyncio.Semaphore(240)
"""Limits the payloads under way, so that a slow machine answers them before `PATIENCE_S` is over."""
CONNECTING = asyncio.Semaphore(8)
"""Limits the connections that are made at the same time: a proxy closes one whose head has not come after 10 s."""
ANSWER = b"the case's own answer"
PAYLOADS = {name: payload for name, (payload, _) in (BAD | TOLERATED | GOOD).items()} | NOWHERE
assert len(PAYLOADS) == sum(map(len, (BAD, TOLERATED, GOOD, NOWHERE))) >= 60


class Became(NamedTuple):
    """Result of one payload."""

    raw: bytes
    """All bytes of the response."""
    calls: list[tuple[str, bytes]]
    """Query and body of each call of its case, in order."""


class Sent(dict[str, Became]):
    """Results of all payloads on one way, by the name of the payload."""

    by_proxy = False
    """Whether a proxy was on the way. It can refuse what an edge accepts, and repair what an edge refuses."""

    def calls(self, names):
        return {name: self[name].calls for name in names}


async def answered(connect, payload, patience_s):
    """Send a payload and, after the first response, `END`, which ends the connection. Return all received bytes."""
    raw = b""
    async with UNDER_WAY:
        async with CONNECTING:
            reader, writer = await connect()
            writer.write(payload)
        try:
            async with asyncio.timeout(patience_s):
                with contextlib.closing(writer):
                    raw = await reader.read(65_536)
                    writer.write(END)
                    while data := await reader.read(65_536):
                        raw += data
        except (OSError, TimeoutError):  # a reset after a refusal, or the peer waits for more
            pass
    return raw


@pytest.fixture(scope="module")
async def sent_on_each_way(fleet, proxies):
    """Send every payload on every way, and return the results by way."""
    results = await asyncio.gather(*(send_all(fleet, proxies.get(way)) for way in WAYS))
    return dict(zip(WAYS, results, strict=True))


@pytest.fixture(params=WAYS)
def sent(request, sent_on_each_way):
    """Return the results of one way."""
    return sent_on_each_way[request.param]


async def send_all(fleet, proxy):
    """Send every payload through a proxy, or to an edge without one, and return the results."""
    host, port = fleet.addresses[0][0].split(":")
    connect = proxy.connect if proxy else lambda: asyncio.open_connection(host, port)
    cases = {
        name: await fleet.client.generate_callback_url("record", Response(ANSWER), allow_multiple_calls=True)
        for name in PAYLOADS
    }
    raw = await asyncio.gather(
        *(
            answered(
                connect, PAYLOADS[name].replace(STATE, case.state.encode()),
                DEADLINE_S if name in GOOD | TOLERATED else PATIENCE_S,
            )
            for name, case in cases.items()
        )
    )  # fmt: skip
    for edge in fleet.edges:
        await wait_until(lambda edge=edge: is_idle(edge), what="the end of all requests")
    became = Sent()
    became.by_proxy = proxy is not None
    for (name, case), came in zip(cases.items(), raw, strict=True):
        listed = [call async for call in fleet.client.list_calls(case.case_id)]
        calls = [await fleet.client.get_call(each.call_id) for each in reversed(listed)]
        state = case.state.encode()
        became[name] = Became(came, [(call.query_string, call.body.replace(state, STATE)) for call in calls])
    return became


def test_a_plain_request_makes_its_call(sent):
    assert sent.calls(GOOD) == {name: meant for name, (_, meant) in GOOD.items()}


def test_an_unusual_request_makes_its_call_or_is_refused_by_a_proxy(sent):
    calls = sent.calls(TOLERATED)
    otherwise = {name: each for name, each in calls.items() if each != TOLERATED[name][1]}
    assert {name: each for name, each in otherwise.items() if each or not sent.by_proxy} == {}


def test_a_bad_request_is_no_call_on_an_edge_and_at_most_one_behind_a_proxy(sent):
    calls = sent.calls(BAD)
    assert {name: each for name, each in calls.items() if len(each) > (1 if sent.by_proxy else 0)} == {}
    assert {name: each for name, each in calls.items() if "hidden" in dict(each)} == {}


def test_a_request_that_is_no_call_makes_none(sent):
    assert {name: each for name, each in sent.calls(NOWHERE).items() if each} == {}


def test_the_number_of_successful_answers_equals_the_number_of_calls(sent):
    assert {name: each for name, each in sent.items() if each.raw.count(ANSWER) != len(each.calls)} == {}


def test_no_other_protocol_is_agreed_to(sent):
    assert [name for name, each in sent.items() if b"HTTP/1.1 101 " in each.raw] == []
