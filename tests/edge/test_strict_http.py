"""What is not plain HTTP/1.1 is refused before the application hears of it, and the connection ends."""

import asyncio
import json

import pytest
from support.edge import http_request, new_state, parse_answers, send_raw

STATE = b"3f2b8c1e-9d4a-4b6f-8e21-7c5d0a9b1e34"
PATH = b"/cb/" + STATE
SECOND = b"GET " + PATH + b" HTTP/1.1\r\nHost: a\r\n\r\n"


def get(*fields, target=PATH, version=b"HTTP/1.1", method=b"GET", end=b"\r\n"):
    return end.join([b" ".join([method, target, version]), *fields, b"", b""])


def post(*fields, body=b"", host=b"Host: a"):
    return get(host, *fields, method=b"POST") + body


CHUNKS = b"3\r\nabc\r\n0\r\n\r\n"
BAD = {
    # two ways to say where the message ends
    "TE and CL": (post(b"Transfer-Encoding: chunked", b"Content-Length: 3", body=CHUNKS), 400),
    "CL and TE": (post(b"Content-Length: 3", b"Transfer-Encoding: chunked", body=CHUNKS), 400),
    "TE and CL: 0": (post(b"Transfer-Encoding: chunked", b"Content-Length: 0", body=CHUNKS), 400),
    "TE in HTTP/1.0": (get(b"Transfer-Encoding: chunked", version=b"HTTP/1.0", method=b"POST") + CHUNKS, 400),
    "CL twice, different": (post(b"Content-Length: 3", b"Content-Length: 4", body=b"abcd"), 400),
    "CL list, different": (post(b"Content-Length: 3, 4", body=b"abcd"), 400),
    "CL with a sign": (post(b"Content-Length: +3", body=b"abc"), 400),
    "CL negative": (post(b"Content-Length: -3", body=b"abc"), 400),
    "CL hexadecimal": (post(b"Content-Length: 0x3", body=b"abc"), 400),
    "CL with underscore": (post(b"Content-Length: 1_0", body=b"a" * 10), 400),
    "CL of 30 digits": (post(b"Content-Length: " + b"1" * 30), 400),
    "CL not ASCII": (post(b"Content-Length: \xb2"), 400),
    "TE gzip": (post(b"Transfer-Encoding: gzip", body=CHUNKS), 501),
    "TE gzip, chunked": (post(b"Transfer-Encoding: gzip, chunked", body=CHUNKS), 501),
    "TE chunked, identity": (post(b"Transfer-Encoding: chunked, identity", body=CHUNKS), 501),
    "TE twice": (post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=CHUNKS), 501),
    "TE with a tail": (post(b"Transfer-Encoding: chunkedx", body=CHUNKS), 501),
    # lines
    "bare LF": (get(b"Host: a", end=b"\n"), 400),
    "one bare LF": (b"GET " + PATH + b" HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400),
    "LF before the blank line": (b"GET " + PATH + b" HTTP/1.1\r\nHost: a\n\r\n", 400),
    "folded line": (get(b"Host: a", b"X: b\r\n c"), 400),
    "folded with a tab": (get(b"Host: a", b"X: b\r\n\tc"), 400),
    "fold hides a length": (post(b"X: b\r\n Content-Length: 3", b"Content-Length: 3", body=b"abc"), 400),
    "bare CR in a value": (get(b"Host: a", b"X: b\rc"), 400),
    "NUL in a value": (get(b"Host: a", b"X: b\x00c"), 400),
    "space before the colon": (get(b"Host: a", b"X : b"), 400),
    "space before a length's colon": (post(b"Content-Length : 3", body=b"abc"), 400),
    "no colon": (get(b"Host: a", b"X"), 400),
    "empty name": (get(b"Host: a", b": b"), 400),
    "name not ASCII": (get(b"Host: a", b"\xe9: b"), 400),
    "leading blank line": (b"\r\n" + get(b"Host: a"), 400),
    "leading space": (b" " + get(b"Host: a"), 400),
    # request line
    "no version": (b"GET " + PATH + b"\r\nHost: a\r\n\r\n", 400),
    "two spaces": (b"GET  " + PATH + b" HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "lower-case version": (get(b"Host: a", version=b"http/1.1"), 400),
    "HTTP/0.9": (get(b"Host: a", version=b"HTTP/0.9"), 505),
    "HTTP/1.2": (get(b"Host: a", version=b"HTTP/1.2"), 505),
    "HTTP/2.0": (get(b"Host: a", version=b"HTTP/2.0"), 505),
    "HTTP/3.7": (get(b"Host: a", version=b"HTTP/3.7"), 505),
    "HTTP/11": (get(b"Host: a", version=b"HTTP/11"), 400),
    "no Host": (get(), 400),
    "two Hosts": (get(b"Host: a", b"Host: a"), 400),
    "target not ASCII": (get(b"Host: a", target=b"/cb/\xe9"), 400),
    "DEL in the target": (get(b"Host: a", target=b"/cb/\x7f"), 400),
    "absolute form": (get(b"Host: a", target=b"http://evil.example" + PATH), 400),
    "absolute form, own host": (get(b"Host: a", target=b"http://a" + PATH), 400),
    "authority form": (get(b"Host: a", target=b"a:80", method=b"CONNECT"), 405),
    "CONNECT with a path": (get(b"Host: a", method=b"CONNECT"), 405),
    "OPTIONS *": (get(b"Host: a", target=b"*", method=b"OPTIONS"), 400),
    "no path": (get(b"Host: a", target=b"?state=" + STATE), 400),
    "relative path": (get(b"Host: a", target=PATH[1:]), 400),
    "lower-case method": (get(b"Host: a", method=b"get"), 405),
    # other protocols
    "PRI preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", 505),
    "h2c": (get(b"Host: a", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"), 400),
    "h2c without Connection": (get(b"Host: a", b"Upgrade: h2c"), 400),
    "h2c with a body": (post(b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: 3", body=b"abc"), 400),
    "websocket": (
        get(
            b"Host: a",
            b"Connection: Upgrade",
            b"Upgrade: websocket",
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            b"Sec-WebSocket-Version: 13",
        ),
        400,
    ),
    "TLS": (bytes.fromhex("16030100c8010000c40303") + b"\x00" * 50, 400),
    "nonsense": (b"\x00\x01\x02\x03", 400),
    "text": (b"hello\r\n\r\n", 400),
    # size
    "17 KiB head at once": (get(b"Host: a", b"X: " + b"x" * 17 * 1024), 431),
    "60 KiB head at once": (get(b"Host: a", b"X: " + b"x" * 60 * 1024), 431),
    "200 KiB head": (get(b"Host: a", b"X: " + b"x" * 200 * 1024), 431),
    "endless head": (b"GET " + PATH + b" HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 300 * 1024, 431),
    "endless request line": (b"GET /" + b"x" * 100 * 1024, 431),
    "many fields": (get(b"Host: a", *[b"a: b"] * 4000), 431),
    # after the head
    "bad chunk size": (post(b"Transfer-Encoding: chunked", body=b"zz\r\nabc\r\n0\r\n\r\n"), 400),
    "negative chunk size": (post(b"Transfer-Encoding: chunked", body=b"-3\r\nabc\r\n0\r\n\r\n"), 400),
    "chunk size with 0x": (post(b"Transfer-Encoding: chunked", body=b"0x3\r\nabc\r\n0\r\n\r\n"), 400),
    "bad chunk end": (post(b"Transfer-Encoding: chunked", body=b"3\r\nabcXX0\r\n\r\n"), 400),
    "huge chunk size": (post(b"Transfer-Encoding: chunked", body=b"f" * 30 + b"\r\nabc"), 400),
}


@pytest.mark.parametrize(("payload", "status"), BAD.values(), ids=BAD.keys())
async def test_a_malformed_request_is_refused_and_never_called(plane, edge, payload, status):
    raw = await send_raw(edge.port, payload + (SECOND if payload.endswith(b"\r\n\r\n") else b""))
    (answer,) = parse_answers(raw)  # one answer: what was hidden behind it was not read as a request
    assert answer.status == status
    assert json.loads(answer.body)["status"] == status
    assert answer["connection"] == "close"
    answer.assert_fixed_headers()
    assert plane.requests == []


async def test_a_malformed_head_request_is_refused_without_a_body(plane, edge):
    raw = await send_raw(edge.port, get(b"Host: a", b"Upgrade: h2c", method=b"HEAD"))
    (answer,) = parse_answers(raw, ["HEAD"])
    assert (answer.status, answer.body) == (400, b"")


async def test_a_refusal_of_the_parser_is_a_page_for_a_browser_where_the_head_can_be_read(plane, edge):
    raw = await send_raw(edge.port, get(b"Host: a", b"Upgrade: h2c", b"Accept: text/html"))
    assert parse_answers(raw)[0]["content-type"] == "text/html; charset=utf-8"


GOOD = {
    "16 KiB head": get(b"Host: a", b"Connection: close", b"X: " + b"x" * (16 * 1024 - 200)),
    "HTTP/1.0": get(version=b"HTTP/1.0"),
    "CL twice, the same": post(b"Connection: close", b"Content-Length: 3", b"Content-Length: 3", body=b"abc"),
    "chunk extension": post(b"Connection: close", b"Transfer-Encoding: chunked", body=b"3;a=b\r\nabc\r\n0\r\n\r\n"),
    "trailer": post(b"Connection: close", b"Transfer-Encoding: chunked", body=b"3\r\nabc\r\n0\r\nX: y\r\n\r\n"),
    "TE in capitals": post(b"Connection: close", b"Transfer-Encoding: CHUNKED", body=CHUNKS),
    "bytes above 127 in a value": get(b"Host: a", b"Connection: close", b"X: caf\xe9"),
}


@pytest.mark.parametrize("payload", GOOD.values(), ids=GOOD.keys())
async def test_what_is_unusual_but_plain_is_accepted(plane, edge, payload):
    (answer,) = parse_answers(await send_raw(edge.port, payload))
    assert answer.status == 200
    assert len(plane.requests) == 1


async def test_a_head_in_many_pieces_is_read_like_one_at_once(plane, edge):
    reader, writer = await edge.connect()
    for byte in get(b"Host: a", b"Connection: close"):
        writer.write(bytes([byte]))
        await writer.drain()
    assert parse_answers(await edge.rest(reader, writer))[0].status == 200


async def test_what_follows_a_request_that_ends_the_connection_is_dropped(plane, edge):
    payload = http_request(PATH.decode(), "POST", [], b"abc") + b"\r\n" + SECOND
    (answer,) = parse_answers(await send_raw(edge.port, payload))
    assert answer.status == 200
    assert len(plane.requests) == 1


async def test_bad_after_good_on_one_connection_ends_it_there(plane, edge):
    good = http_request(PATH.decode(), close=False)
    bad, _ = BAD["TE and CL"]
    answers = parse_answers(await send_raw(edge.port, good + bad + SECOND))
    assert [answer.status for answer in answers] == [200, 400]
    assert len(plane.requests) == 1


async def test_bad_after_a_head_request_is_refused_with_a_body(plane, edge):
    """The answer's form follows its own request, not the one before."""
    head = http_request(f"/cb/{new_state()}", "HEAD", close=False)
    bad, _ = BAD["bare LF"]
    answers = parse_answers(await send_raw(edge.port, head + bad), ["HEAD", "GET"])
    assert [answer.status for answer in answers] == [200, 400]
    assert answers[1].body


async def test_a_refusal_reaches_a_client_that_is_still_sending(plane, edge):
    """A connection closed over unread bytes would be reset, and the refusal lost with it."""
    reader, writer = await edge.connect()
    writer.write(b"GET / HTTP/1.1\nHost: a\n\n")
    first = await reader.readuntil(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 400")
    writer.write(b"x" * 1_000_000)
    await writer.drain()  # no reset
    assert json.loads(await edge.rest(reader, writer))["code"] == "bad_request"


async def test_a_silent_or_slow_head_is_closed_without_an_answer(plane, edge):
    starts = [b"", b"GET ", b"GET / HTTP/1.1\r\nHost: a\r\n"]
    assert await asyncio.gather(*(send_raw(edge.port, start) for start in starts)) == [b"", b"", b""]
