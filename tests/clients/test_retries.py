"""What cannot be answered now is asked again, in the time that there is, and never makes two cases of one."""

import asyncio
import contextlib
import time
import uuid

import grpc
import pytest
from support.clients import CASE, STATE, Refusal, callback_message, scripted_server
from support.proxy import Tunnel
from support.services import running_services
from support.wait import wait_until

from callback import (
    CallbackError,
    DeadlineExceededError,
    RequestIdUnsupportedError,
    Response,
    UnavailableError,
)
from callback.v1 import callbacks_service_pb2 as messages

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


async def test_it_asks_again_until_there_is_an_answer(server, retrying):
    server.answers["GetCallback"] = [NO_STORE, Code.UNAVAILABLE, NO_STORE, ANSWER]
    assert (await retrying.get_callback(CASE)).case_id == CASE
    assert server.requests == [messages.GetCallbackRequest(callback_case_id=CASE)] * 4


async def test_all_times_together_have_the_time_of_one(server, retrying):
    server.answers["GetCallback"] = NO_STORE
    began = time.monotonic()
    with pytest.raises(UnavailableError) as caught:
        await retrying.get_callback(CASE, timeout=1)
    assert caught.value.reason == "STORE_UNAVAILABLE"
    assert time.monotonic() - began < 1
    assert 2 <= len(server.requests) <= 10
    assert server.deadlines == sorted(server.deadlines, reverse=True)
    assert server.deadlines[0] <= 1.1


async def test_a_pause_that_the_server_asks_for_is_kept(server, retrying):
    server.answers["GetCallback"] = [Refusal(Code.UNAVAILABLE, "STORE_UNAVAILABLE", retry_after=0.7), ANSWER]
    began = time.monotonic()
    await retrying.get_callback(CASE)
    assert time.monotonic() - began >= 0.7


async def test_a_pause_that_would_outlast_the_time_is_not_begun(server, retrying):
    server.answers["GetCallback"] = Refusal(Code.UNAVAILABLE, "STORE_UNAVAILABLE", retry_after=60)
    began = time.monotonic()
    with pytest.raises(UnavailableError):
        await retrying.get_callback(CASE)
    assert time.monotonic() - began < 5
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        Refusal(Code.INVALID_ARGUMENT, "INVALID_REQUEST"),
        Refusal(Code.NOT_FOUND, "CALLBACK_NOT_FOUND"),
        Refusal(Code.INTERNAL, "INTERNAL"),
        Refusal(Code.RESOURCE_EXHAUSTED, "TOO_MANY_OPEN_CALLBACKS"),
        Code.DEADLINE_EXCEEDED,
        Code.UNKNOWN,
    ],
    ids=str,
)
async def test_what_would_be_answered_in_the_same_way_is_not_asked_again(server, retrying, answer):
    server.answers["GetCallback"] = answer
    with pytest.raises(CallbackError):
        await retrying.get_callback(CASE)
    assert len(server.requests) == 1


async def test_a_server_that_does_not_answer_takes_all_the_time_of_one_request(server, retrying):
    async def never(_request):
        await asyncio.Event().wait()

    server.answers["GetCallback"] = [NO_STORE, never]
    with pytest.raises(DeadlineExceededError):
        await retrying.get_callback(CASE, timeout=0.5)
    assert len(server.requests) == 2


async def test_a_client_that_is_told_not_to_asks_once(server, client):
    server.answers["GetCallback"] = [NO_STORE, ANSWER]
    with pytest.raises(UnavailableError):
        await client.get_callback(CASE)
    server.answers["GenerateCallbackUrl"] = MADE
    await client.generate_callback_url("record", Response(b"ok"))
    assert server.requests[-1].request_id == ""


async def test_a_server_that_starts_late_is_found(client_type, unused_port):
    address = f"127.0.0.1:{unused_port}"
    async with client_type(address, timeout=30) as client:
        asked = asyncio.create_task(client.get_callback(CASE))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(asked), 0.3)
        async with scripted_server(address) as server:
            server.answers["GetCallback"] = ANSWER
            assert (await asked).case_id == CASE


async def test_a_request_for_a_url_has_an_id_that_is_the_same_each_time_and_new_for_the_next(server, retrying):
    server.answers["GenerateCallbackUrl"] = [NO_STORE, MADE, MADE]
    assert (await retrying.generate_callback_url("record", Response(b"ok"))).case_id == CASE
    await retrying.generate_callback_url("record", Response(b"ok"))
    first, again, other = (request.request_id for request in server.requests)
    assert first == again != other
    assert uuid.UUID(first).version == 4


async def test_an_id_of_ones_own_is_sent_as_it_is(server, retrying):
    server.answers["GenerateCallbackUrl"] = [NO_STORE, MADE]
    await retrying.generate_callback_url("record", Response(b"ok"), request_id="order-5")
    assert [request.request_id for request in server.requests] == ["order-5", "order-5"]


async def test_a_server_without_ids_is_asked_without_one(server, retrying):
    server.answers["GenerateCallbackUrl"] = [NO_STORE, NO_IDS, MADE]
    assert (await retrying.generate_callback_url("record", Response(b"ok"))).case_id == CASE
    assert [bool(request.request_id) for request in server.requests] == [True, True, False]


async def test_what_has_no_id_is_never_sent_again(server, retrying):
    server.answers["GenerateCallbackUrl"] = [NO_IDS, Code.UNAVAILABLE, MADE]
    with pytest.raises(UnavailableError):
        await retrying.generate_callback_url("record", Response(b"ok"))
    assert len(server.requests) == 2


async def test_an_id_of_ones_own_that_is_not_supported_is_refused(server, retrying):
    server.answers["GenerateCallbackUrl"] = [NO_IDS, MADE]
    with pytest.raises(RequestIdUnsupportedError):
        await retrying.generate_callback_url("record", Response(b"ok"), request_id="order-5")
    assert len(server.requests) == 1


async def test_a_url_whose_answer_is_lost_is_given_again_and_there_is_one_case(store_of, client_type):
    async with (
        running_services(store_of()) as services,
        Tunnel(services.address) as tunnel,
        client_type(tunnel.address, timeout=30) as client,
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


async def test_a_server_that_has_no_key_still_makes_urls(store_of, client_type):
    async with running_services(store_of(), state_key=None) as services, client_type(services.address) as client:
        made = await client.generate_callback_url("record", Response(b"ok"))
        assert [each.case_id async for each in client.list_callbacks()] == [made.case_id]
