"""The server gets exactly the request that was sent."""

import random

import pytest
from support.edge import answer_to, ask, chunk, http_request, new_state, parse_answers, raw_request, send_raw

EVERY_BYTE = bytes(range(256))


def chunked(body, sizes):
    out, rest = b"", body
    while rest:
        size = next(sizes)
        out += chunk(rest[:size])
        rest = rest[size:]
    return out + chunk(b"")


BODIES = {
    "empty": b"",
    "every byte": EVERY_BYTE,
    "one byte": b"\x00",
    "not UTF-8": b"\xff\xfe\xc3(",
    "line ends": b"\r\n\r\n\n\r",
    "1 MiB": random.Random(1).randbytes(1 << 20),
    "form": b"a=1&a=2&%zz=+",
    "gzip, never unpacked": bytes.fromhex("1f8b0800000000000003cb48cdc9c95728cf2fca49010085114a0d0b000000"),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
async def test_a_chunked_body_arrives_unchanged(plane, edge, body):
    rng = random.Random(2)
    sizes = iter(lambda: rng.choice([1, 7, 200, 65_536]) if len(body) < 1000 else rng.choice([4000, 65_536]), None)
    request = raw_request("Connection: close", "Transfer-Encoding: chunked", body=chunked(body, sizes))
    assert (await answer_to(edge, request)).status == 200
    assert plane.requests[0].request_body == body


async def test_headers_keep_their_order_and_repetitions_and_nothing_is_added(plane, edge):
    sent = [
        ("X-Twice", "b"),
        ("Accept", "*/*"),
        ("x-twice", "a"),
        ("Remote-Addr", "6.6.6.6"),
        ("X-Forwarded-For", "6.6.6.6"),
        ("Cookie", "a=1"),
        ("X-Latin", b"caf\xe9 \x80\xff"),
        ("X-Empty", ""),
        ("Cookie", "b=2"),
        ("X-Tab", "a\tb"),
        ("X-Twice", "b"),
    ]
    await ask(edge, headers=sent)
    got = [(field.name, field.value) for field in plane.requests[0].request_headers]
    as_text = [(name.lower(), value.decode("latin-1") if isinstance(value, bytes) else value) for name, value in sent]
    assert got == [("host", "box.example"), ("connection", "close"), *as_text]


@pytest.mark.parametrize(
    ("query", "pairs"),
    [
        ("", []),
        ("b=2&a=1&b=1&b=2", [("b", "2"), ("a", "1"), ("b", "1"), ("b", "2")]),
        ("flag&empty=&=nameless", [("flag", ""), ("empty", ""), ("", "nameless")]),
        ("a=b=c", [("a", "b=c")]),
        ("a=1+2%2B3", [("a", "1 2+3")]),
        ("%C3%A9=%E2%82%AC", [("é", "€")]),
        ("bad=%ff%C3", [("bad", "\ufffd\ufffd")]),
        ("broken=%zz%", [("broken", "%zz%")]),
        ("nul=%00&line=%0d%0a", [("nul", "\x00"), ("line", "\r\n")]),
        ("a=1;b=2", [("a", "1;b=2")]),
        ("&&a=1&&", [("a", "1")]),
    ],
)
async def test_the_query_arrives_as_pairs_in_order_and_as_it_was_sent(plane, edge, query, pairs):
    await ask(edge, f"/cb/{new_state()}?{query}")
    (invoked,) = plane.requests
    assert invoked.request_query_string == query
    assert [(pair.name, pair.value) for pair in invoked.request_query] == pairs


async def test_on_a_shared_address_the_state_stays_among_the_pairs(plane, edge):
    state = new_state()
    await ask(edge, f"/cbq/state?a=1&state={state}")
    assert [(pair.name, pair.value) for pair in plane.requests[0].request_query] == [("a", "1"), ("state", state)]


async def test_requests_on_one_connection_are_answered_in_turn(plane, edge):
    states = [new_state() for _ in range(5)]
    requests = [
        http_request(f"/cb/{state}", "POST", body=state.encode(), close=state == states[-1]) for state in states
    ]
    answers = parse_answers(await send_raw(edge.port, b"".join(requests)))
    assert [answer.status for answer in answers] == [200] * 5
    assert [invoked.state for invoked in plane.requests] == states
    assert [invoked.request_body.decode() for invoked in plane.requests] == states


async def test_a_client_that_expects_100_continue_but_sends_its_body_at_once_gets_only_its_answer(plane, edge):
    request = http_request(method="POST", headers=[("Expect", "100-continue")], body=b"abc")
    assert (await answer_to(edge, request, keep_informational=True)).status == 200
    assert plane.looked_up == []
