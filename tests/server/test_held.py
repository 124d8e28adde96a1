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
from callback.v1 import edge_service_pb2 as edge
from callback_server.calls import marks
from callback_server.calls.held import CallAnswered
from callback_server.domain.activity import Activity
from callback_server.store import keys

FALLBACK = {"answer_deadline": {"nanos": 100_000_000}, "fallback": response(response_code=202, response_body=b"later")}


async def generate(services, **more):
    """Generate a callback, by default one that holds its calls."""
    asked = {"response": response(response_code=201), **more}
    return await services.generate(asked.pop("callback_activity", "form"), **asked)


async def test_a_held_call_can_be_answered_after_the_server_of_its_caller_has_gone(store_of):
    store = store_of()
    async with running_services(store) as other:
        async with running_services(store, grace_s=0) as one:
            made = await generate(one)
            caller = one.call(made)
            (call,) = await other.running(made)
        (caller_got,) = await asyncio.gather(caller, return_exceptions=True)
        assert isinstance(caller_got, BaseException)  # the stream ended without an answer
        said = await other.answer(call.call_id)
        assert (said.call.status, said.callback.close_reason) == (pb.CALL_STATUS_SUCCEEDED, pb.CLOSE_REASON_CONSUMED)


async def test_a_held_call_is_answered_from_another_process(both):
    one, other = both
    made = await generate(one)
    caller = one.call(made, body=b"asked")
    (call,) = await other.running(made)
    assert [each.call_id for each in await other.waiting()] == [call.call_id]
    assert (await other.case_of(made)).status == pb.CALLBACK_STATUS_IN_PROGRESS
    said = await other.answer(call.call_id, response=pb.Response(response_body=b"yes"))
    assert (said.call.status, said.callback.close_reason) == (pb.CALL_STATUS_SUCCEEDED, pb.CLOSE_REASON_CONSUMED)
    got = await caller
    assert (got.call_id, got.response.response_code, got.response.response_body) == (call.call_id, 201, b"yes")
    assert not await one.waiting()


async def test_a_lost_replica_message_delays_the_answer_by_a_second(store_of):
    store = store_of()
    async with running_services(store) as one, running_services(store) as other:
        one.control_plane.replica_bus.receive(CallAnswered, lambda _message: None)
        made = await generate(one)
        caller = one.call(made)
        await other.answer_running(made)
        assert (await caller).response.response_code == 201


async def test_the_same_answer_again_succeeds_and_another_answer_is_refused(services):
    made = await generate(services)
    caller = services.call(made)
    (call,) = await services.running(made)
    given = {"response": pb.Response(response_body=b"yes"), "verdict": handler_pb.VERDICT_ACCEPTED}
    await services.answer(call.call_id, **given)
    again = await services.answer(call.call_id, **given)
    assert again.call.response.response_body == b"yes"
    for other in ({"response": pb.Response(response_body=b"no")}, {**given, "keep_open": True},
                  {**given, "verdict": handler_pb.VERDICT_REJECTED}):  # fmt: skip
        said = await refusal(services.answer(call.call_id, **other))
        assert (said.reason, said.metadata) == ("CALL_ANSWERED", {"status": "SUCCEEDED"})
    assert (await caller).response.response_body == b"yes"


async def test_concurrent_equal_answers_end_the_call_once(both):
    one, other = both
    for _ in range(20):
        made = await generate(one)
        caller = one.call(made)
        (call,) = await one.running(made)
        with capture_logs() as logs:
            await asyncio.gather(*(each.answer(call.call_id, keep_open=True) for each in (one, other) * 3))
            assert (await caller).response.response_code == 201
        assert [each["call_id"] for each in logs if each["event"] == "call_ended"] == [call.call_id]


async def test_one_of_two_concurrent_different_answers_is_refused(both):
    one, other = both
    for _ in range(20):
        made = await generate(one)
        caller = one.call(made)
        (call,) = await one.running(made)
        told = await asyncio.gather(
            *(each.answer(call.call_id, response=pb.Response(response_body=body))
              for each, body in ((one, b"one"), (other, b"other"))),
            return_exceptions=True,
        )  # fmt: skip
        (won,) = [each for each in told if not isinstance(each, Exception)]
        assert (await caller).response.response_body == won.call.response.response_body


async def test_a_rejection_and_keep_open_have_the_effect_of_a_handler_s_decision(services):
    made = await generate(services, retryable_after_error=True)
    caller = services.call(made)
    await services.answer_running(made, verdict=handler_pb.VERDICT_REJECTED)
    answered = await caller
    assert (answered.response.response_code, answered.rejected_without_response) == (422, True)
    assert (await services.case_of(made)).status == pb.CALLBACK_STATUS_OPEN
    caller = services.call(made)
    rejected = {"verdict": handler_pb.VERDICT_REJECTED, "response": pb.Response(response_body=b"no")}
    await services.answer_running(made, **rejected)
    answered = await caller
    assert (answered.response.response_body, answered.rejected_without_response) == (b"no", False)
    caller = services.call(made)
    await services.answer_running(made, keep_open=True)
    assert (await caller).response.response_code == 201
    assert (await services.case_of(made)).status == pb.CALLBACK_STATUS_OPEN


async def test_an_answer_that_closes_its_callback_leaves_the_other_held_calls_waiting(services):
    made = await generate(services, allow_multiple_calls=True)
    one, other = services.call(made, body=b"one"), services.call(made, body=b"other")
    first, second = await services.running(made, 2)
    said = await services.answer(first.call_id, close=True)
    assert (said.call.close, said.callback.close_reason) == (True, pb.CLOSE_REASON_CONSUMED)
    assert [each.call_id for each in await services.waiting()] == [second.call_id]
    await services.answer(second.call_id)
    assert {(await each).response.response_code for each in (one, other)} == {201}


async def test_an_answer_cannot_close_its_callback_and_keep_it_open_or_reject(services):
    made = await generate(services)
    caller = services.call(made)
    (call,) = await services.running(made)
    for contradiction in ({"keep_open": True}, {"verdict": handler_pb.VERDICT_REJECTED}):
        said = await refusal(services.answer(call.call_id, close=True, **contradiction))
        assert (said.reason, said.fields) == ("INVALID_REQUEST", ["close"])
    await services.answer(call.call_id, close=True)
    assert (await caller).response.response_code == 201


async def test_an_answer_that_cannot_be_rendered_is_refused_and_the_call_still_waits(services):
    made = await generate(services)
    caller = services.call(made)
    (call,) = await services.running(made)
    bad = pb.Response(response_type=pb.RESPONSE_TYPE_REDIRECT)
    said = await refusal(services.answer(call.call_id, response=bad))
    assert (said.reason, said.fields) == ("INVALID_REQUEST", ["response.response_redirect_url"])
    await services.answer(call.call_id)
    assert (await caller).response.response_code == 201


async def test_a_held_call_is_answered_after_its_case_was_closed(services):
    made = await generate(services)
    caller = services.call(made)
    (call,) = await services.running(made)
    await services.close(made)
    said = await services.answer(call.call_id)
    assert said.callback.close_reason == pb.CLOSE_REASON_CLOSED_BY_OWNER
    assert (await caller).response.response_code == 201


async def test_a_call_that_its_handler_answers_is_not_held(services):
    made = await generate(services, callback_activity="record")
    recorded = await services.call(made)
    said = await refusal(services.answer(recorded.call_id))
    assert (said.reason, "has ended" in said.text) == ("CALL_NOT_HELD", True)
    handled = await generate(services, callback_activity="act")
    caller = services.call(handled)
    said = await refusal(services.answer_running(handled))
    assert (said.reason, "its handler decides on it" in said.text) == ("CALL_NOT_HELD", True)
    caller.cancel()
    assert (await refusal(services.answer(f"{'0' * 32}-{'0' * 16}"))).reason == "CALL_NOT_FOUND"


async def test_the_caller_gets_the_whole_answer_although_it_is_not_recorded_or_was_erased(store_of):
    store = store_of()
    async with running_services(store, record_bodies=False, record_headers=False) as services:
        made = await generate(services, allow_multiple_calls=True)
        for erases in (False, True):
            caller = services.call(made)
            (call,) = await services.running(made)
            if erases:
                await services.erase(made)
            said = await services.answer(call.call_id, response=pb.Response(response_body=b"secret"))
            assert said.call.response.response_body == b""
            assert (await caller).response.response_body == b"secret"


@pytest.mark.parametrize(("option", "is_open"), [({}, None), ({"allow_multiple_calls": True}, "true")])
async def test_a_held_call_without_an_answer_fails_at_the_end_of_its_hold_time_and_its_caller_learns_whether_to_retry(
    services, option, is_open
):
    made = await generate(services, hold_time={"nanos": 300_000_000}, **option)
    said = await refusal(services.call(made))
    assert (said.reason, said.metadata.get("callback_open")) == ("CALL_NOT_ANSWERED", is_open)
    ended = await services.ended(made)
    assert (ended.status, ended.failure) == (pb.CALL_STATUS_FAILED, pb.CALL_FAILURE_DEADLINE_EXCEEDED)
    assert "hold_time" in ended.failure_detail
    reason = pb.CLOSE_REASON_UNSPECIFIED if is_open else pb.CLOSE_REASON_FAILED
    assert (await services.case_of(made)).close_reason == reason
    said = await refusal(services.answer(ended.call_id))
    assert (said.reason, said.metadata) == ("CALL_ANSWERED", {"status": "FAILED"})


async def test_a_held_call_fails_at_the_end_of_its_hold_time_after_the_server_of_its_caller_has_gone(store_of):
    store = store_of()
    async with running_services(store, sweeps=True) as other:
        with capture_logs() as logs:
            async with running_services(store, grace_s=0) as one:
                made = await generate(one, hold_time={"seconds": 2}, retryable_after_error=True)
                caller = one.call(made)
                (call,) = await other.running(made)
            await asyncio.gather(caller, return_exceptions=True)
            ended = await other.ended(made)
        assert (ended.status, ended.failure) == (pb.CALL_STATUS_FAILED, pb.CALL_FAILURE_DEADLINE_EXCEEDED)
        assert ended.end_time.ToMilliseconds() - call.start_time.ToMilliseconds() >= 2000
        (told,) = [each for each in logs if each["event"] == "call_ended"]
        assert (told["status"], told["failure"], told["case_status"]) == ("FAILED", "DEADLINE_EXCEEDED", "OPEN")


async def test_at_most_100_calls_of_a_case_are_held_and_the_next_one_is_told_to_wait(services):
    made = await generate(services, allow_multiple_calls=True)
    callers = [services.call(made) for _ in range(100)]
    first, *_ = await services.running(number=100)
    said = await refusal(services.call(made))
    assert (said.reason, said.retry_after_s) == ("TOO_MANY_REQUESTS", 5)
    await services.answer(first.call_id)
    callers.append(services.call(made))
    for call in await services.running(number=100):
        await services.answer(call.call_id)
    assert {(await caller).response.response_code for caller in callers} == {201}


@pytest.mark.parametrize(("given", "seconds"), [({}, 300), ({"hold_time": {"seconds": 20}}, 20)])
async def test_the_time_for_an_answer_is_the_hold_time_whatever_deadline_the_activity_has(store_of, given, seconds):
    store = store_of()
    async with running_services(store, activities={"act": Activity("act", deadline_ms=1000)}) as services:
        held = {"callback_activity": "act", "answer_mode": pb.ANSWER_MODE_HOLD, **given}
        made = await generate(services, **held, **FALLBACK | {"answer_deadline": {"seconds": seconds}})
        assert (await services.case_of(made)).hold_time.seconds == seconds
        too_late = FALLBACK | {"answer_deadline": {"seconds": seconds, "nanos": 1_000_000}}
        assert (await refusal(generate(services, **held, **too_late))).fields == ["answer_deadline"]
        caller = services.call(made)
        (call,) = await services.running(made)
        async with redis.asyncio.from_url(store.url) as client:
            leases = keys.key(keys.partition_of(made.callback_case_id), "leases")
            lease_ms = await client.zscore(leases, call.call_id) - call.start_time.ToMilliseconds()
        assert lease_ms == 1000 * seconds
        await services.answer(call.call_id)
        assert (await caller).response.response_code == 201


async def test_a_held_call_can_be_answered_after_its_caller_got_the_fallback(services):
    made = await generate(services, **FALLBACK)
    assert (await services.call(made)).response.response_body == b"later"
    (held,) = await services.waiting()
    assert (held.fallback_sent, held.HasField("delivery")) == (True, False)
    await services.answer(held.call_id)
    call = await services.ended(made)
    assert (call.status, call.fallback_sent) == (pb.CALL_STATUS_SUCCEEDED, True)


async def test_a_call_that_its_own_end_deletes_is_answered(store_of):
    async with running_services(store_of(), recorded_calls_per_case=1) as services:
        made = await generate(services, allow_multiple_calls=True)
        callers = []
        for number in (1, 2):
            callers.append(services.call(made))
            held = [call.call_id for call in await services.running(number=number)]
        older, newer = held
        await services.answer(newer)
        for _ in range(2):
            said = await services.answer(older, response=pb.Response(response_body=b"older"))
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
            caller = services.call(made)
            await wait_until(lambda: [each for each in logs if "answer_not_marked" in each.get("counts", ())])
        away.is_away = False
        assert (await caller).wait_path


async def test_a_held_call_does_not_keep_a_server_that_stops_without_a_store(store_of, limits):
    limits(marks, MARK_S=0.1)
    async with StoreProxy(store_of(), Away()) as proxy, running_services(proxy, grace_s=3600) as services:
        made = await generate(services)
        caller = services.call(made)
        await services.running(made)
        stopping = asyncio.ensure_future(services.control_plane.stop())
        assert (await refusal(caller)).reason == "OUTCOME_UNKNOWN"
        await stopping


async def test_a_caller_that_is_reported_gone_is_recorded_and_nothing_else_changes(services):
    made = await generate(services)
    caller = services.call(made)
    (call,) = await services.running(made)
    assert not call.caller_gone
    await services.edge.ReportCallerGone(edge.ReportCallerGoneRequest(call_id=call.call_id))
    (gone,) = await services.running(made)
    assert (gone.caller_gone, gone.status) == (True, pb.CALL_STATUS_RUNNING)
    await services.answer(call.call_id)
    assert (await caller).response.response_code == 201
    await services.edge.ReportCallerGone(edge.ReportCallerGoneRequest(call_id=f"{'0' * 32}-{'0' * 16}"))
