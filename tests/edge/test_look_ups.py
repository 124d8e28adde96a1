"""A request with a large body is looked up first: one that is refused anyway costs neither edge nor server its body."""

import asyncio

import pytest
from support.edge import (
    answer_to,
    ask,
    chunk,
    control_plane,
    http_request,
    new_state,
    parse_answers,
    raw_request,
    refusal,
    running_edge,
    sample,
    seconds,
)
from support.limits import limited
from support.wait import wait_until

from callback_process.http import turns

BODY = b"x" * (64 * 1024 + 1)
"""A body that is looked up first."""
CHUNKED = "Transfer-Encoding: chunked"
EXPECTING = "Expect: 100-continue"


async def test_a_large_body_is_sent_after_a_look_up_without_it(plane, edge):
    state, headers = new_state(), [("x-own", "1")]
    assert (await ask(edge, f"/cb/{state}?a=b", "POST", headers, BODY)).status == 200
    (looked_up,), (called,) = plane.looked_up, plane.requests
    assert looked_up.request_body == b""
    assert called.request_body == BODY
    called.ClearField("request_body")
    assert looked_up == called


async def test_a_small_body_needs_no_look_up(plane, edge):
    assert (await ask(edge, method="POST", body=BODY[1:])).status == 200
    small = raw_request(CHUNKED, "Connection: close", body=chunk(b"x" * 1000) * 60 + chunk(b""))
    assert (await answer_to(edge, small)).status == 200
    assert plane.looked_up == []


async def test_a_chunked_body_is_looked_up_as_soon_as_it_is_large(plane, edge):
    plane.look_up = refusal("CALLBACK_CLOSED")
    reader, writer = await edge.connect()
    writer.write(raw_request(CHUNKED, body=chunk(BODY)))
    await wait_until(lambda: plane.looked_up)
    writer.write(chunk(BODY) + chunk(b""))
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
    request = http_request(method="POST", body=BODY, close=False)
    writer.write(request[:-1])
    await wait_until(lambda: plane.looked_up)
    writer.write(request[-1:])
    writer.write(http_request())
    answers = parse_answers(await edge.rest(reader, writer), ["POST"])
    assert [answers[0].problem, answers[1].status] == [expected, 200]
    assert len(plane.requests) == 1


async def test_a_request_that_is_refused_without_its_body_is_answered_although_the_body_does_not_come(plane):
    plane.look_up = refusal("STATE_UNKNOWN")
    async with running_edge(plane.target, body_timeout_s=0.2) as edge:
        answer = await answer_to(edge, http_request(method="POST", body=BODY, close=False)[:-1])
        assert (answer.problem, answer["connection"]) == ((404, "state_unknown"), "close")


@pytest.mark.parametrize("framing", ["Content-Length: 3", f"Content-Length: {len(BODY)}", "Transfer-Encoding: chunked"])
async def test_a_body_that_a_client_offers_is_not_invited_if_the_request_is_refused_without_it(plane, edge, framing):
    plane.look_up = refusal("CALLBACK_CLOSED")
    answer = await answer_to(edge, raw_request(EXPECTING, framing), keep_informational=True)
    assert (answer.problem, answer["connection"]) == ((410, "callback_closed"), "close")
    assert plane.requests == []


@pytest.mark.parametrize("path", ["/nowhere", "/cb/none", "/cbq/state"])
async def test_a_body_that_a_client_offers_is_not_invited_if_the_edge_refuses_the_request_by_itself(edge, path):
    answer = await answer_to(edge, raw_request(EXPECTING, "Content-Length: 3", path=path), keep_informational=True)
    assert answer.status // 100 == 4


async def test_a_body_that_a_client_offers_is_invited_once_it_is_known_that_the_request_may_be_a_call(plane, edge):
    plane.look_up_gate = asyncio.Event()
    reader, writer = await edge.connect()
    writer.write(raw_request(EXPECTING, "Connection: close", "Content-Length: 3"))
    await wait_until(lambda: plane.looked_up)
    plane.look_up_gate.set()
    (interim,) = parse_answers(await reader.readuntil(b"\r\n\r\n"), keep_informational=True)
    assert interim.status == 100
    interim.assert_fixed_headers()
    writer.write(b"abc")
    (answer,) = parse_answers(await edge.rest(reader, writer), keep_informational=True)
    assert answer.status == 200
    assert [each.request_body for each in plane.requests] == [b"abc"]


async def test_the_time_in_which_the_edge_does_not_read_is_not_the_senders(plane):
    async with running_edge(plane.target, body_timeout_s=2) as edge:
        with limited(turns, STEPS_PER_TURN=0):  # no connection has its turn
            call = asyncio.create_task(ask(edge, method="POST", body=BODY))
            await wait_until(lambda: edge.exchanges.turns.waiting)
            await asyncio.sleep(2.5)
        await ask(edge, "/nowhere")  # the turns begin again
        assert (await call).status == 200


async def test_a_request_whose_body_may_have_the_state_is_not_looked_up(plane, edge):
    form = [("Content-Type", "application/x-www-form-urlencoded")]
    body = f"state={new_state()}&more={'x' * len(BODY)}".encode()
    assert (await ask(edge, "/cbq/state", "POST", form, body)).status == 200
    assert plane.looked_up == []
    assert (await ask(edge, f"/cbq/state?state={new_state()}", "POST", [], body)).status == 200
    assert len(plane.looked_up) == 1


async def test_a_malformed_state_is_refused_without_a_look_up(plane, edge):
    assert (await ask(edge, "/cb/none", "POST", [], BODY)).status == 404
    assert (await ask(edge, "/cbq/state", "POST", [], BODY)).status == 400
    assert plane.looked_up == plane.requests == []


async def test_a_closed_case_at_a_shared_address_looks_unknown_also_in_a_look_up(plane, edge):
    plane.look_up = refusal("CALLBACK_CLOSED")
    answer = await ask(edge, f"/cbq/state?state={new_state()}", "POST", [], BODY)
    assert answer.problem == (404, "state_unknown")


async def test_unknown_states_that_are_looked_up_count_against_their_limit(plane):
    plane.look_up = refusal("STATE_UNKNOWN")
    async with running_edge(plane.target, trusted_proxies=[], unknown_states_per_minute_per_address=2) as edge:
        answers = [await ask(edge, method="POST", body=BODY) for _ in range(3)]
        assert [answer.status for answer in answers] == [404, 404, 429]
    assert len(plane.looked_up) == 2


async def test_a_lost_look_up_is_no_call_and_the_caller_may_try_again():
    async with control_plane() as plane, running_edge(plane.target) as edge:
        plane.look_up_gate = asyncio.Event()
        asked = asyncio.create_task(ask(edge, method="POST", body=BODY))
        await wait_until(lambda: plane.looked_up)
        await plane.stop()
        answer = await asked
        assert (answer.problem, answer["retry-after"]) == ((503, "server_unreachable"), "5")


async def test_a_refused_look_up_frees_the_bytes_of_its_body(plane):
    plane.look_up, plane.look_up_gate = refusal("STATE_UNKNOWN"), asyncio.Event()
    async with running_edge(plane.target, body_timeout_s=600) as edge:
        reader, writer = await edge.connect()
        writer.write(raw_request(CHUNKED, body=chunk(BODY)))
        await wait_until(lambda: plane.looked_up and sample("body_bytes_in_flight") == len(BODY))
        plane.look_up_gate.set()
        await wait_until(lambda: sample("body_bytes_in_flight") == 0)
        writer.write(chunk(b""))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 404 ")
        writer.close()
