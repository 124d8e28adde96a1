"""The answer to a recorded call is complete, and later changes of the configuration do not change it."""

import pytest
from support.services import redirect, refusal, response, running_services

from callback.v1 import callback_pb2 as pb
from callback.v1 import callbacks_service_pb2 as rpc
from callback_server.store.packing import MAX_INLINE_BODY_BYTES


async def generate(services, of, **fields):
    return await services.generate(response=of, **fields)


async def test_a_recorded_redirect_keeps_the_platform_that_it_led_to(store_of):
    store = store_of()
    async with running_services(store, platform_url="https://old.example") as services:
        made = await generate(services, redirect(response_redirect_url="/page"), allow_multiple_calls=True)
        assert (await services.call(made)).response.response_redirect_url == "https://old.example/page"
    async with running_services(store, platform_url="https://new.example") as services:
        assert (await services.call(made)).response.response_redirect_url == "https://new.example/page"
        urls = [each.response.response_redirect_url for each in await services.calls_of(made)]
    assert urls == ["https://new.example/page", "https://old.example/page"]


@pytest.mark.parametrize("later", [False, True])
async def test_a_redirect_that_leads_nowhere_any_more_fails_the_call(store_of, later):
    store = store_of()
    async with running_services(store) as services:
        made = await generate(
            services,
            redirect(response_redirect_url="https://shop.example/" if later else "/page"),
            retryable_after_error=True,
        )
        if later:
            await services.set_response(made, response_redirect_url="/page")
    async with running_services(store, platform_url=None) as services:
        said = await refusal(services.call(made))
        (ended,) = await services.calls_of(made)
        case = await services.callbacks.GetCallback(rpc.GetCallbackRequest(callback_case_id=made.callback_case_id))
    assert said.reason == "RESPONSE_INVALID"
    assert (ended.status, ended.failure) == (pb.CALL_STATUS_FAILED, pb.CALL_FAILURE_INVALID_RESPONSE)
    assert not ended.HasField("response")
    assert case.callback.status == pb.CALLBACK_STATUS_OPEN


async def test_a_response_without_a_body_is_recorded_without_one(services):
    made = await generate(services, response(response_code=204, response_body=b"x"))
    assert (await services.call(made)).response.response_body == b""
    (ended,) = await services.calls_of(made)
    assert (ended.response.response_code, ended.response.response_body) == (204, b"")


@pytest.mark.parametrize("size", [1, MAX_INLINE_BODY_BYTES, MAX_INLINE_BODY_BYTES + 1])
async def test_a_body_of_any_size_is_shown_and_stands_in_no_list(services, size):
    body = b"x" * size
    made = await generate(services, response(response_body=body), allow_multiple_calls=True)
    assert (await services.call(made)).response.response_body == body
    assert (await services.case_of(made)).response.response_body == body
    assert [each.response.response_body for each in await services.calls_of(made)] == [body]
    calls = await services.callbacks.ListCalls(rpc.ListCallsRequest(callback_case_id=made.callback_case_id))
    assert [each.response.response_body for each in calls.calls] == [b""]
    cases = await services.callbacks.ListCallbacks(rpc.ListCallbacksRequest())
    assert [each.response.HasField("response_body") for each in cases.callbacks] == [False]
