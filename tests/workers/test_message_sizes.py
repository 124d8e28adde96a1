"""Calls that are larger than the messages of a worker: only they fail, and their reason says why.

The workers of this test accept at most 4 MiB, as every gRPC library does by default. The tests of `anywhere` run twice:
with workers of the caller's replica, and with those of another replica on its store.
"""

import contextlib

import pytest
from support.calls import Called
from support.services import refusal, running_services
from support.wait import wait_until
from support.workers import connected, handlers_of, raw_worker, serving, serving_worker

from callback import Response, Worker
from callback.v1 import callback_pb2 as pb
from callback.v1 import callbacks_service_pb2 as rpc
from callback_server.domain.activity import Activity
from callback_server.domain.retries import Retries

MIB = 1 << 20
LARGE = bytes(5 * MIB)
SOON = Retries(initial_ms=50, max_ms=50)
ACTIVITIES = {
    "act": Activity("act", 60_000, SOON),
    "brief": Activity("brief", 6_000),
    "soon": Activity("soon", 600, SOON),
}


async def take(_call):
    """Handler that accepts each call."""
    return Response(code=201)


TAKING_ALL = handlers_of(act=take, soon=take)


async def is_delivery(called, **expected):
    """Return whether the delivery of a call has these values."""
    calls = await called.services.callbacks.ListCalls(rpc.ListCallsRequest(callback_case_id=called.case_id))
    return [{name: getattr(each.delivery, name) for name in expected} for each in calls.calls] == [expected]


async def test_a_call_that_fits_no_worker_is_not_started_and_no_other_call_notices(anywhere):
    async with serving_worker(anywhere.worker_stub, "act", "brief", max_calls=2) as worker:
        large = await Called.make(anywhere, "brief", body=LARGE)
        await (await Called.make(anywhere, "act")).answer
        said = await refusal(large.answer)
        assert (said.reason, said.retry_after_s > 0) == ("HANDLER_NOT_STARTED", True)
        call = await large.recorded()
        assert (call.status, call.failure) == (pb.CALL_STATUS_NOT_STARTED, pb.CALL_FAILURE_TOO_LARGE)
        assert "no worker that takes a message of 5243" in call.failure_detail
        assert (await large.case()).status == pb.CALLBACK_STATUS_OPEN
        assert not worker.over.is_set()
        assert len(worker.of("offer")) == 1


async def test_a_call_goes_to_the_worker_whose_messages_it_fits(anywhere):
    async with raw_worker(anywhere.worker_stub) as small, raw_worker(anywhere.worker_stub) as large:
        await small.hello("act", max_message_bytes=MIB)  # it has waited longer, so it is the first choice
        await large.hello("act")
        called = await Called.make(anywhere, "act", body=bytes(2 * MIB))
        async with serving(small), serving(large):
            await called.answer
        assert ([len(each.request_body) for each in large.of("offer")], small.of("offer")) == ([2 * MIB], [])


async def test_a_delivery_that_fits_no_worker_waits_for_one_that_takes_it(anywhere):
    async with raw_worker(anywhere.worker_stub, "soon") as small:
        called = await Called.make(anywhere, "soon", body=LARGE, answer_mode=pb.ANSWER_MODE_ACK)
        await called.answer
        await wait_until(
            lambda: is_delivery(
                called, status=pb.DELIVERY_STATUS_PENDING, failure=pb.CALL_FAILURE_TOO_LARGE, attempts=0
            ),
            what="a delivery that says that it is too large",
        )
        async with connected(Worker(TAKING_ALL, anywhere.address)):
            await wait_until(
                lambda: is_delivery(called, status=pb.DELIVERY_STATUS_DELIVERED), what="the end of the delivery"
            )
        assert small.of("offer") == []


@pytest.mark.parametrize("mode", [pb.ANSWER_MODE_HANDLER, pb.ANSWER_MODE_ACK])
async def test_a_call_for_which_two_workers_lost_their_streams_is_offered_to_no_other(anywhere, mode):
    """The workers promise more than their gRPC library takes."""
    async with contextlib.AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(raw_worker(anywhere.worker_stub)) for _ in range(3)]
        for worker in workers:
            await worker.hello("act", max_message_bytes=16 * MIB)
        called = await Called.make(anywhere, "act", body=LARGE, answer_mode=mode)
        if mode == pb.ANSWER_MODE_HANDLER:
            assert (await refusal(called.answer)).reason == "HANDLER_LOST"
            call = await called.recorded()
            assert (call.status, call.failure) == (pb.CALL_STATUS_FAILED, pb.CALL_FAILURE_WORKERS_LOST)
            assert call.failure_detail.startswith("2 workers lost their stream over this call of 5243")
        else:
            await called.answer
            await wait_until(
                lambda: is_delivery(called, status=pb.DELIVERY_STATUS_DEAD, failure=pb.CALL_FAILURE_WORKERS_LOST),
                what="a dead delivery",
            )
        await wait_until(lambda: sum(worker.over.is_set() for worker in workers) == 2, what="the end of two streams")
        left = next(worker for worker in workers if not worker.over.is_set())
        async with serving(left):
            await (await Called.make(anywhere, "act")).answer
        assert len(left.of("offer")) == 1


async def test_a_call_larger_than_any_message_of_the_server_fails_alone(store_of):
    """A request of nearly 16 MiB, together with the response of its case."""
    async with (
        running_services(store_of(), activities=ACTIVITIES, sweeps=True) as services,
        connected(Worker(TAKING_ALL, services.address)),
    ):
        called = await Called.make(services, "soon", body=bytes(16 * MIB - 100), answer_mode=pb.ANSWER_MODE_ACK)
        await called.answer
        await wait_until(lambda: is_delivery(called, failure=pb.CALL_FAILURE_TOO_LARGE), what="an attempt that fails")
        fits = await Called.make(services, "act", body=bytes(16 * MIB - 1000))
        assert (await fits.answer).response.response_code == 201
