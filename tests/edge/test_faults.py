"""Internal errors: in a call, in the framework around it, and below both."""

import json

import pytest
from quart import request
from support.edge import ask, http_request, new_state, parse_answers, send_raw, serving

from callback_edge.app import create_app
from callback_edge.settings import EdgeSettings

SECRET = "hunter2"


class Broken:
    async def invoke(self, _request, _body):
        raise RuntimeError(SECRET)


@pytest.fixture
def app():
    """Return an application whose calls fail, and whose bodies have at most 100 bytes."""
    return create_app(EdgeSettings(body_limit_bytes=100), Broken())


async def fail(_request):
    raise RuntimeError(SECRET)


async def fail_in_group(_request):
    raise ExceptionGroup("several", [RuntimeError(SECRET)])


@pytest.mark.parametrize("accept", [[], [("Accept", "text/html")]])
@pytest.mark.parametrize("broken", [fail, fail_in_group])
async def test_an_error_of_the_framework_is_answered_as_a_problem(log, app, broken, accept):
    app.handle_request = broken
    async with serving(app) as edge:
        for method in ("GET", "POST"):
            answer = await ask(edge, "/nowhere", method, accept, b"body" if method == "POST" else b"")
            assert answer.status == 500
            assert b"internal" in answer.body
            assert SECRET.encode() not in answer.body
            answer.assert_fixed_headers()
    assert [entry["event"] for entry in log] == ["request_failed"] * 2
    log.clear()


async def test_an_error_in_a_view_or_before_it_is_answered_as_a_problem(log, app, caplog):
    @app.before_request
    async def check():
        if request.path == "/checked":
            raise RuntimeError(SECRET)

    @app.get("/view")
    async def view():
        raise RuntimeError(SECRET)

    async with serving(app) as edge:
        for path in ("/checked", "/view"):
            answer = await ask(edge, path)
            assert (answer.status, json.loads(answer.body)["code"]) == (500, "internal")
            assert SECRET.encode() not in answer.body
    assert [entry["event"] for entry in log] == ["request_failed"] * 2
    assert not caplog.records  # Quart would name the path
    log.clear()


async def test_a_view_is_served_without_waiting_for_a_body(app):
    @app.route("/view", methods=["GET", "POST"])
    async def view():
        return "seen", 201, {"X-Own": "caf\xe9"}

    async with serving(app) as edge:
        answer = await ask(edge, "/view")
        assert (answer.status, answer.body, answer["x-own"]) == (201, b"seen", "caf\xe9")
        assert answer["content-type"] == "text/html; charset=utf-8"
        answer.assert_fixed_headers()
        head = b"POST /view HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"
        (answer,) = parse_answers(await send_raw(edge.port, head))
        assert (answer.status, answer["connection"]) == (201, "close")


async def start_and_fail(_scope, _receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"100")]})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    raise RuntimeError(SECRET)


async def test_half_an_answer_is_cut_and_never_looks_complete(log):
    async with serving(start_and_fail) as edge:
        raw = await send_raw(edge.port, http_request("/cb/x"))
        assert raw.endswith(b"\r\n\r\nhalf")
    assert [entry["event"] for entry in log] == ["application_failed"]
    log.clear()


async def test_an_error_in_a_call_reveals_nothing(log, app):
    async with serving(app) as edge:
        answer = await ask(edge, f"/cb/{new_state()}")
        assert (answer.status, json.loads(answer.body)["code"]) == (500, "internal")
        assert SECRET.encode() not in answer.body
        page = await ask(edge, f"/cb/{new_state()}", headers=[("Accept", "text/html")])
        assert SECRET.encode() not in page.body
    assert [entry["event"] for entry in log] == ["request_failed"] * 2
    log.clear()
