"""Owners share the slots of workers: one with very many calls takes no slot from the call of another."""

import asyncio

import pytest
import structlog
from msgspec.structs import replace
from support.principals import by, principals_of
from support.services import running_services
from support.wait import wait_until
from support.workers import ACCEPTED, serving_worker

from callback_server.domain.call import Grant, Request
from callback_server.domain.case import Settings
from callback_server.domain.response import Response, ResponseType
from callback_server.handlers.handler import HandlerError
from callback_server.settings import ActivitySettings

OWNER = {"roles": ["owner"]}
PRINCIPALS = {
    "edge": {"roles": ["edge"]},
    "hands": {"roles": ["worker"], "activities": ["*"]},
    "shop": OWNER,
    "bank": OWNER,
}


class Slow:
    """A handler that ends the calls with the case `quick` at once, and the others when its gate opens."""

    def __init__(self):
        self.gate = asyncio.Event()
        self.started = []

    async def __call__(self, call):
        self.started.append(call.callback_activity_case)
        if call.callback_activity_case != "quick":
            await self.gate.wait()
        return ACCEPTED


def services(store, **principals):
    known = principals_of(**PRINCIPALS | principals)
    return running_services(store, principals=lambda: known, activities={"act": ActivitySettings(deadline_s=30)})


def worker(running, slots, handle):
    return serving_worker(running.worker_stub, "act", max_calls=slots, handle=handle, metadata=by("hands"))


async def call(running, owner, case="slow"):
    made = await running.generate("act", metadata=by(owner), callback_activity_case=case)
    return running.call(made, metadata=by("edge"))


async def test_the_call_of_an_owner_gets_a_slot_at_once_while_another_has_more_calls_than_there_are_slots(store_of):
    slow = Slow()
    async with services(store_of()) as running, worker(running, 9, slow):
        await (await call(running, "bank", "quick"))
        flood = [await call(running, "shop") for _ in range(12)]
        await wait_until(lambda: slow.started.count("slow") == 8, what="nearly all slots taken")
        await (await call(running, "bank", "quick"))
        assert slow.started.count("slow") == 8
        slow.gate.set()
        await asyncio.gather(*flood)


async def test_an_owner_alone_gets_every_slot(store_of):
    slow = Slow()
    async with services(store_of()) as running, worker(running, 3, slow):
        calls = [await call(running, "shop") for _ in range(4)]
        await wait_until(lambda: len(slow.started) == 3, what="all slots taken")
        slow.gate.set()
        await asyncio.gather(*calls)


async def test_a_slot_that_becomes_free_goes_to_the_owner_that_has_fewer(store_of):
    slow = Slow()
    async with services(store_of()) as running, worker(running, 1, slow):
        calls = [await call(running, "shop", f"shop {number}") for number in range(4)]
        await wait_until(lambda: slow.started, what="the slot taken")
        pool = running.control_plane.workers
        await wait_until(lambda: len(pool.waiting) == 3, what="the others waiting")
        calls.append(await call(running, "bank", "quick"))
        await wait_until(lambda: len(pool.waiting) == 4, what="the call of the other waiting")
        slow.gate.set()
        await asyncio.gather(*calls)
    assert slow.started.index("quick") <= 2


async def test_a_quota_limits_the_slots_of_an_owner_and_the_refusal_and_the_log_name_both(store_of):
    slow, response = Slow(), Response(type=ResponseType.RESPONSE)
    limited = OWNER | {"quota": {"max_worker_slots": 1}}
    async with services(store_of(), shop=limited) as running, worker(running, 3, slow):
        pool = running.control_plane.workers
        grant = Grant("first", 1, "shop", "act", Settings(), response, lease_left_ms=60_000, ended_at_claim=False)
        first = asyncio.create_task(pool.handle(grant, Request("post"), timeout_s=60))
        await wait_until(lambda: slow.started, what="a slot taken")
        await (await call(running, "bank", "quick"))
        with structlog.testing.capture_logs() as log, pytest.raises(HandlerError) as caught:
            await pool.handle(replace(grant, call_id="second"), Request("post"), timeout_s=0.2)
        slow.gate.set()
        await first
    assert "shop had as many slots as it may have (max_worker_slots_per_owner)" in caught.value.detail
    (entry,) = [entry for entry in log if entry["event"] == "limit_exceeded"]
    assert (entry["limit"], entry["owner"]) == ("max_worker_slots_per_owner", "shop")
