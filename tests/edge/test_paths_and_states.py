"""Addresses that reach a case, the methods of a call, and the places of the state."""

import pytest
from support.edge import answer_to, answering, ask, new_state, plain, refusing

STATE = "3f2b8c1e-9d4a-4b6f-8e21-7c5d0a9b1e34"
OTHER = "a1b2c3d4-0000-4000-a000-000000000000"
FORM = ("Content-Type", "application/x-www-form-urlencoded")
ALLOW = "GET, POST, PUT, DELETE, PATCH, HEAD, OPTIONS"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        (f"/cb/{STATE}", ""),
        (f"/cb/{STATE}/", ""),
        (f"/cb/{STATE}?a=b", ""),
        (f"/cbq/state?state={STATE}", "state"),
        (f"/cbq/state/?state={STATE}", "state"),
        (f"/cbq/Relay.State_2-x?Relay.State_2-x={STATE}", "Relay.State_2-x"),
        (f"/cbq/{'p' * 64}?{'p' * 64}={STATE}", "p" * 64),
    ],
)
async def test_both_families_accept_every_call_method_with_and_without_a_trailing_slash(
    plane, edge, method, path, parameter
):
    answer = await ask(edge, path, method)
    assert (answer.status, answer.body) == (200, b"ok")
    (invoked,) = plane.requests
    assert (invoked.state, invoked.state_query_parameter) == (STATE, parameter)
    assert invoked.request_method == method.lower()


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/cb", "/cb/", "/cbq", "/cbq/", "/healthz", "/favicon.ico", "/%00"),
        f"//cb/{STATE}",
        f"/cb//{STATE}",
        f"/cb/{STATE}//",
        f"/cb/{STATE}/more",
        f"/CB/{STATE}",
        f"/cb%2F{STATE}",
        f"/%63b/{STATE}",
        f"/cb/../cb/{STATE}",
        f"/cbq/{STATE}",
        f"/cbq/1state?1state={STATE}",
        f"/cbq/st%61te?state={STATE}",
        f"/cbq/{'p' * 65}?{'p' * 65}={STATE}",
        f"/cbq/a~b?a~b={STATE}",
        f"/cbq/%ff?state={STATE}",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST"])
async def test_any_other_address_is_not_found_and_never_redirected(plane, edge, path, method):
    answer = await ask(edge, path, method)
    assert answer.status == 404
    assert answer.all("location") == []
    assert plane.requests == []
    answer.assert_fixed_headers()
    if method != "HEAD" and not path.startswith(f"/cbq/{STATE}"):
        assert answer.problem == (404, "not_found")


@pytest.mark.parametrize(
    "spelling",
    [
        STATE.replace("-", ""),
        f"{{{STATE}}}",
        STATE.replace("-", "%2D"),
        STATE[:-1],
        STATE + "0",
        STATE.replace("4b6f", "1b6f"),  # version 1
        STATE.replace("8e21", "ce21"),  # another variant
        "00000000-0000-0000-0000-000000000000",
        f"{STATE}%00",
        f"{STATE}%0a",
        f"{STATE};x",
        f"{STATE}#x",
        f"urn:uuid:{STATE}",
        "x",
    ],
)
async def test_a_state_that_is_not_canonical_is_unknown_without_a_look_up(plane, edge, spelling):
    answer = await ask(edge, f"/cb/{spelling}")
    assert answer.problem == (404, "state_unknown")
    if "#" not in spelling and "%2D" not in spelling:
        assert (await ask(edge, f"/cbq/state?state={spelling}")).body == answer.body
    assert plane.requests == []


@pytest.mark.parametrize("pasted", [STATE.upper(), f"{STATE}.", f"{STATE},", f"{STATE})", f"{STATE}%20", f"{STATE}./"])
async def test_a_link_can_be_pasted_in_upper_case_or_with_what_followed_it_in_a_text(plane, edge, pasted):
    assert (await ask(edge, f"/cb/{pasted}", "POST")).status == 200
    assert [each.state for each in plane.requests] == [STATE]


@pytest.mark.parametrize("pasted", [f"{STATE}..", f"{STATE}%20%20", f"{STATE}%0A", f".{STATE}"])
async def test_more_than_one_character_after_a_link_is_unknown(plane, edge, pasted):
    assert (await ask(edge, f"/cb/{pasted}")).problem == (404, "state_unknown")
    assert plane.requests == []


def multipart(*parts):
    """Return the body of a multipart form with these parts: what follows the name of a field, and its value."""
    lines = [f'--b\r\nContent-Disposition: form-data; name="{name}\r\n\r\n{value}\r\n' for name, value in parts]
    return "".join((*lines, "--b--\r\n")).encode()


@pytest.mark.parametrize("content_type", ["multipart/form-data; boundary=b", 'Multipart/Form-Data;boundary="b"; x=y'])
async def test_the_state_can_be_a_field_of_a_multipart_form(plane, edge, content_type):
    body = multipart(('picture"; filename="a"', f"state={OTHER}"), ('state"', STATE))
    assert (await ask(edge, "/cbq/state", "POST", [("Content-Type", content_type)], body)).status == 200
    (invoked,) = plane.requests
    assert (invoked.state, invoked.request_body) == (STATE, body)


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ([('other"', STATE)], (400, "state_missing")),
        ([('State"', STATE)], (400, "state_missing")),
        ([('state"; filename="a"', STATE)], (400, "state_missing")),
        ([('state"', STATE), ('state"', STATE)], (400, "state_repeated")),
    ],
)
async def test_a_multipart_form_without_one_field_of_the_state_is_refused(plane, edge, parts, problem):
    headers = [("Content-Type", "multipart/form-data; boundary=b")]
    assert (await ask(edge, "/cbq/state", "POST", headers, multipart(*parts))).problem == problem
    assert plane.requests == []


@pytest.mark.parametrize(("destination", "waits"), [("document", True), ("iframe", False), ("object", False)])
async def test_a_frame_gets_no_waiting_page_because_it_cannot_show_one(plane, edge, destination, waits):
    await ask(edge, f"/cb/{STATE}", "POST", [("Accept", "text/html"), ("Sec-Fetch-Dest", destination)])
    assert [each.prefers_page for each in plane.requests] == [waits]


async def test_any_host_is_accepted(plane, edge):
    heads = [b"HTTP/1.1\r\nHost: %s" % host for host in (b"evil.example", b"", b"\xff\xfe", b"box.example:1")]
    for head in (*heads, b"HTTP/1.0"):
        request = b"GET /cb/%s %s\r\nConnection: close\r\n\r\n" % (STATE.encode(), head)
        assert (await answer_to(edge, request)).status == 200


@pytest.mark.parametrize("path", [f"/cb/{STATE}", f"/cb/{STATE}/", "/cb/x", "/cbq/state", f"/cbq/state?state={STATE}"])
async def test_head_options_and_other_methods_are_answered_without_a_look_up(plane, edge, path):
    head = await ask(edge, path, "HEAD")
    assert (head.status, head["content-length"]) == (200, "0")
    options = await ask(edge, path, "OPTIONS")
    assert (options.status, options["allow"], options.body) == (204, ALLOW, b"")
    for method in ("TRACE", "PROPFIND", "M-SEARCH"):
        other = await ask(edge, path, method)
        assert (other.problem, other["allow"]) == ((405, "method_not_allowed"), ALLOW)
    for answer in (head, options):
        answer.assert_fixed_headers()
    assert plane.requests == []


HANDSHAKE = ("WebHook-Request-Origin", "sender.example")


@pytest.mark.parametrize("path", [f"/cb/{STATE}", f"/cbq/state?state={STATE}"])
async def test_the_server_answers_a_webhook_handshake(plane, edge, path):
    plane.script = answering(plain(b"", 200, [("WebHook-Allowed-Origin", "sender.example"), ("Allow", "POST")]))
    answer = await ask(edge, path, "OPTIONS", [HANDSHAKE])
    assert (answer.status, answer["webhook-allowed-origin"], answer["allow"]) == (200, "sender.example", ALLOW)
    answer.assert_fixed_headers()
    (invoked,) = plane.requests
    assert (invoked.state, invoked.request_method) == (STATE, "options")


async def test_a_refused_handshake_reveals_no_state(plane, edge):
    answers = [await ask(edge, f"/cb/{STATE}", "OPTIONS")]
    for reason in ("STATE_UNKNOWN", "CALLBACK_CLOSED", "VERIFICATION_FAILED", "TOO_MANY_REQUESTS", "INTERNAL"):
        plane.script = refusing(reason)
        paths = (f"/cb/{STATE}", f"/cbq/state?state={STATE}")
        answers += [await ask(edge, path, "OPTIONS", [HANDSHAKE]) for path in paths]
    plane.script = answering(plain(b"", 999))
    answers.append(await ask(edge, f"/cb/{STATE}", "OPTIONS", [HANDSHAKE]))
    paths = ("/cb/x", "/cbq/state", f"/cbq/state?state={STATE}&state={STATE}")
    answers += [await ask(edge, path, "OPTIONS", [HANDSHAKE]) for path in paths]
    seen = {(each.status, each.body, tuple(h for h in each.headers if h[0] != "date")) for each in answers}
    assert len(seen) == 1
    assert (answers[0].status, answers[0]["allow"]) == (204, ALLOW)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Sec-Purpose", "prefetch"),
        ("Sec-Purpose", "prefetch;prerender"),
        ("sec-purpose", "Prefetch;anonymous-client-ip"),
        ("Purpose", "prefetch"),
        ("X-Moz", "prefetch"),
    ],
)
async def test_a_prefetch_is_refused_without_a_look_up(plane, edge, name, value):
    for path in (f"/cb/{STATE}", f"/cbq/state?state={STATE}", "/cb/x"):
        answer = await ask(edge, path, headers=[(name, value)])
        assert answer.problem == (503, "prefetch_refused")
        assert answer.all("retry-after") == []
    assert plane.requests == []


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "OPTIONS", "BREW"])
@pytest.mark.parametrize(
    ("name", "value"),
    [("Service-Worker", "script"), ("service-worker", "Script "), ("Sec-Fetch-Dest", "serviceworker")],
)
async def test_the_script_of_a_service_worker_is_refused_without_a_look_up(plane, edge, name, value, method):
    for path in (f"/cb/{STATE}", f"/cbq/state?state={STATE}", "/cb/x", "/nowhere"):
        answer = await ask(edge, path, method, headers=[(name, value)])
        answer.assert_fixed_headers()
        assert answer.status == 403
        assert method == "HEAD" or answer.problem == (403, "service_worker_refused")
    assert plane.requests == []


@pytest.mark.parametrize("field", [("Service-Worker", "other"), ("Sec-Fetch-Dest", "worker"), ("Purpose", "navigate")])
async def test_another_request_by_a_worker_or_with_another_purpose_is_a_call(plane, edge, field):
    assert (await ask(edge, f"/cb/{STATE}", headers=[field])).status == 200


@pytest.mark.parametrize(
    ("query", "body"),
    [
        (f"state={STATE}", b""),
        (f"a=1&state={STATE}&b=2", b""),
        (f"st%61te={STATE}", b""),
        (f"s%74at%65={STATE.replace('-', '%2d')}", b""),
        ("", f"state={STATE}".encode()),
        ("x=1", f"SAMLResponse=PHNhbWw%2B&state={STATE}".encode()),
        ("", f"code=abc&id_token=x.y.z&%73tate={STATE.replace('-', '%2D')}&session_state=q".encode()),
        (f"state={STATE}", f"state={STATE}".encode()),
        (f"state={STATE}", b"other=1&statee=x&xstate=y&state2"),
        (f"state={STATE}&STATE={OTHER}&state%20={OTHER}", b""),
        (f"state={STATE}", b"\x00\xff&&==&\xc3"),
    ],
)
async def test_the_state_is_found_in_the_query_or_the_form(plane, edge, query, body):
    answer = await ask(edge, f"/cbq/state?{query}", "POST", [FORM], body)
    assert answer.status == 200
    (invoked,) = plane.requests
    assert invoked.state == STATE
    assert invoked.request_body == body
    assert invoked.request_query_string == query


@pytest.mark.parametrize("name", ["RelayState", "Re%6cayState", "Re%6CayState", "%52%65%6C%61%79%53%74%61%74%65"])
async def test_a_parameter_is_found_in_every_encoding(plane, edge, name):
    answer = await ask(edge, "/cbq/RelayState", "POST", [FORM], f"{name}={STATE}".encode())
    assert (answer.status, plane.requests[0].state) == (200, STATE)


@pytest.mark.parametrize(
    ("query", "body", "code"),
    [
        ("", b"", "state_missing"),
        ("x=1", b"y=2", "state_missing"),
        (f"State={STATE}", b"", "state_missing"),
        (f"state={STATE}&state={STATE}", b"", "state_repeated"),
        (f"state={STATE}&state={OTHER}", b"", "state_repeated"),
        (f"state={STATE}&st%61te={STATE}", b"", "state_repeated"),
        (f"state={STATE}&state", b"", "state_repeated"),
        ("", f"state={STATE}&state={STATE}".encode(), "state_repeated"),
        (f"state={STATE}", f"state={OTHER}".encode(), "state_contradictory"),
        (f"state={STATE}", b"state=", "state_contradictory"),
        (f"state={STATE}", f"state={STATE.upper()}".encode(), "state_contradictory"),
    ],
)
async def test_a_state_that_is_missing_repeated_or_contradictory_is_a_bad_request(plane, edge, query, body, code):
    answer = await ask(edge, f"/cbq/state?{query}", "POST", [FORM], body)
    assert answer.problem == (400, code)
    assert plane.requests == []


@pytest.mark.parametrize(
    ("method", "content_type"),
    [
        ("POST", "text/plain"),
        ("POST", "application/json"),
        ("POST", "multipart/form-data; boundary=x"),
        ("POST", "application/x-www-form-urlencoded-not"),
        ("PUT", "application/x-www-form-urlencoded"),
        ("PATCH", "application/x-www-form-urlencoded"),
    ],
)
async def test_only_the_form_of_a_post_is_searched(plane, edge, method, content_type):
    body = f"state={STATE}".encode()
    answer = await ask(edge, "/cbq/state", method, [("Content-Type", content_type)], body)
    assert answer.problem == (400, "state_missing")


@pytest.mark.parametrize(
    "content_type", ["APPLICATION/X-WWW-Form-URLEncoded", "application/x-www-form-urlencoded ;charset=UTF-8"]
)
async def test_a_form_is_recognized_by_its_media_type_in_any_case_and_with_parameters(plane, edge, content_type):
    answer = await ask(edge, "/cbq/state", "POST", [("Content-Type", content_type)], f"state={STATE}".encode())
    assert answer.status == 200


async def test_a_form_of_half_a_million_fields_is_searched_at_once(plane, edge):
    body = b"&a" * 500_000 + f"&state={new_state()}".encode()
    assert (await ask(edge, "/cbq/state", "POST", [FORM], body)).status == 200
    assert plane.requests[0].request_body == body
