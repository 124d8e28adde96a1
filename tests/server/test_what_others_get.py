"""What others get of an answer: a scanner of links, another browser, an altered request, and all after an erasure."""

from types import SimpleNamespace

import pytest
from server.test_fallbacks import Scripted
from server.test_held import generate
from server.test_repeats import CONFIRMATION, FORM, act, same, send, start, with_handler
from support.handlers import accept, override
from support.services import refusal, response

from callback.v1 import callback_pb2 as pb
from callback.v1 import callbacks_service_pb2 as rpc

SECRET = override(response_code=201, response_body=b"for Ada", headers=[("x-answer", "for Ada")])
PERSON = {"method": "post", "headers": FORM, "body": CONFIRMATION}


@pytest.fixture
async def one(store_of):
    """Services with a handler that answers with `SECRET` once its gate is open."""
    handler = Scripted(accept(SECRET))
    async with with_handler(store_of(), handler) as services:
        yield SimpleNamespace(services=services, handler=handler)


async def test_a_scanner_of_links_gets_nothing_of_the_answer_to_a_person_who_confirmed(one):
    made = await generate(one.services, **act(), get_guard=pb.GET_GUARD_CONFIRM)
    person = start(one.services, made, **PERSON)
    await one.services.running(made)
    assert (await refusal(send(one.services, made, method="get"))).reason == "CONFIRMATION_REQUIRED"
    one.handler.gate.set()
    got = await person
    assert got.response.response_body == b"for Ada"
    assert (await refusal(send(one.services, made, method="get"))).reason == "CALLBACK_CLOSED"
    assert same(await send(one.services, made, **PERSON)) == same(got)
    assert len(one.handler.got) == 1


async def test_another_browser_with_the_url_gets_the_answer_to_the_same_request_and_makes_no_call(one):
    one.handler.gate.set()
    made = await generate(one.services, **act())
    headers = [[pb.Header(name="user-agent", value=name), pb.Header(name="cookie", value=name)] for name in ("a", "b")]
    got, others = [await send(one.services, made, method="get", headers=each) for each in headers]
    assert same(others) == same(got)
    assert (others.call_id, others.repeated_call_id) == ("", got.call_id)
    assert len(one.handler.got) == 1


async def test_another_browser_with_the_url_does_not_get_an_answer_that_must_not_be_given_twice(one):
    one.handler.gate.set()
    made = await generate(one.services, **act(), no_repeat=True)
    assert (await send(one.services, made, method="get")).response.response_body == b"for Ada"
    assert (await refusal(send(one.services, made, method="get"))).reason == "ANSWER_NOT_REPEATED"


@pytest.mark.parametrize("altered", [{"body": b"amount=6"}, {"query": "a=2"}, {"method": "put"}])
async def test_an_altered_request_gets_nothing_of_the_answer(one, altered):
    request = {"method": "post", "query": "a=1", "body": b"amount=5"}
    made = await generate(one.services, **act())
    caller = start(one.services, made, **request)
    (call,) = await one.services.running(made)
    assert (await refusal(send(one.services, made, **request | altered))).reason == "CALL_IN_PROGRESS"
    one.handler.gate.set()
    await caller
    assert (await refusal(send(one.services, made, **request | altered))).reason == "CALLBACK_CLOSED"
    await one.services.repeats(made, 0)
    assert len(one.handler.got) == 1
    assert (await one.services.repeats(made, 0)).call_id == call.call_id


async def test_after_an_erasure_nobody_gets_more_than_the_code(one):
    one.handler.gate.set()
    done = response(response_code=404, response_body=b"done")
    made = await generate(one.services, **act(), closed_response=done)
    await send(one.services, made, body=b"from Ada")
    await one.services.erase(made)
    again = await send(one.services, made, body=b"from Ada")
    assert (again.response.response_code, again.response.response_body) == (201, b"")
    assert not again.response.response_headers.headers
    assert (await send(one.services, made)).response.response_body == b"done"
    (call,) = await one.services.calls_of(made)
    assert (call.erased, call.repeat_count, b"Ada" in call.SerializeToString()) == (True, 1, False)
    listed = await one.services.callbacks.ListCalls(rpc.ListCallsRequest(callback_case_id=made.callback_case_id))
    assert b"Ada" not in listed.SerializeToString()
