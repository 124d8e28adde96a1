"""Draining, by the worker or the server: no new calls come, confirmed calls are answered, then the stream ends."""

import asyncio

from support.calls import Called
from support.services import refusal, running_services
from support.wait import wait_until
from support.workers import raw_worker, serving, serving_worker

from callback.v1 import callback_pb2
from callback.v1 import worker_service_pb2 as pb
from callback_server.domain.activity import Activity
from callback_server.handlers.workers import assignment, pool
from callback_server.rpc import worker_service

ACTIVITIES = {"act": Activity("act", 20_000)}


async def begun(services, worker):
    """Make a call, and return it, and the worker's view of it, once it is confirmed."""
    called = await Called.make(services, "act")
    return called, await worker.begin()


async def test_a_draining_worker_gets_no_more_calls_and_its_stream_ends_after_its_results(services):
    async with raw_worker(services.worker_stub, "act", max_calls=9) as leaving:
        called, call = await begun(services, leaving)
        await leaving.say(drain=pb.Drain())
        async with serving_worker(services.worker_stub, "act"):
            for _ in range(5):
                await (await Called.make(services, "act")).answer
        assert len(leaving.of("offer")) == 1
        assert not leaving.over.is_set()
        await leaving.result(call)
        await called.answer
        await leaving.over.wait()
        assert leaving.error is None


async def test_a_draining_server_sends_drain_and_ends_each_stream_after_its_results(services):
    async with (
        raw_worker(services.worker_stub, "act") as busy,
        raw_worker(services.worker_stub, "other") as idle,
    ):
        called, call = await begun(services, busy)
        services.control_plane.workers.drain()
        await busy.next("drain")
        await idle.over.wait()
        assert (idle.error, len(idle.of("drain"))) == (None, 1)
        assert not busy.over.is_set()
        await busy.result(call)
        await called.answer
        await busy.over.wait()
        assert busy.error is None


async def test_waiting_calls_of_a_draining_server_are_handled_before_its_worker_leaves(services):
    async with raw_worker(services.worker_stub, "act") as worker:
        called, call = await begun(services, worker)
        waiting = [await Called.make(services, "act") for _ in range(3)]
        pool = services.control_plane.workers
        await wait_until(lambda: len(pool.waiting) == 3, what="three calls that wait")
        pool.drain()
        async with serving(worker):
            await worker.result(call)
            await asyncio.gather(called.answer, *(each.answer for each in waiting))
            await worker.over.wait()
    assert worker.error is None
    assert len(worker.of("drain")) == 1


async def test_at_the_end_of_the_grace_a_call_that_is_not_confirmed_is_withdrawn_and_not_started(services):
    pool = services.control_plane.workers
    async with raw_worker(services.worker_stub, "act", max_calls=2) as worker:
        confirmed, call = await begun(services, worker)
        offered, queued = await Called.make(services, "act"), await Called.make(services, "act")
        offer = await worker.next("offer")
        await wait_until(lambda: pool.waiting, what="the call that waits")
        pool.drain()
        pool.stop()
        late = await Called.make(services, "act")
        for each in (offered, queued, late):
            said = await refusal(each.answer)
            assert (said.reason, said.retry_after_s > 0) == ("HANDLER_NOT_STARTED", True)
            assert (await each.case()).status == callback_pb2.CALLBACK_STATUS_OPEN
        await worker.accept(offer)  # too late
        await worker.next("withdraw")
        await worker.result(call)
        await confirmed.answer
        await worker.over.wait()
        assert len(worker.of("confirm")) == 1


async def test_a_draining_server_refuses_new_workers(services):
    services.control_plane.workers.drain()
    async with raw_worker(services.worker_stub) as worker:
        await worker.say(hello=pb.Hello(callback_activities=["act"], max_calls=1))
        await worker.over.wait()
    assert "stopping" in worker.error.details()


async def test_a_drained_replica_gets_no_calls_of_other_replicas(store_of):
    store = store_of()
    async with (
        running_services(store, activities=ACTIVITIES) as one,
        running_services(store) as two,
        raw_worker(two.worker_stub, "act") as worker,
    ):
        called, call = await begun(one, worker)
        two.control_plane.workers.drain()
        await worker.next("drain")
        async with serving_worker(one.worker_stub, "act"):
            for _ in range(3):
                await (await Called.make(one, "act")).answer
        await worker.result(call)
        await called.answer
        await worker.over.wait()
        assert worker.error is None


async def test_a_call_that_was_offered_at_a_server_that_stops_goes_to_another_worker(store_of, limits):
    limits(pool, MAX_STREAMS_LOST=1)
    limits(assignment, STEP_TIMEOUT_S=100)
    store = store_of()
    async with running_services(store, activities=ACTIVITIES) as one:
        async with running_services(store) as two, raw_worker(two.worker_stub, "act") as worker:
            called = await Called.make(one, "act")
            await worker.next("offer")
            await two.control_plane.stop()
            await worker.over.wait()
        async with serving_worker(one.worker_stub, "act"):
            await called.answer


async def test_a_stream_is_drained_at_its_maximum_age(services, limits):
    limits(worker_service, MAX_STREAM_AGE_S=0.2)
    async with raw_worker(services.worker_stub, "act") as worker:
        await worker.over.wait()
    assert (worker.error, len(worker.of("drain"))) == (None, 1)
