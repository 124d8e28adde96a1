"""Pages of other origins: a preflight is no call, an allowed origin can read every answer, and some can frame it."""

import pytest
from support.edge import (
    BROWSER,
    answering,
    ask,
    new_state,
    plain,
    prompting,
    redirect,
    refusal,
    refusing,
    running_edge,
    seconds,
)

from callback.v1.callback_pb2 import RESPONSE_TYPE_PAGE, Response
from callback.v1.edge_service_pb2 import CaseOrigins, InvokeResponse

SHOP, OTHER = "https://shop.example", "https://other.example"
ALLOW = "GET, POST, PUT, DELETE, PATCH, HEAD, OPTIONS"
WAIT_PATH = f"/wait/{'0' * 32}-{'1' * 16}/{'2' * 64}"
LARGE = b"x" * (64 * 1024 + 1)


def of(origin, *more):
    """Return the headers of a request of a script on a page of an origin."""
    return [("Origin", origin), ("Sec-Fetch-Mode", "cors"), *more]


async def preflight(edge, origin=SHOP, path=None):
    headers = of(origin, ("Access-Control-Request-Method", "PUT"), ("Access-Control-Request-Headers", "x-own"))
    return await ask(edge, path, "OPTIONS", headers)


def cors(answer):
    """Return the fields of an answer that say which scripts can read it."""
    assert answer.all("access-control-allow-credentials") == []
    return {name: value for name, value in answer.headers if name.startswith("access-control-")}


def readable(origin=SHOP):
    return {"access-control-allow-origin": origin, "access-control-expose-headers": "location, retry-after"}


@pytest.fixture
def allowing(plane):
    plane.origins = CaseOrigins(allowed_origins=[SHOP])
    return plane


@pytest.mark.parametrize(("allowed", "named"), [([OTHER, SHOP], SHOP), (["*"], "*")])
@pytest.mark.parametrize("path", ["/cb/{}", "/cbq/state?state={}"])
async def test_a_preflight_is_permitted_without_a_call(plane, edge, path, allowed, named):
    plane.origins, state = CaseOrigins(allowed_origins=allowed), new_state()
    answer = await preflight(edge, path=path.format(state))
    assert (answer.status, answer["allow"], answer["vary"], answer.body) == (204, ALLOW, "origin", b"")
    assert cors(answer) == {
        "access-control-allow-origin": named,
        "access-control-allow-methods": "GET, POST, PUT, DELETE, PATCH",
        "access-control-allow-headers": "*, authorization",
        "access-control-max-age": "600",
    }
    answer.assert_fixed_headers()
    (asked,) = plane.asked_origins
    assert (asked.state, asked.state_query_parameter) == (state, "state" if "cbq" in path else "")
    assert (plane.requests, plane.looked_up) == ([], [])


async def test_a_preflight_that_is_not_permitted_is_answered_as_one_for_an_unknown_state(plane, edge):
    expected = await ask(edge, f"/cb/{new_state()}", "OPTIONS", of(SHOP))
    answers = [await preflight(edge, path=path) for path in ("/cb/x", "/cbq/state", f"/cb/{new_state()}")]
    for reason in ("STATE_UNKNOWN", "STORE_UNAVAILABLE", "TOO_MANY_CALLS", "INTERNAL"):
        plane.origins = refusal(reason)
        answers.append(await preflight(edge))
    plane.origins = CaseOrigins(allowed_origins=[SHOP])
    answers += [await preflight(edge, origin) for origin in (OTHER, "null", "", f"{SHOP}.evil.example", f"{SHOP}:8443")]
    without_method = await ask(edge, None, "OPTIONS", of(SHOP))

    def seen(answer):
        return answer.status, answer.body, [field for field in answer.headers if field[0] != "date"]

    assert [seen(each) for each in [*answers, without_method]] == [seen(expected)] * (len(answers) + 1)
    assert plane.requests == []


@pytest.mark.parametrize(
    ("script", "status"),
    [
        (answering(plain(b"ok", 201)), 201),
        (answering(redirect("https://a.example/")), 303),
        (answering(InvokeResponse(wait_path=WAIT_PATH)), 202),
        (refusing("CALLBACK_CLOSED"), 410),
        (refusing("CALL_IN_PROGRESS", retry_after=seconds(1)), 409),
        (refusing("VERIFICATION_FAILED"), 401),
        (refusing("HANDLER_FAILED"), 502),
        (answering(plain(b"", 999)), 502),
    ],
)
@pytest.mark.parametrize("body", [b"{}", LARGE], ids=["small", "large"])
async def test_a_script_of_an_allowed_origin_can_read_every_answer(allowing, edge, script, status, body):
    allowing.script = script
    allowed, other = [await ask(edge, None, "POST", of(origin), body) for origin in (SHOP, OTHER)]
    assert (allowed.status, other.status) == (status, status)
    assert (cors(allowed), cors(other)) == (readable(), {})
    assert all("origin" in each.all("vary") for each in (allowed, other))
    assert len(allowing.requests) == len(allowing.asked_origins) == 2


async def test_a_request_that_is_refused_before_its_body_is_read_can_be_read(allowing, edge):
    allowing.look_up = refusal("CALLBACK_CLOSED")
    answer = await ask(edge, None, "POST", of(SHOP), LARGE)
    assert (answer.problem, cors(answer)) == ((410, "callback_closed"), readable())
    assert allowing.requests == []


async def test_a_server_that_does_not_know_origins_answers_calls_that_no_script_can_read(plane, edge):
    plane.origins = refusal("INVALID_REQUEST")  # of an earlier release: for it, the question is an empty request
    for headers in (of(SHOP), FRAME):
        for body in (b"{}", LARGE):
            answer = await ask(edge, None, "POST", headers, body)
            assert (answer.status, cors(answer)) == (200, {})
    assert len(plane.requests) == 4


async def test_an_unknown_state_is_answered_without_a_call_and_cannot_be_read(plane, edge):
    plane.origins = refusal("STATE_UNKNOWN")
    answer = await ask(edge, None, "POST", of(SHOP), b"{}")
    assert (answer.problem, cors(answer)) == ((404, "state_unknown"), {})
    assert plane.requests == []


async def test_a_script_can_read_what_comes_at_the_address_of_a_call(allowing, edge):
    allowing.script = answering(plain(b"ok"))
    answer = await ask(edge, WAIT_PATH, headers=of(SHOP))
    assert (answer.body, cors(answer)) == (b"ok", readable())
    allowing.script = refusing("HANDLER_FAILED")
    answer = await ask(edge, WAIT_PATH, headers=of(SHOP, ("Prefer", "return=minimal")))
    assert (answer.problem, cors(answer)) == ((502, "handler_failed"), readable())
    permitted = await preflight(edge, path=WAIT_PATH)
    assert (permitted.status, cors(permitted)["access-control-allow-methods"]) == (204, "GET")
    assert {each.wait.call_id for each in allowing.asked_origins} == {WAIT_PATH.split("/")[2]}
    refused = await preflight(edge, OTHER, WAIT_PATH)
    assert refused.problem == (405, "method_not_allowed")
    assert cors(refused) == {}


async def test_the_case_decides_and_not_the_headers_of_its_handler(allowing, edge):
    own = [
        ("Access-Control-Allow-Origin", "*"),
        ("Access-Control-Allow-Credentials", "true"),
        ("Access-Control-Expose-Headers", "x-own"),
        ("Vary", "x-own"),
    ]
    allowing.script = answering(plain(b"ok", headers=own))
    allowed, other = [await ask(edge, headers=of(origin)) for origin in (SHOP, OTHER)]
    assert allowed["access-control-allow-origin"] == SHOP
    assert allowed.all("access-control-expose-headers") == ["x-own", "location, retry-after"]
    assert cors(other) == {"access-control-expose-headers": "x-own"}
    assert allowed.all("vary") == other.all("vary") == ["x-own", "origin"]
    allowing.origins = CaseOrigins()
    assert (await ask(edge, headers=of(OTHER)))["access-control-allow-credentials"] == "true"


NAVIGATION = [BROWSER, ("Origin", "null"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")]


@pytest.mark.parametrize("headers", [[], [("Sec-Fetch-Dest", "iframe")], NAVIGATION])
async def test_other_requests_cost_no_question(allowing, edge, headers):
    assert (await ask(edge, None, "POST", headers)).status == 200
    assert allowing.asked_origins == []


async def test_two_origins_are_none(allowing, edge):
    assert cors(await ask(edge, headers=[*of(SHOP), ("Origin", SHOP)])) == {}


@pytest.mark.parametrize("origins", [CaseOrigins(allowed_origins=[OTHER]), refusal("STATE_UNKNOWN")])
async def test_a_preflight_that_is_not_permitted_counts_as_one_for_an_unknown_state(plane, origins):
    """Otherwise a charge for some states only would reveal them."""
    async with running_edge(plane.target, unknown_states_per_minute_per_address=2, trusted_proxies=[]) as edge:
        plane.origins = origins
        assert [(await preflight(edge)).status for _ in range(3)] == [204] * 3
        assert len(plane.asked_origins) == 2
        assert (await ask(edge)).problem == (429, "too_many_requests")


async def test_permitted_preflights_do_not_count(allowing):
    async with running_edge(allowing.target, unknown_states_per_minute_per_address=1, trusted_proxies=[]) as edge:
        assert [bool(cors(await preflight(edge))) for _ in range(3)] == [True] * 3


FRAME = [BROWSER, ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "iframe")]
PAGE = InvokeResponse(response=Response(response_type=RESPONSE_TYPE_PAGE, response_code=200, response_heading="Paid"))


def frame_ancestors(answer):
    """Return the origins whose frames can show an answer, of each policy that it has."""
    return [part.strip() for policy in answer.all("content-security-policy") for part in policy.split(";")
            if "frame-ancestors" in part]  # fmt: skip


@pytest.mark.parametrize("path", [None, WAIT_PATH], ids=["callback", "wait"])
@pytest.mark.parametrize(
    "script",
    [
        answering(plain(b"<p>Paid", headers=[("content-type", "text/html")])),
        answering(PAGE),
        answering(InvokeResponse(wait_path=WAIT_PATH)),
        refusing("CALLBACK_CLOSED"),
        refusing("HANDLER_FAILED"),
    ],
    ids=["response", "page", "waiting", "closed", "failed"],
)
async def test_frames_of_the_named_origins_can_show_every_answer(plane, edge, script, path):
    plane.origins, plane.script = CaseOrigins(frame_origins=[SHOP, OTHER]), script
    for headers in (FRAME, [BROWSER]):  # an older browser does not say what it asks for
        answer = await ask(edge, path, headers=headers)
        assert frame_ancestors(answer) == [f"frame-ancestors {SHOP} {OTHER}"]
    assert len(plane.asked_origins) == 2


async def test_a_frame_waits_by_a_page_only_where_its_callback_names_origins(plane, edge):
    seen = []
    for origins in (CaseOrigins(frame_origins=[SHOP]), CaseOrigins()):
        plane.origins = origins
        for body in (b"id=7", LARGE):
            await ask(edge, None, "POST", FRAME, body)
            seen.append(plane.requests[-1].prefers_page)
    assert seen == [True, True, False, False]


async def test_no_frame_can_show_a_page_with_a_button_that_confirms(plane, edge):
    plane.origins = CaseOrigins(frame_origins=[SHOP])
    for script in (refusing("CONFIRMATION_REQUIRED"), prompting(approve="Approve")):
        plane.script = script
        assert frame_ancestors(await ask(edge, headers=FRAME)) == ["frame-ancestors 'none'"]


async def test_the_policy_of_a_handler_holds_too(plane, edge):
    plane.script = answering(plain(b"ok", headers=[("Content-Security-Policy", "default-src 'none'")]))
    assert (await ask(edge, headers=FRAME))["content-security-policy"] == "default-src 'none'"
    plane.origins = CaseOrigins(frame_origins=[SHOP])
    answer = await ask(edge, headers=FRAME)
    assert answer.all("content-security-policy") == ["default-src 'none'", f"frame-ancestors {SHOP}"]


async def test_a_closed_callback_that_looks_unknown_tells_a_stranger_nothing(plane, edge):
    seen = []
    for origins, reason in ((CaseOrigins(allowed_origins=[SHOP]), "CALLBACK_CLOSED"), (CaseOrigins(), "STATE_UNKNOWN")):
        plane.origins, plane.script = origins, refusing(reason)
        answer = await ask(edge, f"/cbq/state?state={new_state()}", headers=of(OTHER))
        seen.append((answer.problem, sorted((name, value) for name, value in answer.headers if name != "date")))
    assert seen[0] == seen[1]
    assert seen[0][0] == (404, "state_unknown")
