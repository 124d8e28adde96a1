"""Held and waiting calls take no slot of a call that runs, and no owner takes all slots from the others."""

import asyncio

import pytest
import structlog
from prometheus_client import REGISTRY
from support.handlers import GatedHandler
from support.principals import by, principals_of
from support.services import calls_in_flight, refusal, running_services
from support.wait import wait_until

from callback.v1 import callback_pb2 as pb
from callback.v1 import edge_service_pb2 as edge
from callback.v1.edge_service_pb2_grpc import EdgeServiceStub
from callback_server.limits import log as limits_log

HOLD = {"answer_mode": pb.ANSWER_MODE_HOLD, "allow_multiple_calls": True}
OWNER = {"roles": ["owner"]}


@pytest.fixture(autouse=True)
def _each_line(limits):
    limits(limits_log, LOG_AGAIN_S=0)


def services(store, *, shop=OWNER, **settings):
    known = principals_of(edge={"roles": ["edge"]}, shop=shop, bank=OWNER)
    return running_services(store, principals=lambda: known, **settings)


def held_in_flight():
    return REGISTRY.get_sample_value("callback_held_calls_in_flight")


def exceeded(log):
    return {(entry["limit"], entry["owner"]) for entry in log if entry["event"] == "limit_exceeded"}


def call(running, made):
    return running.call(made, metadata=by("edge"))


async def test_a_held_call_takes_no_place_of_a_call_that_runs_and_none_at_all_once_its_caller_has_left(store_of):
    async with services(store_of(), max_in_flight_calls=1) as running:
        held = await running.generate("act", metadata=by("shop"), **HOLD)
        stream = running.edge.StreamInvocations(metadata=by("edge"))
        await stream.read()
        request = edge.InvokeRequest(state=held.callback_state, request_method="post")
        for number in (1, 2, 3):
            await stream.write(edge.StreamInvocationsRequest(invocations=[{"number": number, "request": request}]))
            await wait_until(lambda number=number: held_in_flight() == number, what="the call held")
        assert calls_in_flight() == 0
        await call(running, await running.generate("record", metadata=by("bank")))
        await stream.write(edge.StreamInvocationsRequest(gone_numbers=[1, 2]))
        await wait_until(lambda: held_in_flight() == 1, what="two callers gone")
        stream.cancel()
        await wait_until(lambda: held_in_flight() == 0, what="the edge gone")
        assert len(await running.waiting(metadata=by("shop"))) == 3


async def test_the_server_tells_the_edge_which_calls_are_held(store_of):
    async with services(store_of()) as running:
        held = await running.generate("act", metadata=by("shop"), **HOLD)
        stream = EdgeServiceStub(running.channel).StreamInvocations(metadata=by("edge"))
        request = edge.InvokeRequest(state=held.callback_state, request_method="post")
        await stream.write(edge.StreamInvocationsRequest(invocations=[{"number": 7, "request": request}]))
        while not (message := await stream.read()).waiting_numbers:
            assert not message.results
        assert message.waiting_numbers == [7]
        stream.cancel()


async def test_the_last_places_of_held_calls_are_for_other_owners(store_of):
    async with services(store_of(), max_in_flight_held_calls=9) as running:
        held = await running.generate("act", metadata=by("shop"), **HOLD)
        calls = []
        for number in range(1, 9):
            calls.append(call(running, held))
            await wait_until(lambda number=number: held_in_flight() == number, what="the call held")
        with structlog.testing.capture_logs() as log:
            assert (await refusal(call(running, held))).reason == "TOO_MANY_CALLS"
        assert exceeded(log) == {("max_in_flight_held_calls", "shop")}
        calls.append(call(running, await running.generate("act", metadata=by("bank"), **HOLD)))
        await wait_until(lambda: held_in_flight() == 9, what="the call of the other held")
        await call(running, await running.generate("record", metadata=by("shop")))
        for each in calls:
            each.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


async def test_the_last_places_of_calls_are_for_other_owners(store_of):
    handler = GatedHandler()
    async with services(store_of(), handlers={"act": handler}, max_in_flight_calls=9) as running:
        made = await running.generate("act", metadata=by("shop"), allow_multiple_calls=True)
        calls = []
        for number in range(1, 9):
            calls.append(call(running, made))
            await wait_until(lambda number=number: handler.started == number, what="the call running")
        with structlog.testing.capture_logs() as log:
            assert (await refusal(call(running, made))).reason == "TOO_MANY_CALLS"
        assert exceeded(log) == {("max_in_flight_calls", "shop")}
        await call(running, await running.generate("record", metadata=by("bank")))
        handler.gate.set()
        await asyncio.gather(*calls)


async def test_a_quota_in_the_principals_file_limits_the_calls_of_its_owner_alone(store_of):
    handler = GatedHandler()
    shop = OWNER | {"quota": {"max_in_flight_calls": 1}}
    async with services(store_of(), shop=shop, handlers={"act": handler}) as running:
        made = {name: await running.generate("act", metadata=by(name), allow_multiple_calls=True)
                for name in ("shop", "bank")}  # fmt: skip
        calls = [call(running, made["shop"])]
        await wait_until(lambda: handler.started == 1, what="the call running")
        with structlog.testing.capture_logs() as log:
            refused = await refusal(call(running, made["shop"]))
        assert (refused.reason, refused.retry_after_s) == ("TOO_MANY_REQUESTS", 1)
        assert exceeded(log) == {("max_in_flight_calls_per_owner", "shop")}
        calls += [call(running, made["bank"]) for _ in range(2)]
        await wait_until(lambda: handler.started == 3, what="the calls of the other running")
        handler.gate.set()
        await asyncio.gather(*calls)


async def test_a_quota_limits_the_calls_of_a_minute_of_all_cases_of_an_owner(store_of):
    shop = OWNER | {"quota": {"max_calls_per_minute": 1}}
    async with services(store_of(), shop=shop, max_calls_per_minute_per_owner=2) as running:
        for owner, allowed in (("shop", 1), ("bank", 2)):
            *cases, last = [await running.generate("record", metadata=by(owner)) for _ in range(allowed + 1)]
            for made in cases:
                await call(running, made)
            with structlog.testing.capture_logs() as log:
                said = await refusal(call(running, last))
            assert (said.reason, 1 <= said.retry_after_s <= 60 // allowed) == ("TOO_MANY_REQUESTS", True)
            assert exceeded(log) == {("max_calls_per_minute_per_owner", owner)}


async def test_repeats_that_wait_count_as_waits_and_have_a_quota(store_of):
    handler = GatedHandler()
    shop = OWNER | {"quota": {"max_in_flight_waits": 1}}
    async with services(store_of(), shop=shop, handlers={"act": handler}) as running:
        made = await running.generate("act", metadata=by("shop"))
        calls = [call(running, made)]
        await wait_until(lambda: handler.started == 1, what="the call running")
        calls.append(call(running, made))
        await wait_until(lambda: REGISTRY.get_sample_value("callback_waits_in_flight") == 1, what="the repeat waiting")
        assert calls_in_flight() == 1
        with structlog.testing.capture_logs() as log:
            assert (await refusal(call(running, made))).reason == "TOO_MANY_REQUESTS"
        assert exceeded(log) == {("max_in_flight_waits_per_owner", "shop")}
        handler.gate.set()
        await asyncio.gather(*calls)
