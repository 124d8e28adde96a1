"""Who goes in together: nobody waits alone, nor for long, nor is forgotten."""

import asyncio
import contextlib

import pytest
from support.services import response
from support.wait import wait_until

from callback.v1 import callbacks_service_pb2 as rpc
from callback_server.rpc import callbacks_service
from callback_server.rpc.grpc_aio import batcher as module
from callback_server.rpc.grpc_aio.batcher import FREE_BELOW, TOGETHER, AdmissionBatcher
from callback_server.store.transitions.create_case import create_case


class Visitors:
    """Tasks that go in, each until it is let out, and the order in which they got in."""

    def __init__(self):
        self.rounds = AdmissionBatcher()
        self.inside = []
        self.tasks = {}
        self.ways_out = {}

    async def come(self, *names):
        for name in names:
            self.ways_out[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self._visit(name))
        await turns()

    async def leave(self, *names):
        for name in names:
            self.ways_out[name].set()
        await turns()

    async def _visit(self, name):
        async with self.rounds:
            self.inside.append(name)
            await self.ways_out[name].wait()


async def turns():
    """Some turns of the loop, in which a timer of the rounds is not due: see `visitors`."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
async def visitors(monkeypatch):
    monkeypatch.setattr(module, "LONGEST_WAIT_S", 3600)
    some = Visitors()
    yield some
    for task in some.tasks.values():
        task.cancel()
    await asyncio.gather(*some.tasks.values(), return_exceptions=True)


async def test_who_comes_while_few_are_there_goes_in_without_a_turn_of_the_loop():
    async with contextlib.AsyncExitStack() as stack:
        rounds = AdmissionBatcher()
        for _ in range(FREE_BELOW):
            entering = rounds.__aenter__()
            with pytest.raises(StopIteration):  # it has ended, and was never suspended
                entering.send(None)
            stack.push_async_exit(rounds)


async def test_others_wait_and_go_in_together_in_their_order(visitors):
    await visitors.come("a", "b", "c", "d", "e")
    assert visitors.inside == ["a", "b"]
    await visitors.leave("b")
    assert visitors.inside == ["a", "b", "c", "d", "e"]


async def test_a_round_has_an_end_and_the_next_begins_when_it_is_nearly_over(visitors):
    first, second = [f"first-{n}" for n in range(TOGETHER)], ["second-1", "second-2"]
    await visitors.come("a", "b", *first, *second)
    await visitors.leave("a")
    assert visitors.inside == ["a", "b", *first]
    await visitors.leave("b", *first[1:])
    assert visitors.inside == ["a", "b", *first, *second]


async def test_those_who_have_given_up_take_no_place_in_a_round(visitors):
    names = [f"{n}" for n in range(2 * TOGETHER)]
    await visitors.come("a", "b", *names)
    for name in names[:TOGETHER]:
        visitors.tasks[name].cancel()
    await visitors.leave("a")
    assert visitors.inside == ["a", "b", *names[TOGETHER:]]


async def test_who_gives_up_waiting_takes_no_place_and_disturbs_nobody(visitors):
    await visitors.come("a", "b", "c", "d")
    visitors.tasks["c"].cancel()
    await visitors.leave("a", "b")
    assert visitors.inside == ["a", "b", "d"]
    await visitors.come("e", "f")
    assert visitors.inside == ["a", "b", "d", "e"]  # one place was free, and not two or none
    await visitors.leave("d")
    assert visitors.inside == ["a", "b", "d", "e", "f"]


async def test_who_gives_up_at_the_moment_of_going_in_leaves_its_place(visitors):
    await visitors.come("a", "b", "c")
    visitors.ways_out["a"].set()
    await asyncio.sleep(0)  # it leaves, and whoever waits is to be woken in the next turn
    visitors.tasks["c"].cancel()
    await turns()
    await visitors.come("d")
    assert visitors.inside == ["a", "b", "d"]


async def test_nobody_waits_for_those_that_hang(visitors, monkeypatch):
    monkeypatch.setattr(module, "LONGEST_WAIT_S", 0.01)
    names = [f"{n}" for n in range(FREE_BELOW + 2 * TOGETHER + 1)]
    await visitors.come(*names)
    assert visitors.inside == names[:FREE_BELOW]
    await wait_until(lambda: visitors.inside == names, what="all inside")
    late = [f"late-{n}" for n in range(TOGETHER + 1)]
    await visitors.come(*late)
    await wait_until(lambda: visitors.inside == [*names, *late], what="all inside")


async def test_requests_for_urls_go_in_so(services, monkeypatch):
    inside, let_go = 0, asyncio.Event()

    async def held_up(scripts, case):
        nonlocal inside
        inside += 1
        await let_go.wait()
        return await create_case(scripts, case)

    monkeypatch.setattr(callbacks_service, "create_case", held_up)
    monkeypatch.setattr(module, "LONGEST_WAIT_S", 3600)
    request = rpc.GenerateCallbackUrlRequest(callback_activity="record", response=response())
    asked = [asyncio.ensure_future(services.callbacks.GenerateCallbackUrl(request)) for _ in range(50)]
    for _ in asked:  # by then, what came before on this connection has come
        await services.callbacks.ListCallbacks(rpc.ListCallbacksRequest())
    assert inside == FREE_BELOW
    let_go.set()
    assert len({made.callback_case_id for made in await asyncio.gather(*asked)}) == len(asked)
