"""Pages of large items fit into the 4 MiB that gRPC accepts by default: they end early, and nothing is missing."""

import asyncio

import grpc
import msgspec
import pytest
from support.services import pages, response, running_services
from support.wait import wait_for

from callback.v1 import callback_pb2 as pb
from callback.v1 import callbacks_service_pb2 as rpc
from callback.v1 import operations_service_pb2 as operations
from callback_server.store import keys

CASES = 220
"""More than fit into a page: the list of callbacks has up to 1,000 on one."""
CALLS = 9
"""More than fit into a page."""
LONG = "\U0001f600"
"""A character of four bytes: the limits of texts count characters."""
CASE = {
    "response": response(
        response_headers=pb.ResponseHeaders(headers=[pb.ResponseHeader(name="x-long", value="v" * 8000)])
    ),
    "allow_multiple_calls": True,
    "labels": {f"label-{number}": LONG * 200 for number in range(16)},
}
REQUEST = {"request_headers": [pb.Header(name="x-long", value="v" * 512 * 1024)]}


@pytest.fixture(scope="module")
async def large(store_of):
    """Services, and the ids of their callbacks, oldest first. The first one has held calls."""
    async with running_services(store_of()) as services:
        made = [await services.generate("form", **CASE) for _ in range(CASES)]
        callers = [services.call(made[0], **REQUEST) for _ in range(CALLS)]

        async def call_count():
            return (await services.case_of(made[0])).call_count

        await wait_for(call_count, CALLS, what="the held calls")
        yield services, [each.callback_case_id for each in made]
        await services.resolve(made[0])
        await asyncio.gather(*callers)


async def test_pages_of_large_callbacks_fit(large):
    services, ids = large
    found = await pages(services.callbacks.ListCallbacks, rpc.ListCallbacksRequest(page_size=1000))
    assert [each.callback_case_id for page in found for each in page.callbacks] == ids[::-1]
    assert len(found) == 2


@pytest.mark.parametrize("of_owner", [False, True])
async def test_pages_of_large_calls_fit(large, of_owner):
    services, ids = large
    method, asked = services.callbacks.ListCalls, rpc.ListCallsRequest(callback_case_id=ids[0], page_size=100)
    if of_owner:
        method = services.callbacks.ListOwnerCalls
        asked = rpc.ListOwnerCallsRequest(filter=rpc.CALL_FILTER_WAITING, page_size=100)
    found = await pages(method, asked)
    calls = [(each.call_id, len(each.request_headers)) for page in found for each in page.calls]
    assert (len({*calls}), len(calls), {count for _, count in calls}) == (CALLS, CALLS, {1})
    assert [len(page.calls) for page in found] == [7, 2]


async def test_the_list_of_paused_activities_fits_because_no_more_than_a_thousand_can_be_paused(large):
    services, _ = large
    client = services.control_plane.client
    pause = msgspec.json.encode(["p" * 100, LONG * 200, 1])
    names = [f"{number:04}{LONG * 196}" for number in range(1000)]
    await client.hset(keys.PAUSED_KEY, mapping={"": "1", **dict.fromkeys(names, pause)})
    try:
        listed = await services.operations.ListPausedActivities(operations.ListPausedActivitiesRequest())
        assert [each.callback_activity for each in listed.paused_activities] == names
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await services.pause("one-more")
    finally:
        await client.delete(keys.PAUSED_KEY)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "1000 activities are paused already; resume some of them first" in str(refused.value.details())
