"""SetResponse, CloseCallback and reads: masks, validity of the result, closed and unknown cases, pages."""

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from support.services import pages, redirect, refusal, response

from callback.v1 import callback_pb2 as pb
from callback.v1 import callbacks_service_pb2 as rpc
from callback.v1 import operations_service_pb2 as operations
from callback_server.rpc import callbacks_service

HEADERS = pb.ResponseHeaders(headers=[pb.ResponseHeader(name="x-a", value="1")])


@pytest.fixture
async def made(services):
    case = response(response_body=b"first", response_code=201, response_headers=HEADERS)
    return await services.generate(response=case, allow_multiple_calls=True)


async def set_response(services, made, new, *paths):
    mask = FieldMask(paths=paths) if paths else None
    asked = rpc.SetResponseRequest(callback_case_id=made.callback_case_id, response=new, update_mask=mask)
    return (await services.callbacks.SetResponse(asked)).callback.response


async def test_without_a_mask_the_given_attributes_are_replaced(services, made):
    now = await set_response(services, made, pb.Response(response_body=b"second"))
    assert (now.response_body, now.response_code, now.response_headers) == (b"second", 201, HEADERS)


async def test_a_mask_names_the_attributes_that_are_replaced_or_return_to_their_default(services, made):
    given = pb.Response(response_body=b"not named", response_code=202)
    now = await set_response(services, made, given, "response_code", "response_headers")
    assert (now.response_body, now.response_code) == (b"first", 202)
    assert not now.HasField("response_headers")


@pytest.mark.parametrize(
    ("new", "paths", "field"),
    [
        (redirect(), (), "response.response_redirect_url"),
        (pb.Response(response_body=b"x"), ("response_type",), "response.response_type"),
        (pb.Response(response_code=302), (), "response.response_code"),
        (pb.Response(), ("nonsense",), "update_mask"),
    ],
)
async def test_a_change_with_an_invalid_result_is_refused_and_has_no_effect(services, made, new, paths, field):
    said = await refusal(set_response(services, made, new, *paths))
    assert (said.reason, said.fields) == ("INVALID_REQUEST", [field])
    shown = await services.callbacks.GetCallback(rpc.GetCallbackRequest(callback_case_id=made.callback_case_id))
    assert (shown.callback.response.response_body, shown.callback.response.response_code) == (b"first", 201)


async def test_a_closed_case_is_refused_with_its_reason(services, made):
    await services.close(made)
    said = await refusal(set_response(services, made, pb.Response(response_code=202)))
    assert (said.code, said.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "CALLBACK_CLOSED")
    assert said.metadata == {"close_reason": "CLOSED_BY_OWNER"}


async def test_closing_a_closed_case_returns_it_unchanged(services, made):
    asked = rpc.CloseCallbackRequest(callback_case_id=made.callback_case_id)
    first = await services.callbacks.CloseCallback(asked)
    assert (first.callback.status, first.callback.close_reason) == (pb.CALLBACK_STATUS_CLOSED, 4)
    assert await services.callbacks.CloseCallback(asked) == rpc.CloseCallbackResponse(callback=first.callback)


@pytest.mark.parametrize("token", ["nonsense", "AA==", "\u20ac", "AQAAAAAAAAAA_w=="])
async def test_a_page_token_that_the_server_did_not_make_is_refused(services, token):
    dead = rpc.ListOwnerCallsRequest(filter=rpc.CALL_FILTER_DEAD, page_token=token)
    for asked in (services.cases(page_token=token), services.callbacks.ListOwnerCalls(dead)):
        said = await refusal(asked)
        assert (said.reason, said.fields) == ("INVALID_REQUEST", ["page_token"])


async def test_a_page_token_belongs_to_the_filter_of_its_list_and_to_any_size_of_a_page(services, made):
    await services.generate()
    (first,) = (await services.callbacks.ListCallbacks(rpc.ListCallbacksRequest(page_size=1))).callbacks
    token = (await services.callbacks.ListCallbacks(rpc.ListCallbacksRequest(page_size=1))).next_page_token
    more = await services.callbacks.ListCallbacks(rpc.ListCallbacksRequest(page_token=token, page_size=2))
    assert first.callback_case_id not in [each.callback_case_id for each in more.callbacks]
    closed = rpc.ListCallbacksRequest(page_token=token, status=pb.CALLBACK_STATUS_CLOSED)
    said = await refusal(services.callbacks.ListCallbacks(closed))
    assert (said.reason, said.fields) == ("INVALID_REQUEST", ["page_token"])
    assert "another filter" in said.text


async def test_pages_of_calls_go_from_the_newest_to_the_oldest(services, made):
    sent = [(await services.call(made, body=b"body")).call_id for _ in range(5)]
    request = rpc.ListCallsRequest(callback_case_id=made.callback_case_id, page_size=2)
    found = [call for page in await pages(services.callbacks.ListCalls, request) for call in page.calls]
    assert all(not call.request_body and call.request_body_size == 4 for call in found)
    assert [call.call_id for call in found] == sent[::-1]


async def test_a_page_size_above_the_maximum_counts_as_the_maximum(services, made, limits):
    limits(callbacks_service, MAX_CALLS_PER_PAGE=2, MAX_CASES_PER_PAGE=1)
    await services.generate()
    for _ in range(3):
        await services.call(made)
    calls = rpc.ListCallsRequest(callback_case_id=made.callback_case_id, page_size=2**31 - 1)
    page = await services.callbacks.ListCalls(calls)
    assert (len(page.calls), bool(page.next_page_token)) == (2, True)
    page = await services.callbacks.ListCallbacks(rpc.ListCallbacksRequest(page_size=2**31 - 1))
    assert (len(page.callbacks), bool(page.next_page_token)) == (1, True)


async def test_a_negative_page_size_is_refused(services, made):
    for asked in (
        services.callbacks.ListCallbacks(rpc.ListCallbacksRequest(page_size=-1)),
        services.callbacks.ListCalls(rpc.ListCallsRequest(callback_case_id=made.callback_case_id, page_size=-1)),
        services.callbacks.ListOwnerCalls(rpc.ListOwnerCallsRequest(filter=rpc.CALL_FILTER_DEAD, page_size=-1)),
        services.operations.ListActivities(operations.ListActivitiesRequest(page_size=-1)),
    ):
        said = await refusal(asked)
        assert (said.reason, said.fields) == ("INVALID_REQUEST", ["page_size"])


async def test_a_list_of_an_owner_s_calls_needs_a_filter(services):
    said = await refusal(services.callbacks.ListOwnerCalls(rpc.ListOwnerCallsRequest()))
    assert (said.reason, said.fields) == ("INVALID_REQUEST", ["filter"])


@pytest.mark.parametrize("path", ["response_headers.headers", "response_code.x", "response_code.", "*", ""])
async def test_a_mask_names_whole_attributes_only(services, made, path):
    said = await refusal(set_response(services, made, pb.Response(response_code=202), path))
    assert (said.reason, said.fields) == ("INVALID_REQUEST", ["update_mask"])


@pytest.mark.parametrize("token", ["-5", "0", " 1", "1_0", "1" * 17, "x"])
async def test_a_page_token_of_calls_that_the_server_did_not_make_is_refused(services, made, token):
    asked = rpc.ListCallsRequest(callback_case_id=made.callback_case_id, page_token=token)
    assert (await refusal(services.callbacks.ListCalls(asked))).fields == ["page_token"]
