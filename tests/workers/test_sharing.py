"""Many calls and several workers: no worker gets more calls than it has slots, and each gets a share."""

import asyncio
import contextlib
from collections import Counter
from pathlib import Path

import grpc
from prometheus_client import REGISTRY
from soak.counts import count
from support.calls import Called
from support.services import running_services
from support.wait import wait_until
from support.workers import ACCEPTED, raw_worker, serving_worker

from callback.v1 import worker_service_pb2
from callback.v1.worker_service_pb2_grpc import WorkerServiceStub
from callback_server.domain.activity import Activity
from callback_server.domain.call import Grant, Request
from callback_server.domain.case import Settings
from callback_server.domain.response import Response, ResponseType
from callback_server.handlers.workers.worker import Worker

ACTIVITIES = {name: Activity(name, 30_000) for name in ("act", "other")}


def metric(name):
    return REGISTRY.get_sample_value(name)


def waiting():
    return metric("callback_worker_calls_waiting")


class Watched:
    """Counters of the calls that each worker has now, had at most, and received. Calls wait for the `gate` to open."""

    def __init__(self):
        self.gate = asyncio.Event()
        self.now = Counter()
        self.most = Counter()
        self.all = Counter()

    def by(self, name):
        async def handle(call):
            self.now[name] += 1
            self.all[name] += 1
            self.most[name] = max(self.most[name], self.now[name])
            await self.gate.wait()
            self.now[name] -= 1
            return ACCEPTED

        return handle


async def test_many_calls_wait_for_three_workers_and_none_gets_more_calls_than_it_has_slots(services):
    many = count(200, 1000)
    watched = Watched()
    slots = {"small": 1, "middle": 5, "large": 20}
    async with contextlib.AsyncExitStack() as stack:
        for name, most in slots.items():
            worker = serving_worker(services.worker_stub, "act", max_calls=most, handle=watched.by(name))
            await stack.enter_async_context(worker)
        called = await asyncio.gather(*(Called.make(services, "act") for _ in range(many)))
        await wait_until(lambda: sum(watched.now.values()) == 26, what="all slots occupied")
        await wait_until(lambda: waiting() == many - 26, what="the others waiting")
        assert metric("callback_worker_slots_free") == 0
        assert metric("callback_workers") == 3
        watched.gate.set()
        await asyncio.gather(*(each.answer for each in called))
    assert watched.most == slots
    assert sum(watched.all.values()) == many


async def test_idle_workers_take_turns(services):
    watched = Watched()
    watched.gate.set()
    async with contextlib.AsyncExitStack() as stack:
        for name in "abc":
            worker = serving_worker(services.worker_stub, "act", max_calls=4, handle=watched.by(name))
            await stack.enter_async_context(worker)
        for _ in range(30):
            called = await Called.make(services, "act")
            await called.answer
    assert watched.all == {"a": 10, "b": 10, "c": 10}


async def test_the_least_loaded_worker_gets_the_next_call(services):
    watched = Watched()
    async with (
        serving_worker(services.worker_stub, "act", "other", max_calls=4, handle=watched.by("busy")),
        serving_worker(services.worker_stub, "act", max_calls=4, handle=watched.by("idle")),
    ):
        called = [await Called.make(services, "other") for _ in range(2)]
        await wait_until(lambda: watched.now["busy"] == 2, what="two calls")
        called += [await Called.make(services, "act") for _ in range(2)]
        await wait_until(lambda: sum(watched.now.values()) == 4, what="four calls")
        assert watched.now == {"busy": 2, "idle": 2}
        watched.gate.set()
        await asyncio.gather(*(each.answer for each in called))


async def test_calls_get_a_worker_in_order_whatever_their_activity(services):
    called, order = [], []
    for number in range(20):
        called.append(
            await Called.make(services, ("act", "other")[number % 3 == 0], callback_activity_case=str(number))
        )
        await wait_until(lambda number=number: waiting() == number + 1, what="waiting")

    async def handle(call):
        order.append(int(call.callback_activity_case))
        return ACCEPTED

    async with serving_worker(services.worker_stub, "act", "other", max_calls=1, handle=handle):
        await asyncio.gather(*(each.answer for each in called))
    assert order == list(range(20))


async def test_a_new_call_does_not_overtake_waiting_calls_when_a_slot_becomes_free(services):
    async with raw_worker(services.worker_stub, "act", "other", max_calls=1) as worker:
        called = [await Called.make(services, "act")]
        await worker.next("offer")
        for number in range(1, 4):
            called.append(await Called.make(services, ("act", "other")[number % 2]))
            await wait_until(lambda number=number: waiting() == number, what="waiting")
        for number in range(1, 41):
            call = await worker.begin(number)
            _, new = await asyncio.gather(worker.result(call), Called.make(services, ("act", "other")[number % 2]))
            called.append(new)
            await worker.next("offer", number + 1)
            await wait_until(lambda: waiting() == 3, what="as many that wait as before")
        offered = [call.callback_system_case for call in worker.of("offer")]
        assert offered == [each.case_id for each in called[: len(offered)]]


async def test_a_call_that_ends_in_the_moment_in_which_it_gets_a_slot_gives_it_back(services):
    pool = services.control_plane.workers
    response = Response(type=ResponseType.RESPONSE)
    grant = Grant("call", 1, "shop", "act", Settings(), response, lease_left_ms=60_000, ended_at_claim=False)
    ending = asyncio.create_task(pool.handle(grant, Request("post"), timeout_s=60))
    await wait_until(lambda: pool.waiting, what="the call waiting")
    worker = Worker(["act"], 1, on_slot_free=pool.on_slot_free)
    pool.join(worker)
    assert worker.free_slots == 0
    ending.cancel()
    await asyncio.wait([ending])
    assert worker.free_slots == 1
    pool.leave(worker)


async def test_many_calls_of_one_replica_reach_a_worker_of_another(store_of):
    store, calls, at_once = store_of(), count(60, 5000), 20
    async with (
        running_services(store, activities=ACTIVITIES, max_in_flight_calls=3000) as one,
        running_services(store, activities=ACTIVITIES) as two,
        serving_worker(two.worker_stub, "act", max_calls=at_once) as worker,
    ):

        async def caller():
            for _ in range(calls // at_once):
                await (await Called.make(one, "act")).answer

        await asyncio.gather(*(caller() for _ in range(at_once)))
        assert len(worker.of("confirm")) == calls


async def test_reconnecting_again_and_again_leaves_nothing_behind(services):
    async def round_(number):
        async with (
            grpc.aio.insecure_channel(services.address) as channel,
            raw_worker(WorkerServiceStub(channel), "act", max_calls=3) as worker,
        ):
            if number % 3 == 1:
                await worker.say(drain=worker_service_pb2.Drain())
                await worker.over.wait()
            if number % 3:
                return
            called = await Called.make(services, "act")
            call = await worker.begin()
            if number % 2:
                await worker.result(call)
                await called.answer
            else:
                worker.lose()
                await asyncio.gather(called.answer, return_exceptions=True)

    def held():
        return len(asyncio.all_tasks()), len([*Path("/proc/self/fd").iterdir()])

    for number in range(12):
        await round_(number)
    await wait_until(lambda: metric("callback_workers") == 0, what="workers gone")
    tasks, files = held()
    for number in range(count(60, 5000)):
        await round_(number)
    await wait_until(lambda: metric("callback_workers") == 0, what="workers gone")
    await wait_until(lambda: held()[0] <= tasks + 2, what="as many tasks as before")
    await wait_until(lambda: held()[1] <= files + 3, what="as many files as before")  # gRPC closes sockets later
