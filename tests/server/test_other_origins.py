"""The origins whose pages may use a callback, by a script or in a frame: what is stored, and who learns them."""

import pytest
from google.protobuf import duration_pb2
from support.services import refusal

from callback.v1 import callback_pb2 as pb
from callback.v1 import edge_service_pb2 as edge

SHOP, OTHER = "https://shop.example", "http://localhost:3000"


def asked(made, **more):
    return edge.OriginsRequest(state=made.callback_state, **more)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ([SHOP, OTHER], [SHOP, OTHER]),
        (["HTTPS://Shop.example:443", SHOP, "http://a:80", "http://a:443"], [SHOP, "http://a", "http://a:443"]),
        (["capacitor://localhost", "chrome-extension://abcdefghijklmnop"], None),
        (["http://[::1]:3000", "https://192.0.2.1"], None),
        (["*"], None),
        ([f"https://a{number}.example" for number in range(20)], None),
    ],
)
async def test_an_owner_sees_the_allowed_origins_in_their_one_spelling(services, given, kept):
    in_frames = [] if given == ["*"] or "[" in given[0] else given
    made = await services.generate(allowed_origins=given, frame_origins=in_frames)
    expected = (kept or given, in_frames and (kept or given))
    for seen in (
        await services.case_of(made),
        (await services.cases())[0],
        await services.edge.origins(asked(made)),
    ):
        assert (seen.allowed_origins, seen.frame_origins) == expected


@pytest.mark.parametrize(
    "origin",
    [
        "null", "", "shop.example", "https://", "https://shop.example/", "https://shop.example/page", "//shop.example",
        "https://user@shop.example", "https://*.shop.example", "https://shop.example:65536", "https://shop.example?a",
        "https://shop.example; sandbox", "https://a https://b", "https://shöp.example",
        f"https://{'a' * 63}.{'b.' * 99}c",
    ],
)  # fmt: skip
async def test_what_is_no_origin_is_refused(services, origin):
    refused = await refusal(services.generate(allowed_origins=[SHOP, origin]))
    assert (refused.reason, refused.rules) == ("INVALID_REQUEST", {"allowed_origins[1]": "origin"})
    assert (await refusal(services.generate(frame_origins=[origin]))).rules == {"frame_origins[0]": "origin"}


async def test_any_origin_stands_alone_and_there_are_at_most_20(services):
    assert (await refusal(services.generate(allowed_origins=["*", SHOP]))).rules == {"allowed_origins": "any_origin"}
    many = [f"https://a{number}.example" for number in range(21)]
    assert (await refusal(services.generate(allowed_origins=many))).rules == {"allowed_origins": "repeated.max_items"}
    assert (await refusal(services.generate(frame_origins=many))).rules == {"frame_origins": "repeated.max_items"}


async def test_no_frame_is_of_any_origin(services):
    assert (await refusal(services.generate(frame_origins=["*"]))).rules == {"frame_origins": "any_origin"}


async def test_no_frame_is_of_an_ipv6_address_which_a_policy_cannot_name(services):
    assert (await refusal(services.generate(frame_origins=["http://[::1]:3000"]))).rules == {
        "frame_origins": "ipv6_origin"
    }


async def test_a_script_cannot_confirm_but_what_follows_a_confirmation_can_be_in_a_frame(services):
    confirm = {"get_guard": pb.GET_GUARD_CONFIRM}
    refused = await refusal(services.generate(allowed_origins=[SHOP], **confirm))
    assert refused.rules == {"allowed_origins": "get_guard"}
    await services.generate(frame_origins=[SHOP], **confirm)


async def test_the_same_origins_in_another_spelling_are_the_same_request(services):
    other = ["https://SHOP.example:443"]
    first = await services.generate(allowed_origins=[SHOP], frame_origins=[SHOP], request_id="one")
    again = await services.generate(allowed_origins=other, frame_origins=other, request_id="one")
    assert again.callback_url == first.callback_url
    assert (await refusal(services.generate(request_id="one"))).reason == "REQUEST_ID_REUSED"


async def test_the_origins_are_told_whatever_the_status_and_only_to_those_who_reach_the_case(services):
    made = await services.generate(allowed_origins=[SHOP])
    assert await services.list_calls(made) == []
    await services.close(made)
    assert (await services.edge.origins(asked(made))).allowed_origins == [SHOP]
    unknown = [
        asked(made, state_query_parameter="state"),
        edge.OriginsRequest(state="00000000-0000-4000-8000-000000000000"),
        edge.OriginsRequest(state="x"),
        edge.OriginsRequest(),
    ]
    for each in unknown:
        assert (await refusal(services.edge.origins(each))).reason == "STATE_UNKNOWN"


async def test_the_address_of_a_call_tells_the_origins_of_its_case(services):
    made = await services.generate("form", allowed_origins=[SHOP], answer_deadline=duration_pb2.Duration(nanos=10**8))
    _, call_id, token = (await services.call(made)).wait_path.strip("/").split("/")
    wait = edge.WaitRequest(call_id=call_id, token=token)
    assert (await services.edge.origins(edge.OriginsRequest(wait=wait))).allowed_origins == [SHOP]
    wait.token = "0" * 64
    assert (await refusal(services.edge.origins(edge.OriginsRequest(wait=wait)))).reason == "STATE_UNKNOWN"
    wait.call_id = "x"
    assert (await refusal(services.edge.origins(edge.OriginsRequest(wait=wait)))).reason == "INVALID_REQUEST"
