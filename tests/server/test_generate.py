"""GenerateCallbackUrl: the URL and the case that it creates, and errors that name every bad field at once."""

import asyncio
import re

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from support.services import redirect, refusal, response, running_services

from callback.v1 import callback_pb2 as pb
from callback.v1 import callbacks_service_pb2 as rpc
from callback_server.domain import ids
from callback_server.store import keys
from callback_server.store.transitions.apply_retention import apply_retention

STATE = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


def request(**fields):
    return rpc.GenerateCallbackUrlRequest(**{"callback_activity": "record", "response": response(), **fields})


def header(name, value="x"):
    return response(response_headers={"headers": [{"name": name, "value": value}]})


def page(**fields):
    return pb.Response(response_type=pb.RESPONSE_TYPE_PAGE, **{"response_heading": "Thank you", **fields})


async def test_the_url_is_the_base_the_form_and_the_state(services):
    made = await services.generate()
    assert re.fullmatch(STATE, made.callback_state)
    assert made.callback_url == f"https://box.example/cb/{made.callback_state}"
    assert made.callback_case_id == ids.case_id_of(ids.state_hash(made.callback_state))


async def test_a_state_query_parameter_makes_a_shared_url(services):
    made = await services.generate(state_query_parameter="RelayState")
    assert made.callback_url == f"https://box.example/cbq/RelayState?RelayState={made.callback_state}"


async def test_an_alternative_domain_is_the_base_of_the_url(services):
    made = await services.generate(alternative_domain="https://pay.example:8443")
    assert made.callback_url == f"https://pay.example:8443/cb/{made.callback_state}"


BAD_URLS = (
    "//evil.example", "/\\evil.example", "https://me@evil.example", "javascript:alert(1)", "https://x.example/\r\n",
    "https://x.example/a b", "/" + "x" * 2048, "http://./", "http://x.example:65536/",
)  # fmt: skip
BAD_RESPONSES = {
    "response_type": (pb.Response(), pb.Response(response_type=9)),
    "response_redirect_url": (redirect(), *(redirect(response_redirect_url=url) for url in BAD_URLS)),
    "response_body": (response(response_body=b"x" * (1024 * 1024 + 1)),),
    "response_code": [response(response_code=code) for code in (199, 302, 600)],
    "response_heading": [page(response_heading=heading) for heading in (None, "", "a\nb", "x" * 201)],
    "response_text": [page(response_text=text) for text in ("a\tb", "x" * 2001)],
    "response_link_url": (
        page(response_link_label="Shop"), page(response_link_label="Shop", response_link_url="javascript:alert(1)"),
    ),
    "response_link_label": (page(response_link_url="/shop"),),
    "response_headers.headers[0].name": [
        header(name) for name in ("bad name", "Location", "X-Accel-Redirect", "Transfer-Encoding")
    ],
    "response_headers.headers[0].value": [
        header("x", value) for value in ("a\r\nset-cookie: b", "a\0", "\u20ac")
    ],
    "response_headers.headers": (response(response_headers={"headers": [{"name": "x"}] * 65}),),
    "response_headers": (response(response_headers={"headers": [{"name": "x", "value": "y" * 4096}] * 2}),),
}  # fmt: skip
BAD_FIELDS = {
    "callback_activity": [{"callback_activity": name} for name in ("", "x" * 201, "a\nb")],
    "answer_mode": (
        {"callback_activity": "form", "answer_mode": pb.ANSWER_MODE_HANDLER}, {"answer_mode": pb.ANSWER_MODE_HOLD},
    ),
    "ordered": ({"ordered": True},),
    "hold_time": (
        {"hold_time": Duration(seconds=1)},
        {"callback_activity": "form", "hold_time": Duration(nanos=99_000_000)},
        {"callback_activity": "form", "hold_time": Duration(seconds=30 * 24 * 3600 + 1)},
    ),
    "answer_deadline": [
        {"answer_deadline": time, "fallback": response()}
        for time in (None, Duration(nanos=99_000_000), Duration(seconds=9))
    ],
    "fallback.response_redirect_url": ({"answer_deadline": Duration(seconds=1), "fallback": redirect()},),
    "callback_activity_case": ({"callback_activity_case": "x" * 201},),
    "state_query_parameter": [{"state_query_parameter": name} for name in ("1state", "s" * 65)],
    "alternative_domain": [
        {"alternative_domain": domain}
        for domain in (
            "http://pay.example", "https://pay.example/", "https://me@pay.example", "https://pay.example?x",
            "https://pay.example:65536",
        )
    ],
    "response": ({"response": None},),
    "time_to_live": ({"time_to_live": Duration(nanos=5)}, {"time_to_live": Duration(seconds=-5)}),
    "labels": ({"labels": {f"label-{i}": "" for i in range(17)}},),
    'labels["a b"]': ({"labels": {"a b": ""}},),
    'labels["a"]': ({"labels": {"a": "x" * 201}},),
    "request_id": ({"request_id": "x" * 201},),
    **{f"response.{name}": [{"response": bad} for bad in responses] for name, responses in BAD_RESPONSES.items()},
}  # fmt: skip


@pytest.mark.parametrize("field", BAD_FIELDS)
async def test_a_bad_field_is_named_and_nothing_is_stored(services, field):
    for fields in BAD_FIELDS[field]:
        said = await refusal(services.callbacks.GenerateCallbackUrl(request(**fields)))
        assert (said.code, said.domain) == (grpc.StatusCode.INVALID_ARGUMENT, "callback")
        assert (said.reason, said.fields) == ("INVALID_REQUEST", [field]), fields
    assert not await services.cases()


async def test_every_bad_field_is_named_at_once(services):
    bad = request(
        callback_activity="a\nb", alternative_domain="x", response=pb.Response(response_code=99), labels={"a b": ""}
    )
    said = await refusal(services.callbacks.GenerateCallbackUrl(bad))
    assert set(said.rules) == {
        "callback_activity", "alternative_domain", "response.response_code", "response.response_type",
        'labels["a b"]',
    }  # fmt: skip


async def test_an_error_with_long_names_in_other_scripts_arrives(services):
    said = await refusal(services.generate(labels={"\u56de" * 3000: ""}))
    assert (said.code, said.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")


@pytest.mark.parametrize(
    "url", ["/", "/page/thankyou", "https://shop.example", "HTTP://shop.example:8080/a//b?c#d", "https://[::1]/"]
)
async def test_a_valid_redirect_is_accepted(services, url):
    made = await services.generate(response=redirect(response_redirect_url=url))
    answer = await services.call(made, method="get")
    expected = f"https://platform.example{url}" if url.startswith("/") else url
    assert answer.response.response_redirect_url == expected


async def test_the_configuration_can_restrict_the_domains(store_of):
    async with running_services(store_of(), alternative_domains=["https://pay.example"]) as services:
        await services.generate(alternative_domain="https://pay.example")
        said = await refusal(services.generate(alternative_domain="https://other.example"))
        assert said.rules == {"alternative_domain": "not_allowed"}


@pytest.mark.parametrize("spelled", ["https://PAY.example", "HTTPS://pay.Example:443", "https://pay.example"])
async def test_an_alternative_domain_is_taken_in_any_spelling(store_of, spelled):
    async with running_services(store_of(), alternative_domains=["https://Pay.example:443"]) as services:
        made = await services.generate(alternative_domain=spelled, request_id="one")
        assert made.callback_url.startswith("https://pay.example/cb/")
        case = await services.case_of(made)
        assert case.alternative_domain == "https://pay.example"
        again = await services.generate(alternative_domain="https://pay.example", request_id="one")
        assert again.callback_url == made.callback_url


async def test_the_configuration_can_limit_the_time_to_live(store_of):
    async with running_services(store_of(), default_time_to_live_s=60, max_time_to_live_s=120) as services:

        async def lives_s(**fields):
            made = await services.callbacks.GenerateCallbackUrl(request(**fields))
            shown = await services.callbacks.GetCallback(rpc.GetCallbackRequest(callback_case_id=made.callback_case_id))
            return round(shown.callback.expire_time.ToMilliseconds() / 1000 - shown.callback.create_time.seconds)

        assert abs(await lives_s() - 60) <= 1
        assert abs(await lives_s(time_to_live=Duration(seconds=120)) - 120) <= 1
        for longer in (Duration(seconds=121), Duration(seconds=120, nanos=999_999_999)):
            said = await refusal(services.generate(time_to_live=longer))
            assert said.rules == {"time_to_live": "too_long"}


async def test_the_same_request_id_and_content_gives_the_same_url(services):
    first = await services.generate(request_id="order-5")
    again = await services.generate(request_id="order-5")
    assert again == first
    assert re.fullmatch(STATE, first.callback_state)
    assert len(await services.cases()) == 1


async def test_the_same_request_id_makes_a_new_url_once_its_case_is_gone(services):
    first = await services.generate(request_id="order-5")
    await services.close(first)
    await delete(services, first)
    second = await services.generate(request_id="order-5")
    assert second.callback_state != first.callback_state
    assert second.callback_case_id != first.callback_case_id
    assert await services.generate(request_id="order-5") == second
    unknown = services.call(first, method="get")
    assert (await refusal(unknown)).reason == "STATE_UNKNOWN"
    await services.call(second, method="get")


async def delete(services, made):
    """Delete a closed case, as the end of its retention does."""
    partition = keys.partition_of(made.callback_case_id)
    deleted = await apply_retention(services.control_plane.scripts, partition, retention_ms=-60_000)
    assert deleted.cases == 1


async def test_two_servers_at_once_give_the_same_url_for_the_same_request_id(both):
    first, second = both
    for number in range(20):
        asked = request(request_id=f"order-{number}")
        sent = [each.callbacks.GenerateCallbackUrl(asked) for each in (first, second) for _ in range(5)]
        assert len({(made.callback_url, made.callback_case_id) for made in await asyncio.gather(*sent)}) == 1
    page = await first.callbacks.ListCallbacks(rpc.ListCallbacksRequest(page_size=1000))
    assert len(page.callbacks) == 20


async def test_the_same_request_id_with_other_content_is_refused(services):
    await services.generate(request_id="order-5")
    said = await refusal(services.generate(request_id="order-5", allow_multiple_calls=True))
    assert (said.code, said.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")


async def test_another_key_gives_another_url_and_the_first_key_still_the_first(store_of):
    store, asked = store_of(), request(request_id="order-5")
    async with running_services(store) as before, running_services(store, state_key="j" * 32) as after:
        first, second = [await each.callbacks.GenerateCallbackUrl(asked) for each in (before, after)]
        assert first.callback_state != second.callback_state
        assert [await each.callbacks.GenerateCallbackUrl(asked) for each in (before, after)] == [first, second]


async def test_a_request_id_needs_a_key(store_of):
    async with running_services(store_of(), state_key=None) as services:
        said = await refusal(services.generate(request_id="order-5"))
        assert (said.code, said.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "REQUEST_ID_UNSUPPORTED")
        assert (await services.generate()).callback_url
