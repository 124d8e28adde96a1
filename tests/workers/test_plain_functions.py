"""Handlers of a worker that are plain functions: each call runs in a thread, which nothing can end."""

import asyncio
import contextlib
import contextvars
import threading

import pytest
from support.calls import Called
from support.services import refusal
from support.wait import DEADLINE_S, wait_until
from support.workers import connected, handlers_of

from callback import Response, Worker
from callback.v1 import callback_pb2 as pb
from callback_prove.tunnel import Tunnel
from callback_server.domain.activity import Activity

ACTIVITIES = {"act": Activity("act", 60_000), "soon": Activity("soon", 5_000)}
TENANT = contextvars.ContextVar("TENANT", default="nobody")


class Blocking:
    """A plain function for tests: it records its calls, and blocks its thread until it may continue."""

    def __init__(self):
        self.begun = []
        self.ended = []
        self.may_end = threading.Event()

    def __call__(self, call):
        self.begun.append(call)
        assert self.may_end.wait(DEADLINE_S)
        self.ended.append(call)
        return Response(b"done", code=201)

    async def has_begun(self, count=1):
        """Wait until so many calls have begun."""
        await wait_until(lambda: len(self.begun) >= count, what=f"{count} calls that have begun")


@pytest.fixture
def blocking():
    function = Blocking()
    yield function
    function.may_end.set()  # also after a failure, because the end of the process waits for the threads


def worker(services, target=None, *, max_calls=2, grace=10, **functions):
    return Worker(handlers_of(**functions), target or services.address, max_calls=max_calls, grace=grace)


async def test_plain_functions_block_neither_each_other_nor_a_coroutine_function(services, blocking):
    async def coroutine(_call):
        return Response(b"", code=202)

    async with connected(worker(services, act=blocking, soon=coroutine, max_calls=3)):
        blocked = [await Called.make(services, "act") for _ in range(2)]
        await blocking.has_begun(2)
        assert await (await Called.make(services, "soon")).code() == 202
        blocking.may_end.set()
        assert [await each.code() for each in blocked] == [201, 201]


async def test_a_plain_function_has_the_context_of_the_program_and_does_not_change_it(services):
    seen = []

    def function(_call):
        seen.append(TENANT.get())
        TENANT.set("of a call")

    TENANT.set("shop")
    async with connected(worker(services, act=function, max_calls=1)):
        for _ in range(2):
            await (await Called.make(services, "act")).answer
    assert (seen, TENANT.get()) == (["shop", "shop"], "shop")


async def test_a_plain_function_past_its_deadline_keeps_its_slot_and_its_answer_is_dropped(services, blocking, caplog):
    async with connected(worker(services, act=blocking, soon=blocking, max_calls=1)):
        late = await Called.make(services, "soon")
        assert (await refusal(late.answer)).reason == "HANDLER_DEADLINE_EXCEEDED"
        await wait_until(lambda: "handler_continues activity='soon'" in caplog.text)
        next_one = await Called.make(services, "act")
        await wait_until(lambda: services.control_plane.workers.waiting, what="a call that waits for a slot")
        assert (len(blocking.begun), blocking.ended) == (1, [])
        blocking.may_end.set()
        assert await next_one.code() == 201
    assert (len(blocking.ended), caplog.text.count("handler_cancelled activity='soon'")) == (2, 1)
    assert (await late.recorded()).failure == pb.CALL_FAILURE_DEADLINE_EXCEEDED


async def test_a_plain_function_whose_stream_is_lost_runs_on_and_the_next_stream_waits_for_its_slot(services, blocking):
    async with (
        Tunnel(services.address) as tunnel,
        connected(worker(services, tunnel.address, act=blocking, max_calls=1)),
    ):
        lost = await Called.make(services, "act")
        await blocking.has_begun()
        tunnel.cut()
        assert (await refusal(lost.answer)).reason == "HANDLER_LOST"
        next_one = await Called.make(services, "act")
        await wait_until(lambda: services.control_plane.workers.workers, what="the next stream")
        assert (len(blocking.begun), blocking.ended) == (1, [])
        blocking.may_end.set()
        assert await next_one.code() == 201


@pytest.mark.parametrize("is_lost", [False, True], ids=["connected", "lost"])
async def test_a_stop_waits_for_plain_functions_beyond_the_grace(services, blocking, caplog, is_lost):
    async with Tunnel(services.address) as tunnel, contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(connected(worker(services, tunnel.address, act=blocking, grace=0.1)))
        called = await Called.make(services, "act")
        await blocking.has_begun()
        if is_lost:
            tunnel.cut()
            assert (await refusal(called.answer)).reason == "HANDLER_LOST"
        stopping = asyncio.create_task(stack.pop_all().aclose())
        await wait_until(lambda: caplog.text.count("handler_continues") >= 1 + is_lost)
        assert (await refusal(called.answer)).reason == "HANDLER_LOST"
        assert not stopping.done()
        blocking.may_end.set()
        await stopping
    assert len(blocking.ended) == 1
