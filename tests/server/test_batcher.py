"""Batches of concurrent requests: which requests wait, for how long, and which are admitted together."""

import asyncio
import contextlib

import pytest
from support.wait import wait_until

from callback_server.rpc.grpc_aio import batcher as module
from callback_server.rpc.grpc_aio.batcher import BATCH_SIZE, FREE_BELOW, AdmissionBatcher


class Requests:
    """Requests that stay admitted until a test lets them leave. `admitted` has them in the order of admission."""

    def __init__(self):
        self.batcher = AdmissionBatcher()
        self.admitted = []
        self.tasks = {}
        self.exits = {}

    async def arrive(self, *names):
        for name in names:
            self.exits[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self._run(name))
        await turns()

    async def leave(self, *names):
        for name in names:
            self.exits[name].set()
        await turns()

    async def pass_time(self):
        """Let the timer of the batcher be due."""
        self.batcher.on_timer()
        await turns()

    async def _run(self, name):
        async with self.batcher:
            self.admitted.append(name)
            await self.exits[name].wait()


async def turns():
    """Run some turns of the loop. No timer of the batcher is due meanwhile: see `requests`."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
async def requests(limits):
    limits(module, STALL_S=3600, LONGEST_WAIT_S=3600)
    some = Requests()
    yield some
    for task in some.tasks.values():
        task.cancel()
    await asyncio.gather(*some.tasks.values(), return_exceptions=True)


async def test_a_request_is_admitted_without_a_turn_of_the_loop_while_few_are_admitted():
    async with contextlib.AsyncExitStack() as stack:
        batcher = AdmissionBatcher()
        for _ in range(FREE_BELOW):
            entering = batcher.__aenter__()
            with pytest.raises(StopIteration):  # the coroutine has ended without a suspension
                entering.send(None)
            stack.push_async_exit(batcher)


async def test_further_requests_wait_and_are_admitted_together_in_order(requests):
    await requests.arrive("a", "b", "c", "d", "e")
    assert requests.admitted == ["a", "b"]
    await requests.leave("b")
    assert requests.admitted == ["a", "b", "c", "d", "e"]


async def test_a_batch_is_bounded_and_the_next_is_admitted_when_it_is_nearly_done(requests):
    first, second = [f"first-{n}" for n in range(BATCH_SIZE)], ["second-1", "second-2"]
    await requests.arrive("a", "b", *first, *second)
    await requests.leave("a")
    assert requests.admitted == ["a", "b", *first]
    await requests.leave("b", *first[1:])
    assert requests.admitted == ["a", "b", *first, *second]


async def test_cancelled_requests_do_not_count_in_a_batch(requests):
    names = [f"{n}" for n in range(2 * BATCH_SIZE)]
    await requests.arrive("a", "b", *names)
    for name in names[:BATCH_SIZE]:
        requests.tasks[name].cancel()
    await requests.leave("a")
    assert requests.admitted == ["a", "b", *names[BATCH_SIZE:]]


async def test_a_request_that_is_cancelled_while_it_waits_does_not_affect_others(requests):
    await requests.arrive("a", "b", "c", "d")
    requests.tasks["c"].cancel()
    await requests.leave("a", "b")
    assert requests.admitted == ["a", "b", "d"]
    await requests.arrive("e", "f")
    assert requests.admitted == ["a", "b", "d", "e"]  # room for one request, and not for two or none
    await requests.leave("d")
    assert requests.admitted == ["a", "b", "d", "e", "f"]


async def test_a_request_that_is_cancelled_at_its_admission_is_released(requests):
    await requests.arrive("a", "b", "c")
    requests.exits["a"].set()
    await asyncio.sleep(0)  # it leaves, and the waiting request wakes up in the next turn
    requests.tasks["c"].cancel()
    await turns()
    await requests.arrive("d")
    assert requests.admitted == ["a", "b", "d"]


async def test_requests_do_not_wait_long_for_admitted_ones_that_hang(requests, limits):
    limits(module, STALL_S=0.01)
    names = [f"{n}" for n in range(FREE_BELOW + 2 * BATCH_SIZE + 1)]
    await requests.arrive(*names)
    await wait_until(lambda: requests.admitted == names, what="all admitted")
    late = [f"late-{n}" for n in range(BATCH_SIZE + 1)]
    await requests.arrive(*late)
    await wait_until(lambda: requests.admitted == [*names, *late], what="all admitted")


async def test_requests_wait_for_admitted_ones_as_long_as_those_end(requests):
    names = [f"{n}" for n in range(BATCH_SIZE)]
    await requests.arrive("a", "b", *names)
    await requests.leave("a")
    await requests.arrive("late")
    for name in names[:3]:
        await requests.leave(name)
        await requests.pass_time()
    assert requests.admitted == ["a", "b", *names]
    await requests.pass_time()
    assert requests.admitted == ["a", "b", *names, "late"]


async def test_requests_wait_for_a_limited_time_although_admitted_ones_end(requests, limits):
    names = [f"{n}" for n in range(BATCH_SIZE)]
    await requests.arrive("a", "b", *names)
    await requests.leave("a")
    await requests.arrive("late")
    await requests.leave(names[0])
    await requests.pass_time()
    assert requests.admitted == ["a", "b", *names]
    limits(module, LONGEST_WAIT_S=0)
    await requests.leave(names[1])
    await requests.pass_time()
    assert requests.admitted == ["a", "b", *names, "late"]
