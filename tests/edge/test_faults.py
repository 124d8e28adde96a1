"""Internal errors: in a call, in the framework around it, and below both."""

import pytest
from quart import request
from support.edge import FailingUpstream, ask, parse_answers, running_edge, send_raw

SECRET = "hunter2"


@pytest.fixture
async def failing_edge():
    """Return an edge whose calls fail, and whose bodies have at most 100 bytes."""
    async with running_edge(upstream=FailingUpstream(SECRET), body_limit_bytes=100) as edge:
        yield edge


async def fail(_request):
    raise RuntimeError(SECRET)


async def fail_in_group(_request):
    raise ExceptionGroup("several", [RuntimeError(SECRET)])


@pytest.mark.parametrize("accept", [[], [("Accept", "text/html")]])
@pytest.mark.parametrize("broken", [fail, fail_in_group])
async def test_an_error_of_the_framework_is_answered_as_a_problem(log, failing_edge, broken, accept):
    @failing_edge.app.route("/view", methods=["GET", "POST"])
    async def view():
        return "seen"

    failing_edge.app.handle_request = broken
    for method in ("GET", "POST"):
        answer = await ask(failing_edge, "/view", method, accept, b"body" if method == "POST" else b"")
        assert answer.status == 500
        assert b"internal" in answer.body
        assert SECRET.encode() not in answer.body
        answer.assert_fixed_headers()
    assert [entry["event"] for entry in log] == ["request_failed"] * 2
    log.clear()


async def test_an_error_in_a_view_or_before_it_is_answered_as_a_problem(log, failing_edge, caplog):
    @failing_edge.app.before_request
    async def check():
        if request.path == "/checked":
            raise RuntimeError(SECRET)

    @failing_edge.app.get("/checked")
    @failing_edge.app.get("/view")
    async def view():
        raise RuntimeError(SECRET)

    for path in ("/checked", "/view"):
        answer = await ask(failing_edge, path)
        assert answer.problem == (500, "internal")
        assert SECRET.encode() not in answer.body
    assert [entry["event"] for entry in log] == ["request_failed"] * 2
    assert not caplog.records  # Quart would name the path
    log.clear()


async def test_a_view_is_served_without_waiting_for_a_body(failing_edge):
    @failing_edge.app.route("/view", methods=["GET", "POST"])
    async def view():
        return "seen", 201, {"X-Own": "caf\xe9"}

    answer = await ask(failing_edge, "/view")
    assert (answer.status, answer.body, answer["x-own"]) == (201, b"seen", "caf\xe9")
    assert answer["content-type"] == "text/html; charset=utf-8"
    answer.assert_fixed_headers()
    head = b"POST /view HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"
    (answer,) = parse_answers(await send_raw(failing_edge.port, head))
    assert (answer.status, answer["connection"]) == (201, "close")


async def test_an_answer_that_cannot_be_sent_is_a_500(log, failing_edge):
    @failing_edge.app.get("/view")
    async def view():
        return "seen", 200, {"not a name": SECRET}

    answer = await ask(failing_edge, "/view")
    assert (answer.status, answer.body) == (500, b"")
    answer.assert_fixed_headers()
    assert [entry["event"] for entry in log] == ["answer_not_sent"]
    log.clear()


async def test_an_error_in_a_call_reveals_nothing(log, failing_edge):
    answer = await ask(failing_edge)
    assert answer.problem == (500, "internal")
    assert SECRET.encode() not in answer.body
    page = await ask(failing_edge, headers=[("Accept", "text/html")])
    assert SECRET.encode() not in page.body
    assert [entry["event"] for entry in log] == ["request_failed"] * 2
    log.clear()
