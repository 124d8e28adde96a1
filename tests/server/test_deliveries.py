"""ACK: the caller is answered once the call is stored; the handler is retried until it accepts or the call is dead."""

import asyncio
import contextlib
import time

import grpc
import pytest
from prometheus_client import REGISTRY
from server.test_fallbacks import Scripted
from structlog.testing import capture_logs
from support.handlers import accept, answering, gated, override, reject, stub_handler
from support.services import redirect, refusal, response, running_services
from support.wait import wait_until

from callback.v1 import callback_pb2 as pb
from callback.v1 import callbacks_service_pb2 as rpc
from callback_server.domain.call import CallFailure, Request
from callback_server.handlers.handler import Reply
from callback_server.settings import ActivitySettings, RetrySettings
from callback_server.store import keys

QUICK = RetrySettings(initial_s=0.001, max_s=0.002, max_attempts=5)
PENDING, RUNNING = pb.DELIVERY_STATUS_PENDING, pb.DELIVERY_STATUS_RUNNING
DELIVERED, DEAD = pb.DELIVERY_STATUS_DELIVERED, pb.DELIVERY_STATUS_DEAD


@contextlib.asynccontextmanager
async def delivering_on(store, stub, *, retries=QUICK, sweeps=True, delivers=True, **more):
    """Run services that deliver: a stub handler serves their activity `act`."""
    activity = ActivitySettings(target=stub.target, deadline_s=60, retry=retries)
    async with running_services(store, activities={"act": activity}, sweeps=sweeps, **more) as services:
        services.stub = stub
        if not delivers:
            services.control_plane.deliveries.stop()
        yield services


@pytest.fixture
async def delivering(shared_store):
    """Run a server for each test: one that takes deliveries while its store is emptied can forget the next ones."""
    shared_store.flush()
    async with stub_handler() as stub, delivering_on(shared_store, stub) as services:
        yield services


@pytest.fixture
def stub(delivering):
    return delivering.stub


async def generate(services, name, *, callback_activity="act", **more):
    """Generate a callback, by default one that acknowledges its calls and delivers them to a script."""
    asked = {"answer_mode": pb.ANSWER_MODE_ACK, "response": response(response_code=202)}
    return await services.generate(callback_activity, callback_activity_case=name, **asked | more)


def failing(times, then):
    """Return a script that fails the given number of times, then gives an answer."""
    asked = []

    async def script(request, context):
        asked.append(request)
        if len(asked) <= times:
            await context.abort(grpc.StatusCode.INTERNAL, "broken")
        return then

    return script


async def test_the_caller_is_answered_while_the_handler_is_at_work_and_the_case_is_consumed(delivering):
    gate = asyncio.Event()
    script = gated(gate, accept(override(response_body=b"decided"), keep_open=True))
    in_flight = REGISTRY.get_sample_value("callback_deliveries_in_flight")
    name = delivering.stub.play(script)
    made = await generate(delivering, name)
    answer = await delivering.call(made, body=b"body")
    assert answer.response.response_code == 202
    call = await delivering.delivery(answer.call_id, RUNNING)
    assert (call.status, call.delivery.attempts) == (pb.CALL_STATUS_SUCCEEDED, 1)
    assert REGISTRY.get_sample_value("callback_deliveries_in_flight") == in_flight + 1
    case = await delivering.case_of(made)
    assert (case.status, case.close_reason) == (pb.CALLBACK_STATUS_CLOSED, pb.CLOSE_REASON_CONSUMED)
    assert case.answer_mode == pb.ANSWER_MODE_ACK
    gate.set()
    call = await delivering.delivery(answer.call_id, DELIVERED)
    assert (call.delivery.response.response_body, call.response.response_code) == (b"decided", 202)
    (asked,) = delivering.stub.requests(name)
    assert (asked.call_id, asked.attempt, asked.request_body, asked.replayed) == (answer.call_id, 1, b"body", False)
    assert asked.owner == "local"


async def test_a_handler_that_never_works_is_given_up_and_a_replay_is_handled_after_the_fix(delivering):
    fixed = asyncio.Event()

    async def script(_request, context):
        if not fixed.is_set():
            await context.abort(grpc.StatusCode.INTERNAL, "broken")
        return accept()

    name = delivering.stub.play(script)
    answer = await delivering.call(await generate(delivering, name))
    call = await delivering.delivery(answer.call_id, DEAD)
    assert (call.delivery.attempts, call.delivery.failure) == (5, pb.CALL_FAILURE_HANDLER_ERROR)
    assert [each.call_id for each in await delivering.dead()] == [answer.call_id]
    fixed.set()
    replayed = await delivering.replay(answer.call_id)
    assert replayed.call.delivery.status in (PENDING, RUNNING, DELIVERED)
    call = await delivering.delivery(answer.call_id, DELIVERED)
    assert call.delivery.attempts == 6
    assert delivering.stub.requests(name)[-1].replayed
    assert delivering.stub.requests(name)[-1].attempt == 6
    assert not await delivering.dead()


async def test_deliveries_that_wait_for_their_next_attempt_are_listed_and_replayed_all_at_once(store_of, stub):
    fixed = asyncio.Event()

    async def script(_request, context):
        if not fixed.is_set():
            await context.abort(grpc.StatusCode.INTERNAL, "broken")
        return accept()

    async with delivering_on(store_of(), stub, retries=RetrySettings(initial_s=3600, max_s=3600)) as services:

        async def pending(**filters):
            asked = rpc.ListOwnerCallsRequest(filter=rpc.CALL_FILTER_PENDING, page_size=2, **filters)
            found = []
            while True:
                page = await services.callbacks.ListOwnerCalls(asked)
                found += [each.call_id for each in page.calls]
                asked.page_token = page.next_page_token
                if not page.next_page_token:
                    return found

        made = [await generate(services, stub.play(script)) for _ in range(5)]
        calls = [(await services.call(each)).call_id for each in made]
        waiting = [await services.delivery(each, PENDING) for each in calls]
        latest_first = sorted(waiting, key=lambda each: each.delivery.next_attempt_time.ToNanoseconds(), reverse=True)
        assert await pending(callback_activity="act") == [each.call_id for each in latest_first]
        assert await pending(callback_activity="other") == []
        assert await pending(callback_activity="act", owner="other") == []
        assert "callback_activity" in str(await refusal(pending()))

        running = await services.call(await generate(services, stub.play(gated(fixed, accept()))))
        await services.delivery(running.call_id, RUNNING)
        assert await pending(callback_activity="act") == [each.call_id for each in latest_first]
        await services.pause()
        for each in latest_first:
            await services.replay(each.call_id)
        assert await pending(callback_activity="act") == []  # they are due now
        fixed.set()
        await services.resume()
        for each in (*calls, running.call_id):
            await services.delivery(each, DELIVERED)


async def test_a_rejection_is_dead_at_once_and_says_that_it_is_one(delivering):
    name = delivering.stub.play(answering(reject(override(response_code=400))))
    answer = await delivering.call(await generate(delivering, name))
    call = await delivering.delivery(answer.call_id, DEAD)
    assert (call.delivery.attempts, call.delivery.failure) == (1, pb.CALL_FAILURE_UNSPECIFIED)
    assert call.delivery.failure_detail == "the handler rejected it"
    assert call.delivery.response.response_code == 400


async def test_attempts_that_reach_no_handler_use_up_no_attempt_of_the_event(store_of):
    handler = Scripted(*[CallFailure.HANDLER_UNREACHABLE] * 5, CallFailure.HANDLER_ERROR, accept())
    handler.gate.set()
    activity = ActivitySettings(retry=RetrySettings(initial_s=0.001, max_s=0.002, max_attempts=2))
    serving = {"handlers": {"act": handler}, "activities": {"act": activity}}
    async with running_services(store_of(), **serving, sweeps=True) as services:
        answer = await services.call(await generate(services, "any"))
        call = await services.delivery(answer.call_id, DELIVERED)
        assert (call.delivery.attempts, [attempt for attempt, _ in handler.got]) == (2, [1] * 6 + [2])


async def test_a_delivery_is_given_up_when_it_is_too_old(store_of, stub):
    name = stub.play(failing(1000, accept()))
    retries = RetrySettings(initial_s=0.001, max_s=0.002, max_age_s=3600)
    async with delivering_on(store_of(), stub, retries=retries) as services:
        made = await generate(services, name)
        answer = await services.call(made)
        await wait_until(lambda: len(stub.requests(name)) >= 2, what="a second attempt")
        key = keys.key(keys.partition_of(made.callback_case_id), "call", answer.call_id)
        await services.control_plane.scripts.client.hset(key, "delivery_start", "1")
        call = await services.delivery(answer.call_id, DEAD)
        assert call.delivery.attempts >= 2


async def test_calls_of_an_ordered_case_are_handled_one_after_the_other_in_their_order(delivering):
    running, handled = [], []

    async def script(request, context):
        running.append(request)
        assert len(running) == 1
        first = request.attempt == 1 and int(request.request_body) % 3 == 0
        await asyncio.sleep(0)
        running.clear()
        if first:
            await context.abort(grpc.StatusCode.INTERNAL, "broken")
        handled.append(int(request.request_body))
        return accept()

    name = delivering.stub.play(script)
    made = await generate(delivering, name, allow_multiple_calls=True, ordered=True)
    for number in range(8):
        answer = await delivering.call(made, body=b"%d" % number)
    await delivering.delivery(answer.call_id, DELIVERED)
    assert handled == list(range(8))


async def test_a_pause_holds_at_every_server_from_its_answer_on_until_the_activity_is_resumed(store_of, stub):
    store = store_of()
    async with delivering_on(store, stub) as here, delivering_on(store, stub) as there:
        name = stub.play(answering(accept()))
        made = await generate(here, name, allow_multiple_calls=True)
        await here.pause()
        answers = [await services.call(made) for services in (there, here, there)]
        for partition in range(keys.PARTITIONS):  # as if a sweep had found a due delivery in each partition
            await here.control_plane.deliveries.take(partition)
        for answer in answers:
            assert (await there.call_of(answer.call_id)).delivery.status == PENDING
        looked = len(stub.requests(name))
        await there.resume()
        for answer in answers:
            await here.delivery(answer.call_id, DELIVERED)
        assert (looked, len(stub.requests(name))) == (0, 3)


async def test_paused_activities_are_listed_and_a_waiting_delivery_shows_its_reason(delivering):
    made = await generate(
        delivering, delivering.stub.play(answering(accept())), allow_multiple_calls=True, ordered=True
    )
    for activity in ("act", "other", "act"):
        await delivering.pause(activity)
    assert list(await delivering.pauses()) == ["act", "other"]
    first, second = [(await delivering.call(made)).call_id for _ in range(2)]
    for call_id, has_time in ((first, True), (second, False)):
        listed = {call.call_id: call for call in await delivering.list_calls(made)}[call_id]
        replayed = await delivering.replay(call_id)
        for call in (await delivering.call_of(call_id), listed, replayed.call):
            assert (call.delivery.status, call.delivery.paused) == (PENDING, True)
            assert call.delivery.HasField("next_attempt_time") is has_time
    await delivering.resume()
    assert list(await delivering.pauses()) == ["other"]
    assert not (await delivering.delivery(second, DELIVERED)).delivery.paused
    await delivering.pause()
    assert not (await delivering.call_of(second)).delivery.paused


@pytest.mark.parametrize("change", ["pause", "resume"])
async def test_a_store_that_takes_no_writes_is_said_to_be_away_and_the_pause_can_be_asked_for_again(delivering, change):
    client = delivering.control_plane.scripts.client
    await client.config_set("min-replicas-to-write", 1)
    try:
        assert (await refusal(getattr(delivering, change)())).reason == "STORE_UNAVAILABLE"
    finally:
        await client.config_set("min-replicas-to-write", 0)
    await getattr(delivering, change)()


async def test_an_activity_that_no_configuration_knows_any_more_can_be_paused_while_its_calls_wait(store_of, stub):
    """Set up a handler that is out of service. Attempts that do not reach a handler must not use up its calls."""
    store, name = store_of(), stub.play(answering(accept()))
    async with delivering_on(store, stub) as before:
        await before.pause()
        answer = await before.call(await generate(before, name))
    async with running_services(store) as without:
        await without.pause()
        assert (await without.call_of(answer.call_id)).delivery.paused
    async with delivering_on(store, stub) as after:
        await after.resume()
        call = await after.delivery(answer.call_id, DELIVERED)
        assert call.delivery.attempts == 1


@pytest.mark.parametrize(
    ("activity", "says"),
    [
        ("record", "never delivered"), ("form", "close their callbacks"), ("", "1-200 characters"),
        ("a" * 201, "1-200 characters"), ("a\n", "control characters"),
    ],
)  # fmt: skip
async def test_an_activity_without_deliveries_cannot_be_paused(delivering, activity, says):
    said = await refusal(delivering.pause(activity))
    assert (said.reason, said.fields) == ("INVALID_REQUEST", ["callback_activity"])
    assert says in said.text
    assert not await delivering.pauses()


async def test_a_pause_says_who_paused_when_and_why(store_of, stub):
    async with delivering_on(store_of(), stub) as delivering:
        for reason in ("before", 'the shop is "down" \\ 50 %'):
            await delivering.pause("act", reason=reason)
        await delivering.control_plane.scripts.client.hset(keys.PAUSED_KEY, "older", "1")  # as the release before
        found = await delivering.pauses()
        assert (found["act"].principal, found["act"].reason) == ("local", reason)
        assert abs(found["act"].pause_time.ToSeconds() - time.time()) < 600
        older = found["older"]
        assert (older.principal, older.reason, older.HasField("pause_time")) == ("", "", False)
        await delivering.resume("older")
        assert list(await delivering.pauses()) == ["act"]
        for reason in ("a" * 201, "a\n"):
            said = await refusal(delivering.pause("act", reason=reason))
            assert said.fields == ["reason"]


async def test_a_request_is_whole_until_it_is_delivered_where_bodies_and_headers_are_not_kept(store_of, stub):
    name = stub.play(failing(2, accept(override(response_body=b"secret"))))
    async with delivering_on(store_of(), stub, record_bodies=False, record_headers=False) as services:
        headers = [pb.Header(name="x-a", value="1")]
        answer = await services.call(await generate(services, name), body=b"body", request_headers=headers)
        call = await services.delivery(answer.call_id, DELIVERED)
        assert [(each.request_body, len(each.request_headers)) for each in stub.requests(name)] == [(b"body", 1)] * 3
        assert (call.request_body, call.request_body_size, len(call.request_headers)) == (b"", 4, 0)
        assert call.delivery.response.response_body == b""
        said = await refusal(services.replay(answer.call_id))
        assert said.reason == "CALL_NOT_REPLAYABLE"


async def test_an_erased_pending_delivery_becomes_dead_with_a_reason(store_of, stub):
    name = stub.play(answering(accept()))
    async with delivering_on(store_of(), stub, sweeps=False, delivers=False) as services:
        made = await generate(services, name)
        answer = await services.call(made, body=b"body")
        erased = await services.erase(made)
        assert erased.erased_call_count == 1
        call = await services.call_of(answer.call_id)
        assert (call.delivery.status, call.erased) == (DEAD, True)
        assert (call.delivery.attempts, call.delivery.failure_detail) == (0, "the recorded data of its call was erased")
        said = await refusal(services.replay(answer.call_id))
        assert (said.reason, "was erased" in said.text) == ("CALL_NOT_REPLAYABLE", True)
    assert stub.requests(name) == []


async def test_the_log_says_dead_where_a_failed_attempt_of_an_erased_call_has_no_successor(delivering):
    gate = asyncio.Event()

    async def fails(_request, context):
        await gate.wait()
        await context.abort(grpc.StatusCode.INTERNAL, "broken")

    name = delivering.stub.play(fails)
    made = await generate(delivering, name)
    answer = await delivering.call(made, body=b"body")
    await delivering.delivery(answer.call_id, RUNNING)
    await wait_until(lambda: delivering.stub.requests(name), what="the request")
    await delivering.erase(made)
    with capture_logs() as logs:
        gate.set()
        await delivering.delivery(answer.call_id, DEAD)
        await wait_until(lambda: [each for each in logs if each["event"] == "delivery_tried"], what="the log")
    (tried,) = [each for each in logs if each["event"] == "delivery_tried"]
    assert (tried["status"], tried["log_level"], "backoff_ms" in tried) == ("DEAD", "warning", False)


async def test_erased_calls_are_not_listed_as_dead(delivering):
    made = await generate(delivering, delivering.stub.play(answering(reject())), allow_multiple_calls=True)
    answer = await delivering.call(made, body=b"body")
    await delivering.delivery(answer.call_id, DEAD)
    await delivering.erase(made)
    other = await delivering.call(made)
    await delivering.delivery(other.call_id, DEAD)
    assert [call.call_id for call in await delivering.dead()] == [other.call_id]


async def test_a_backlog_is_worked_off_a_bounded_number_at_a_time(store_of, stub):
    running, most, three = 0, 0, asyncio.Barrier(3)

    async def script(_request, _context):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await three.wait()
        running -= 1
        return accept()

    name = stub.play(script)
    store = store_of()
    async with delivering_on(store, stub, sweeps=False, delivers=False) as closed:
        made = await generate(closed, name, allow_multiple_calls=True)
        for _ in range(60):
            answer = await closed.call(made)
    async with delivering_on(store, stub, max_in_flight_deliveries=3) as services:
        await wait_until(lambda: len(stub.requests(name)) == 60)
        await services.delivery(answer.call_id, DELIVERED)
    assert most == 3


async def test_activities_of_a_partition_take_turns(store_of):
    handled = []

    class Noting:
        async def handle(self, grant, _request, *, timeout_s):
            del timeout_s
            handled.append(grant.activity)
            return Reply(accept(), lambda _refusal: None)

    names = ["a", "b", "c"]
    async with running_services(
        store_of(), handlers=dict.fromkeys(names, Noting()), max_in_flight_deliveries=1
    ) as services:
        for name in names:
            await services.pause(name)
        partition = None
        for name in names:
            made = await generate(services, "", callback_activity=name, allow_multiple_calls=True)
            while partition not in (None, keys.partition_of(made.callback_case_id)):
                made = await generate(services, "", callback_activity=name, allow_multiple_calls=True)
            partition = keys.partition_of(made.callback_case_id)
            for _ in names:
                await services.call(made)
        for name in names:
            await services.resume(name)
        while len(handled) < 3:
            await services.control_plane.deliveries.take(partition)
            await services.control_plane.deliveries.drain()
    assert len({*handled[:3]}) > 1


async def test_deliveries_taken_before_a_stop_end_before_the_process(store_of, stub):
    name = stub.play(answering(accept()))
    store = store_of()
    async with delivering_on(store, stub, sweeps=False, delivers=False) as closed:
        made = await generate(closed, name)
        answer = await closed.call(made)
    async with delivering_on(store, stub, sweeps=False) as services:
        taking = asyncio.create_task(services.control_plane.deliveries.take(keys.partition_of(made.callback_case_id)))
        await asyncio.sleep(0)  # the store has the request and has not answered
        services.control_plane.deliveries.stop()
        await services.control_plane.deliveries.drain()
        assert (await services.call_of(answer.call_id)).delivery.status == DELIVERED
        await taking


async def test_a_call_that_ends_during_a_stop_is_delivered_before_the_end(store_of, stub):
    async with delivering_on(store_of(), stub) as delivering:
        gate = asyncio.Event()
        script = gated(gate, accept())
        name = delivering.stub.play(script)
        made = await generate(delivering, name)
        invoking = delivering.control_plane.invoker.invoke(made.callback_state, "", Request("post")).answer
        for _ in range(5):
            await asyncio.sleep(0)  # the claim is under way
        delivering.control_plane.deliveries.stop()
        draining = asyncio.create_task(delivering.control_plane.drain())
        answer = await invoking
        await wait_until(lambda: delivering.stub.requests(name), what="a handler that was asked")
        assert not draining.done()
        gate.set()
        await draining
        assert (await delivering.call_of(answer.call_id)).delivery.status == DELIVERED


async def test_a_handled_call_can_be_replayed_and_its_case_stays_as_it_is(delivering):
    name = delivering.stub.play(failing(1, accept(override(response_body=b"done"))))
    made = await generate(delivering, name, answer_mode=pb.ANSWER_MODE_HANDLER, retryable_after_error=True)
    said = await refusal(delivering.call(made, body=b"body"))
    call_id = said.metadata["call_id"]
    await delivering.replay(call_id)
    call = await delivering.delivery(call_id, DELIVERED)
    assert (call.status, call.delivery.response.response_body) == (pb.CALL_STATUS_FAILED, b"done")
    (first, again) = delivering.stub.requests(name)
    assert (first.replayed, again.replayed, again.request_body) == (False, True, b"body")
    case = await delivering.callbacks.GetCallback(rpc.GetCallbackRequest(callback_case_id=made.callback_case_id))
    assert case.callback.status == pb.CALLBACK_STATUS_OPEN


async def test_a_handler_closes_its_callback_with_a_delivery(delivering):
    name = delivering.stub.play(failing(1, accept(close=True)))
    made = await generate(delivering, name, allow_multiple_calls=True)
    answer = await delivering.call(made)
    with capture_logs() as logs:
        call = await delivering.delivery(answer.call_id, DELIVERED)

        def closes():  # logged after the store has it
            return [each["close_reason"] for each in logs if each["event"] == "case_closed"]

        await wait_until(closes, what="a log line of the close")
    assert (call.close, call.delivery.attempts) == (True, 2)
    await assert_closed(delivering, made, pb.CLOSE_REASON_CONSUMED)
    assert closes() == ["CONSUMED"]
    assert (await refusal(delivering.call(made))).reason == "CALLBACK_CLOSED"


async def test_a_replay_can_close_a_callback_that_is_open_and_does_not_change_one_that_is_closed(delivering):
    for closes_before, reason in ((False, pb.CLOSE_REASON_CONSUMED), (True, pb.CLOSE_REASON_CLOSED_BY_OWNER)):
        name = delivering.stub.play(failing(1, accept(close=True)))
        made = await generate(delivering, name, answer_mode=pb.ANSWER_MODE_HANDLER, retryable_after_error=True)
        call_id = (await refusal(delivering.call(made))).metadata["call_id"]
        if closes_before:
            await delivering.close(made)
        await delivering.replay(call_id)
        call = await delivering.delivery(call_id, DELIVERED)
        assert (call.status, call.close) == (pb.CALL_STATUS_FAILED, True)
        await assert_closed(delivering, made, reason)


async def assert_closed(services, made, reason):
    case = await services.case_of(made)
    assert (case.status, case.close_reason) == (pb.CALLBACK_STATUS_CLOSED, reason)


async def test_a_running_call_or_one_without_a_handler_is_not_replayed(delivering):
    made = await generate(delivering, "", callback_activity="record", answer_mode=pb.ANSWER_MODE_HANDLER)
    recorded = await delivering.call(made)
    said = await refusal(delivering.replay(recorded.call_id))
    assert (said.reason, "its activity, record, has no handler" in said.text) == ("CALL_NOT_REPLAYABLE", True)
    gate = asyncio.Event()
    script = gated(gate, accept())
    answer = await delivering.call(await generate(delivering, delivering.stub.play(script)))
    said = await refusal(delivering.replay(answer.call_id))
    assert (said.reason, "running" in said.text) == ("CALL_NOT_REPLAYABLE", True)
    gate.set()
    await delivering.delivery(answer.call_id, DELIVERED)


async def test_generate_refuses_settings_that_an_ack_case_cannot_have(delivering):
    said = await refusal(generate(delivering, "", response=redirect()))
    assert said.fields == ["response.response_redirect_url"]
    said = await refusal(generate(delivering, "", callback_activity="record"))
    assert said.fields == ["answer_mode"]
    said = await refusal(generate(delivering, "", answer_mode=pb.ANSWER_MODE_HANDLER, ordered=True))
    assert said.fields == ["ordered"]
    made = await generate(delivering, "")
    emptied = rpc.SetResponseRequest(callback_case_id=made.callback_case_id, response=redirect())
    assert (await refusal(delivering.callbacks.SetResponse(emptied))).fields == ["response.response_redirect_url"]


async def test_deliveries_that_have_waited_start_at_a_limited_rate(store_of):
    """However many of an activity wait: they do not slow the calls of others down."""
    number, per_second = 4, 5
    async with (
        stub_handler() as stub,
        delivering_on(store_of(), stub, sweeps=False, max_deliveries_per_second=per_second) as services,
    ):
        made = await generate(services, stub.play(answering(accept())), allow_multiple_calls=True)
        await services.pause()
        calls = [(await services.call(made, body=bytes([n]))).call_id for n in range(number)]
        await services.resume()
        began = time.monotonic()
        services.control_plane.deliveries.wake_due(keys.partition_of(made.callback_case_id))
        for call_id in calls:
            await services.delivery(call_id, DELIVERED)
        assert time.monotonic() - began > (number - 2) / per_second  # all but the first, and what is made up for
