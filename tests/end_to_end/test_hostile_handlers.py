"""Arbitrary answers of a handler: the response equals the model or is a clean 502, without hang or split."""

import json
from http import HTTPStatus

from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from soak.counts import count
from support.edge import FIXED
from support.handlers import answering
from support.hostile import allowed_name, allowed_page, allowed_url, allowed_value, rendered, responses

from callback import CallFailure, CallStatus, Redirect, Response
from callback.v1 import callback_handler_service_pb2 as messages
from callback.v1 import callback_pb2 as resources

PLATFORM = "https://platform.example"
CASES = {
    "response": (
        Response(b"own", 201, {"X-Own": "1"}, redirect_url="/unused"),
        (2, "/unused", 201, [("X-Own", "1")], b"own"),
    ),
    "redirect": (Redirect("/page"), (1, "/page", None, [], b"")),
    "nowhere": (Redirect(), (1, None, None, [], b"")),
}
REJECTION = (2, None, 422, [], b"")
BARE_REJECTION = (
    422,
    [("content-type", "application/problem+json"), ("vary", "accept")],
    {
        "title": HTTPStatus(422).phrase,
        "status": 422,
        "detail": "The data in this request was not accepted. "
        "Please check it, or ask the organisation that sent you here.",
        "code": "call_rejected",
    },
)
"""The problem of the edge, without the reference to the call."""

answers = st.builds(
    messages.HandleCallbackResponse,
    verdict=st.sampled_from([1, 1, 1, 1, 2, 2, 0, 3]),
    response=responses(),
    keep_open=st.booleans(),
    close=st.sampled_from([False, False, False, True]),
)


def model(own, answer, method):
    """Return the expected response on the wire: (status, headers, body), or None for a 502."""
    if answer.verdict not in (1, 2) or not _allowed(answer.response):
        return None
    if answer.close and (answer.keep_open or answer.verdict == 2):
        return None
    type_, url, code, headers, body = own if answer.verdict == 1 else REJECTION
    given_ = answer.response
    type_ = given_.response_type or type_
    url = given_.response_redirect_url if given_.HasField("response_redirect_url") else url
    code = given_.response_code if given_.HasField("response_code") else code
    body = given_.response_body if given_.HasField("response_body") else body
    if given_.HasField("response_headers"):
        headers = [(field.name, field.value) for field in given_.response_headers.headers]
    page = {
        name: getattr(given_, name)
        for name in ("response_heading", "response_text", "response_link_label", "response_link_url")
        if given_.HasField(name)
    }
    if type_ == 3 and "response_link_url" in page and "response_link_label" not in page:
        return None
    if page.get("response_link_url", "").startswith("/"):
        page["response_link_url"] = PLATFORM + page["response_link_url"]
    if answer.verdict == 2 and (type_, code, headers, body) == REJECTION[:1] + REJECTION[2:]:
        return BARE_REJECTION
    if sum(len(name) + len(value) for name, value in headers) > 8192 or (type_ == 1 and url is None):
        return None
    if url is not None and url.startswith("/"):
        url = PLATFORM + url
    fields = [resources.ResponseHeader(name=name, value=value) for name, value in headers]
    return rendered(
        resources.Response(
            response_type=type_, response_redirect_url=url, response_code=code or 200, response_body=body,
            response_headers=resources.ResponseHeaders(headers=fields), **page,
        ),
        method,
    )  # fmt: skip


def _allowed(response):
    """Return whether each present attribute is valid by itself."""
    code, fields = response.response_code, response.response_headers.headers
    return (
        response.response_type in (0, 1, 2, 3)
        and allowed_page(response)
        and (not response.HasField("response_redirect_url") or allowed_url(response.response_redirect_url))
        and (not response.HasField("response_code") or 200 <= code <= 299 or 400 <= code <= 599)
        and len(response.response_body) <= 1024 * 1024
        and len(fields) <= 64
        and all(allowed_name(field.name) and allowed_value(field.value) for field in fields)
        and not any(field.name.lower() == "set-cookie" for field in fields)  # no domain is reserved for its owner
        and all(len(field.value) <= 8192 for field in fields)
    )


async def assert_rendered(world, case_name, method, answer, expected, problem="response_invalid"):
    response, _ = CASES[case_name]
    name = world.handler.play(answering(answer))
    case = await world.client.generate_callback_url("push", response, activity_case=name)
    got = await world.ask(case.url, method)  # reads to the end of the connection, so a second response would be seen
    recorded = await world.last_call(case)
    if expected is None:
        assert (got.status, json.loads(got.body)["code"]) == (502, problem)
        assert got["content-type"] == "application/problem+json"
        assert recorded.status is CallStatus.FAILED
        assert recorded.failure in (CallFailure.INVALID_RESPONSE, CallFailure.HANDLER_ERROR)
        return
    own = [field for field in got.headers if field[0] not in {*FIXED, "date", "content-length", "connection"}]
    if expected is BARE_REJECTION:
        status, headers, document = expected
        document = document | {"reference": recorded.call_id}
        assert (got.status, own, json.loads(got.body)) == (status, headers, document)
    else:
        assert (got.status, own, got.body) == expected
    assert recorded.status in (CallStatus.SUCCEEDED, CallStatus.REJECTED)


@settings(max_examples=count(60, 10_000))
@given(case_name=st.sampled_from(list(CASES)), method=st.sampled_from(["GET", "POST", "DELETE"]), answer=answers)
async def test_a_hostile_answer_matches_the_model_or_is_a_502(world, case_name, method, answer):
    await assert_rendered(world, case_name, method, answer, model(CASES[case_name][1], answer, method))


@st.composite
def damaged(draw):
    """Generate the bytes of an answer, with some of them changed, cut off or inserted."""
    raw = bytearray(draw(answers).SerializeToString())
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(raw)))
        raw[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=3))
    return bytes(raw)


@settings(max_examples=count(40, 10_000))
@given(case_name=st.sampled_from(list(CASES)), method=st.sampled_from(["GET", "POST"]), raw=damaged())
async def test_a_damaged_answer_matches_the_model_or_is_a_502(world, case_name, method, raw):
    try:
        answer = messages.HandleCallbackResponse.FromString(raw)
    except DecodeError:
        await assert_rendered(world, case_name, method, raw, None, "handler_failed")
    else:
        await assert_rendered(world, case_name, method, raw, model(CASES[case_name][1], answer, method))
