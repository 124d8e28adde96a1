"""Two server processes on one store, and workers that hang: kill -9 and SIGSTOP at every step of a call."""

import asyncio
import contextlib
import signal
import sys
import time
from asyncio.subprocess import PIPE
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest
import redis.asyncio
from soak.counts import SOAK, count
from support.calls import Called
from support.edge_calls import EdgeCalls
from support.leases import end_leases
from support.services import owner_stubs, refusal
from support.system import Process, own_store
from support.wait import DEADLINE_S, wait_until
from support.workers import raw_worker

from callback.v1 import callback_pb2 as pb
from callback.v1.worker_service_pb2_grpc import WorkerServiceStub
from callback_server.store import keys

CONFIG = "[activities.act]\ndeadline_s = 20\n"


@contextlib.asynccontextmanager
async def servers(directory, number, config=CONFIG):
    """Run server processes on their own store, each with stubs."""
    store = own_store(directory).start()
    file = directory / "callback.toml"
    file.write_text(config)
    running = []
    try:
        async with contextlib.AsyncExitStack() as stack:
            for at in range(number):
                process = Process(
                    "callback_server", directory / f"server-{at}.log", CALLBACK_CONFIG=str(file),
                    CALLBACK_GRPC_BIND="127.0.0.1:0", CALLBACK_ADMIN_BIND="127.0.0.1:0",
                    CALLBACK_STORE_URL=store.url, CALLBACK_DRAIN_S="0",
                )  # fmt: skip
                await process.start()
                channel = await stack.enter_async_context(grpc.aio.insecure_channel(process.facts["grpc"]))
                running.append(
                    SimpleNamespace(
                        process=process, **owner_stubs(channel), edge=EdgeCalls(channel),
                        worker_stub=WorkerServiceStub(channel), address=process.facts["grpc"], store=store,
                    )
                )  # fmt: skip
            yield running
    finally:
        for each in running:
            await asyncio.to_thread(each.process.kill)
        store.stop()


async def is_lost(called):
    """Return whether a call has ended because its handler was lost; otherwise it was answered."""
    try:
        await called.answer
    except grpc.aio.AioRpcError:
        assert (await refusal(called.answer)).reason == "HANDLER_LOST"
        return True
    return False


@pytest.mark.parametrize("point", ["offered", "started", "begun"])
async def test_a_replica_that_is_killed_with_the_worker_of_a_call(tmp_path, point):
    """Before the confirm, the call goes to another worker; after it, the call is lost and goes to no other."""
    async with (
        servers(tmp_path, 2) as (one, two),
        raw_worker(two.worker_stub, "act") as far,
    ):
        called = await Called.make(one, "act")
        call = await far.next("offer")
        if point != "offered":
            await far.accept(call)
        if point == "begun":
            await far.next("confirm")
        two.process.kill()
        async with raw_worker(one.worker_stub, "act") as near:
            serving = asyncio.create_task(near.serve())
            lost = await asyncio.wait_for(is_lost(called), 60)
            # After the accept, the test does not know whether the confirm was already under way.
            assert lost in {"offered": (False,), "started": (False, True), "begun": (True,)}[point]
            assert bool(near.of("offer")) != lost
            await near.close()
            await serving
        await far.over.wait()


async def test_a_coordinator_that_is_killed_leaves_a_call_that_is_interrupted_and_a_worker_that_is_free(tmp_path):
    async with (
        servers(tmp_path, 2) as (one, two),
        raw_worker(two.worker_stub, "act") as worker,
    ):
        called = await Called.make(one, "act")
        call = await worker.next("offer")
        await worker.accept(call)
        await worker.next("confirm")
        one.process.kill()
        with pytest.raises(grpc.aio.AioRpcError):
            await called.answer
        called._services = two
        await worker.next("withdraw")  # no process waits for the result any more
        await worker.result(call)
        again = await Called.make(two, "act")
        second = await worker.next("offer", 2)
        await worker.accept(second)
        await worker.next("confirm", 2)
        await worker.result(second)
        await again.answer
        assert await end_leases(two.store) == 1

        async def interrupted():
            return (await called.recorded()).status == pb.CALL_STATUS_INTERRUPTED

        await wait_until(interrupted, what="the end of the lease")


@contextlib.asynccontextmanager
async def late_worker(address):
    """Run the program `late_worker`; `said(word)` waits for a line that begins with this word."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "support.late_worker", address, stdin=PIPE, stdout=PIPE, cwd=Path(__file__).parents[1]
    )

    async def said(word):
        async with asyncio.timeout(DEADLINE_S):
            while line := await program.stdout.readline():
                if line.split()[:1] == [word.encode()]:
                    return line
        raise AssertionError("it ended")

    program.said = said
    try:
        await said("welcome")
        yield program
    finally:
        program.kill()
        await program.communicate()


async def stopped_with_calls(replicas, worker):
    """Stop a worker that has calls of both replicas, and return these calls."""
    called = [
        await Called.make(replicas[n % 2], "act", retryable_after_error=n % 3 == 0) for n in range(count(20, 200))
    ]
    for _ in called:
        await worker.said("begun")
    worker.send_signal(signal.SIGSTOP)
    return called


async def stored(called):
    """Return all stored data of a call and its case, except whether its caller is gone."""
    call = await called.recorded()
    call.ClearField("caller_gone")
    return await called.case(), call


async def goes_on_and_changes_nothing(replica, worker, called):
    """Let the worker answer. Its messages arrive in order, so a later call that it answers comes after all others."""
    before = [await stored(each) for each in called]
    worker.stdin.write(b"\n")
    worker.send_signal(signal.SIGCONT)
    await (await Called.make(replica, "act")).answer
    assert [await stored(each) for each in called] == before
    print(f"\n{len(called)} late answers changed nothing")


async def test_results_of_a_worker_that_was_stopped_past_the_deadline_have_no_effect(tmp_path):
    async with (
        servers(tmp_path, 2, "[activities.act]\ndeadline_s = 6\n") as (one, two),
        late_worker(two.address) as worker,
    ):
        called = await stopped_with_calls((one, two), worker)
        for each in called:
            assert (await refusal(each.answer)).reason == "HANDLER_DEADLINE_EXCEEDED"
        await goes_on_and_changes_nothing(one, worker, called)
        assert {(await each.recorded()).failure for each in called} == {pb.CALL_FAILURE_DEADLINE_EXCEEDED}


async def test_results_of_a_worker_that_was_stopped_past_the_lease_have_no_effect(tmp_path):
    async with (
        servers(tmp_path, 2, "[activities.act]\ndeadline_s = 100\n") as (one, two),
        late_worker(two.address) as worker,
    ):
        called = await stopped_with_calls((one, two), worker)
        assert await end_leases(one.store) == len(called)

        async def interrupted():
            return {(await each.recorded()).status for each in called} == {pb.CALL_STATUS_INTERRUPTED}

        await wait_until(interrupted, what="the end of the leases")
        await goes_on_and_changes_nothing(one, worker, called)
        for each in called:
            assert (await refusal(each.answer)).reason == "OUTCOME_UNKNOWN"

        async def all_gone():
            return all([(await each.recorded()).caller_gone for each in called])

        await wait_until(all_gone, what="the marks of the callers")


@pytest.mark.skipif(not SOAK, reason="takes half a minute")
async def test_a_worker_that_hangs_is_noticed_within_45_seconds(tmp_path):
    async with servers(tmp_path, 1) as (one,), late_worker(one.address) as worker:
        worker.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        await wait_until(
            lambda: one.process.events("worker_disconnected"), deadline_s=45, what="a hung worker is noticed"
        )
        print(f"\na hung worker was noticed after {time.monotonic() - began:.0f} s")


async def test_a_stopping_server_answers_its_calls_and_its_workers_connect_to_another(tmp_path):
    async with servers(tmp_path, 2) as (one, two), raw_worker(one.worker_stub, "act", max_calls=5) as worker:
        called = [await Called.make(each, "act") for each in (one, one, two, two)]
        await worker.next("offer", 4)
        one.process.signal(signal.SIGTERM)
        await worker.next("drain")
        serving = asyncio.create_task(worker.serve())
        await asyncio.gather(*(each.answer for each in called))
        await worker.over.wait()
        await serving
        assert worker.error is None
        assert await asyncio.to_thread(one.process.process.wait, 120) == 0
        assert one.process.events("stopped")[0]["clean"]


async def test_a_stopped_server_leaves_no_announced_slots(tmp_path):
    """Otherwise other replicas would offer it calls until its announcement expires."""
    async with (
        servers(tmp_path, 1) as (one,),
        redis.asyncio.Redis(port=one.store.port) as client,
        raw_worker(one.worker_stub, "act", max_calls=5),
    ):
        await wait_until(lambda: client.hlen(keys.WORKERS_KEY), what="announced slots")
        one.process.signal(signal.SIGTERM)
        assert await asyncio.to_thread(one.process.process.wait, 120) == 0
        assert await client.hlen(keys.WORKERS_KEY) == 0
