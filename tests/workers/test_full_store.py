"""A store whose memory is full: what runs ends as ever, also at a worker of another server; new calls are refused."""

import asyncio

import pytest
from support.calls import Called
from support.services import refusal, running_services
from support.store import StoreProcess, set_up
from support.wait import wait_until
from support.workers import connected, handlers_of

from callback import Worker
from callback.v1 import callback_pb2 as pb
from callback_server.store.queries.find_slots import find_slots
from callback_server.store.transitions.announce_slots import announce_slots

CALLS = 20


@pytest.fixture
def store(tmp_path):
    with StoreProcess(tmp_path) as store:
        yield store


async def test_calls_at_workers_of_another_server_end_well_while_the_store_is_full(store):
    begun, gate = [], asyncio.Event()

    async def act(call):
        begun.append(call.call_id)
        await gate.wait()

    async with (
        running_services(store) as up,
        running_services(store) as other,
        connected(Worker(handlers_of(act=act), other.address, max_calls=CALLS)),
    ):
        calls = [await Called.make(up, "act") for _ in range(CALLS)]
        await wait_until(lambda: len(begun) == CALLS, what="all calls at the worker")
        new = await up.generate()
        with set_up(store, maxmemory=1):
            gate.set()
            assert [await call.code() for call in calls] == [200] * CALLS
            for is_refused in (up.generate(), up.call(new)):
                error = await refusal(is_refused)
                assert (error.reason, error.text) == ("STORE_UNAVAILABLE", "the store is full: it refuses what is new")
        assert {(await call.recorded()).status for call in calls} == {pb.CALL_STATUS_SUCCEEDED}


async def test_servers_know_the_workers_of_others_while_the_store_is_full(store):
    async with running_services(store) as up:
        scripts = up.control_plane.scripts
        with set_up(store, maxmemory=1):
            await announce_slots(scripts, "other", {"act": 3})
        assert "other" in str(await find_slots(scripts))
