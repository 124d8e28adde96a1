"""One call at one worker: which worker gets it, when it is confirmed, and the effect of each loss.

Each test runs twice: with a worker of the caller's replica, and with a worker of another replica on the same store.
"""

import asyncio
import contextlib
import time

import grpc
import pytest
from structlog.testing import capture_logs
from support.calls import Called
from support.services import refusal, running_services
from support.wait import wait_until
from support.workers import ACCEPTED, accept_timeout, raw_worker

from callback.v1 import callback_pb2 as pb
from callback.v1 import worker_service_pb2
from callback_server.domain.activity import Activity
from callback_server.rpc import worker_service

ACTIVITIES = {"act": Activity("act", 20_000), "brief": Activity("brief", 4_000)}


@pytest.fixture(params=["local", "remote"])
async def services(request, store_of):
    """Run the services that get the calls; `worker_stub` leads to the replica of the workers."""
    store = store_of()
    async with contextlib.AsyncExitStack() as stack:
        up = await stack.enter_async_context(running_services(store, activities=ACTIVITIES))
        if request.param == "remote":
            other = await stack.enter_async_context(running_services(store, activities=ACTIVITIES))
            up.worker_stub = other.worker_stub
        yield up


async def test_a_call_is_offered_accepted_confirmed_and_answered(services):
    async with raw_worker(services.worker_stub, "act") as worker:
        called = await Called.make(services, "act", callback_activity_case="order 5", labels={"shop": "nl"})
        call = await worker.next("offer")
        assert (call.callback_activity_case, dict(call.labels), call.attempt) == ("order 5", {"shop": "nl"}, 1)
        assert not worker.of("confirm")
        await worker.accept(call)
        assert (await worker.next("confirm")).call_id == call.call_id
        await worker.result(call)
        assert (await called.answer).call_id == call.call_id
        assert (await called.recorded()).status == pb.CALL_STATUS_SUCCEEDED


@pytest.mark.parametrize("end", ["lost", "declined"])
async def test_a_call_that_is_not_confirmed_goes_to_another_worker(services, end):
    """Its case is not retryable."""
    async with raw_worker(services.worker_stub, "act") as first:
        called = await Called.make(services, "act")
        call = await first.next("offer")
        async with raw_worker(services.worker_stub, "act") as second:
            if end == "lost":
                first.lose()
            else:
                await first.decline(call)
            call = await second.next("offer")
            await second.accept(call)
            await second.next("confirm")
            await second.result(call)
            await called.answer
    assert not first.of("confirm")


async def test_a_call_fails_if_the_stream_is_lost_after_the_confirm(services):
    async with raw_worker(services.worker_stub, "act") as first, raw_worker(services.worker_stub, "act") as second:
        called = await Called.make(services, "act")
        await wait_until(lambda: first.of("offer") or second.of("offer"), what="an offer")
        mine, other = (first, second) if first.of("offer") else (second, first)
        await mine.accept(await mine.next("offer"))
        await mine.next("confirm")
        mine.lose()
        assert (await refusal(called.answer)).reason == "HANDLER_LOST"
        assert (await called.recorded()).failure == pb.CALL_FAILURE_HANDLER_LOST
        assert (await called.case()).close_reason == pb.CLOSE_REASON_FAILED
        assert not other.of("offer")


async def test_a_stream_that_is_lost_after_the_result_has_no_effect(services):
    async with raw_worker(services.worker_stub, "act") as worker:
        called = await Called.make(services, "act")
        call = await worker.next("offer")
        await worker.accept(call)
        await worker.next("confirm")
        await worker.result(call)
        await called.answer
        await worker.close()
        assert (await called.recorded()).status == pb.CALL_STATUS_SUCCEEDED


async def test_a_worker_that_does_not_accept_in_time_loses_the_call_to_another_and_gets_no_more(services):
    async with raw_worker(services.worker_stub, "act", max_calls=9) as hung:
        with accept_timeout(0.2):
            called = await Called.make(services, "act")
            call = await hung.next("offer")
        async with raw_worker(services.worker_stub, "act", max_calls=9) as other:
            second = await other.next("offer")
            assert second.call_id == call.call_id
            assert (await hung.next("withdraw")).call_id == call.call_id
            more = [await Called.make(services, "act") for _ in range(12)]
            await other.next("offer", 9)
            assert len(hung.of("offer")) == 1
            await hung.accept(call)  # too late for this call, but the worker does not hang
            await hung.next("offer", 2)
            assert not hung.of("confirm")
            await other.accept(second)
            await other.next("confirm")
            await other.result(second)
            await called.answer
            await hung.result(call)
            serving = [asyncio.create_task(worker.serve()) for worker in (hung, other)]
            await asyncio.gather(*(each.answer for each in more))
            await asyncio.gather(hung.close(), other.close(), *serving)
    assert call.call_id not in [confirm.call_id for confirm in hung.of("confirm")]
    assert (await called.recorded()).status == pb.CALL_STATUS_SUCCEEDED


async def test_a_result_after_the_deadline_has_no_effect(services):
    async with raw_worker(services.worker_stub, "brief", "act") as worker:
        called = await Called.make(services, "brief")
        call = await worker.next("offer")
        await worker.accept(call)
        await worker.next("confirm")
        assert (await refusal(called.answer)).reason == "HANDLER_DEADLINE_EXCEEDED"
        assert (await worker.next("withdraw")).call_id == call.call_id
        await worker.result(call)
        again = await Called.make(services, "act")  # its one slot is free again: the result has arrived
        second = await worker.next("offer", 2)
        await worker.accept(second)
        await worker.next("confirm", 2)
        await worker.result(second)
        await again.answer
        assert (await called.recorded()).failure == pb.CALL_FAILURE_DEADLINE_EXCEEDED
        assert (await called.case()).close_reason == pb.CLOSE_REASON_FAILED


async def test_a_withdrawn_call_occupies_its_slot_until_the_worker_sends_a_result(services):
    async with raw_worker(services.worker_stub, "brief", "act") as worker:
        called = await Called.make(services, "brief")
        call = await worker.next("offer")
        await worker.accept(call)
        await refusal(called.answer)
        waiting = await Called.make(services, "brief")
        assert (await refusal(waiting.answer)).reason == "HANDLER_NOT_STARTED"
        assert len(worker.of("offer")) == 1


async def test_a_result_before_the_confirm_fails_the_call_which_goes_to_no_other_worker(services):
    async with raw_worker(services.worker_stub, "act") as worker, raw_worker(services.worker_stub, "act") as other:
        called = await Called.make(services, "act")
        await wait_until(lambda: worker.of("offer") or other.of("offer"), what="an offer")
        hasty, patient = (worker, other) if worker.of("offer") else (other, worker)
        await hasty.result(await hasty.next("offer"))
        assert (await refusal(called.answer)).reason == "HANDLER_FAILED"
        assert not patient.of("offer")


async def test_a_server_that_checks_workers_names_the_one_that_does_not_wait(store_of):
    async with running_services(store_of(), activities=ACTIVITIES, check_workers=True) as services:
        async with raw_worker(services.worker_stub) as worker:
            await worker.hello("act", name="hasty")
            called = await Called.make(services, "act")
            call = await worker.next("offer")
            with capture_logs() as logs:
                await worker.send(
                    worker_service_pb2.WorkRequest(
                        messages=[
                            worker_service_pb2.WorkerMessage(accept=worker_service_pb2.Accept(call_id=call.call_id)),
                            worker_service_pb2.WorkerMessage(
                                result=worker_service_pb2.Result(call_id=call.call_id, response=ACCEPTED)
                            ),
                        ]
                    )
                )
                assert (await refusal(called.answer)).reason == "HANDLER_FAILED"
        async with raw_worker(services.worker_stub, "act") as worker:
            serving = asyncio.create_task(worker.serve())
            for _ in range(2):
                await (await Called.make(services, "act")).answer
            await worker.close()
            await serving
    (warning,) = (event for event in logs if event["event"] == "worker_did_not_wait")
    assert (warning["worker"], warning["call_id"]) == ("hasty", call.call_id)


async def test_a_call_without_a_worker_waits_for_one(services):
    called = await Called.make(services, "act")
    async with raw_worker(services.worker_stub, "act") as worker:
        serving = asyncio.create_task(worker.serve())
        await called.answer
        await worker.close()
        await serving


async def test_a_call_without_a_worker_until_its_deadline_is_not_started(services):
    async with raw_worker(services.worker_stub, "another"):
        began = time.monotonic()
        called = await Called.make(services, "brief")
        said = await refusal(called.answer)
        assert time.monotonic() - began >= 1
        assert (said.reason, said.retry_after_s > 0) == ("HANDLER_NOT_STARTED", True)
        assert (await called.recorded()).failure == pb.CALL_FAILURE_HANDLER_UNREACHABLE
        assert (await called.case()).status == pb.CALLBACK_STATUS_OPEN


async def test_messages_about_calls_that_a_worker_does_not_have_have_no_effect(services):
    async with raw_worker(services.worker_stub, "act") as worker, raw_worker(services.worker_stub, "other") as stranger:
        called = await Called.make(services, "act")
        call = await worker.next("offer")
        await worker.accept(call)
        await worker.next("confirm")
        for kind in ("accept", "decline", "result", "fail"):
            await getattr(stranger, kind)(call)
        await worker.accept(call)
        await worker.result(call)
        await worker.result(call)
        await worker.fail(call)
        assert (await called.answer).call_id == call.call_id
        assert not stranger.over.is_set()
        assert len(worker.of("confirm")) == 1


async def test_a_worker_that_declines_gets_the_next_offer_after_a_pause(services):
    async with raw_worker(services.worker_stub, "act") as worker:
        called = await Called.make(services, "act")
        offer = await worker.next("offer")
        began = time.monotonic()
        await worker.decline(offer)
        call = await worker.next("offer", 2)
        assert time.monotonic() - began > 0.9
        await worker.accept(call)
        await worker.next("confirm")
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
        {"callback_activities": ["a"], "max_calls": 1, "max_message_bytes": (1 << 20) - 1},
    ],
)
async def test_an_incomplete_hello_is_refused(services, hello):
    async with raw_worker(services.worker_stub) as worker:
        await worker.say(hello=worker_service_pb2.Hello(**hello))
        await worker.over.wait()
    assert worker.error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_wrong_message_ends_its_call_alone(services):
    async with raw_worker(services.worker_stub, "act", max_calls=2) as worker:
        first, second = [await Called.make(services, "act") for _ in range(2)]
        await worker.next("offer", 2)
        calls = {call.callback_system_case: call for call in worker.of("offer")}
        for call in calls.values():
            await worker.accept(call)
        await worker.next("confirm", 2)
        await worker.say()  # a message that this server does not know
        await worker.say(accept=worker_service_pb2.Accept(call_id="x" * 201))
        await worker.say(result=worker_service_pb2.Result(call_id=calls[first.case_id].call_id))
        assert (await refusal(first.answer)).reason == "HANDLER_FAILED"
        assert (await first.recorded()).failure_detail == "the worker sent a result without an outcome"
        await worker.result(calls[second.case_id])
        assert (await second.answer).call_id == calls[second.case_id].call_id


async def test_a_worker_that_sends_hello_again_is_disconnected_and_its_confirmed_calls_are_lost(services):
    async with raw_worker(services.worker_stub, "act") as worker:
        called = await Called.make(services, "act")
        await worker.accept(await worker.next("offer"))
        await worker.next("confirm")
        await worker.say(hello=worker_service_pb2.Hello(callback_activities=["a"], max_calls=1))
        await worker.over.wait()
        assert worker.error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert (await refusal(called.answer)).reason == "HANDLER_LOST"


async def test_a_stream_that_does_not_begin_with_hello_is_refused(services):
    async with raw_worker(services.worker_stub) as worker:
        await worker.say(drain=worker_service_pb2.Drain())
        await worker.over.wait()
    assert worker.error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_stream_without_hello_is_ended_after_a_while(services, monkeypatch):
    monkeypatch.setattr(worker_service, "HELLO_TIMEOUT_S", 0.1)
    async with raw_worker(services.worker_stub) as worker:
        await worker.over.wait()
    assert worker.error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "hello" in worker.error.details()
