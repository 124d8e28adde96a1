"""One call with one worker: who gets it, when it has begun, and what each loss makes of it.

Twice: with a worker of the caller's replica, and with one of another replica on the same store.
"""

import asyncio
import contextlib
import time

import grpc
import pytest
from support.calls import Called
from support.services import refusal, running_services
from support.wait import wait_until
from support.workers import ACCEPTED, raw_worker

from callback.v1 import callback_pb2 as pb
from callback.v1 import worker_service_pb2
from callback_server.domain.activity import Activity
from callback_server.rpc import worker_service

ACTIVITIES = {"act": Activity("act", 20_000), "brief": Activity("brief", 1_000)}


@pytest.fixture(params=["here", "elsewhere"])
async def services(request, store_of):
    """The services that calls come to; `worker_stub` leads to where the workers are."""
    store = store_of()
    async with contextlib.AsyncExitStack() as stack:
        up = await stack.enter_async_context(running_services(store, activities=ACTIVITIES))
        if request.param == "elsewhere":
            other = await stack.enter_async_context(running_services(store, activities=ACTIVITIES))
            up.worker_stub = other.worker_stub
        yield up


async def test_a_call_is_offered_started_begun_and_answered(services):
    async with raw_worker(services.worker_stub, "act") as worker:
        called = await Called.make(services, "act", callback_activity_case="order 5", labels={"shop": "nl"})
        call = await worker.next("call")
        assert (call.callback_activity_case, dict(call.labels), call.attempt) == ("order 5", {"shop": "nl"}, 1)
        assert not worker.of("go")
        await worker.start(call)
        assert (await worker.next("go")).call_id == call.call_id
        await worker.result(call)
        assert (await called.answer).call_id == call.call_id
        assert (await called.recorded()).status == pb.CALL_STATUS_SUCCEEDED


@pytest.mark.parametrize("end", ["lost", "declined"])
async def test_a_call_that_has_not_begun_goes_to_another_worker(services, end):
    """Its case is not retryable."""
    async with raw_worker(services.worker_stub, "act") as first:
        called = await Called.make(services, "act")
        call = await first.next("call")
        async with raw_worker(services.worker_stub, "act") as second:
            if end == "lost":
                first.lose()
            else:
                await first.decline(call)
            call = await second.next("call")
            await second.start(call)
            await second.next("go")
            await second.result(call)
            await called.answer
    assert not first.of("go")


async def test_a_stream_that_is_lost_after_go_is_the_end_of_the_call(services):
    async with raw_worker(services.worker_stub, "act") as first, raw_worker(services.worker_stub, "act") as second:
        called = await Called.make(services, "act")
        await wait_until(lambda: first.of("call") or second.of("call"), what="an offer")
        mine, other = (first, second) if first.of("call") else (second, first)
        await mine.start(await mine.next("call"))
        await mine.next("go")
        mine.lose()
        assert (await refusal(called.answer)).reason == "HANDLER_LOST"
        assert (await called.recorded()).failure == pb.CALL_FAILURE_HANDLER_LOST
        assert (await called.case()).close_reason == pb.CLOSE_REASON_FAILED
        assert not other.of("call")


async def test_a_stream_that_is_lost_after_its_result_changes_nothing(services):
    async with raw_worker(services.worker_stub, "act") as worker:
        called = await Called.make(services, "act")
        call = await worker.next("call")
        await worker.start(call)
        await worker.next("go")
        await worker.result(call)
        await called.answer
        await worker.close()
        assert (await called.recorded()).status == pb.CALL_STATUS_SUCCEEDED


async def test_a_worker_that_does_not_say_start_in_time_loses_the_call_to_another_and_gets_no_more(services):
    async with raw_worker(services.worker_stub, "act", max_calls=9) as hung:
        called = await Called.make(services, "act")
        call = await hung.next("call")
        async with raw_worker(services.worker_stub, "act", max_calls=9) as other:
            second = await other.next("call")
            assert second.call_id == call.call_id
            assert (await hung.next("withdrawn")).call_id == call.call_id
            more = [await Called.make(services, "act") for _ in range(12)]
            await other.next("call", 9)
            assert len(hung.of("call")) == 1
            await hung.start(call)  # too late for this one; but it does not hang
            await hung.next("call", 2)
            assert not hung.of("go")
            await other.start(second)
            await other.next("go")
            await other.result(second)
            await called.answer
            await hung.result(call)
            serving = [asyncio.create_task(worker.serve()) for worker in (hung, other)]
            await asyncio.gather(*(each.answer for each in more))
            await asyncio.gather(hung.close(), other.close(), *serving)
    assert call.call_id not in [go.call_id for go in hung.of("go")]
    assert (await called.recorded()).status == pb.CALL_STATUS_SUCCEEDED


async def test_a_result_after_the_deadline_changes_nothing(services):
    async with raw_worker(services.worker_stub, "brief") as worker:
        called = await Called.make(services, "brief")
        call = await worker.next("call")
        await worker.start(call)
        await worker.next("go")
        assert (await refusal(called.answer)).reason == "HANDLER_DEADLINE_EXCEEDED"
        assert (await worker.next("withdrawn")).call_id == call.call_id
        await worker.result(call)
        again = await Called.make(services, "brief")  # its place is free again: it was heard
        second = await worker.next("call", 2)
        await worker.start(second)
        await worker.next("go", 2)
        await worker.result(second)
        await again.answer
        assert (await called.recorded()).failure == pb.CALL_FAILURE_DEADLINE_EXCEEDED
        assert (await called.case()).close_reason == pb.CLOSE_REASON_FAILED


async def test_a_call_taken_back_keeps_its_place_until_the_worker_has_answered(services):
    async with raw_worker(services.worker_stub, "brief", "act") as worker:
        called = await Called.make(services, "brief")
        call = await worker.next("call")
        await worker.start(call)
        await refusal(called.answer)
        waiting = await Called.make(services, "brief")
        assert (await refusal(waiting.answer)).reason == "HANDLER_NOT_STARTED"
        assert len(worker.of("call")) == 1


async def test_an_answer_before_go_is_a_failure_and_the_call_goes_to_nobody_else(services):
    async with raw_worker(services.worker_stub, "act") as worker, raw_worker(services.worker_stub, "act") as other:
        called = await Called.make(services, "act")
        await wait_until(lambda: worker.of("call") or other.of("call"), what="an offer")
        hasty, patient = (worker, other) if worker.of("call") else (other, worker)
        await hasty.result(await hasty.next("call"))
        assert (await refusal(called.answer)).reason == "HANDLER_FAILED"
        assert not patient.of("call")


async def test_a_call_that_nobody_serves_waits_for_a_worker(services):
    called = await Called.make(services, "act")
    async with raw_worker(services.worker_stub, "act") as worker:
        serving = asyncio.create_task(worker.serve())
        await called.answer
        await worker.close()
        await serving


async def test_a_call_that_nobody_serves_until_its_deadline_was_not_started(services):
    async with raw_worker(services.worker_stub, "another"):
        began = time.monotonic()
        called = await Called.make(services, "brief")
        said = await refusal(called.answer)
        assert time.monotonic() - began >= 1
        assert (said.reason, said.retry_after_s > 0) == ("HANDLER_NOT_STARTED", True)
        assert (await called.recorded()).failure == pb.CALL_FAILURE_HANDLER_UNREACHABLE
        assert (await called.case()).status == pb.CALLBACK_STATUS_OPEN


async def test_what_a_worker_says_of_calls_that_it_does_not_have_changes_nothing(services):
    async with raw_worker(services.worker_stub, "act") as worker, raw_worker(services.worker_stub, "other") as stranger:
        called = await Called.make(services, "act")
        call = await worker.next("call")
        await worker.start(call)
        await worker.next("go")
        for kind in ("start", "decline", "result", "fail"):
            await getattr(stranger, kind)(call)
        await worker.start(call)
        await worker.result(call)
        await worker.result(call)
        await worker.fail(call)
        assert (await called.answer).call_id == call.call_id
        assert not stranger.over.is_set()
        assert len(worker.of("go")) == 1


async def test_a_worker_that_declines_is_asked_again_and_not_at_once(services):
    async with raw_worker(services.worker_stub, "act") as worker:
        called = await Called.make(services, "act")
        await worker.decline(await worker.next("call"))
        began = time.monotonic()
        call = await worker.next("call", 2)
        assert time.monotonic() - began > 0.9
        await worker.start(call)
        await worker.next("go")
        await worker.result(call, ACCEPTED)
        await called.answer


@pytest.mark.parametrize(
    "hello",
    [
        {},
        {"callback_activities": ["a"]},
        {"max_calls": 1},
        {"callback_activities": ["a"], "max_calls": 1001},
        {"callback_activities": ["a", "a"], "max_calls": 1},
        {"callback_activities": [""], "max_calls": 1},
    ],
)
async def test_a_worker_that_does_not_say_who_it_is_is_refused(services, hello):
    async with raw_worker(services.worker_stub) as worker:
        await worker.say(hello=worker_service_pb2.Hello(**hello))
        await worker.over.wait()
    assert worker.error.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"hello": worker_service_pb2.Hello(callback_activities=["a"], max_calls=1)},
        {"result": worker_service_pb2.Result(call_id="x")},
        {"start": worker_service_pb2.Start(call_id="x" * 201)},
    ],
)
async def test_a_worker_that_breaks_the_contract_is_cut_off_and_what_it_began_is_lost(services, message):
    async with raw_worker(services.worker_stub, "act") as worker:
        called = await Called.make(services, "act")
        await worker.start(await worker.next("call"))
        await worker.next("go")
        await worker.say(**message)
        await worker.over.wait()
        assert worker.error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert (await refusal(called.answer)).reason == "HANDLER_LOST"


async def test_a_stream_that_begins_with_anything_but_hello_is_refused(services):
    async with raw_worker(services.worker_stub) as worker:
        await worker.say(drain=worker_service_pb2.Drain())
        await worker.over.wait()
    assert worker.error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_stream_on_which_nothing_is_said_is_ended(services, monkeypatch):
    monkeypatch.setattr(worker_service, "HELLO_S", 0.1)
    async with raw_worker(services.worker_stub) as worker:
        await worker.over.wait()
    assert worker.error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "hello" in worker.error.details()
