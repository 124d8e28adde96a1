"""Server processes on one store, and workers that hang: kill -9 and SIGSTOP at every step of a call."""

import asyncio
import contextlib
import signal
import sys
import time
from asyncio.subprocess import PIPE
from pathlib import Path

import grpc
import pytest
import redis.asyncio
from soak.counts import SOAK, count
from support.calls import Called
from support.leases import end_leases
from support.services import refusal
from support.system import own_store, running_server
from support.wait import DEADLINE_S, wait_until
from support.workers import raw_worker, serving, serving_worker

from callback.v1 import callback_pb2 as pb
from callback_server.store import keys

POINTS = {"begun": (True,), "started": (False, True), "offered": (False,)}
"""How far a call can have come when its worker is lost, and whether it is lost then. After the accept, a test cannot
know whether the confirm was already under way."""


@contextlib.asynccontextmanager
async def servers(directory, number, **deadlines_s):
    """Run server processes on their own store, with these deadlines of activities."""
    file = directory / "callback.toml"
    deadlines_s = deadlines_s or {"act": 100}
    file.write_text("".join(f"[activities.{name}]\ndeadline_s = {limit}\n" for name, limit in deadlines_s.items()))
    with own_store(directory) as store:
        async with contextlib.AsyncExitStack() as stack:
            running = [
                running_server(store, directory / f"server-{at}.log", CALLBACK_CONFIG=str(file)) for at in range(number)
            ]
            yield [await stack.enter_async_context(each) for each in running]


async def is_lost(called):
    """Return whether a call has ended because its handler was lost; otherwise it was answered."""
    try:
        await called.answer
    except grpc.aio.AioRpcError:
        assert (await refusal(called.answer)).reason == "HANDLER_LOST"
        return True
    return False


async def test_replicas_that_are_killed_with_the_worker_of_a_call_lose_it_once_it_is_confirmed(tmp_path):
    """Before the confirm, the call goes to another worker; after it, the call is lost and goes to no other."""
    async with (
        servers(tmp_path, 1 + len(POINTS), **dict.fromkeys(POINTS, 100)) as (one, *others),
        contextlib.AsyncExitStack() as stack,
    ):
        workers = [
            await stack.enter_async_context(raw_worker(other.worker_stub, point))
            for point, other in zip(POINTS, others, strict=True)
        ]
        called = {}
        for point, worker in zip(POINTS, workers, strict=True):
            called[point] = await Called.make(one, point)
            call = await worker.next("offer")
            if point != "offered":
                await worker.accept(call)
            if point == "begun":
                await worker.next("confirm")
        for other in others:
            other.process.kill()

        async def check(point):
            async with serving_worker(one.worker_stub, point) as near:
                lost = await is_lost(called[point])
                assert lost in POINTS[point], point
                assert bool(near.of("offer")) != lost, point

        await asyncio.gather(*map(check, POINTS))


async def test_a_coordinator_that_is_killed_leaves_a_call_that_is_interrupted_and_a_worker_that_is_free(tmp_path):
    async with (
        servers(tmp_path, 2, act=10) as (one, two),
        raw_worker(two.worker_stub, "act") as worker,
    ):
        called = await Called.make(one, "act")
        call = await worker.begin()
        one.process.kill()
        with pytest.raises(grpc.aio.AioRpcError):
            await called.answer
        called.services = two
        await worker.next("withdraw")  # at the deadline, by the replica of the worker
        await worker.result(call)
        again = await Called.make(two, "act")
        await worker.handle(2)
        await again.answer
        assert await end_leases(two.store) == 1
        await wait_until(lambda: have_ended([called]), what="the end of the lease")


async def have_ended(called):
    """Return whether the leases of these calls have ended."""
    return {(await each.recorded()).status for each in called} == {pb.CALL_STATUS_INTERRUPTED}


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


async def stored(called):
    """Return all stored data of a call and its case, except whether its caller is gone."""
    call = await called.recorded()
    call.ClearField("caller_gone")
    return await called.case(), call


@pytest.mark.parametrize("past", ["the deadline", "the lease"])
async def test_results_of_a_worker_that_was_stopped_for_too_long_have_no_effect(tmp_path, past):
    async with (
        servers(tmp_path, 2, act=6 if past == "the deadline" else 100) as (one, two),
        late_worker(two.address) as worker,
    ):
        called = [
            await Called.make((one, two)[n % 2], "act", retryable_after_error=n % 3 == 0) for n in range(count(12, 200))
        ]
        for _ in called:
            await worker.said("begun")
        worker.send_signal(signal.SIGSTOP)
        if past == "the deadline":
            for each in called:
                assert (await refusal(each.answer)).reason == "HANDLER_DEADLINE_EXCEEDED"
        else:
            assert await end_leases(one.store) == len(called)
            await wait_until(lambda: have_ended(called), what="the end of the leases")

        before = [await stored(each) for each in called]
        worker.stdin.write(b"\n")
        worker.send_signal(signal.SIGCONT)
        # The messages of the worker arrive in order, so a later call that it answers comes after all others.
        await (await Called.make(one, "act")).answer
        assert [await stored(each) for each in called] == before
        print(f"\n{len(called)} late answers changed nothing")
        if past == "the deadline":
            assert {call.failure for _, call in before} == {pb.CALL_FAILURE_DEADLINE_EXCEEDED}
            return
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
    """It leaves no announced slots: other replicas would offer it calls until its announcement expires."""
    async with (
        servers(tmp_path, 2) as (one, two),
        redis.asyncio.Redis(port=one.store.port) as client,
        raw_worker(one.worker_stub, "act", max_calls=5) as worker,
    ):
        await wait_until(lambda: client.hlen(keys.WORKERS_KEY), what="announced slots")
        called = [await Called.make(each, "act") for each in (one, one, two, two)]
        await worker.next("offer", 4)
        one.process.signal(signal.SIGTERM)
        await worker.next("drain")
        async with serving(worker):
            await asyncio.gather(*(each.answer for each in called))
            await worker.over.wait()
        assert worker.error is None
        assert await asyncio.to_thread(one.process.process.wait, DEADLINE_S) == 0
        assert one.process.events("stopped")[0]["clean"]
        assert await client.hlen(keys.WORKERS_KEY) == 0
