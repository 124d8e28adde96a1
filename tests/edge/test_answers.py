"""Answers of calls: every row of the specification's table, exact bytes, and the four headers on all of them."""

import json
import re

import pytest
from support.edge import BROWSER, FIXED, answering, ask, plain, redirect, refusing, seconds

from callback.v1 import callback_pb2, edge_service_pb2
from callback_edge import problems
from callback_edge.call import answer as answers

EVERY_BYTE = bytes(range(256))


@pytest.mark.parametrize(
    ("reason", "grpc_code", "retry_after", "http_status", "says"),
    [
        ("STATE_UNKNOWN", "NOT_FOUND", None, 404, None),
        ("CALLBACK_CLOSED", "FAILED_PRECONDITION", None, 410, None),
        ("CALL_IN_PROGRESS", "ABORTED", seconds(1), 409, "1"),
        ("HANDLER_FAILED", "INTERNAL", None, 502, None),
        ("RESPONSE_INVALID", "INTERNAL", None, 502, None),
        ("HANDLER_DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", None, 504, None),
        ("HANDLER_NOT_STARTED", "UNAVAILABLE", seconds(2), 503, "2"),
        ("HANDLER_LOST", "UNAVAILABLE", None, 503, None),
        ("STORE_UNAVAILABLE", "UNAVAILABLE", seconds(0, 5), 503, "1"),
        ("OUTCOME_UNKNOWN", "UNAVAILABLE", None, 503, None),
        ("TOO_MANY_CALLS", "RESOURCE_EXHAUSTED", seconds(1, 1), 503, "2"),
        ("SERVER_STOPPING", "UNAVAILABLE", seconds(3), 503, "3"),
        ("VERIFICATION_FAILED", "FAILED_PRECONDITION", None, 401, None),
        ("VERIFICATION_UNAVAILABLE", "UNAVAILABLE", seconds(60), 503, "60"),
        ("ANSWER_NOT_REPEATED", "FAILED_PRECONDITION", None, 410, None),
        ("CHOICE_REQUIRED", "INVALID_ARGUMENT", None, 400, None),
        ("CALL_NOT_ANSWERED", "DEADLINE_EXCEEDED", None, 504, None),
        ("TOO_MANY_REQUESTS", "RESOURCE_EXHAUSTED", seconds(7), 429, "7"),
        ("INTERNAL", "INTERNAL", None, 500, None),
    ],
)
async def test_each_reason_has_its_status_and_code(plane, edge, reason, grpc_code, retry_after, http_status, says):
    plane.script = refusing(reason, grpc_code, retry_after=retry_after)
    answer, page = await ask(edge), await ask(edge, headers=[BROWSER])
    assert answer.problem == (http_status, reason.lower())
    # A reference would tell that a state exists.
    is_unknown = reason == "STATE_UNKNOWN"
    document = json.loads(answer.body)
    assert document.pop("reference", None) == (None if is_unknown else "the-call")
    assert document.keys() == {"title", "status", "detail", "code"}
    assert (page.status, page["content-type"]) == (http_status, "text/html; charset=utf-8")
    page.assert_fixed_headers()
    label = "" if is_unknown else "<br>Reference the-call"
    assert f"{reason.lower()}{label}</p>" in page.text
    for each in (answer, page):
        assert each.all("retry-after") == ([says] if says else [])
        assert b"redis" not in each.body


@pytest.mark.parametrize(
    ("challenge", "says"),
    [
        ('Basic realm="callback", charset="UTF-8"', 'Basic realm="callback", charset="UTF-8"'),
        ("", "Signature"),
        (" Bearer", "Signature"),
        ("Bearer\r\nSet-Cookie: a=b", "Signature"),
        ("Bearer\n", "Signature"),
        ("B\x00", "Signature"),
        ("x" * 1001, "Signature"),
    ],
)
async def test_a_caller_that_is_not_verified_gets_a_well_formed_challenge(plane, edge, challenge, says):
    plane.script = refusing("VERIFICATION_FAILED", "FAILED_PRECONDITION", challenge=challenge)
    answer = await ask(edge)
    assert (answer.status, answer["www-authenticate"]) == (401, says)
    answer.assert_fixed_headers()


async def test_only_a_401_has_a_challenge(plane, edge):
    plane.script = refusing("CALLBACK_CLOSED", "FAILED_PRECONDITION", challenge="Bearer")
    assert (await ask(edge)).all("www-authenticate") == []


@pytest.mark.parametrize(
    ("reason", "domain"),
    [("NEVER_HEARD_OF", "callback"), ("STATE_UNKNOWN", "elsewhere.example")],
)
async def test_a_reason_that_no_call_has_is_an_internal_error(plane, edge, reason, domain):
    plane.script = refusing(reason, "NOT_FOUND", domain=domain)
    assert (await ask(edge)).problem == (500, "internal")


async def test_an_event_at_a_server_of_a_release_without_endpoints_is_asked_for_again_later(plane, edge):
    plane.script = refusing("INVALID_REQUEST", "INVALID_ARGUMENT")
    answer = await ask(edge, "/in/shop", "POST", body=b"{}")
    assert (answer.problem, answer["retry-after"]) == ((503, "feature_unavailable"), "5")


async def test_an_error_without_details_reveals_nothing_of_the_server(plane, edge):
    async def script(_request, _context):
        raise RuntimeError("password=hunter2")

    plane.script = script
    answer = await ask(edge)
    assert answer.problem == (500, "internal")
    assert b"hunter2" not in answer.body


@pytest.mark.parametrize(("delay", "says"), [(seconds(-5), "1"), (seconds(0), "1"), (seconds(10**9), "86400")])
async def test_retry_after_has_a_minimum_and_a_maximum(plane, edge, delay, says):
    plane.script = refusing("TOO_MANY_CALLS", "RESOURCE_EXHAUSTED", retry_after=delay)
    assert (await ask(edge))["retry-after"] == says


def test_every_problem_has_its_own_code_and_an_error_status_or_one_of_a_page_that_asks_or_waits():
    assert len({problem.code for problem in problems.ALL}) == len(problems.ALL)
    for problem in problems.ALL:
        assert re.fullmatch("[a-z_]+", problem.code)
        assert 400 <= problem.status <= 599 or problem.status in (200, 202)


@pytest.mark.parametrize(
    ("method", "code"), [("GET", 302), ("POST", 303), ("PUT", 303), ("DELETE", 303), ("PATCH", 303)]
)
@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example",
        "shopapp://paid?id=5",
        "HTTPS://[2001:db8::1]:8443/a?b=c&d=%20#frag",
        "https://shop.example/" + "a" * 2027,
    ],
)
async def test_a_redirect_has_the_url_of_the_server(plane, edge, method, code, url):
    plane.script = answering(redirect(url))
    answer = await ask(edge, method=method)
    assert (answer.status, answer["location"], answer.body) == (code, url, b"")
    answer.assert_fixed_headers()


async def test_a_redirect_uses_only_the_url(plane, edge):
    response = plain(b"body", 418, [("X-A", "1")])
    response.response.response_type = callback_pb2.RESPONSE_TYPE_REDIRECT
    response.response.response_redirect_url = "https://shop.example/"
    plane.script = answering(response)
    answer = await ask(edge)
    assert (answer.status, answer.body, answer.all("x-a"), answer.all("content-type")) == (302, b"", [], [])


@pytest.mark.parametrize("code", [200, 206, 299, 400, 404, 418, 499, 500, 599])
async def test_a_response_has_the_code_body_and_headers_of_the_handler(plane, edge, code):
    headers = [("X-Twice", "b"), ("Content-Type", "application/x-own"), ("x-twice", "a")]
    plane.script = answering(plain(EVERY_BYTE, code, headers))
    answer = await ask(edge, method="POST")
    assert (answer.status, answer.body) == (code, EVERY_BYTE)
    own = [field for field in answer.headers if field[0] not in {*FIXED, "date", "content-length", "connection"}]
    assert own == [(name.lower(), value) for name, value in headers]
    answer.assert_fixed_headers()


COOKIES = [("Set-Cookie", "a=1; Path=/; domains=x"), ("x-a", "1"), ("set-cookie", "b=2")]


@pytest.mark.parametrize(
    ("cookie_host", "host", "are_set"),
    [
        ("pay.example", "pay.example", True),
        ("pay.example", "PAY.example:8443", True),
        ("[::1]", "[::1]", True),
        ("[::1]", "[::1]:8443", True),
        ("", "pay.example", False),
        ("", "", False),
        ("pay.example", "", False),
        ("pay.example", "www.pay.example", False),
        ("pay.example", "pay.example.evil.example", False),
        ("pay.example", "pay.example:8443.evil.example", False),
        ("[::1]", "[::1", False),
    ],
)
async def test_cookies_are_set_on_the_host_that_the_server_names_and_on_no_other(
    plane, edge, cookie_host, host, are_set
):
    plane.script = answering(plain(b"ok", headers=COOKIES, cookie_host=cookie_host))
    answer = await ask(edge, host=host)
    assert (answer.status, answer.body, answer["x-a"]) == (200, b"ok", "1")
    assert answer.all("set-cookie") == (["a=1; Path=/; domains=x", "b=2"] if are_set else [])


@pytest.mark.parametrize("cookie", ["a=1; Domain=pay.example", "a=1; path=/;\tDOMAIN =", "a; domain"])
async def test_a_cookie_for_more_than_its_host_is_a_502(plane, edge, cookie):
    plane.script = answering(plain(headers=[("Set-Cookie", cookie)], cookie_host="pay.example"))
    assert (await ask(edge, host="pay.example")).problem == (502, "response_invalid")


async def test_white_space_around_a_value_is_not_sent(plane, edge):
    plane.script = answering(plain(headers=[("x-value", "\t a b\xa0 \t"), ("x-blank", " \t")]))
    answer = await ask(edge)
    assert (answer["x-value"], answer["x-blank"]) == ("a b\xa0", "")


@pytest.mark.parametrize("size", [0, 1, 65_536, 1 << 20])
async def test_a_body_is_sent_unchanged_at_any_size(plane, edge, size):
    body = (EVERY_BYTE * (size // 256 + 1))[:size]
    plane.script = answering(plain(body, headers=[("content-type", "a/b")]))
    assert (await ask(edge)).body == body


async def test_header_values_are_sent_as_iso_8859_1(plane, edge):
    value = "".join(map(chr, [*range(0x21, 0x7F), *range(0x80, 0x100)])) + " \t" + "\u00e9"
    plane.script = answering(plain(b"", headers=[("x-value", value), ("x-empty", "")]))
    answer = await ask(edge)
    assert (answer["x-value"], answer["x-empty"]) == (value, "")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "text/plain; charset=utf-8"),
        ("é€😀".encode(), "text/plain; charset=utf-8"),
        (b"<script>alert(1)</script>", "text/plain; charset=utf-8"),
        (b"\xff", "application/octet-stream"),
        (b"\xed\xa0\x80", "application/octet-stream"),
    ],
)
async def test_a_missing_content_type_is_derived_from_the_body(plane, edge, body, content_type):
    plane.script = answering(plain(body))
    assert (await ask(edge))["content-type"] == content_type


@pytest.mark.parametrize(("code", "length"), [(204, []), (205, ["0"])])
async def test_a_204_and_a_205_have_no_body(plane, edge, code, length):
    plane.script = answering(plain(b"never sent", code, [("X-A", "1")]))
    answer = await ask(edge)
    assert (answer.status, answer.body, answer["x-a"]) == (code, b"", "1")
    assert answer.all("content-length") == length
    assert answer.all("content-type") == []
    answer.assert_fixed_headers()


@pytest.mark.parametrize("code", [200, 204, 500])
async def test_a_handler_chooses_the_opener_policy_of_its_answer(plane, edge, code):
    plane.script = answering(plain(b"", code, [("Cross-Origin-Opener-Policy", "unsafe-none")]))
    answer = await ask(edge)
    assert answer.all("cross-origin-opener-policy") == ["unsafe-none"]
    assert answer["cache-control"] == "no-store"


async def test_a_handler_cannot_change_the_four_headers(plane, edge):
    mine = [("Cache-Control", "public"), ("REFERRER-POLICY", "unsafe-url"), ("x-content-type-options", "x"),
            ("X-Robots-Tag", "all"), ("cache-control", "no-cache")]  # fmt: skip
    for code in (200, 204, 500):
        plane.script = answering(plain(b"", code, mine))
        (await ask(edge)).assert_fixed_headers()


@pytest.mark.parametrize(
    "response",
    [
        edge_service_pb2.InvokeResponse(),
        edge_service_pb2.InvokeResponse(response=callback_pb2.Response(response_code=200)),
        edge_service_pb2.InvokeResponse(response=callback_pb2.Response(response_type=2)),
        edge_service_pb2.InvokeResponse(response=callback_pb2.Response(response_type=1)),
        edge_service_pb2.InvokeResponse(response=callback_pb2.Response(response_type=7, response_code=200)),
        redirect("/page"),
        redirect("//evil.example"),
        redirect("javascript:alert(1)"),
        redirect("https://a.example/\r\nX-Evil: 1"),
        redirect("https://a.example/ x"),
        redirect("https://user@a.example/"),
        redirect("https://é.example/"),
        redirect("https://a.example/" + "a" * 3000),
        *(plain(b"", code) for code in (-1, 0, 100, 101, 103, 199, 300, 302, 304, 399, 600, 999, 2**31 - 1)),
        *(
            plain(b"", 200, [(name, "x")])
            for name in ("", "a b", " a", "a:", "a\r\nb", "é", "content-length", "Transfer-Encoding", "Server")
        ),
        *(plain(b"", 200, [("a", value)]) for value in ("a\r\nb: c", "a\nb", "\x00", "\x01", "\x7f", "\u0100", "😀")),
        plain(b"", 200, [("a", "b")] * 65),
        plain(b"", 200, [("a", "b" * 8192)]),
        plain(b"x" * ((1 << 20) + 1)),
    ],
    ids=lambda response: repr(str(response.response)[:60]),
)
async def test_a_response_that_cannot_be_rendered_is_a_clean_502(plane, edge, response):
    plane.script = answering(response)
    answer = await ask(edge)
    assert answer.problem == (502, "response_invalid")
    assert answer.all("x-evil") == answer.all("a") == []


@pytest.mark.parametrize(
    ("accept", "page"),
    [
        ([], False),
        (["*/*"], False),
        (["application/json"], False),
        (["text/html"], True),
        ([BROWSER[1]], True),
        (["text/*"], True),
        (["application/json, text/html;q=0.5"], False),
        (["text/html;q=0.5, application/problem+json"], False),
        (["text/html, application/json"], None),
        (["image/png"], False),
        (["text/plain", "text/html"], True),
        (["text/html;q=0"], False),
        ([";;;,=,\xff q=nan"], False),
        (["text/html" + ",a/b" * 3000], True),
        (["a/b," * 3000 + "text/html"], False),  # too long to parse, and no client sends it
    ],
)
async def test_a_browser_gets_a_page_and_a_program_problem_json(plane, edge, accept, page):
    for path in ("/cb/unknown", "/nowhere", "/cbq/state"):
        answer = await ask(edge, path, headers=[("Accept", value) for value in accept])
        is_page = answer["content-type"].startswith("text/html")
        assert page is None or is_page is page
        assert is_page or answer["content-type"] == "application/problem+json"


async def test_an_answer_is_validated_independently_of_earlier_ones(plane, edge):
    for field, status_code in [(("a", "b"), 200), (("a", "\x01"), 502)] * 3:
        plane.script = answering(plain(b"", 200, [field]))
        assert (await ask(edge)).status == status_code


def test_the_number_of_remembered_valid_responses_is_bounded(limits):
    limits(answers, MAX_VALID_DIGESTS=3)
    for number in range(10):
        assert answers.render(plain(b"%d" % number), "GET").status == 200
        assert len(answers.valid_digests) <= 3
