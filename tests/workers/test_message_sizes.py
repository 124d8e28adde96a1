"""Calls that are larger than the messages of a worker: only they fail, and their reason says why.

The workers of this test accept at most 4 MiB, as every gRPC library does by default. Each test runs with workers of the
caller's replica, and of another one.
"""

import asyncio
import contextlib

import pytest
from support.calls import Called
from support.services import refusal, running_services
from support.wait import wait_until
from support.workers import raw_worker

from callback import Handlers, Response, Worker
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


@pytest.fixture(params=["local", "remote"])
async def services(request, store_of):
    """Run the services that get the calls; `worker_stub` leads to the replica of the workers."""
    store = store_of()
    async with contextlib.AsyncExitStack() as stack:
        up = await stack.enter_async_context(running_services(store, activities=ACTIVITIES, sweeps=True))
        if request.param == "remote":
            other = await stack.enter_async_context(running_services(store, activities=ACTIVITIES))
            up.worker_stub = other.worker_stub
        yield up


async def is_delivery(called, **expected):
    """Return whether the delivery of a call has these values."""
    calls = await called._services.callbacks.ListCalls(rpc.ListCallsRequest(callback_case_id=called.case_id))
    return [{name: getattr(each.delivery, name) for name in expected} for each in calls.calls] == [expected]


async def test_a_call_that_fits_no_worker_is_not_started_and_no_other_call_notices(services):
    async with raw_worker(services.worker_stub, "act", "brief", max_calls=2) as worker:
        serving = asyncio.create_task(worker.serve())
        large = await Called.make(services, "brief", body=LARGE)
        await (await Called.make(services, "act")).answer
        said = await refusal(large.answer)
        assert (said.reason, said.retry_after_s > 0) == ("HANDLER_NOT_STARTED", True)
        call = await large.recorded()
        assert (call.status, call.failure) == (pb.CALL_STATUS_NOT_STARTED, pb.CALL_FAILURE_TOO_LARGE)
        assert "no worker that takes a message of 5243" in call.failure_detail
        assert (await large.case()).status == pb.CALLBACK_STATUS_OPEN
        assert not worker.over.is_set()
        assert len(worker.of("offer")) == 1
        await worker.close()
        await serving


async def test_a_call_goes_to_the_worker_whose_messages_it_fits(services):
    async with raw_worker(services.worker_stub) as small, raw_worker(services.worker_stub) as large:
        await small.hello("act", max_message_bytes=MIB)  # it has waited longer, so it is the first choice
        await large.hello("act")
        called = await Called.make(services, "act", body=bytes(2 * MIB))
        serving = [asyncio.create_task(worker.serve()) for worker in (small, large)]
        await called.answer
        assert ([len(each.request_body) for each in large.of("offer")], small.of("offer")) == ([2 * MIB], [])
        await asyncio.gather(small.close(), large.close(), *serving)


async def test_a_delivery_that_fits_no_worker_waits_for_one_that_takes_it(services):
    async with raw_worker(services.worker_stub, "soon") as small:
        called = await Called.make(services, "soon", body=LARGE, answer_mode=pb.ANSWER_MODE_ACK)
        await called.answer
        await wait_until(
            lambda: is_delivery(
                called, status=pb.DELIVERY_STATUS_PENDING, failure=pb.CALL_FAILURE_TOO_LARGE, attempts=0
            ),
            what="a delivery that says that it is too large",
        )
        async with Worker(taking_all(), services.address).working():
            await wait_until(
                lambda: is_delivery(called, status=pb.DELIVERY_STATUS_DELIVERED), what="the end of the delivery"
            )
        assert small.of("offer") == []


@pytest.mark.parametrize("mode", [pb.ANSWER_MODE_HANDLER, pb.ANSWER_MODE_ACK])
async def test_a_call_for_which_two_workers_lost_their_streams_is_offered_to_no_other(services, mode):
    """The workers promise more than their gRPC library takes."""
    async with contextlib.AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(raw_worker(services.worker_stub)) for _ in range(3)]
        for worker in workers:
            await worker.hello("act", max_message_bytes=16 * MIB)
        called = await Called.make(services, "act", body=LARGE, answer_mode=mode)
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
        serving = asyncio.create_task(left.serve())
        await (await Called.make(services, "act")).answer
        assert len(left.of("offer")) == 1
        await left.close()
        await serving


async def test_a_call_larger_than_any_message_of_the_server_fails_alone(store_of, monkeypatch):
    """A request of nearly 16 MiB, together with the response of its case."""
    async with (
        running_services(store_of(), activities=ACTIVITIES) as services,
        Worker(taking_all(), services.address).working(),
    ):
        # Its claim can take seconds on a busy machine, so the deadline of its activity is no short one.
        monkeypatch.setattr(services.control_plane.dispatcher, "timeout_s", lambda _grant: 0.5)
        called = await Called.make(services, "act", body=bytes(16 * MIB - 100))
        assert (await refusal(called.answer)).reason == "HANDLER_NOT_STARTED"
        assert (await called.recorded()).failure == pb.CALL_FAILURE_TOO_LARGE
        monkeypatch.undo()
        fits = await Called.make(services, "act", body=bytes(16 * MIB - 1000))
        assert (await fits.answer).response.response_code == 201


def taking_all():
    """Return handlers that accept each call."""
    handlers = Handlers()

    @handlers.activity("act")
    @handlers.activity("soon")
    async def take(_call):
        return Response(code=201)

    return handlers
