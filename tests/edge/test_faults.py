"""Errors of our own: in the application, and in the framework below it."""

import json

import pytest
from support.edge import ask, http_request, new_state, parse_answers, send_raw, serving

from callback_edge.app import create_app
from callback_edge.exchange import Exchanges
from callback_edge.limits import Limits
from callback_edge.settings import EdgeSettings

SECRET = "hunter2"


def exchanges(app):
    """The application, with bodies of 100 bytes and no limit per address."""
    settings = EdgeSettings(body_limit_bytes=100)
    return Exchanges(app, Limits(settings), settings)


async def start_and_fail(_scope, _receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"100")]})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    raise RuntimeError(SECRET)


async def fail(_scope, _receive, _send):
    raise RuntimeError(SECRET)


async def fail_in_group(_scope, _receive, _send):
    raise ExceptionGroup("several", [RuntimeError(SECRET)])


@pytest.mark.parametrize("accept", [[], [("Accept", "text/html")]])
@pytest.mark.parametrize("broken", [fail, fail_in_group])
async def test_an_error_of_the_framework_is_answered_like_any_other(log, broken, accept):
    async with serving(exchanges(broken)) as edge:
        for method in ("GET", "POST"):
            answer = await ask(edge, "/cb/x", method, accept, b"body" if method == "POST" else b"")
            assert answer.status == 500
            assert b"internal" in answer.body
            assert SECRET.encode() not in answer.body
            answer.assert_fixed_headers()
    assert [entry["event"] for entry in log] == ["the framework failed"] * 2
    log.clear()


async def test_half_an_answer_is_cut_and_never_looks_whole(log, caplog):
    async with serving(exchanges(start_and_fail)) as edge:
        raw = await send_raw(edge.port, http_request("/cb/x"))
        assert raw.endswith(b"\r\n\r\nhalf")
    log.clear()
    caplog.clear()


async def answer_late(_scope, receive, send):
    while (await receive())["type"] != "http.disconnect":
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"late", "more_body": False})


async def test_an_application_that_answers_after_a_refusal_is_not_heard():
    async with serving(exchanges(answer_late)) as edge:
        head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        (answer,) = parse_answers(await send_raw(edge.port, head + b"65\r\n" + b"x" * 101 + b"\r\n0\r\n\r\n"))
        assert answer.status == 413


async def test_an_error_in_the_application_is_an_internal_one_that_shows_nothing(log):
    class Broken:
        async def invoke(self, _request, _body):
            raise RuntimeError(SECRET)

    async with serving(create_app(EdgeSettings(), Broken())) as edge:
        answer = await ask(edge, f"/cb/{new_state()}")
        assert (answer.status, json.loads(answer.body)["code"]) == (500, "internal")
        assert SECRET.encode() not in answer.body
        page = await ask(edge, f"/cb/{new_state()}", headers=[("Accept", "text/html")])
        assert SECRET.encode() not in page.body
    assert [entry["event"] for entry in log] == ["request failed"] * 2
    log.clear()
