"""Every answer of an edge, from each of its layers, has the four fixed headers once each."""

import asyncio
import json

import pytest
from support.edge import (
    EdgeProcess,
    FailingUpstream,
    answering,
    answering_after,
    ask,
    http_request,
    new_state,
    parse_answers,
    plain,
    redirect,
    refusing,
    running_edge,
    send_raw,
)

from callback_edge import problems

PATH = f"/cb/{new_state()}"
MINE = [
    ("Cache-Control", "public, max-age=9"),
    ("cache-control", "private"),
    ("Referrer-Policy", "unsafe-url"),
    ("X-Content-Type-Options", "none"),
    ("X-Robots-Tag", "all"),
]


def request(*fields, method="GET", path=PATH, version="HTTP/1.1", body=b""):
    return "\r\n".join([f"{method} {path} {version}", "Host: a", *fields, "", ""]).encode() + body


OWN = {
    "not_found": request(path="/nowhere"),
    "method_not_allowed": request(method="BREW"),
    "method_not_allowed by the connection": request(method="CONNECT"),
    "prefetch_refused": request("Sec-Purpose: prefetch"),
    "service_worker_refused": request("Service-Worker: script"),
    "head_timeout": b"GET ",
    "state_missing": request(path="/cbq/state"),
    "state_repeated": request(path="/cbq/state?state=1&state=2"),
    "state_contradictory": request(
        "Content-Type: application/x-www-form-urlencoded",
        "Content-Length: 7",
        method="POST",
        path="/cbq/state?state=1",
        body=b"state=2",
    ),
    "state_unknown": request(path="/cb/x"),
    "body_timeout": request("Content-Length: 9", method="POST", body=b"x"),
    "body_too_large": request("Content-Length: 999", method="POST"),
    "body_too_large, chunked": request("Transfer-Encoding: chunked", method="POST", body=b"80\r\n" + b"x" * 128),
    "head_too_large": request("X: " + "x" * 17_000),
    "bad_request": b"no HTTP\r\n\r\n",
    "bad_request, ambiguous": request("Content-Length: 3", "Transfer-Encoding: chunked", method="POST"),
    "bad_request, in its body": request("Transfer-Encoding: chunked", method="POST", body=b"zz\r\n"),
    "not_implemented": request("Transfer-Encoding: gzip", method="POST"),
    "http_version_not_supported": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}
"""Requests that the edge refuses, by the problem's code and a note."""
ELSEWHERE = {
    *(
        "call_rejected",
        "server_unreachable",
        "edge_refused",
        "too_many_calls",
        "too_many_requests",
        "internal",
        "shared_answer_not_repeated",
        "waiting",
    ),
}
"""Problems that are no refusal, or need more than one request. Each has a test below or in `test_pages.py`, or is among
the reasons."""


@pytest.fixture(scope="module")
async def small_edge(shared_plane):
    async with running_edge(shared_plane.target, body_limit_bytes=100, body_timeout_s=0.2, head_timeout_s=0.2) as edge:
        yield edge


@pytest.mark.parametrize("what", OWN)
async def test_a_refusal_by_the_edge(plane, small_edge, what):
    asked = OWN[what].replace(b"Host: a", b"Host: a\r\nConnection: close")
    (answer,) = parse_answers(await send_raw(small_edge.port, asked))
    assert json.loads(answer.body)["code"] == what.partition(",")[0].partition(" ")[0]
    answer.assert_fixed_headers()


@pytest.mark.parametrize("accept", ["*/*", "text/html"])
@pytest.mark.parametrize("reason", problems.BY_REASON)
async def test_a_refusal_by_the_server(plane, edge, reason, accept):
    plane.script = refusing(reason)
    answer = await ask(edge, PATH, headers=[("Accept", accept)])
    assert answer.status == problems.BY_REASON[reason].status
    answer.assert_fixed_headers()


async def test_a_repeat_without_an_answer_at_an_address_that_many_cases_share(plane, edge):
    plane.script = refusing("ANSWER_NOT_REPEATED", "FAILED_PRECONDITION")
    answer = await ask(edge, f"/cbq/state?state={new_state()}")
    assert (answer.status, json.loads(answer.body)["code"]) == (404, "shared_answer_not_repeated")
    answer.assert_fixed_headers()


def test_every_problem_is_tested():
    own = {what.partition(",")[0].partition(" ")[0] for what in OWN}
    reasons = {problem.code for problem in problems.BY_REASON.values()}
    assert own | reasons | ELSEWHERE == {problem.code for problem in problems.ALL}


@pytest.mark.parametrize("code", [200, 201, 204, 205, 206, 299, 400, 401, 404, 418, 429, 500, 503, 599])
async def test_an_answer_of_a_handler_with_such_headers(plane, edge, code):
    plane.script = answering(plain(b"" if code in (204, 205) else b"body", code, MINE))
    answer = await ask(edge, PATH)
    assert answer.status == code
    answer.assert_fixed_headers()


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH"])
async def test_a_redirect(plane, edge, method):
    plane.script = answering(redirect("https://shop.example/"))
    answer = await ask(edge, PATH, method)
    assert answer.status in (302, 303)
    answer.assert_fixed_headers()


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE"])
async def test_an_answer_without_a_look_up(plane, edge, method):
    (await ask(edge, PATH, method)).assert_fixed_headers()


async def test_an_interim_answer(plane, edge):
    reader, writer = await edge.connect()
    writer.write(http_request(PATH, "POST", [("Expect", "100-continue")], b"x")[:-1])
    (answer,) = parse_answers(await reader.readuntil(b"\r\n\r\n"), keep_informational=True)
    assert answer.status == 100
    answer.assert_fixed_headers()
    writer.write(b"x")
    await edge.rest(reader, writer)


async def test_an_answer_without_a_server():
    async with running_edge() as edge:
        answer = await ask(edge, PATH)
        assert json.loads(answer.body)["code"] == "server_unreachable"
        answer.assert_fixed_headers()


async def test_an_answer_when_the_server_refuses_the_edge(plane, log):
    plane.script = refusing("ROLE_MISSING", "PERMISSION_DENIED")
    async with running_edge(plane.target) as edge:
        answer = await ask(edge, PATH)
        assert json.loads(answer.body)["code"] == "edge_refused"
        answer.assert_fixed_headers()
    log.clear()


async def test_an_internal_error(log):
    async with running_edge(upstream=FailingUpstream()) as edge:
        answer = await ask(edge, PATH)
        assert answer.status == 500
        answer.assert_fixed_headers()
    log.clear()


async def test_a_connection_and_a_request_beyond_the_limits(plane):
    gate = asyncio.Event()
    plane.script = answering_after(gate)
    limits = {"max_connections": 2, "max_requests_in_flight_per_address": 1, "trusted_proxies": "[]"}
    async with EdgeProcess(plane.target, **limits) as edge:
        port = await edge.port()
        first = asyncio.create_task(send_raw(port, http_request(PATH)))
        await plane.until(lambda: plane.started == 1)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(http_request(PATH, close=False))
        head = await reader.readuntil(b"\r\n\r\n")
        raw = [head + await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r")[0]))]
        raw.append(await send_raw(port, http_request(PATH)))
        gate.set()
        raw.append(await first)
        writer.close()
    answers = [parse_answers(each)[0] for each in raw]
    assert [answer.status for answer in answers] == [429, 503, 200]
    for answer in answers:
        answer.assert_fixed_headers()
