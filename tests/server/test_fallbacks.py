"""The fallback at the answer deadline: what it tells its caller, and what becomes of the call."""

import asyncio
import contextlib

import grpc
import pytest
from server.test_held import FALLBACK, generate
from structlog.testing import capture_logs
from support.edge_calls import EdgeCalls
from support.handlers import accept, override, reject
from support.leases import end_leases
from support.proxy import StoreProxy, script_of
from support.services import redirect, response, running_services
from support.wait import wait_until

from callback.v1 import callback_pb2 as pb
from callback.v1 import edge_service_pb2 as edge
from callback_server.domain.call import CallFailure
from callback_server.handlers.handler import HandlerError, Reply
from callback_server.settings import ActivitySettings, RetrySettings
from callback_server.store.transitions import mark_fallback

RUNNING, SUCCEEDED, REJECTED = pb.CALL_STATUS_RUNNING, pb.CALL_STATUS_SUCCEEDED, pb.CALL_STATUS_REJECTED
FAILED, INTERRUPTED = pb.CALL_STATUS_FAILED, pb.CALL_STATUS_INTERRUPTED
NOT_STARTED = pb.CALL_STATUS_NOT_STARTED
PENDING, DELIVERED, DEAD = pb.DELIVERY_STATUS_PENDING, pb.DELIVERY_STATUS_DELIVERED, pb.DELIVERY_STATUS_DEAD
IN_PROGRESS, OPEN = pb.CALLBACK_STATUS_IN_PROGRESS, pb.CALLBACK_STATUS_OPEN
UNREACHABLE, BROKEN = CallFailure.HANDLER_UNREACHABLE, CallFailure.HANDLER_ERROR
SINGLE, RETRYABLE, MULTIPLE = {}, {"retryable_after_error": True}, {"allow_multiple_calls": True}
QUICK = RetrySettings(initial_s=0.001, max_s=0.002, max_attempts=3)


class Scripted:
    """Handler in this process. Each attempt waits for `gate`, and then has the next of its ends: answers or failures.

    `got` lists the attempts and requests that came, `refused` the answers that cannot be rendered. After the last end,
    an attempt waits until its deadline.
    """

    def __init__(self, *ends):
        self.ends, self.gate, self.got, self.refused = [*ends], asyncio.Event(), [], []

    async def handle(self, grant, request, *, timeout_s):
        self.got.append((grant.attempt, request))
        await self.gate.wait()
        if not self.ends:
            await asyncio.sleep(timeout_s)
            raise HandlerError(CallFailure.DEADLINE_EXCEEDED, "scripted")
        end = self.ends.pop(0)
        if isinstance(end, CallFailure):
            raise HandlerError(end, "scripted")
        return Reply(end, self.refused.append)


@contextlib.asynccontextmanager
async def with_scripted(store, *ends, retries=QUICK, sweeps=True, **settings):
    """Run services with a `Scripted` handler of the activity `act`."""
    handler, activity = Scripted(*ends), ActivitySettings(deadline_s=60, retry=retries)
    async with running_services(
        store, handlers={"act": handler}, activities={"act": activity}, sweeps=sweeps, **settings
    ) as services:
        yield services, handler


async def test_at_the_answer_deadline_the_caller_gets_the_fallback_and_the_handler_decides(store_of):
    async with with_scripted(store_of(), accept(override(response_body=b"decided"))) as (services, it):
        made = await generate(services, callback_activity="act", **FALLBACK)
        got = await services.call(made)
        assert (got.response.response_code, got.response.response_body) == (202, b"later")
        assert (await services.case_of(made)).status == pb.CALLBACK_STATUS_IN_PROGRESS
        await services.running(made)
        it.gate.set()
        call = await services.ended(made)
        assert (call.status, call.fallback_sent) == (pb.CALL_STATUS_SUCCEEDED, True)
        assert call.response.response_body == b"decided"
        assert (await services.case_of(made)).close_reason == pb.CLOSE_REASON_CONSUMED


async def test_a_caller_that_is_gone_before_the_answer_deadline_gets_no_fallback_and_its_call_ends_by_itself(store_of):
    async with with_scripted(store_of(), reject()) as (services, it):
        made = await generate(services, callback_activity="act", **FALLBACK)
        stream = EdgeCalls(services.channel).StreamInvocations()
        request = edge.InvokeRequest(state=made.callback_state, request_method="post")
        invocation = edge.Invocation(number=1, request=request)
        await stream.write(edge.StreamInvocationsRequest(invocations=[invocation], gone_numbers=[1]))
        asyncio.get_running_loop().call_later(0.5, it.gate.set)  # after the answer deadline
        call = await services.ended(made)
        assert (call.status, call.caller_gone, call.fallback_sent) == (REJECTED, True, False)
        assert not call.HasField("delivery")
        stream.cancel()


async def test_a_stop_cancels_the_decision_on_a_call_before_and_after_its_fallback(store_of):
    cancelled, started = [], []

    class Stuck:
        async def handle(self, grant, _request, *, timeout_s):
            started.append(grant.call_id)
            try:
                await asyncio.sleep(timeout_s)
            except asyncio.CancelledError:
                cancelled.append(grant.call_id)
                raise

    async with running_services(store_of(), handlers={"act": Stuck()}) as services:
        for deadline in (FALLBACK["answer_deadline"], {"seconds": 5}):
            made = await generate(services, callback_activity="act", **FALLBACK | {"answer_deadline": deadline})
            caller = services.call(made)
            caller.add_done_callback(lambda caller: caller.cancelled() or caller.exception())
            if deadline is FALLBACK["answer_deadline"]:
                assert (await caller).response.response_code == 202
        await wait_until(lambda: len(started) == 2, what="both calls")
        await services.control_plane.invoker.cancel()
        assert sorted(cancelled) == sorted(started)


@pytest.mark.parametrize("mode", [pb.ANSWER_MODE_ACK, pb.ANSWER_MODE_UNSPECIFIED])
async def test_the_fallback_is_never_sent_where_the_case_itself_answers(services, mode):
    activity = "act" if mode else "record"
    made = await generate(services, callback_activity=activity, answer_mode=mode, **FALLBACK)
    assert (await services.call(made)).response.response_code == 201
    assert not (await services.ended(made)).fallback_sent


async def answered_with_fallback(services, handler, **more):
    """Make a call whose caller gets the fallback, and return its case once the handler may end."""
    made = await generate(services, callback_activity="act", **FALLBACK | more)
    code = (await services.call(made, body=b"body")).response.response_code
    assert code == 202
    handler.gate.set()
    return made


async def call_with(services, made, *, status=None, delivery=None):
    """Return the call of a case once it, or its delivery, has one of these statuses."""

    async def there():
        (call,) = await services.calls_of(made)
        there = call.status == status if delivery is None else call.delivery.status == delivery
        return call if there else None

    return await wait_until(there, what=f"a call at {status or delivery}")


@pytest.mark.parametrize("mode", [SINGLE, RETRYABLE, MULTIPLE])
async def test_a_call_that_no_handler_got_after_its_fallback_goes_on_until_one_gets_it(store_of, mode):
    async with with_scripted(store_of(), *[UNREACHABLE] * 5, accept(override(response_body=b"done"))) as (services, it):
        made = await answered_with_fallback(services, it, **mode)
        call = await call_with(services, made, status=SUCCEEDED)
        assert (call.delivery.status, call.delivery.attempts, call.fallback_sent) == (DELIVERED, 1, True)
        assert (call.response.response_body, call.failure) == (b"done", pb.CALL_FAILURE_UNSPECIFIED)
        case = await services.case_of(made)
        assert case.call_count == 1
        expected = pb.CLOSE_REASON_UNSPECIFIED if mode is MULTIPLE else pb.CLOSE_REASON_CONSUMED
        assert case.close_reason == expected
        assert [attempt for attempt, _ in it.got] == [1] * 6
        assert {request.body for _, request in it.got} == {b"body"}
        assert not await services.dead()


async def test_until_a_handler_gets_it_the_call_runs_and_its_delivery_waits(store_of):
    async with with_scripted(store_of(), UNREACHABLE, accept(), sweeps=False) as (services, it):
        made = await answered_with_fallback(services, it)
        call = await call_with(services, made, delivery=PENDING)
        assert (call.status, call.delivery.attempts) == (RUNNING, 0)
        assert call.delivery.failure == pb.CALL_FAILURE_HANDLER_UNREACHABLE
        assert (await services.case_of(made)).status == IN_PROGRESS
        with pytest.raises(grpc.aio.AioRpcError, match="another call is running"):
            await services.call(made, body=b"another")
        await services.edge.look_up(edge.InvokeRequest(state=made.callback_state, request_method="post"))


@pytest.mark.parametrize("mode", [RETRYABLE, MULTIPLE])
async def test_a_handler_that_fails_after_the_fallback_is_asked_again_where_it_may_run_twice(store_of, mode):
    async with with_scripted(store_of(), BROKEN, UNREACHABLE, BROKEN, accept()) as (services, it):
        made = await answered_with_fallback(services, it, **mode)
        call = await call_with(services, made, status=SUCCEEDED)
        assert (call.delivery.status, call.delivery.attempts) == (DELIVERED, 3)
        assert [attempt for attempt, _ in it.got] == [1, 2, 2, 3]


async def test_a_handler_learns_of_each_answer_after_the_fallback_that_cannot_be_rendered(store_of):
    broken = accept(override([("Set-Cookie", "a=1")]))
    async with with_scripted(store_of(), broken, broken, accept()) as (services, it):
        made = await answered_with_fallback(services, it, **RETRYABLE)
        call = await call_with(services, made, status=SUCCEEDED)
        assert [each.call_id for each in it.refused] == [call.call_id] * 2


@pytest.mark.parametrize(
    ("mode", "ends", "status", "reason"),
    [
        (SINGLE, [BROKEN], FAILED, pb.CLOSE_REASON_FAILED),
        (SINGLE, [UNREACHABLE, BROKEN], FAILED, pb.CLOSE_REASON_FAILED),
        (SINGLE, [UNREACHABLE, reject()], REJECTED, pb.CLOSE_REASON_FAILED),
        (RETRYABLE, [BROKEN] * 3, FAILED, pb.CLOSE_REASON_UNSPECIFIED),
        (RETRYABLE, [BROKEN, reject()], REJECTED, pb.CLOSE_REASON_UNSPECIFIED),
        (MULTIPLE, [BROKEN, UNREACHABLE, BROKEN, BROKEN], FAILED, pb.CLOSE_REASON_UNSPECIFIED),
    ],
)
async def test_a_call_that_ends_without_success_after_its_fallback_follows_the_life_table_and_is_listed_as_dead(
    store_of, mode, ends, status, reason
):
    async with with_scripted(store_of(), *ends) as (services, it):
        made = await answered_with_fallback(services, it, **mode)
        call = await call_with(services, made, status=status)
        assert call.delivery.status == DEAD
        assert [each.call_id for each in await services.dead()] == [call.call_id]
        assert (await services.case_of(made)).close_reason == reason
        assert it.ends == []


async def test_a_call_that_no_handler_got_in_the_time_of_its_delivery_is_not_started_and_dead(store_of):
    retries = RetrySettings(initial_s=0.001, max_s=0.002, max_attempts=1, max_age_s=1)
    async with with_scripted(store_of(), *[UNREACHABLE] * 1000, retries=retries) as (services, it):
        made = await answered_with_fallback(services, it)
        call = await call_with(services, made, status=NOT_STARTED)
        assert (call.delivery.status, call.delivery.attempts) == (DEAD, 0)
        assert [each.call_id for each in await services.dead()] == [call.call_id]
        assert (await services.case_of(made)).status == OPEN


@pytest.mark.parametrize("fallback", [response(response_code=400), response(response_code=503)])
async def test_a_fallback_that_does_not_accept_the_request_starts_no_delivery(store_of, fallback):
    async with with_scripted(store_of(), UNREACHABLE) as (services, it):
        made = await generate(services, callback_activity="act", **FALLBACK | {"fallback": fallback})
        assert (await services.call(made)).response.response_code == fallback.response_code
        it.gate.set()
        call = await call_with(services, made, status=NOT_STARTED)
        assert (call.fallback_sent, call.HasField("delivery")) == (True, False)
        assert (await services.case_of(made)).status == OPEN


async def test_a_redirect_as_fallback_accepts_the_request(store_of):
    fallback = redirect(response_redirect_url="/later")
    async with with_scripted(store_of(), UNREACHABLE, accept()) as (services, it):
        made = await generate(services, callback_activity="act", **FALLBACK | {"fallback": fallback})
        assert (await services.call(made)).response.response_redirect_url == "https://platform.example/later"
        it.gate.set()
        assert (await call_with(services, made, status=SUCCEEDED)).delivery.status == DELIVERED


@pytest.mark.parametrize("mode", [SINGLE, RETRYABLE, MULTIPLE])
async def test_a_call_whose_server_dies_after_the_fallback_goes_on_at_another_where_it_may_run_twice(store_of, mode):
    store = store_of()
    async with with_scripted(store, accept()) as (other, its_handler):
        its_handler.gate.set()
        async with with_scripted(store, sweeps=False) as (one, _handler):
            made = await generate(one, callback_activity="act", **FALLBACK | mode)
            assert (await one.call(made)).response.response_code == 202
        await other.running(made)
        assert await end_leases(store) == 1
        if mode is SINGLE:
            call = await call_with(other, made, status=INTERRUPTED)
            assert call.delivery.status == DEAD
            assert [each.call_id for each in await other.dead()] == [call.call_id]
            assert call.delivery.failure == pb.CALL_FAILURE_HANDLER_LOST
            assert (await other.case_of(made)).close_reason == pb.CLOSE_REASON_INTERRUPTED
        else:
            call = await call_with(other, made, status=SUCCEEDED)
            assert (call.delivery.status, call.delivery.attempts) == (DELIVERED, 2)
        assert len(its_handler.got) == (mode is not SINGLE)


async def test_a_delivery_whose_last_attempt_was_lost_is_given_up_and_no_handler_is_asked_again(store_of):
    store, once = store_of(), RetrySettings(max_attempts=1)
    async with with_scripted(store, accept(), retries=once) as (other, its_handler):
        its_handler.gate.set()
        async with with_scripted(store, retries=once, sweeps=False) as (one, _handler):
            made = await generate(one, callback_activity="act", **FALLBACK | RETRYABLE)
            await one.call(made)
        await other.running(made)
        with capture_logs() as logs:
            assert await end_leases(store) == 1
            call = await call_with(other, made, status=FAILED)
            await wait_until(lambda: any(each["event"] == "call_ended" for each in logs), what="the event of the end")
        assert (call.delivery.status, call.delivery.failure) == (DEAD, pb.CALL_FAILURE_HANDLER_LOST)
        assert its_handler.got == []
        told = [each["event"] for each in logs if each.get("call_id") == call.call_id]
        assert told == ["delivery_given_up", "call_ended"]


async def test_a_server_that_dies_between_the_mark_and_the_answer_leaves_a_call_that_another_one_delivers(store_of):
    store = store_of()
    async with (
        StoreProxy(store, lambda command: script_of(command) == "mark_fallback") as proxy,
        with_scripted(store, accept()) as (other, its_handler),
    ):
        its_handler.gate.set()
        await other.control_plane.scripts.client.script_load(mark_fallback.SCRIPT.source)
        async with with_scripted(proxy, sweeps=False) as (one, _handler):
            made = await generate(other, callback_activity="act", **FALLBACK | RETRYABLE)
            caller = one.call(made)

            async def marked():
                return [call for call in await other.list_calls(made) if call.fallback_sent]

            await wait_until(marked, what="the mark")
            assert not caller.done()
        assert isinstance((await asyncio.gather(caller, return_exceptions=True))[0], BaseException)
        assert await end_leases(store) == 1
        assert (await call_with(other, made, status=SUCCEEDED)).delivery.status == DELIVERED


async def test_the_end_of_a_call_and_its_fallback_exclude_each_other(store_of):
    async with with_scripted(store_of(), *[accept()] * 30) as (services, it):
        soon = {"answer_deadline": {"nanos": 100_000_000}}
        made = [await generate(services, callback_activity="act", **FALLBACK | soon) for _ in range(30)]
        callers = [services.call(each) for each in made]
        await wait_until(lambda: any(caller.done() for caller in callers), what="the first fallback")
        it.gate.set()  # while others are marked
        for each, caller in zip(made, callers, strict=True):
            code = (await caller).response.response_code
            call = await call_with(services, each, status=SUCCEEDED)
            assert (code, call.delivery.status) == ((202, DELIVERED) if call.fallback_sent else (201, 0))


async def test_a_close_leaves_the_delivery_after_a_fallback_to_its_end(store_of):
    async with with_scripted(store_of(), UNREACHABLE, accept()) as (services, it):
        made = await generate(services, callback_activity="act", **FALLBACK)
        await services.call(made)
        await services.close(made)
        it.gate.set()
        assert (await call_with(services, made, status=SUCCEEDED)).delivery.status == DELIVERED
        assert (await services.case_of(made)).close_reason == pb.CLOSE_REASON_CLOSED_BY_OWNER


async def test_a_pause_holds_back_the_delivery_after_a_fallback_and_a_replay_makes_it_due_at_once(store_of):
    slow = RetrySettings(initial_s=3600, max_s=3600)
    async with with_scripted(store_of(), UNREACHABLE, accept(), retries=slow) as (services, it):
        await services.pause()
        made = await answered_with_fallback(services, it)
        call = await call_with(services, made, delivery=PENDING)
        replayed = await services.replay(call.call_id)
        assert (replayed.call.delivery.status, replayed.call.delivery.paused) == (PENDING, True)
        await services.resume()
        call = await call_with(services, made, status=SUCCEEDED)
        assert (call.delivery.status, (await services.case_of(made)).close_reason) == (
            DELIVERED,
            pb.CLOSE_REASON_CONSUMED,
        )


async def test_an_erasure_ends_a_call_whose_delivery_waits(store_of):
    async with with_scripted(store_of(), UNREACHABLE, sweeps=False) as (services, it):
        made = await answered_with_fallback(services, it)
        await call_with(services, made, delivery=PENDING)
        await services.erase(made)
        call = await services.ended(made)
        assert (call.status, call.delivery.status, call.erased) == (NOT_STARTED, DEAD, True)
        assert (await services.case_of(made)).status == OPEN
        assert not await services.dead()


async def test_a_request_is_whole_until_it_is_delivered_after_a_fallback_where_it_is_not_recorded(store_of):
    async with with_scripted(store_of(), UNREACHABLE, BROKEN, accept(), record_bodies=False, record_headers=False) as (
        services,
        it,
    ):
        made = await generate(services, callback_activity="act", **FALLBACK | RETRYABLE)
        await services.call(made, body=b"body", request_headers=[pb.Header(name="x-a", value="1")])
        it.gate.set()
        call = await call_with(services, made, status=SUCCEEDED)
        assert [(request.body, len(request.headers)) for _, request in it.got] == [(b"body", 1)] * 3
        assert (call.request_body, call.request_body_size, len(call.request_headers)) == (b"", 4, 0)
