"""A request with a large body is looked up first: one that is refused anyway costs neither edge nor server its body."""

import asyncio
import json

import pytest
from support.edge import (
    ask,
    control_plane,
    http_request,
    new_state,
    parse_answers,
    refusal,
    running_edge,
    seconds,
    send_raw,
)
from support.wait import wait_until

from callback_edge import metrics
from callback_edge.limits.pace import Pace

LARGE = 64 * 1024 + 1
CHUNKED = "POST /cb/{} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(size):
    return b"%x\r\n%s\r\n" % (size, b"x" * size)


def told(answer):
    answer.assert_fixed_headers()
    return answer.status, json.loads(answer.body)["code"]


async def test_a_large_body_is_sent_after_a_look_up_without_it(plane, edge):
    state, headers = new_state(), [("x-own", "1")]
    assert (await ask(edge, f"/cb/{state}?a=b", "POST", headers, b"x" * LARGE)).status == 200
    (looked_up,), (called,) = plane.looked_up, plane.requests
    assert looked_up.request_body == b""
    assert called.request_body == b"x" * LARGE
    called.ClearField("request_body")
    assert looked_up == called


async def test_a_small_body_needs_no_look_up(plane, edge):
    assert (await ask(edge, f"/cb/{new_state()}", "POST", [], b"x" * (LARGE - 1))).status == 200
    head = CHUNKED.format(new_state()).encode()
    raw = await send_raw(
        edge.port, head.replace(b"Host", b"Connection: close\r\nHost") + chunk(1000) * 60 + b"0\r\n\r\n"
    )
    assert parse_answers(raw)[0].status == 200
    assert plane.looked_up == []


async def test_a_chunked_body_is_looked_up_as_soon_as_it_is_large(plane, edge):
    plane.look_up = refusal("CALLBACK_CLOSED")
    reader, writer = await edge.connect()
    writer.write(CHUNKED.format(new_state()).encode() + chunk(LARGE))
    await wait_until(lambda: plane.looked_up)
    writer.write(chunk(LARGE) + b"0\r\n\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 410 ")
    writer.close()
    assert plane.requests == []


@pytest.mark.parametrize(
    ("refused", "expected"),
    [
        (refusal("STATE_UNKNOWN"), (404, "state_unknown")),
        (refusal("CALLBACK_CLOSED"), (410, "callback_closed")),
        (refusal("VERIFICATION_FAILED", challenge="Secret"), (401, "verification_failed")),
        (refusal("CALL_IN_PROGRESS", retry_after=seconds(1)), (409, "call_in_progress")),
        (refusal("TOO_MANY_REQUESTS", retry_after=seconds(1)), (429, "too_many_requests")),
        (refusal("STORE_UNAVAILABLE", retry_after=seconds(5)), (503, "store_unavailable")),
    ],
    ids=lambda each: each[1] if isinstance(each, tuple) else "",
)
async def test_a_request_that_is_refused_without_its_body_is_answered_when_it_was_sent_and_its_connection_stays(
    plane, edge, refused, expected
):
    plane.look_up = refused
    reader, writer = await edge.connect()
    request = http_request(f"/cb/{new_state()}", "POST", [], b"x" * LARGE, close=False)
    writer.write(request[:-1])
    await wait_until(lambda: plane.looked_up)
    writer.write(request[-1:])
    writer.write(http_request(f"/cb/{new_state()}"))
    answers = parse_answers(await edge.rest(reader, writer), ["POST"])
    assert [told(answers[0]), answers[1].status] == [expected, 200]
    assert len(plane.requests) == 1


async def test_a_request_that_is_refused_without_its_body_is_answered_although_the_body_does_not_come(plane):
    plane.look_up = refusal("STATE_UNKNOWN")
    async with running_edge(plane.target, body_timeout_s=0.2) as edge:
        raw = await send_raw(edge.port, http_request(f"/cb/{new_state()}", "POST", [], b"x" * LARGE, close=False)[:-1])
        (answer,) = parse_answers(raw)
        assert told(answer) == (404, "state_unknown")
        assert answer["connection"] == "close"


def expecting(framing, path=None):
    """Return the head of a request whose client waits for a 100 before it sends the body."""
    return (
        f"POST {path or f'/cb/{new_state()}'} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n{framing}\r\n\r\n".encode()
    )


@pytest.mark.parametrize("framing", ["Content-Length: 3", f"Content-Length: {LARGE}", "Transfer-Encoding: chunked"])
async def test_a_body_that_a_client_offers_is_not_invited_if_the_request_is_refused_without_it(plane, edge, framing):
    plane.look_up = refusal("CALLBACK_CLOSED")
    (answer,) = parse_answers(await send_raw(edge.port, expecting(framing)), keep_informational=True)
    assert told(answer) == (410, "callback_closed")
    assert answer["connection"] == "close"
    assert plane.requests == []


@pytest.mark.parametrize("path", ["/nowhere", "/cb/none", "/cbq/state"])
async def test_a_body_that_a_client_offers_is_not_invited_if_the_edge_refuses_the_request_by_itself(edge, path):
    raw = await send_raw(edge.port, expecting("Content-Length: 3", path))
    assert [answer.status // 100 for answer in parse_answers(raw, keep_informational=True)] == [4]


async def test_a_body_that_a_client_offers_is_invited_once_it_is_known_that_the_request_may_be_a_call(plane, edge):
    plane.look_up_gate = asyncio.Event()
    reader, writer = await edge.connect()
    writer.write(expecting("Connection: close\r\nContent-Length: 3"))
    await wait_until(lambda: plane.looked_up)
    plane.look_up_gate.set()
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
    writer.write(b"abc")
    (answer,) = parse_answers(await edge.rest(reader, writer), keep_informational=True)
    assert answer.status == 200
    assert [each.request_body for each in plane.requests] == [b"abc"]


async def test_the_time_in_which_the_edge_does_not_read_is_not_the_senders(plane, monkeypatch):
    async def wait(_pace, _group):
        await asyncio.sleep(0 if waited else 2.5)
        waited.append(True)

    waited = []
    monkeypatch.setattr(Pace, "wait", wait)
    async with running_edge(plane.target, body_timeout_s=2) as edge:
        assert (await ask(edge, f"/cb/{new_state()}", "POST", [], b"x" * LARGE)).status == 200
    assert waited


async def test_a_request_whose_body_may_have_the_state_is_not_looked_up(plane, edge):
    form = [("Content-Type", "application/x-www-form-urlencoded")]
    body = f"state={new_state()}&more={'x' * LARGE}".encode()
    assert (await ask(edge, "/cbq/state", "POST", form, body)).status == 200
    assert plane.looked_up == []
    assert (await ask(edge, f"/cbq/state?state={new_state()}", "POST", [], body)).status == 200
    assert len(plane.looked_up) == 1


async def test_a_malformed_state_is_refused_without_a_look_up(plane, edge):
    assert (await ask(edge, "/cb/none", "POST", [], b"x" * LARGE)).status == 404
    assert (await ask(edge, "/cbq/state", "POST", [], b"x" * LARGE)).status == 400
    assert plane.looked_up == plane.requests == []


async def test_a_closed_case_at_a_shared_address_looks_unknown_also_in_a_look_up(plane, edge):
    plane.look_up = refusal("CALLBACK_CLOSED")
    answer = await ask(edge, f"/cbq/state?state={new_state()}", "POST", [], b"x" * LARGE)
    assert told(answer) == (404, "state_unknown")


async def test_unknown_states_that_are_looked_up_count_against_their_limit(plane):
    plane.look_up = refusal("STATE_UNKNOWN")
    async with running_edge(plane.target, trusted_proxies=[], unknown_states_per_minute_per_address=2) as edge:
        answers = [await ask(edge, f"/cb/{new_state()}", "POST", [], b"x" * LARGE) for _ in range(3)]
        assert [answer.status for answer in answers] == [404, 404, 429]
    assert len(plane.looked_up) == 2


async def test_a_lost_look_up_is_no_call_and_the_caller_may_try_again():
    async with control_plane() as plane, running_edge(plane.target) as edge:
        await wait_until(lambda: not edge.upstream.why_not_ready())
        plane.look_up_gate = asyncio.Event()
        asked = asyncio.create_task(ask(edge, f"/cb/{new_state()}", "POST", [], b"x" * LARGE))
        await wait_until(lambda: plane.looked_up)
        await plane.stop()
        answer = await asked
        assert (*told(answer), answer["retry-after"]) == (503, "server_unreachable", "5")


async def test_a_refused_look_up_frees_the_bytes_of_its_body(plane):
    def held():
        (sample,) = (each for family in metrics.BODY_BYTES_IN_FLIGHT.collect() for each in family.samples)
        return sample.value

    plane.look_up, plane.look_up_gate = refusal("STATE_UNKNOWN"), asyncio.Event()
    async with running_edge(plane.target, body_timeout_s=600) as edge:
        reader, writer = await edge.connect()
        writer.write(CHUNKED.format(new_state()).encode() + chunk(LARGE))
        await wait_until(lambda: plane.looked_up and held() == LARGE)
        plane.look_up_gate.set()
        await wait_until(lambda: held() == 0)
        writer.write(b"0\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 404 ")
        writer.close()
