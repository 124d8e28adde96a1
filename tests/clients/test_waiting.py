"""`wait_for_call` misses no call, returns none twice, and ends if no call can arrive."""

import asyncio
import math
import time

import grpc
import pytest
from support.clients import CALL, CASE, EVENTS, Refusal, call_message, callback_message
from support.services import running_services
from support.wait import DEADLINE_S, wait_until

from callback import (
    CallbackClosedError,
    CallbackError,
    CallStatus,
    CloseReason,
    NotFoundError,
    PermissionDeniedError,
    Response,
)
from callback.connection import _backoff
from callback.v1 import callback_pb2 as resources
from callback.v1 import callbacks_service_pb2 as messages
from callback.v1.edge_service_pb2 import InvokeRequest


@pytest.fixture
async def services(store_of):
    async with running_services(store_of()) as running:
        yield running


@pytest.fixture
async def connected(services, client_type):
    """Connect a client to a real server."""
    async with client_type(services.address) as client:
        yield client


@pytest.fixture
async def made(connected):
    """Create a callback that accepts many calls."""
    return await connected.generate_callback_url("record", Response(b"ok"), allow_multiple_calls=True)


async def call(services, made, body):
    await services.edge.Invoke(InvokeRequest(state=made.state, request_method="post", request_body=body))


async def test_a_call_that_came_before_the_wait_is_not_missed(services, connected, made):
    await call(services, made, b"first")
    await call(services, made, b"second")
    found = await connected.wait_for_call(made.case_id, timeout=DEADLINE_S)
    assert (found.attempt, found.body, found.status) == (1, b"first", CallStatus.SUCCEEDED)


async def test_the_next_call_is_the_one_after_the_last(services, connected, made):
    await call(services, made, b"first")
    first = await connected.wait_for_call(made.case_id, timeout=DEADLINE_S)
    waiting = asyncio.create_task(connected.wait_for_call(made.case_id, after=first.attempt, timeout=math.inf))
    with pytest.raises(TimeoutError):
        await connected.wait_for_call(made.case_id, after=first.attempt, timeout=0.5)
    assert not waiting.done()
    await call(services, made, b"second")
    assert (await waiting).body == b"second"


async def test_a_wait_times_out_with_the_id_of_the_case(connected, made):
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=f"{made.case_id} ended within 0.5 s"):
        await connected.wait_for_call(made.case_id, timeout=0.5)
    assert time.monotonic() - began >= 0.5


async def test_a_closed_callback_has_no_call_to_wait_for(services, connected, made):
    await call(services, made, b"first")
    await connected.close_callback(made.case_id)
    assert (await connected.wait_for_call(made.case_id, timeout=DEADLINE_S)).body == b"first"
    with pytest.raises(CallbackClosedError) as caught:
        await connected.wait_for_call(made.case_id, after=1, timeout=math.inf)
    assert caught.value.close_reason is CloseReason.CLOSED_BY_OWNER
    assert made.case_id in str(caught.value)


async def test_a_wait_ends_when_the_callback_closes(connected, made):
    waiting = asyncio.create_task(connected.wait_for_call(made.case_id, timeout=math.inf))
    await connected.close_callback(made.case_id)
    with pytest.raises(CallbackClosedError):
        await waiting


async def test_waiting_for_an_unknown_callback_fails_at_once(connected):
    with pytest.raises(NotFoundError):
        await connected.wait_for_call(CASE, timeout=math.inf)


@pytest.mark.parametrize("timeout", [0, -1, math.nan])
async def test_a_wait_requires_a_positive_timeout(connected, timeout):
    with pytest.raises(ValueError, match="positive"):
        await connected.wait_for_call(CASE, timeout=timeout)


def running(**changes):
    message = call_message(status=resources.CALL_STATUS_RUNNING, **changes)
    message.ClearField("end_time")
    message.ClearField("response")
    return message


async def test_a_running_call_of_a_closed_callback_is_waited_for(server, client):
    closed = callback_message(
        status=resources.CALLBACK_STATUS_CLOSED, close_reason=resources.CLOSE_REASON_CLOSED_BY_OWNER, call_count=1
    )
    server.answers |= {
        "GetCallback": messages.GetCallbackResponse(callback=closed),
        "ListCalls": messages.ListCallsResponse(calls=[running()]),
        "GetCall": messages.GetCallResponse(call=call_message()),
    }
    waiting = asyncio.create_task(client.wait_for_call(CASE, timeout=DEADLINE_S))
    # Twice the callback with its calls, and between them the start of a watch.
    await wait_until(lambda: len(server.requests) == 5)
    assert not waiting.done()
    server.answers["ListCalls"] = messages.ListCallsResponse(calls=[call_message()])
    server.tell()
    assert (await waiting).call_id == CALL


async def test_the_earliest_ended_call_is_found_across_pages(server, client):
    def page(*calls, more=""):
        return messages.ListCallsResponse(calls=calls, next_page_token=more)

    server.answers |= {
        "GetCallback": messages.GetCallbackResponse(callback=callback_message(call_count=9)),
        "ListCalls": [
            page(call_message(attempt=9), running(attempt=8), more="a"),
            page(call_message(attempt=7, call_id="the one"), running(attempt=6), call_message(attempt=5), more="b"),
        ],
        "GetCall": messages.GetCallResponse(call=call_message(attempt=7)),
    }
    assert (await client.wait_for_call(CASE, after=5, timeout=DEADLINE_S)).attempt == 7
    assert server.requests[-1] == messages.GetCallRequest(call_id="the one")


async def test_a_wait_whose_last_request_has_no_response_times_out_by_itself_whatever_the_clocks_say(
    server, client, limits
):
    limits(_backoff, CLOCK=lambda: time.monotonic() * 0.9)  # the deadline of gRPC comes before the end

    async def never(_request):
        await asyncio.Event().wait()

    server.answers["GetCallback"] = never
    with pytest.raises(TimeoutError, match=r"ended within 0\.5 s"):
        await client.wait_for_call(CASE, timeout=0.5)


async def test_a_wait_outlasts_an_outage_that_is_longer_than_a_request_may_take(server, client_type):
    answer = messages.GetCallbackResponse(callback=callback_message(call_count=1))
    server.answers |= {
        "GetCallback": Refusal(grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE"),
        "ListCalls": messages.ListCallsResponse(calls=[call_message()]),
        "GetCall": messages.GetCallResponse(call=call_message()),
    }
    async with client_type(server.address, timeout=0.1) as client:
        waiting = asyncio.create_task(client.wait_for_call(CASE, timeout=math.inf))
        began = time.monotonic()
        await wait_until(lambda: time.monotonic() - began > 1 and len(server.requests) > 3)
        assert not waiting.done()
    async with client_type(server.address) as client:
        server.answers["GetCallback"] = answer
        assert (await client.wait_for_call(CASE, timeout=DEADLINE_S)).call_id == CALL
    with pytest.raises(CallbackError, match="closed"):
        await waiting


async def test_a_wait_requests_nothing_while_nothing_happens(server, client):
    server.answers["GetCallback"] = messages.GetCallbackResponse(callback=callback_message(call_count=3))
    with pytest.raises(TimeoutError):
        await client.wait_for_call(CASE, after=3, timeout=2.5)
    # Not one of them lists the calls, because the case has none after the third one.
    assert [type(request) for request in server.requests] in (
        [messages.GetCallbackRequest, messages.WatchCallsRequest, messages.GetCallbackRequest],
        [messages.GetCallbackRequest, messages.WatchCallsRequest],  # on a machine with much other load
    )


async def test_a_wait_goes_on_when_its_watch_ends(server, client_type):
    ends = [
        [messages.WatchCallsResponse()],
        Refusal(grpc.StatusCode.UNAVAILABLE, "SERVER_STOPPING"),
        Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_WATCHERS"),
    ]
    server.answers |= {
        "GetCallback": messages.GetCallbackResponse(callback=callback_message(call_count=0)),
        "WatchCalls": [*ends, EVENTS],
        "GetCall": messages.GetCallResponse(call=call_message()),
    }
    async with client_type(server.address) as client:
        waiting = asyncio.create_task(client.wait_for_call(CASE, timeout=DEADLINE_S))
        await wait_until(lambda: server.answers["WatchCalls"] == [])
        assert not waiting.done()
        server.answers["GetCallback"] = messages.GetCallbackResponse(callback=callback_message(call_count=1))
        server.answers["ListCalls"] = messages.ListCallsResponse(calls=[call_message()])
        await wait_until(lambda: waiting.done() or server.tell())
        assert (await waiting).call_id == CALL


async def test_a_wait_that_may_not_watch_fails_at_once(server, client_type):
    server.answers |= {
        "GetCallback": messages.GetCallbackResponse(callback=callback_message(call_count=0)),
        "WatchCalls": Refusal(grpc.StatusCode.PERMISSION_DENIED, "ROLE_MISSING"),
    }
    async with client_type(server.address) as client:
        with pytest.raises(PermissionDeniedError):
            await client.wait_for_call(CASE, timeout=math.inf)
