"""One call at one worker: which worker gets it, when it is confirmed, and the effect of each loss.

The tests of `anywhere` run twice: with a worker of the caller's replica, and with one of another replica on its store.
"""

import asyncio
import time

import grpc
import pytest
from structlog.testing import capture_logs
from support.calls import Called
from support.limits import limited
from support.services import refusal, running_services
from support.wait import wait_until
from support.workers import ACCEPTED, raw_worker, serving, serving_worker

from callback.v1 import callback_pb2 as pb
from callback.v1 import worker_service_pb2 as worker_pb
from callback_server.domain.activity import Activity
from callback_server.handlers.workers import assignment
from callback_server.rpc import worker_service

ACTIVITIES = {"act": Activity("act", 20_000), "brief": Activity("brief", 4_000), "soon": Activity("soon", 400)}


async def offered_one(*workers):
    """Wait until one of two workers is offered a call. Return that worker, and the other one."""
    await wait_until(lambda: any(worker.of("offer") for worker in workers), what="an offer")
    return sorted(workers, key=lambda worker: not worker.of("offer"))


async def test_a_call_is_offered_accepted_confirmed_and_answered(anywhere):
    async with raw_worker(anywhere.worker_stub, "act") as worker:
        called = await Called.make(anywhere, "act", callback_activity_case="order 5", labels={"shop": "nl"})
        call = await worker.next("offer")
        assert (call.callback_activity_case, dict(call.labels), call.attempt) == ("order 5", {"shop": "nl"}, 1)
        assert not worker.of("confirm")
        await worker.handle()
        assert (await called.answer).call_id == call.call_id
        await worker.close()  # a stream that is lost after the result has no effect
        assert (await called.recorded()).status == pb.CALL_STATUS_SUCCEEDED


@pytest.mark.parametrize("end", ["lost", "declined"])
async def test_a_call_that_is_not_confirmed_goes_to_another_worker(anywhere, end):
    """Its case is not retryable."""
    async with raw_worker(anywhere.worker_stub, "act") as first:
        called = await Called.make(anywhere, "act")
        call = await first.next("offer")
        async with raw_worker(anywhere.worker_stub, "act") as second:
            if end == "lost":
                first.lose()
            else:
                await first.decline(call)
            await second.handle()
            await called.answer
    assert not first.of("confirm")


async def test_the_log_names_the_worker_of_each_call(anywhere):
    with capture_logs() as logs:
        async with raw_worker(anywhere.worker_stub, "act") as worker:
            called = await Called.make(anywhere, "act")
            await worker.handle()
            await called.answer
    (ended,) = [each for each in logs if each["event"] == "call_ended"]
    assert (ended["status"], ended["worker"]) == ("SUCCEEDED", "raw")


async def test_a_call_fails_if_the_stream_is_lost_after_the_confirm(anywhere):
    async with raw_worker(anywhere.worker_stub, "act") as one, raw_worker(anywhere.worker_stub, "act") as two:
        called = await Called.make(anywhere, "act")
        mine, other = await offered_one(one, two)
        await mine.begin()
        mine.lose()
        assert (await refusal(called.answer)).reason == "HANDLER_LOST"
        call = await called.recorded()
        assert call.failure == pb.CALL_FAILURE_HANDLER_LOST
        assert call.failure_detail == "the worker was lost after the call was confirmed (worker raw)"
        assert (await called.case()).close_reason == pb.CLOSE_REASON_FAILED
        assert not other.of("offer")


async def test_a_worker_that_does_not_accept_in_time_loses_the_call_to_another_and_gets_no_more(anywhere):
    async with raw_worker(anywhere.worker_stub, "act", max_calls=9) as hung:
        with limited(assignment, STEP_TIMEOUT_S=0.2):
            called = await Called.make(anywhere, "act")
            call = await hung.next("offer")
        async with raw_worker(anywhere.worker_stub, "act", max_calls=9) as other:
            assert (await other.next("offer")).call_id == call.call_id
            assert (await hung.next("withdraw")).call_id == call.call_id
            more = [await Called.make(anywhere, "act") for _ in range(12)]
            await other.next("offer", 9)
            assert len(hung.of("offer")) == 1
            await hung.accept(call)  # too late for this call, but the worker does not hang
            await hung.next("offer", 2)
            assert not hung.of("confirm")
            await other.handle()
            await called.answer
            await hung.result(call)
            async with serving(hung), serving(other):
                await asyncio.gather(*(each.answer for each in more))
    assert call.call_id not in [confirm.call_id for confirm in hung.of("confirm")]
    assert (await called.recorded()).status == pb.CALL_STATUS_SUCCEEDED


async def test_a_call_past_its_deadline_occupies_its_slot_until_the_worker_sends_a_result_which_has_no_effect(anywhere):
    async with raw_worker(anywhere.worker_stub, "brief", "act", "soon") as worker:
        called = await Called.make(anywhere, "brief")
        call = await worker.begin()
        assert (await refusal(called.answer)).reason == "HANDLER_DEADLINE_EXCEEDED"
        assert (await worker.next("withdraw")).call_id == call.call_id
        waiting = await Called.make(anywhere, "soon")
        assert (await refusal(waiting.answer)).reason == "HANDLER_NOT_STARTED"
        assert len(worker.of("offer")) == 1
        await worker.result(call)
        again = await Called.make(anywhere, "act")
        await worker.handle(2)
        await again.answer
        assert (await called.recorded()).failure == pb.CALL_FAILURE_DEADLINE_EXCEEDED
        assert (await called.case()).close_reason == pb.CLOSE_REASON_FAILED


async def test_a_result_before_the_confirm_fails_the_call_which_goes_to_no_other_worker(anywhere):
    async with raw_worker(anywhere.worker_stub, "act") as one, raw_worker(anywhere.worker_stub, "act") as two:
        called = await Called.make(anywhere, "act")
        hasty, patient = await offered_one(one, two)
        await hasty.result(await hasty.next("offer"))
        assert (await refusal(called.answer)).reason == "HANDLER_FAILED"
        assert not patient.of("offer")


async def test_a_server_that_checks_workers_names_the_one_that_does_not_wait(store_of):
    async with running_services(store_of(), activities=ACTIVITIES, check_workers=True) as services:
        async with raw_worker(services.worker_stub) as worker:
            await worker.hello("act", name="hasty")
            called = await Called.make(services, "act")
            call = await worker.next("offer")
            accept = worker_pb.WorkerMessage(accept=worker_pb.Accept(call_id=call.call_id))
            result = worker_pb.WorkerMessage(result=worker_pb.Result(call_id=call.call_id, response=ACCEPTED))
            with capture_logs() as logs:
                await worker.send(worker_pb.WorkRequest(messages=[accept, result]))
                assert (await refusal(called.answer)).reason == "HANDLER_FAILED"
        async with serving_worker(services.worker_stub, "act"):
            for _ in range(2):
                await (await Called.make(services, "act")).answer
    (warning,) = (event for event in logs if event["event"] == "worker_did_not_wait")
    assert (warning["worker"], warning["call_id"]) == ("hasty", call.call_id)


async def test_a_call_without_a_worker_until_its_deadline_is_not_started(anywhere):
    async with raw_worker(anywhere.worker_stub, "another"):
        began = time.monotonic()
        called = await Called.make(anywhere, "soon")
        said = await refusal(called.answer)
        assert time.monotonic() - began >= 0.3
        assert (said.reason, said.retry_after_s > 0) == ("HANDLER_NOT_STARTED", True)
        assert (await called.recorded()).failure == pb.CALL_FAILURE_HANDLER_UNREACHABLE
        assert (await called.case()).status == pb.CALLBACK_STATUS_OPEN


async def test_messages_about_calls_that_a_worker_does_not_have_have_no_effect(anywhere):
    async with raw_worker(anywhere.worker_stub, "act") as worker, raw_worker(anywhere.worker_stub, "other") as stranger:
        called = await Called.make(anywhere, "act")
        call = await worker.begin()
        for kind in ("accept", "decline", "result", "fail"):
            await getattr(stranger, kind)(call)
        await worker.accept(call)
        await worker.result(call)
        await worker.result(call)
        await worker.fail(call)
        assert (await called.answer).call_id == call.call_id
        assert not stranger.over.is_set()
        assert len(worker.of("confirm")) == 1


async def test_a_worker_that_declines_gets_the_next_offer_after_a_pause(anywhere):
    async with raw_worker(anywhere.worker_stub, "act") as worker:
        called = await Called.make(anywhere, "act")
        offer = await worker.next("offer")
        began = time.monotonic()
        await worker.decline(offer)
        await worker.next("offer", 2)
        assert time.monotonic() - began > 0.9
        await worker.handle(2)
        await called.answer


@pytest.mark.parametrize(
    "first",
    [
        {"hello": worker_pb.Hello()},
        {"hello": worker_pb.Hello(callback_activities=["a"])},
        {"hello": worker_pb.Hello(max_calls=1)},
        {"hello": worker_pb.Hello(callback_activities=["a"], max_calls=1001)},
        {"hello": worker_pb.Hello(callback_activities=["a", "a"], max_calls=1)},
        {"hello": worker_pb.Hello(callback_activities=[""], max_calls=1)},
        {"hello": worker_pb.Hello(callback_activities=["a"], max_calls=1, max_message_bytes=(1 << 20) - 1)},
        {"drain": worker_pb.Drain()},
    ],
    ids=str,
)
async def test_a_stream_that_does_not_begin_with_a_complete_hello_is_refused(services, first):
    async with raw_worker(services.worker_stub) as worker:
        await worker.say(**first)
        await worker.over.wait()
    assert worker.error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_wrong_message_ends_its_call_alone(anywhere):
    async with raw_worker(anywhere.worker_stub, "act", max_calls=2) as worker:
        first, second = [await Called.make(anywhere, "act") for _ in range(2)]
        calls = {call.callback_system_case: call for call in [await worker.begin(number) for number in (1, 2)]}
        await worker.say()  # a message that this server does not know
        await worker.say(accept=worker_pb.Accept(call_id="x" * 201))
        await worker.say(result=worker_pb.Result(call_id=calls[first.case_id].call_id))
        assert (await refusal(first.answer)).reason == "HANDLER_FAILED"
        assert (await first.recorded()).failure_detail == "the worker sent a result without an outcome (worker raw)"
        await worker.result(calls[second.case_id])
        assert (await second.answer).call_id == calls[second.case_id].call_id


async def test_a_worker_that_sends_hello_again_is_disconnected_and_its_confirmed_calls_are_lost(anywhere):
    async with raw_worker(anywhere.worker_stub, "act") as worker:
        called = await Called.make(anywhere, "act")
        await worker.begin()
        await worker.say(hello=worker_pb.Hello(callback_activities=["a"], max_calls=1))
        await worker.over.wait()
        assert worker.error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert (await refusal(called.answer)).reason == "HANDLER_LOST"


async def test_a_stream_without_hello_is_ended_after_a_while(services, limits):
    limits(worker_service, HELLO_TIMEOUT_S=0.1)
    async with raw_worker(services.worker_stub) as worker:
        await worker.over.wait()
    assert worker.error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "hello" in worker.error.details()
