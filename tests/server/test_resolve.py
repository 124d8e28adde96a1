"""ResolveCallback: a case that holds calls gets its answer once, before or after its calls."""

import asyncio

import pytest
import redis.asyncio
from soak.counts import count
from structlog.testing import capture_logs
from support.services import redirect, refusal, response, running_services

from callback.v1 import callback_handler_service_pb2 as handler_pb
from callback.v1 import callback_pb2 as pb
from callback.v1 import callbacks_service_pb2 as rpc
from callback_server.store import keys

REJECTED = {"verdict": handler_pb.VERDICT_REJECTED}


async def generate(services, **more):
    held = {"callback_activity": "form", "response": response(response_code=201)}
    return await services.callbacks.GenerateCallbackUrl(rpc.GenerateCallbackUrlRequest(**held | more))


async def calls_of(services, made):
    """Return the calls of a case, oldest first."""
    return [*reversed(await services.list_calls(made, page_size=200))]


async def test_the_call_that_is_held_gets_the_answer_through_any_server(both):
    one, other = both
    made = await generate(one)
    caller = one.call(made)
    (call,) = await one.running(made)
    with capture_logs() as logs:
        said = await other.resolve(made, response=pb.Response(response_body=b"paid"))
    got = await caller
    assert (got.call_id, got.response.response_code, got.response.response_body) == (call.call_id, 201, b"paid")
    assert (said.ended_call_count, said.callback.resolved) == (1, True)
    assert said.callback.close_reason == pb.CLOSE_REASON_CONSUMED
    assert [each["call_id"] for each in logs if each["event"] == "call_ended"] == [call.call_id]
    ended = await one.call_of(call.call_id)
    assert (ended.status, ended.response.response_body) == (pb.CALL_STATUS_SUCCEEDED, b"paid")


async def test_a_call_that_comes_after_the_answer_gets_it_at_once(services):
    made = await generate(services)
    said = await services.resolve(made, response=redirect(response_redirect_url="https://shop.example/paid"))
    assert (said.ended_call_count, said.callback.status) == (0, pb.CALLBACK_STATUS_OPEN)
    got = await services.call(made)
    assert got.response.response_redirect_url == "https://shop.example/paid"
    (call,) = await calls_of(services, made)
    assert (call.call_id, call.status) == (got.call_id, pb.CALL_STATUS_SUCCEEDED)
    assert (await services.case_of(made)).close_reason == pb.CLOSE_REASON_CONSUMED
    assert (await refusal(services.answer(call.call_id))).reason == "CALL_ANSWERED"


async def test_the_answer_is_merged_with_the_response_of_that_moment_and_stays(services):
    made = await generate(services, allow_multiple_calls=True)
    await services.resolve(made, response=pb.Response(response_body=b"paid"))
    await services.set_response(made, response_code=202)
    got = await services.call(made)
    assert (got.response.response_code, got.response.response_body) == (201, b"paid")


async def test_the_same_answer_again_is_fine_and_another_one_is_refused(services):
    made = await generate(services, allow_multiple_calls=True)
    given = {"response": pb.Response(response_body=b"paid")}
    await services.resolve(made, **given)
    before = await services.case_of(made)
    assert (await services.resolve(made, **given)).ended_call_count == 0
    for other in ({"response": pb.Response(response_body=b"no")}, given | REJECTED, {}):
        assert (await refusal(services.resolve(made, **other))).reason == "CALLBACK_RESOLVED"
    assert await services.case_of(made) == before
    assert (await services.call(made)).response.response_body == b"paid"


async def test_the_same_answer_again_is_fine_where_the_response_of_the_case_would_not_fit_any_more(services):
    made = await generate(services, allow_multiple_calls=True, response=redirect(response_redirect_url="/paid"))
    await services.resolve(made)
    reset = rpc.SetResponseRequest(
        callback_case_id=made.callback_case_id, response=pb.Response(), update_mask={"paths": ["response_redirect_url"]}
    )
    await services.callbacks.SetResponse(reset)
    await services.resolve(made)
    assert (await services.call(made)).response.response_redirect_url == "https://platform.example/paid"


async def test_a_rejection_of_a_retryable_case_answers_only_the_call_that_is_held_now(services):
    made = await generate(services, retryable_after_error=True)
    assert not (await services.resolve(made, **REJECTED)).callback.resolved
    caller = services.call(made)
    await services.running(made)
    said = await services.resolve(made, **REJECTED, response=pb.Response(response_body=b"declined"))
    got = await caller
    assert (got.response.response_code, got.response.response_body) == (422, b"declined")
    assert (said.callback.status, said.callback.resolved) == (pb.CALLBACK_STATUS_OPEN, False)
    caller = services.call(made)
    await services.running(made)
    await services.resolve(made, response=pb.Response(response_body=b"paid"))
    assert (await caller).response.response_body == b"paid"
    assert (await refusal(services.resolve(made, **REJECTED))).reason == "CALLBACK_RESOLVED"


@pytest.mark.parametrize(("multiple", "status"), [(False, pb.CALLBACK_STATUS_CLOSED), (True, pb.CALLBACK_STATUS_OPEN)])
async def test_a_rejection_of_any_other_case_is_the_answer_to_later_calls_too(services, multiple, status):
    made = await generate(services, allow_multiple_calls=multiple)
    await services.resolve(made, **REJECTED)
    got = await services.call(made)
    assert (got.response.response_code, got.rejected_without_response) == (422, True)
    assert (await calls_of(services, made))[0].status == pb.CALL_STATUS_REJECTED
    assert (await services.case_of(made)).status == status


async def test_a_closed_case_answers_the_calls_that_it_holds_and_no_others(services):
    made = await generate(services, allow_multiple_calls=True)
    callers = [services.call(made) for _ in range(2)]
    await services.running(made, 2)
    await services.close(made)
    said = await services.resolve(made)
    assert (said.ended_call_count, said.callback.close_reason) == (2, pb.CLOSE_REASON_CLOSED_BY_OWNER)
    assert [(await caller).response.response_code for caller in callers] == [201, 201]
    assert (await services.resolve(made)).ended_call_count == 0
    answered = await generate(services)
    caller = services.call(answered)
    (call,) = await services.running(answered)
    await services.answer(call.call_id)
    await caller
    said = await refusal(services.resolve(answered))
    assert (said.reason, said.metadata) == ("CALLBACK_CLOSED", {"close_reason": "CONSUMED"})


async def test_a_case_that_holds_no_calls_is_refused(services):
    for fields in ({"callback_activity": "record"}, {"callback_activity": "act"}):
        made = await generate(services, **fields)
        said = await refusal(services.resolve(made))
        assert (said.reason, "does not hold calls" in said.text) == ("CALL_NOT_HELD", True)
    unknown = rpc.GenerateCallbackUrlResponse(callback_case_id="0" * 32)
    assert (await refusal(services.resolve(unknown))).reason == "CALLBACK_NOT_FOUND"


async def test_an_answer_that_cannot_be_rendered_is_refused_and_changes_nothing(services):
    made = await generate(services)
    caller = services.call(made)
    await services.running(made)
    before = await services.case_of(made)
    said = await refusal(services.resolve(made, response=pb.Response(response_type=pb.RESPONSE_TYPE_REDIRECT)))
    assert (said.reason, said.fields) == ("INVALID_REQUEST", ["response.response_redirect_url"])
    cookie = pb.ResponseHeaders(headers=[pb.ResponseHeader(name="set-cookie", value="a=1")])
    assert (await refusal(services.resolve(made, response=pb.Response(response_headers=cookie)))).fields == [
        "response.response_headers"
    ]
    assert await services.case_of(made) == before
    assert len(await services.running(made)) == 1
    await services.resolve(made)
    assert (await caller).response.response_code == 201


async def test_an_erasure_leaves_only_the_code_of_the_answer(store_of):
    store = store_of()
    async with running_services(store) as services, redis.asyncio.from_url(store.url) as client:
        made = await generate(services, allow_multiple_calls=True)
        given = {"response": pb.Response(response_body=b"paid by Ada")}
        await services.resolve(made, **given)
        assert (await services.call(made)).response.response_body == b"paid by Ada"
        await services.erase(made)
        resolution = keys.key(keys.partition_of(made.callback_case_id), "resolution", made.callback_case_id)
        assert not [value for value in (await client.hgetall(resolution)).values() if b"Ada" in value]
        got = await services.call(made)
        assert (got.response.response_code, got.response.response_body) == (201, b"")
        (_, later) = await calls_of(services, made)
        assert (later.call_id, later.erased, later.response.response_code) == (got.call_id, False, 201)
        await services.resolve(made, **given)
        assert (await refusal(services.resolve(made))).reason == "CALLBACK_RESOLVED"


async def test_an_erasure_leaves_nothing_of_a_redirect(services):
    made = await generate(services, allow_multiple_calls=True)
    await services.resolve(made, response=redirect(response_redirect_url="https://shop.example/ada"))
    await services.erase(made)
    assert (await refusal(services.call(made))).reason == "ANSWER_NOT_REPEATED"
    (call,) = await calls_of(services, made)
    assert (call.status, call.response.response_code) == (pb.CALL_STATUS_SUCCEEDED, 410)


async def test_a_call_whose_hold_time_ended_before_the_answer_has_failed(services):
    made = await generate(services, allow_multiple_calls=True, hold_time={"nanos": 200_000_000})
    caller = services.call(made)
    assert (await refusal(caller)).reason == "CALL_NOT_ANSWERED"
    assert (await services.resolve(made)).ended_call_count == 0
    assert [call.status for call in await calls_of(services, made)] == [pb.CALL_STATUS_FAILED]


async def test_either_the_answer_to_the_call_or_that_of_its_case_counts(both):
    one, other = both
    for _ in range(count(20, 200)):
        made = await generate(one)
        caller = one.call(made)
        (call,) = await one.running(made)
        said = await asyncio.gather(
            other.resolve(made, response=pb.Response(response_body=b"case")),
            one.answer(call.call_id, response=pb.Response(response_body=b"call")),
            return_exceptions=True,
        )
        won = [body for body, each in zip((b"case", b"call"), said, strict=True) if not isinstance(each, Exception)]
        assert [(await caller).response.response_body] == won


async def test_the_answer_and_the_call_in_any_order_give_the_caller_the_answer(both):
    one, other = both
    for number in range(count(40, 500)):
        made = await generate(one)
        body = b"%d" % number
        steps = [one.call(made), asyncio.ensure_future(_resolve(other, made, body))]
        got, said = await asyncio.gather(*steps)
        assert (got.response.response_body, said.callback.resolved) == (body, True)
        assert (await one.case_of(made)).close_reason == pb.CLOSE_REASON_CONSUMED


async def _resolve(services, made, body):
    return await services.resolve(made, response=pb.Response(response_body=body))


async def test_all_calls_that_are_held_get_the_answer_in_batches(store_of):
    cases = count(1, 10)
    async with running_services(store_of(), max_in_flight_calls=2000) as services:
        made = [await generate(services, allow_multiple_calls=True) for _ in range(cases)]
        callers = [[services.call(each) for _ in range(100)] for each in made]
        for each in made:
            await services.running(each, 100)
        said = await asyncio.gather(*(services.resolve(each) for each in made))
        assert [each.ended_call_count for each in said] == [100] * cases
        for got in await asyncio.gather(*(caller for group in callers for caller in group)):
            assert got.response.response_code == 201
