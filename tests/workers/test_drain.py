"""Going in good order, from either side: nothing new comes, what has begun is answered, then the stream ends well."""

import asyncio

import pytest
from prometheus_client import REGISTRY
from support.calls import Called
from support.services import running_services
from support.wait import wait_until
from support.workers import raw_worker

from callback.v1 import worker_service_pb2 as pb
from callback_server.domain.activity import Activity
from callback_server.rpc import worker_service

ACTIVITIES = {"act": Activity("act", 20_000)}


@pytest.fixture
async def services(store_of):
    async with running_services(store_of(), activities=ACTIVITIES) as up:
        yield up


async def begun(services, worker):
    called = await Called.make(services, "act")
    call = await worker.next("offer")
    await worker.accept(call)
    await worker.next("confirm")
    return called, call


async def test_a_worker_that_drains_gets_no_more_and_ends_when_it_has_answered(services):
    async with raw_worker(services.worker_stub, "act", max_calls=9) as leaving:
        called, call = await begun(services, leaving)
        await leaving.say(drain=pb.Drain())
        async with raw_worker(services.worker_stub, "act", max_calls=1) as other:
            serving = asyncio.create_task(other.serve())
            for _ in range(5):
                await (await Called.make(services, "act")).answer
            assert len(leaving.of("offer")) == 1
            assert not leaving.over.is_set()
            await leaving.result(call)
            await called.answer
            await leaving.over.wait()
            assert leaving.error is None
            await other.close()
            await serving


async def test_an_idle_worker_that_drains_is_let_go_at_once(services):
    async with raw_worker(services.worker_stub, "act") as worker:
        await worker.say(drain=pb.Drain())
        await worker.over.wait()
    assert worker.error is None


async def test_a_server_that_drains_says_so_and_ends_each_stream_when_its_calls_are_answered(services):
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


async def test_calls_that_wait_when_the_server_drains_are_handled_before_its_worker_goes(services):
    async with raw_worker(services.worker_stub, "act") as worker:
        called, call = await begun(services, worker)
        waiting = [await Called.make(services, "act") for _ in range(3)]
        await wait_until(
            lambda: REGISTRY.get_sample_value("callback_worker_calls_waiting") == 3, what="three calls that wait"
        )
        services.control_plane.workers.drain()
        serving = asyncio.create_task(worker.serve())
        await worker.result(call)
        await asyncio.gather(called.answer, *(each.answer for each in waiting))
        await worker.over.wait()
        await serving
    assert worker.error is None
    assert len(worker.of("drain")) == 1


async def test_a_worker_that_comes_to_a_server_that_drains_is_sent_away(services):
    services.control_plane.workers.drain()
    async with raw_worker(services.worker_stub) as worker:
        await worker.say(hello=pb.Hello(callback_activities=["act"], max_calls=1))
        await worker.over.wait()
    assert "stopping" in worker.error.details()


async def test_a_drained_replica_gets_no_calls_of_others(store_of):
    store = store_of()
    async with (
        running_services(store, activities=ACTIVITIES) as one,
        running_services(store) as two,
        raw_worker(two.worker_stub, "act") as worker,
    ):
        called, call = await begun(one, worker)
        two.control_plane.workers.drain()
        await worker.next("drain")
        async with raw_worker(one.worker_stub, "act") as other:
            serving = asyncio.create_task(other.serve())
            for _ in range(3):
                await (await Called.make(one, "act")).answer
            await worker.result(call)
            await called.answer
            await worker.over.wait()
            assert worker.error is None
            await other.close()
            await serving


async def test_a_stream_that_has_lasted_long_enough_is_drained(services, monkeypatch):
    monkeypatch.setattr(worker_service, "MAX_STREAM_AGE_S", 0.2)
    async with raw_worker(services.worker_stub, "act") as worker:
        await worker.over.wait()
    assert (worker.error, len(worker.of("drain"))) == (None, 1)
