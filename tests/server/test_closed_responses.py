"""The response of a closed case: what a request gets in place of an error, and when."""

import grpc
import pytest
from support.services import redirect, refusal, response, running_services
from support.stored import content_of

from callback.v1 import callback_pb2 as pb
from callback.v1 import callbacks_service_pb2 as rpc
from callback.v1 import edge_service_pb2 as edge
from callback_server.verification.profiles import Profiles
from callback_server.verification.settings.credentials import SharedSecretSettings

DONE = pb.Response(response_type=pb.RESPONSE_TYPE_PAGE, response_code=410, response_heading="Already done")
COMPLETE = [
    (DONE, DONE),
    (response(response_body=b"done"), response(response_body=b"done", response_code=200)),
    (redirect(response_redirect_url="/orders"), redirect(response_redirect_url="https://platform.example/orders")),
]
"""Each type of response, and how it is sent."""


async def generate(services, closed_response=DONE, **fields):
    return await services.callbacks.GenerateCallbackUrl(
        rpc.GenerateCallbackUrlRequest(
            **{"callback_activity": "record", "response": response(response_body=b"own")} | fields,
            closed_response=closed_response,
        )
    )


def request_of(made, number=0, **fields):
    """Return a request that is not the same as one with another number."""
    return edge.InvokeRequest(
        state=made.callback_state, **{"request_method": "get", "request_query_string": f"n={number}"} | fields
    )


async def visit(services, made, number=0, **fields):
    return await services.edge.Invoke(request_of(made, number, **fields))


def sent(answer):
    """Return the response without what is not set."""
    if answer.response.response_headers == pb.ResponseHeaders():
        answer.response.ClearField("response_headers")
    return answer.response


@pytest.mark.parametrize(("given", "expected"), COMPLETE)
async def test_a_request_after_the_last_call_gets_the_response_of_the_closed_case(services, given, expected):
    made = await generate(services, given)
    assert (await visit(services, made)).response.response_body == b"own"
    for method in ("get", "post", "delete"):
        answer = await visit(services, made, 1, request_method=method)
        if expected.response_type == pb.RESPONSE_TYPE_PAGE:
            answer.response.ClearField("response_text")
        assert sent(answer) == expected
        assert answer.call_id == ""
    shown = await services.case_of(made)
    assert (shown.closed_response, shown.call_count) == (given, 1)


async def test_a_closed_case_changes_nothing_by_its_response(store_of):
    store = store_of()
    async with running_services(store) as services:
        made = await generate(services)
        await services.close(made)
        before = await content_of(store)
        assert (await visit(services, made)).response.response_heading == "Already done"
        assert await content_of(store) == before


async def test_it_is_sent_whatever_closed_the_case(services):
    made = await generate(services, time_to_live={"seconds": 1}, get_guard=pb.GET_GUARD_CONFIRM)
    await services.close(made)
    assert (await visit(services, made)).response.response_heading == "Already done"


async def test_the_same_request_again_gets_its_own_answer(services):
    made = await generate(services)
    for _ in range(2):
        assert (await visit(services, made)).response.response_body == b"own"
    assert (await visit(services, made, 1)).response.response_heading == "Already done"


async def test_a_request_that_is_not_verified_does_not_get_it(store_of, tmp_path):
    (tmp_path / "secret").write_text("a secret that is long enough for any of the kinds")
    profile = SharedSecretSettings(kind="shared-secret", header="x-secret", secret_files=[tmp_path / "secret"])
    async with running_services(store_of(), profiles=Profiles({"it": profile})) as services:
        made = await generate(services, verification_profile="it")
        await services.close(made)
        assert (await refusal(visit(services, made))).reason == "VERIFICATION_FAILED"
        header = pb.Header(name="x-secret", value="a secret that is long enough for any of the kinds")
        answer = await visit(services, made, request_headers=[header])
        assert answer.response.response_heading == "Already done"


async def test_a_look_up_leaves_a_closed_case_with_a_response_to_the_call(services):
    made, bare = await generate(services), await generate(services, None)
    await services.close(made)
    await services.close(bare)
    await services.edge.look_up(request_of(made))
    assert (await refusal(services.edge.look_up(request_of(bare)))).reason == "CALLBACK_CLOSED"
    large = await visit(services, made, request_method="post", request_body=b"x" * 100_000)
    assert large.response.response_heading == "Already done"


@pytest.mark.parametrize(
    ("given", "fields", "field"),
    [
        (pb.Response(), {}, "closed_response.response_type"),
        (redirect(), {}, "closed_response.response_redirect_url"),
        (redirect(response_redirect_url="//evil.example"), {}, "closed_response.response_redirect_url"),
        (pb.Response(response_type=pb.RESPONSE_TYPE_PAGE), {}, "closed_response.response_heading"),
        (response(response_code=302), {}, "closed_response.response_code"),
        (DONE, {"state_query_parameter": "state"}, "closed_response.response_code"),
        (response(response_code=410), {"state_query_parameter": "state"}, "closed_response.response_code"),
        (
            response(response_headers=pb.ResponseHeaders(headers=[{"name": "set-cookie", "value": "a=b"}])),
            {},
            "closed_response.response_headers",
        ),
    ],
)
async def test_a_response_that_is_not_complete_or_valid_is_refused(services, given, fields, field):
    said = await refusal(generate(services, given, **fields))
    assert (said.code, said.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert said.fields == [field]


async def test_a_shared_url_can_have_any_other_code(services):
    made = await generate(services, response(response_code=404), state_query_parameter="state")
    await services.close(made)
    assert (await visit(services, made, state_query_parameter="state")).response.response_code == 404


async def test_a_path_needs_a_platform_url(store_of):
    async with running_services(store_of(), platform_url=None) as services:
        said = await refusal(generate(services, redirect(response_redirect_url="/orders")))
        assert said.rules == {"closed_response.response_redirect_url": "platform_url"}
