"""Retries within the timeout, which never create a second case."""

import asyncio
import contextlib

import grpc
import pytest
from support.clients import CASE, STATE, Refusal, callback_message, scripted_server
from support.services import running_services
from support.wait import DEADLINE_S, wait_until

from callback import (
    GeneratedCallback,
    InvalidRequestError,
    NewCallback,
    RequestIdUnsupportedError,
    Response,
    UnavailableError,
)
from callback.v1 import callbacks_service_pb2 as messages
from callback_prove.tunnel import Tunnel

Code = grpc.StatusCode
ANSWER = messages.GetCallbackResponse(callback=callback_message())
MADE = messages.GenerateCallbackUrlResponse(
    callback_url=f"https://pay.example/cb/{STATE}", callback_state=STATE, callback_case_id=CASE
)
NO_STORE = Refusal(Code.UNAVAILABLE, "STORE_UNAVAILABLE")
NO_IDS = Refusal(Code.FAILED_PRECONDITION, "REQUEST_ID_UNSUPPORTED")


@pytest.fixture
async def retrying(server, client_type):
    async with client_type(server.address) as client:
        yield client


async def test_all_attempts_share_one_timeout(server, retrying):
    server.answers["GetCallback"] = [
        Refusal(Code.UNAVAILABLE, "STORE_UNAVAILABLE", retry_after=pause) for pause in (1.5, 3600)
    ]
    with pytest.raises(UnavailableError) as caught:
        await retrying.get_callback(CASE, timeout=30)
    assert caught.value.reason == "STORE_UNAVAILABLE"
    _, second = server.deadlines
    assert second <= 28.6  # what the first pause has left of 30 s


async def test_a_client_without_retry_sends_one_request(server, client):
    server.answers["GetCallback"] = [NO_STORE, ANSWER]
    with pytest.raises(UnavailableError):
        await client.get_callback(CASE)
    server.answers["GenerateCallbackUrl"] = MADE
    await client.generate_callback_url("record", Response(b"ok"))
    assert server.requests[-1].request_id == ""


async def test_a_client_connects_to_a_server_that_starts_late(client_type, unused_port):
    address = f"127.0.0.1:{unused_port}"
    async with client_type(address, timeout=DEADLINE_S) as client:
        asked = asyncio.create_task(client.get_callback(CASE))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(asked), 0.3)
        async with scripted_server(address) as server:
            server.answers["GetCallback"] = ANSWER
            assert (await asked).case_id == CASE


async def test_a_server_without_request_ids_gets_a_request_without_one(server, retrying):
    server.answers["GenerateCallbackUrl"] = [NO_STORE, NO_IDS, MADE]
    assert (await retrying.generate_callback_url("record", Response(b"ok"))).case_id == CASE
    assert [bool(request.request_id) for request in server.requests] == [True, True, False]


async def test_a_request_without_an_id_is_not_retried(server, retrying):
    server.answers["GenerateCallbackUrl"] = [NO_IDS, Code.UNAVAILABLE, MADE]
    with pytest.raises(UnavailableError):
        await retrying.generate_callback_url("record", Response(b"ok"))
    assert len(server.requests) == 2


async def test_a_given_request_id_that_is_not_supported_is_an_error(server, retrying):
    server.answers["GenerateCallbackUrl"] = [NO_IDS, MADE]
    with pytest.raises(RequestIdUnsupportedError):
        await retrying.generate_callback_url("record", Response(b"ok"), request_id="order-5")
    assert len(server.requests) == 1


def batch_of(*results):
    """Return the response to a batch: each result is a `Refusal`, or a callback."""
    return messages.GenerateCallbackUrlsResponse(
        results=[{"problem": each.status} if isinstance(each, Refusal) else {"generated": each} for each in results]
    )


def new_callbacks(number, **fields):
    return [NewCallback(activity="record", response=Response(b"ok"), **fields)] * number


async def test_of_a_batch_only_the_requests_that_the_store_did_not_answer_are_sent_again(server, retrying):
    bad = Refusal(Code.INVALID_ARGUMENT, "INVALID_REQUEST")
    server.answers["GenerateCallbackUrls"] = [
        NO_STORE, batch_of(MADE, NO_STORE, bad, NO_STORE), batch_of(NO_STORE, MADE), batch_of(MADE),
    ]  # fmt: skip
    results = await retrying.generate_callback_urls(new_callbacks(4))
    assert [type(each) for each in results] == [
        GeneratedCallback,
        GeneratedCallback,
        InvalidRequestError,
        GeneratedCallback,
    ]
    first, again, third, last = ([each.request_id for each in batch.requests] for batch in server.requests)
    assert len({*first, ""}) == 5
    assert (again, third, last) == (first, [first[1], first[3]], [first[1]])


async def test_a_batch_for_a_server_without_request_ids_goes_on_without_those_of_the_client(server, retrying):
    server.answers["GenerateCallbackUrls"] = [batch_of(NO_IDS, NO_IDS), batch_of(MADE)]
    given, made = await retrying.generate_callback_urls([*new_callbacks(1, request_id="mine"), *new_callbacks(1)])
    assert isinstance(given, RequestIdUnsupportedError)
    assert made.case_id == CASE
    assert [each.request_id for each in server.requests[1].requests] == [""]


async def test_a_batch_whose_rest_fails_keeps_the_urls_that_it_has(server, retrying):
    server.answers["GenerateCallbackUrls"] = [batch_of(MADE, NO_IDS), Code.UNAVAILABLE]
    made, failed = await retrying.generate_callback_urls(new_callbacks(2))
    assert made.case_id == CASE
    assert isinstance(failed, UnavailableError)
    assert len(server.requests) == 2  # the request without an id is not sent twice


async def test_a_client_without_retry_sends_a_batch_once(server, client):
    server.answers["GenerateCallbackUrls"] = [batch_of(MADE, NO_STORE)]
    made, failed = await client.generate_callback_urls(new_callbacks(2))
    assert made.case_id == CASE
    assert isinstance(failed, UnavailableError)
    assert [each.request_id for each in server.requests[0].requests] == ["", ""]


async def test_a_lost_answer_does_not_create_a_second_case(store_of, client_type):
    async with (
        running_services(store_of()) as services,
        Tunnel(services.address) as tunnel,
        client_type(tunnel.address, timeout=DEADLINE_S) as client,
        client_type(services.address) as direct,
    ):

        async def cases():
            return [each.case_id async for each in direct.list_callbacks()]

        await client.list_callbacks_page()  # so that there is a connection
        tunnel.is_losing_answers = True
        asked = asyncio.create_task(client.generate_callback_url("record", Response(b"ok")))
        [case] = await wait_until(cases, what="a case")
        assert not asked.done()
        tunnel.is_losing_answers = False
        tunnel.cut()
        made = await asked
        assert made.case_id == case
        assert await cases() == [case]
        assert made.url == f"https://box.example/cb/{made.state}"


async def test_a_server_without_a_state_key_generates_urls(store_of, client_type):
    async with running_services(store_of(), state_key=None) as services, client_type(services.address) as client:
        made = await client.generate_callback_url("record", Response(b"ok"))
        assert [each.case_id async for each in client.list_callbacks()] == [made.case_id]
