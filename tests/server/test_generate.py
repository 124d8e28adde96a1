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
    return response(response_headers=pb.ResponseHeaders(headers=[pb.ResponseHeader(name=name, value=value)]))


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


async def test_no_other_response_contains_the_state(services):
    made = await services.generate(request_id="once")
    case = rpc.GetCallbackRequest(callback_case_id=made.callback_case_id)
    shown = [
        await services.callbacks.GetCallback(case),
        await services.callbacks.ListCallbacks(rpc.ListCallbacksRequest()),
        await services.call(made, method="get"),
        await services.callbacks.ListCalls(rpc.ListCallsRequest(callback_case_id=made.callback_case_id)),
    ]
    assert not [message for message in shown if made.callback_state in str(message)]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"callback_activity": ""}, "callback_activity"),
        ({"callback_activity": "x" * 201}, "callback_activity"),
        ({"callback_activity": "a\nb"}, "callback_activity"),
        ({"callback_activity": "form", "answer_mode": pb.ANSWER_MODE_HANDLER}, "answer_mode"),
        ({"callback_activity": "record", "answer_mode": pb.ANSWER_MODE_HOLD}, "answer_mode"),
        ({"ordered": True}, "ordered"),
        ({"hold_time": Duration(seconds=1)}, "hold_time"),
        ({"callback_activity": "form", "hold_time": Duration(nanos=99_000_000)}, "hold_time"),
        ({"callback_activity": "form", "hold_time": Duration(seconds=30 * 24 * 3600 + 1)}, "hold_time"),
        ({"fallback": response()}, "answer_deadline"),
        ({"answer_deadline": Duration(nanos=99_000_000), "fallback": response()}, "answer_deadline"),
        ({"answer_deadline": Duration(seconds=9), "fallback": response()}, "answer_deadline"),
        ({"answer_deadline": Duration(seconds=1), "fallback": redirect()}, "fallback.response_redirect_url"),
        ({"callback_activity_case": "x" * 201}, "callback_activity_case"),
        ({"state_query_parameter": "1state"}, "state_query_parameter"),
        ({"state_query_parameter": "s" * 65}, "state_query_parameter"),
        ({"alternative_domain": "http://pay.example"}, "alternative_domain"),
        ({"alternative_domain": "https://pay.example/"}, "alternative_domain"),
        ({"alternative_domain": "https://me@pay.example"}, "alternative_domain"),
        ({"alternative_domain": "https://pay.example?x"}, "alternative_domain"),
        ({"alternative_domain": "https://pay.example:65536"}, "alternative_domain"),
        ({"response": None}, "response"),
        ({"response": pb.Response()}, "response.response_type"),
        ({"response": pb.Response(response_type=9)}, "response.response_type"),
        ({"response": redirect()}, "response.response_redirect_url"),
        ({"response": redirect(response_redirect_url="//evil.example")}, "response.response_redirect_url"),
        ({"response": redirect(response_redirect_url="/\\evil.example")}, "response.response_redirect_url"),
        ({"response": redirect(response_redirect_url="https://me@evil.example")}, "response.response_redirect_url"),
        ({"response": redirect(response_redirect_url="javascript:alert(1)")}, "response.response_redirect_url"),
        ({"response": redirect(response_redirect_url="https://x.example/\r\n")}, "response.response_redirect_url"),
        ({"response": redirect(response_redirect_url="https://x.example/a b")}, "response.response_redirect_url"),
        ({"response": redirect(response_redirect_url="/" + "x" * 2048)}, "response.response_redirect_url"),
        ({"response": redirect(response_redirect_url="http://./")}, "response.response_redirect_url"),
        ({"response": redirect(response_redirect_url="http://x.example:65536/")}, "response.response_redirect_url"),
        ({"response": response(response_body=b"x" * (1024 * 1024 + 1))}, "response.response_body"),
        ({"response": response(response_code=199)}, "response.response_code"),
        ({"response": response(response_code=302)}, "response.response_code"),
        ({"response": response(response_code=600)}, "response.response_code"),
        ({"response": page(response_heading=None)}, "response.response_heading"),
        ({"response": page(response_heading="")}, "response.response_heading"),
        ({"response": page(response_heading="a\nb")}, "response.response_heading"),
        ({"response": page(response_heading="x" * 201)}, "response.response_heading"),
        ({"response": page(response_text="a\tb")}, "response.response_text"),
        ({"response": page(response_text="x" * 2001)}, "response.response_text"),
        ({"response": page(response_link_label="Shop")}, "response.response_link_url"),
        ({"response": page(response_link_url="/shop")}, "response.response_link_label"),
        (
            {"response": page(response_link_label="Shop", response_link_url="javascript:alert(1)")},
            "response.response_link_url",
        ),
        ({"response": header("bad name")}, "response.response_headers.headers[0].name"),
        ({"response": header("Location")}, "response.response_headers.headers[0].name"),
        ({"response": header("X-Accel-Redirect")}, "response.response_headers.headers[0].name"),
        ({"response": header("Transfer-Encoding")}, "response.response_headers.headers[0].name"),
        ({"response": header("x", "a\r\nset-cookie: b")}, "response.response_headers.headers[0].value"),
        ({"response": header("x", "a\0")}, "response.response_headers.headers[0].value"),
        ({"response": header("x", "\u20ac")}, "response.response_headers.headers[0].value"),
        (
            {"response": response(response_headers=pb.ResponseHeaders(headers=[{"name": "x"}] * 65))},
            "response.response_headers.headers",
        ),
        (
            {
                "response": response(
                    response_headers=pb.ResponseHeaders(headers=[{"name": "x", "value": "y" * 4096}] * 2)
                )
            },
            "response.response_headers",
        ),
        ({"time_to_live": Duration(nanos=5)}, "time_to_live"),
        ({"time_to_live": Duration(seconds=-5)}, "time_to_live"),
        ({"labels": {f"label-{i}": "" for i in range(17)}}, "labels"),
        ({"labels": {"a b": ""}}, "labels['a b']"),
        ({"labels": {"a": "x" * 201}}, "labels['a']"),
        ({"request_id": "x" * 201}, "request_id"),
    ],
)
async def test_a_bad_field_is_named_and_nothing_is_stored(services, fields, field):
    said = await refusal(services.callbacks.GenerateCallbackUrl(request(**fields)))
    assert (said.code, said.reason, said.domain) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST", "callback")
    assert said.fields == [field]
    assert not await services.cases()


async def test_every_bad_field_is_named_at_once(services):
    bad = request(
        callback_activity="a\nb", alternative_domain="x", response=pb.Response(response_code=99), labels={"a b": ""}
    )
    said = await refusal(services.callbacks.GenerateCallbackUrl(bad))
    assert set(said.rules) == {
        "callback_activity", "alternative_domain", "response.response_code", "response.response_type",
        "labels['a b']",
    }  # fmt: skip


async def test_an_error_with_more_bad_fields_than_a_status_can_hold_still_lists_some(services):
    headers = pb.ResponseHeaders(headers=[{"name": "bad name", "value": "\0"}] * 64)
    said = await refusal(services.generate(response=response(response_headers=headers)))
    assert said.reason == "INVALID_REQUEST"
    assert len(said.fields) > 10
    assert said.rules[""] == "more"


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


async def test_a_path_is_refused_where_no_platform_is_configured(store_of):
    async with running_services(store_of(), platform_url=None) as services:
        asked = request(response=redirect(response_redirect_url="/page"))
        said = await refusal(services.callbacks.GenerateCallbackUrl(asked))
        assert said.rules == {"response.response_redirect_url": "platform_url"}


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


async def test_the_same_request_id_makes_a_new_url_once_its_case_is_gone(store_of):
    async with running_services(store_of()) as services:
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


async def test_a_request_id_is_free_for_other_content_once_its_case_is_gone(store_of):
    async with running_services(store_of()) as services:
        first = await services.generate(request_id="order-5")
        await services.close(first)
        await delete(services, first)
        other = request(request_id="order-5", allow_multiple_calls=True)
        assert (await services.callbacks.GenerateCallbackUrl(other)).callback_state != first.callback_state


async def delete(services, made):
    """Delete a closed case, as the end of its retention does."""
    partition = keys.partition_of(made.callback_case_id)
    deleted = await apply_retention(services.control_plane.scripts, partition, retention_ms=-60_000)
    assert deleted.cases == 1


async def test_two_servers_at_once_give_the_same_url_for_the_same_request_id(store_of):
    store = store_of()
    async with running_services(store) as first, running_services(store) as second:
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
