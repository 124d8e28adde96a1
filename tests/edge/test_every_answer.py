"""Every refusal of an edge, from each of its layers, is a problem with the four fixed headers once each."""

import pytest
from support.edge import answer_to, ask, new_state, raw_request, refusing, running_edge

from callback_edge import problems

CHUNKED = "Transfer-Encoding: chunked"
FORM = "Content-Type: application/x-www-form-urlencoded"
TWICE = "/cbq/state?state=1"
OWN = {
    "not_found": raw_request(method="GET", path="/nowhere"),
    "method_not_allowed": raw_request(method="BREW"),
    "method_not_allowed by the connection": raw_request(method="CONNECT"),
    "prefetch_refused": raw_request("Sec-Purpose: prefetch", method="GET"),
    "service_worker_refused": raw_request("Service-Worker: script", method="GET"),
    "head_timeout": b"GET ",
    "state_missing": raw_request(method="GET", path="/cbq/state"),
    "state_repeated": raw_request(method="GET", path=f"{TWICE}&state=2"),
    "state_contradictory": raw_request(FORM, "Content-Length: 7", path=TWICE, body=b"state=2"),
    "state_unknown": raw_request(method="GET", path="/cb/x"),
    "body_timeout": raw_request("Content-Length: 9", body=b"x"),
    "body_too_large": raw_request("Content-Length: 999"),
    "body_too_large, chunked": raw_request(CHUNKED, body=b"80\r\n" + b"x" * 128),
    "head_too_large": raw_request("X: " + "x" * 17_000, method="GET"),
    "bad_request": b"no HTTP\r\n\r\n",
    "bad_request, ambiguous": raw_request("Content-Length: 3", CHUNKED),
    "bad_request, in its body": raw_request(CHUNKED, body=b"zz\r\n"),
    "not_implemented": raw_request("Transfer-Encoding: gzip"),
    "http_version_not_supported": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}
"""Requests that the edge refuses, by the problem's code and a note."""
ELSEWHERE = {"call_rejected", "server_unreachable", "edge_refused", "too_many_calls", "too_many_requests", "internal",
             "shared_answer_not_repeated", "waiting"}  # fmt: skip
"""Problems that are no refusal, or need more than one request. Each has a test below or in another file of this folder,
or is among the reasons."""


def code_of(what):
    return what.partition(",")[0].partition(" ")[0]


@pytest.fixture(scope="module")
async def small_edge(shared_plane):
    async with running_edge(shared_plane.target, body_limit_bytes=100, body_timeout_s=0.2, head_timeout_s=0.2) as edge:
        yield edge


@pytest.mark.parametrize("what", OWN)
async def test_a_refusal_by_the_edge(plane, small_edge, what):
    asked = OWN[what].replace(b"Host: a", b"Host: a\r\nConnection: close")
    _, code = (await answer_to(small_edge, asked)).problem
    assert code == code_of(what)


async def test_a_repeat_without_an_answer_at_an_address_that_many_cases_share(plane, edge):
    plane.script = refusing("ANSWER_NOT_REPEATED", "FAILED_PRECONDITION")
    answer = await ask(edge, f"/cbq/state?state={new_state()}")
    assert answer.problem == (404, "shared_answer_not_repeated")


def test_every_problem_is_tested():
    reasons = {problem.code for problem in problems.BY_REASON.values()}
    assert {*map(code_of, OWN)} | reasons | ELSEWHERE == {problem.code for problem in problems.ALL}
