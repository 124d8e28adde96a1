"""One call with one worker of the same process: who gets it, when it has begun, and what each loss makes of it."""

from support.calls import Called
from support.services import refusal
from support.workers import raw_worker

from callback.v1 import callback_pb2 as pb


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


async def test_a_worker_that_is_lost_before_it_says_start_loses_nothing(services):
    async with raw_worker(services.worker_stub, "act") as first:
        called = await Called.make(services, "act")
        await first.next("call")
        async with raw_worker(services.worker_stub, "act") as second:
            first.lose()
            call = await second.next("call")
            await second.start(call)
            await second.next("go")
            await second.result(call)
            await called.answer
    assert not first.of("go")


async def test_a_stream_that_is_lost_after_go_is_the_end_of_the_call(services):
    async with raw_worker(services.worker_stub, "act") as first, raw_worker(services.worker_stub, "other") as second:
        called = await Called.make(services, "act")
        await first.start(await first.next("call"))
        await first.next("go")
        first.lose()
        assert (await refusal(called.answer)).reason == "HANDLER_LOST"
        assert (await called.recorded()).failure == pb.CALL_FAILURE_HANDLER_LOST
        assert not second.of("call")
