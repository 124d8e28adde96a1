"""Held calls: the caller waits for AnswerCall at any process, and at the deadline gets the fallback, in every mode."""

import asyncio

import pytest
import redis.asyncio
from structlog.testing import capture_logs
from support.proxy import StoreProxy, script_of
from support.services import refusal, response, running_services
from support.wait import wait_until

from callback.v1 import callback_handler_service_pb2 as handler_pb
from callback.v1 import callback_pb2 as pb
from callback.v1 import callbacks_service_pb2 as rpc
from callback.v1 import edge_service_pb2 as edge
from callback_server.calls import marks
from callback_server.domain.activity import Activity
from callback_server.store import keys

RESPONSE = {"callback_activity": "form", "response": response(response_code=201)}


async def generate(services, **more):
    return await services.callbacks.GenerateCallbackUrl(rpc.GenerateCallbackUrlRequest(**RESPONSE | more))


def invoke(services, made, **more):
    return asyncio.ensure_future(_invoke(services, made, **more))


async def _invoke(services, made, **more):
    return await services.call(made, **more)


async def call_of(services, made, *, held=False):
    """Return the newest call of a case as soon as it exists; with `held`, a call that waits."""

    async def there():
        calls = await services.list_calls(made)
        if not calls:
            return None
        call = await services.call_of(calls[0].call_id)
        return call if call.status == pb.CALL_STATUS_RUNNING or not held else None

    return await wait_until(there, what="the call")


async def case_of(services, made):
    return await services.case_of(made)


def answer(services, call, **more):
    return services.answer(call.call_id, **more)


async def waiting(services):
    """Return the ids of the held calls, oldest first."""
    asked = rpc.ListOwnerCallsRequest(filter=rpc.CALL_FILTER_WAITING, page_size=200)
    page = await services.callbacks.ListOwnerCalls(asked)
    return [call.call_id for call in reversed(page.calls)]


async def test_a_held_call_can_be_answered_after_the_server_of_its_caller_has_gone(store_of):
    store = store_of()
    async with running_services(store) as other:
        async with running_services(store, grace_s=0) as one:
            made = await generate(one)
            caller = invoke(one, made)
            call = await call_of(other, made)
        (caller_got,) = await asyncio.gather(caller, return_exceptions=True)
        assert isinstance(caller_got, BaseException)  # the stream ended without an answer
        said = await answer(other, call)
        assert (said.call.status, said.callback.close_reason) == (pb.CALL_STATUS_SUCCEEDED, pb.CLOSE_REASON_CONSUMED)


async def test_a_held_call_is_answered_from_another_process(store_of):
    store = store_of()
    async with running_services(store) as one, running_services(store) as other:
        made = await generate(one)
        caller = invoke(one, made, request_body=b"asked")
        call = await call_of(other, made)
        assert (call.status, await waiting(other)) == (pb.CALL_STATUS_RUNNING, [call.call_id])
        assert (await case_of(other, made)).status == pb.CALLBACK_STATUS_IN_PROGRESS
        said = await answer(other, call, response=pb.Response(response_body=b"yes"))
        assert (said.call.status, said.callback.close_reason) == (pb.CALL_STATUS_SUCCEEDED, pb.CLOSE_REASON_CONSUMED)
        got = await caller
        assert (got.call_id, got.response.response_code, got.response.response_body) == (call.call_id, 201, b"yes")
        assert await waiting(one) == []


async def test_a_lost_replica_message_delays_the_answer_by_a_second(store_of):
    store = store_of()
    async with running_services(store) as one, running_services(store) as other:
        other.control_plane.replica_bus.send = lambda *_message: None
        made = await generate(one)
        caller = invoke(one, made)
        await answer(other, await call_of(other, made))
        assert (await caller).response.response_code == 201


async def test_the_same_answer_again_succeeds_and_another_answer_is_refused(services):
    made = await generate(services)
    caller = invoke(services, made)
    call = await call_of(services, made)
    given = {"response": pb.Response(response_body=b"yes"), "verdict": handler_pb.VERDICT_ACCEPTED}
    await answer(services, call, **given)
    again = await answer(services, call, **given)
    assert again.call.response.response_body == b"yes"
    for other in ({"response": pb.Response(response_body=b"no")}, {**given, "keep_open": True},
                  {**given, "verdict": handler_pb.VERDICT_REJECTED}):  # fmt: skip
        said = await refusal(answer(services, call, **other))
        assert (said.reason, said.metadata) == ("CALL_ANSWERED", {"status": "SUCCEEDED"})
    assert (await caller).response.response_body == b"yes"


async def test_concurrent_equal_answers_end_the_call_once(store_of):
    store = store_of()
    async with running_services(store) as one, running_services(store) as other:
        for _ in range(20):
            made = await generate(one)
            caller = invoke(one, made)
            call = await call_of(one, made)
            with capture_logs() as logs:
                await asyncio.gather(*(answer(each, call, keep_open=True) for each in (one, other) * 3))
                assert (await caller).response.response_code == 201
            assert [each["call_id"] for each in logs if each["event"] == "call_ended"] == [call.call_id]


async def test_one_of_two_concurrent_different_answers_is_refused(store_of):
    store = store_of()
    async with running_services(store) as one, running_services(store) as other:
        for _ in range(20):
            made = await generate(one)
            caller = invoke(one, made)
            call = await call_of(one, made)
            told = await asyncio.gather(
                *(answer(each, call, response=pb.Response(response_body=body))
                  for each, body in ((one, b"one"), (other, b"other"))),
                return_exceptions=True,
            )  # fmt: skip
            (won,) = [each for each in told if not isinstance(each, Exception)]
            assert (await caller).response.response_body == won.call.response.response_body


async def test_a_rejection_and_keep_open_have_the_effect_of_a_handler_s_decision(services):
    made = await generate(services, retryable_after_error=True)
    caller = invoke(services, made)
    await answer(services, await call_of(services, made, held=True), verdict=handler_pb.VERDICT_REJECTED)
    answered = await caller
    assert (answered.response.response_code, answered.rejected_without_response) == (422, True)
    assert (await case_of(services, made)).status == pb.CALLBACK_STATUS_OPEN
    caller = invoke(services, made)
    rejected = {"verdict": handler_pb.VERDICT_REJECTED, "response": pb.Response(response_body=b"no")}
    await answer(services, await call_of(services, made, held=True), **rejected)
    answered = await caller
    assert (answered.response.response_body, answered.rejected_without_response) == (b"no", False)
    caller = invoke(services, made)
    await answer(services, await call_of(services, made, held=True), keep_open=True)
    assert (await caller).response.response_code == 201
    assert (await case_of(services, made)).status == pb.CALLBACK_STATUS_OPEN


async def test_an_answer_that_closes_its_callback_leaves_the_other_held_calls_waiting(services):
    made = await generate(services, allow_multiple_calls=True)
    one, other = invoke(services, made, request_body=b"one"), invoke(services, made, request_body=b"other")
    (first, second) = await wait_until(lambda: both_held(services))
    said = await answer(services, pb.Call(call_id=first), close=True)
    assert (said.call.close, said.callback.close_reason) == (True, pb.CLOSE_REASON_CONSUMED)
    assert await waiting(services) == [second]
    await answer(services, pb.Call(call_id=second))
    assert {(await each).response.response_code for each in (one, other)} == {201}


async def both_held(services):
    held = await waiting(services)
    return held if len(held) == 2 else None


async def test_an_answer_cannot_close_its_callback_and_keep_it_open_or_reject(services):
    made = await generate(services)
    caller = invoke(services, made)
    call = await call_of(services, made)
    for contradiction in ({"keep_open": True}, {"verdict": handler_pb.VERDICT_REJECTED}):
        said = await refusal(answer(services, call, close=True, **contradiction))
        assert (said.reason, said.fields) == ("INVALID_REQUEST", ["close"])
    await answer(services, call, close=True)
    assert (await caller).response.response_code == 201


async def test_an_answer_that_cannot_be_rendered_is_refused_and_the_call_still_waits(services):
    made = await generate(services)
    caller = invoke(services, made)
    call = await call_of(services, made)
    bad = pb.Response(response_type=pb.RESPONSE_TYPE_REDIRECT)
    said = await refusal(answer(services, call, response=bad))
    assert (said.reason, said.fields) == ("INVALID_REQUEST", ["response.response_redirect_url"])
    await answer(services, call)
    assert (await caller).response.response_code == 201


async def test_a_held_call_is_answered_after_its_case_was_closed(services):
    made = await generate(services)
    caller = invoke(services, made)
    call = await call_of(services, made)
    await services.close(made)
    said = await answer(services, call)
    assert said.callback.close_reason == pb.CLOSE_REASON_CLOSED_BY_OWNER
    assert (await caller).response.response_code == 201


async def test_a_call_that_its_handler_answers_is_not_held(services):
    made = await generate(services, callback_activity="record")
    recorded = await invoke(services, made)
    said = await refusal(answer(services, recorded))
    assert (said.reason, "has ended" in said.text) == ("CALL_NOT_HELD", True)
    handled = await generate(services, callback_activity="act")
    caller = invoke(services, handled)
    said = await refusal(answer(services, await call_of(services, handled)))
    assert (said.reason, "its handler decides on it" in said.text) == ("CALL_NOT_HELD", True)
    caller.cancel()
    unknown = edge.InvokeResponse(call_id=f"{'0' * 32}-{'0' * 16}")
    assert (await refusal(answer(services, unknown))).reason == "CALL_NOT_FOUND"


async def test_the_caller_gets_the_whole_answer_although_it_is_not_recorded_or_was_erased(store_of):
    store = store_of()
    async with running_services(store, record_bodies=False, record_headers=False) as services:
        made = await generate(services, allow_multiple_calls=True)
        for erases in (False, True):
            caller = invoke(services, made)
            call = await call_of(services, made, held=True)
            if erases:
                await services.erase(made)
            said = await answer(services, call, response=pb.Response(response_body=b"secret"))
            assert said.call.response.response_body == b""
            assert (await caller).response.response_body == b"secret"


HELD_BRIEFLY = {"hold_time": {"nanos": 300_000_000}}


async def test_a_held_call_without_an_answer_fails_at_the_end_of_its_hold_time(store_of):
    async with running_services(store_of()) as services:
        made = await generate(services, **HELD_BRIEFLY)
        caller = invoke(services, made)
        call = await call_of(services, made)
        assert (await refusal(caller)).reason == "HANDLER_DEADLINE_EXCEEDED"
        ended = await call_of(services, made)
        assert (ended.status, ended.failure) == (pb.CALL_STATUS_FAILED, pb.CALL_FAILURE_DEADLINE_EXCEEDED)
        assert "hold_time" in ended.failure_detail
        assert (await case_of(services, made)).close_reason == pb.CLOSE_REASON_FAILED
        said = await refusal(answer(services, call))
        assert (said.reason, said.metadata) == ("CALL_ANSWERED", {"status": "FAILED"})


async def test_a_held_call_fails_at_the_end_of_its_hold_time_after_the_server_of_its_caller_has_gone(store_of):
    store = store_of()
    async with running_services(store, sweeps=True) as other:
        with capture_logs() as logs:
            async with running_services(store, grace_s=0) as one:
                made = await generate(one, hold_time={"seconds": 2}, retryable_after_error=True)
                caller = invoke(one, made)
                call = await call_of(other, made)
            await asyncio.gather(caller, return_exceptions=True)

            async def has_ended():
                ended = await call_of(other, made)
                return ended if ended.status != pb.CALL_STATUS_RUNNING else None

            ended = await wait_until(has_ended, what="the end of the call")
        assert (ended.status, ended.failure) == (pb.CALL_STATUS_FAILED, pb.CALL_FAILURE_DEADLINE_EXCEEDED)
        assert ended.end_time.ToMilliseconds() - call.start_time.ToMilliseconds() >= 2000
        (told,) = [each for each in logs if each["event"] == "call_ended"]
        assert (told["status"], told["failure"], told["case_status"]) == ("FAILED", "DEADLINE_EXCEEDED", "OPEN")


async def test_at_most_100_calls_of_a_case_are_held_and_the_next_one_is_told_to_wait(services):
    made = await generate(services, allow_multiple_calls=True)
    callers = [invoke(services, made) for _ in range(100)]

    async def all_wait():
        return len(await waiting(services)) == 100

    await wait_until(all_wait, what="100 held calls")
    said = await refusal(invoke(services, made))
    assert (said.reason, said.retry_after_s) == ("TOO_MANY_REQUESTS", 5)
    await answer(services, await call_of(services, made))
    callers.append(invoke(services, made))
    await wait_until(all_wait, what="the call in the place of the answered one")
    for call_id in await waiting(services):
        await answer(services, pb.Call(call_id=call_id))
    assert {(await caller).response.response_code for caller in callers} == {201}


@pytest.mark.parametrize(("given", "seconds"), [({}, 300), ({"hold_time": {"seconds": 20}}, 20)])
async def test_the_time_for_an_answer_is_the_hold_time_whatever_deadline_the_activity_has(store_of, given, seconds):
    store = store_of()
    async with running_services(store, activities={"act": Activity("act", deadline_ms=1000)}) as services:
        held = {"callback_activity": "act", "answer_mode": pb.ANSWER_MODE_HOLD, **given}
        made = await generate(services, **held, **FALLBACK | {"answer_deadline": {"seconds": seconds}})
        assert (await case_of(services, made)).hold_time.seconds == seconds
        too_late = FALLBACK | {"answer_deadline": {"seconds": seconds, "nanos": 1_000_000}}
        assert (await refusal(generate(services, **held, **too_late))).fields == ["answer_deadline"]
        caller = invoke(services, made)
        call = await call_of(services, made, held=True)
        async with redis.asyncio.from_url(store.url) as client:
            leases = keys.key(keys.partition_of(made.callback_case_id), "leases")
            lease_ms = await client.zscore(leases, call.call_id) - call.start_time.ToMilliseconds()
        assert lease_ms == 1000 * seconds
        await answer(services, call)
        assert (await caller).response.response_code == 201


FALLBACK = {"answer_deadline": {"nanos": 100_000_000}, "fallback": response(response_code=202, response_body=b"later")}


async def test_a_held_call_can_be_answered_after_its_caller_got_the_fallback(services):
    made = await generate(services, **FALLBACK)
    assert (await invoke(services, made)).response.response_body == b"later"
    assert await waiting(services) == [(await call_of(services, made)).call_id]
    await answer(services, await call_of(services, made))
    call = await call_of(services, made)
    assert (call.status, call.fallback_sent) == (pb.CALL_STATUS_SUCCEEDED, True)


async def test_a_call_that_its_own_end_deletes_is_answered(store_of):
    async with running_services(store_of(), recorded_calls_per_case=1) as services:
        made = await generate(services, allow_multiple_calls=True)
        callers = []
        for number in (1, 2):
            callers.append(invoke(services, made))

            async def are_waiting(number=number):
                return len(await waiting(services)) == number

            await wait_until(are_waiting, what=f"{number} held calls")
        older, newer = await waiting(services)
        await answer(services, pb.Call(call_id=newer))
        for _ in range(2):
            said = await answer(services, pb.Call(call_id=older), response=pb.Response(response_body=b"older"))
            assert (said.call.call_id, said.call.status, said.call.erased) == (older, pb.CALL_STATUS_SUCCEEDED, True)
        assert [(await caller).response.response_body for caller in callers] == [b"older", b""]


class Away:
    """A store that does not reply to the mark of a caller that is told to wait, while `is_away`."""

    def __init__(self):
        self.is_away = True

    def __call__(self, command):
        return self.is_away and script_of(command) == "mark_waiting"


SOON = {"answer_deadline": {"nanos": 100_000_000}}


async def test_a_caller_is_told_to_wait_as_soon_as_the_store_replies_again(store_of, limits):
    limits(marks, MARK_S=0.1)
    away = Away()
    async with StoreProxy(store_of(), away) as proxy, running_services(proxy) as services:
        made = await generate(services, **SOON)
        with capture_logs() as logs:
            caller = invoke(services, made)
            await wait_until(lambda: [each for each in logs if each["event"] == "answer_not_marked"])
        away.is_away = False
        assert (await caller).wait_path


async def test_a_held_call_does_not_keep_a_server_that_stops_without_a_store(store_of, limits):
    limits(marks, MARK_S=0.1)
    async with StoreProxy(store_of(), Away()) as proxy, running_services(proxy, grace_s=3600) as services:
        made = await generate(services)
        caller = invoke(services, made)
        await call_of(services, made, held=True)
        stopping = asyncio.ensure_future(services.control_plane.stop())
        assert (await refusal(caller)).reason == "OUTCOME_UNKNOWN"
        await stopping


async def test_a_caller_that_is_reported_gone_is_recorded_and_nothing_else_changes(services):
    made = await generate(services)
    caller = invoke(services, made)
    call = await call_of(services, made)
    assert not call.caller_gone
    await services.edge.ReportCallerGone(edge.ReportCallerGoneRequest(call_id=call.call_id))
    gone = await call_of(services, made)
    assert (gone.caller_gone, gone.status) == (True, pb.CALL_STATUS_RUNNING)
    await answer(services, call)
    assert (await caller).response.response_code == 201
    await services.edge.ReportCallerGone(edge.ReportCallerGoneRequest(call_id=f"{'0' * 32}-{'0' * 16}"))
