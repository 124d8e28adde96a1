"""Input that is not plain HTTP/1.1 is refused before the application sees it, and the connection ends."""

import json

import h11
import pytest
from support.edge import answer_to, http_request, parse_answers, running_edge, send_raw
from support.payloads import BAD, GOOD, HIDDEN, NOWHERE, PATH, TOLERATED, get

from callback_process.http.parser import StrictConnection

END = b"GET /the-end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
"""Request that ends the connection."""


@pytest.fixture(scope="module")
async def edge(shared_plane):
    """Run an edge with a short body timeout."""
    async with running_edge(shared_plane.target, body_timeout_s=1) as running:
        yield running


@pytest.mark.parametrize(("payload", "status"), BAD.values(), ids=BAD.keys())
async def test_a_malformed_request_is_refused_and_never_called(plane, edge, payload, status):
    raw = await send_raw(edge.port, payload + (HIDDEN if payload.endswith(b"\r\n\r\n") else b""))
    (answer,) = parse_answers(raw)  # one answer: the hidden request was not read as one
    assert answer.status == status
    assert json.loads(answer.body)["status"] == status
    assert answer["connection"] == "close"
    answer.assert_fixed_headers()
    assert plane.requests == []


async def test_a_malformed_head_request_is_refused_without_a_body(plane, edge):
    raw = await send_raw(edge.port, get(b"Host: a", target=b"*", method=b"HEAD"))
    (answer,) = parse_answers(raw, ["HEAD"])
    assert (answer.status, answer.body) == (400, b"")


async def test_a_browser_gets_a_page_for_a_refused_head_that_can_be_read(plane, edge):
    raw = await send_raw(edge.port, get(b"Host: a", b"Accept: text/html", target=b"*"))
    assert parse_answers(raw)[0]["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize(("payload", "meant"), (TOLERATED | GOOD).values(), ids=(TOLERATED | GOOD).keys())
async def test_an_unusual_but_valid_request_is_read_correctly(plane, edge, payload, meant):
    answers = parse_answers(await send_raw(edge.port, payload + END))
    assert [answer.status for answer in answers][: len(meant)] == [200] * len(meant)
    assert [(request.request_query_string, request.request_body) for request in plane.requests] == meant


@pytest.mark.parametrize("payload", NOWHERE.values(), ids=NOWHERE.keys())
async def test_a_request_that_is_not_a_call_hides_no_call(plane, edge, payload):
    await send_raw(edge.port, payload + END)
    assert plane.requests == []


async def test_a_head_in_many_pieces_is_read_like_a_complete_one(plane, edge):
    reader, writer = await edge.connect()
    for byte in b"\r\n" + get(b"Host: a", b"Connection: close"):
        writer.write(bytes([byte]))
        await writer.drain()
    assert parse_answers(await edge.rest(reader, writer))[0].status == 200


async def test_bytes_after_a_request_that_ends_the_connection_are_discarded(plane, edge):
    payload = http_request(PATH.decode(), "POST", [], b"abc") + b"\r\n" + HIDDEN
    answer = await answer_to(edge, payload)
    assert answer.status == 200
    assert len(plane.requests) == 1


async def test_a_malformed_second_request_ends_the_connection(plane, edge):
    good = http_request(PATH.decode(), close=False)
    bad, _ = BAD["TE and CL"]
    answers = parse_answers(await send_raw(edge.port, good + bad + HIDDEN))
    assert [answer.status for answer in answers] == [200, 400]
    assert len(plane.requests) == 1


@pytest.mark.parametrize(("bad", "status"), [BAD["one bare LF"], BAD["17 KiB head at once"]], ids=["LF", "large"])
async def test_bytes_after_the_last_chunk_are_not_read_as_trailers(plane, edge, bad, status):
    good, meant = GOOD["chunk extension"]
    answers = parse_answers(await send_raw(edge.port, good + bad))
    assert [answer.status for answer in answers] == [200, status]
    assert [(request.request_query_string, request.request_body) for request in plane.requests] == meant


async def test_a_malformed_request_after_a_head_request_is_refused_with_a_body(plane, edge):
    """The form of an answer follows its own request, not the earlier one."""
    head = http_request(method="HEAD", close=False)
    bad, _ = BAD["bare LF"]
    answers = parse_answers(await send_raw(edge.port, head + bad), ["HEAD", "GET"])
    assert [answer.status for answer in answers] == [200, 400]
    assert answers[1].body


async def test_a_refusal_reaches_a_client_that_is_still_sending(plane, edge):
    """To close a connection with unread bytes resets it, and the client loses the refusal."""
    reader, writer = await edge.connect()
    writer.write(b"GET / HTTP/1.1\nHost: a\n\n")
    first = await reader.readuntil(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 400")
    writer.write(b"x" * 1_000_000)
    await writer.drain()  # no reset
    assert json.loads(await edge.rest(reader, writer))["code"] == "bad_request"


@pytest.mark.parametrize("name", [b"content-type", b"x-more"])
@pytest.mark.parametrize("before", [0, 1])
def test_a_field_with_a_line_break_is_never_sent(name, before):
    """This is the last check of fields; the code that makes them checks them too."""
    connection = StrictConnection(1000, ())
    connection.receive_data(get(b"Host: a"))
    while connection.next_event() is not h11.NEED_DATA and connection.their_state is not h11.DONE:
        pass
    for _ in range(before + 1):
        with pytest.raises(h11.LocalProtocolError):
            connection.complete_answer(200, [(name, b"a\r\nb: c"), (b"content-length", b"0")], b"")
    assert connection.complete_answer(200, [(name, b"a"), (b"content-length", b"0")], b"").startswith(b"HTTP/1.1 200 ")
