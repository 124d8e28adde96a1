"""Limits on the recorded bytes of owners and of all: the oldest bodies go first, and the calls say so."""

import asyncio

import pytest
from prometheus_client import REGISTRY
from support.handlers import GatedHandler, reject
from support.principals import by, principals_of
from support.services import refusal, running_services
from support.wait import wait_until

from callback.v1 import callback_pb2 as pb
from callback.v1 import callbacks_service_pb2 as rpc
from callback_server.calls.recorded_bytes import RecordedBytes
from callback_server.handlers.handler import Reply
from callback_server.limits.quotas import Quota, Quotas
from callback_server.store.queries.read_recorded_bytes import read_recorded_bytes

BODY = b"x" * 10_000
OWNER = {"roles": ["owner"]}
MANY = {"allow_multiple_calls": True}


class Rejecting:
    """A handler in the process of the server that rejects each call, so that a delivery is dead at once."""

    async def handle(self, _grant, _request, *, timeout_s):
        del timeout_s
        return Reply(reject(), lambda _: None)


def services(store, *, shop=OWNER, **settings):
    known = principals_of(edge={"roles": ["edge"]}, shop=shop, bank=OWNER)
    return running_services(store, principals=lambda: known, **settings)


async def recorded(running):
    """Return the recorded bytes by owner."""
    sums = {}
    for partition in await read_recorded_bytes(running.control_plane.scripts):
        for owner, size in partition.items():
            sums[owner] = sums.get(owner, 0) + size
    return sums


async def call(running, made, body=BODY, **fields):
    return await running.call(made, body=body, metadata=by("edge"), **fields)


async def call_of(running, answer, owner):
    return (await running.callbacks.GetCall(rpc.GetCallRequest(call_id=answer.call_id), metadata=by(owner))).call


async def apply(running):
    await running.control_plane.recorded_bytes.apply()


async def test_the_oldest_bodies_of_an_owner_go_and_its_calls_say_so(store_of):
    async with services(store_of(), shop=OWNER | {"quota": {"max_recorded_bytes": 45_000}}) as running:
        mine = await running.generate(metadata=by("shop"), **MANY)
        others = await running.generate(metadata=by("bank"), **MANY)
        of_bank = [await call(running, others) for _ in range(6)]
        answers = [await call(running, mine) for _ in range(6)]
        await apply(running)
        calls = [await call_of(running, each, "shop") for each in answers]
        assert [each.body_dropped for each in calls] == [True, True, False, False, False, False]
        assert [each.request_body for each in calls] == [b"", b"", BODY, BODY, BODY, BODY]
        assert {each.request_body_size for each in calls} == {len(BODY)}
        assert {each.status for each in calls} == {pb.CALL_STATUS_SUCCEEDED}
        assert not any([(await call_of(running, each, "bank")).body_dropped for each in of_bank])
        assert (await recorded(running))["shop"] <= 45_000 < (await recorded(running))["bank"]
        await call(running, mine)


async def test_above_the_limit_of_all_the_oldest_go_whoever_has_them_in_each_partition(store_of):
    async with services(store_of(), max_recorded_bytes=45_000) as running:
        made = {owner: await running.generate(metadata=by(owner), callback_activity_case="1", **MANY)
                for owner in ("shop", "bank")}  # fmt: skip
        answers = [(owner, await call(running, made[owner])) for _ in range(4) for owner in made]
        await apply(running)
        dropped = [(await call_of(running, answer, owner)).body_dropped for owner, answer in answers]
        for owner in made:
            of_owner = [each for each, (name, _) in zip(dropped, answers, strict=True) if name == owner]
            assert of_owner == sorted(of_owner, reverse=True)
        assert sum((await recorded(running)).values()) <= 45_000
        assert not all(dropped)


async def test_a_body_that_a_delivery_needs_stays_and_its_owner_gets_a_503_until_it_is_delivered(store_of):
    handler = GatedHandler()
    limits = {"shop": OWNER | {"quota": {"max_recorded_bytes": 5_000}}}
    async with services(store_of(), handlers={"act": handler}, **limits) as running:
        made = await running.generate("act", answer_mode=pb.ANSWER_MODE_ACK, metadata=by("shop"), **MANY)
        first = await call(running, made)
        await wait_until(lambda: handler.started == 1, what="the delivery")
        await apply(running)
        assert (await call_of(running, first, "shop")).request_body == BODY
        refused = await refusal(call(running, made, b""))
        assert (refused.reason, refused.retry_after_s) == ("TOO_MANY_CALLS", 1)
        await call(running, await running.generate(metadata=by("bank")))
        handler.gate.set()

        async def delivered():
            return (await call_of(running, first, "shop")).delivery.status == pb.DELIVERY_STATUS_DELIVERED

        await wait_until(delivered, what="the end of the delivery")
        await apply(running)
        assert (await call_of(running, first, "shop")).body_dropped
        await call(running, made, b"")


async def test_where_bodies_must_stay_more_of_the_others_go_before_any_call_is_refused(store_of):
    handler = GatedHandler()
    limits = {"shop": OWNER | {"quota": {"max_recorded_bytes": 46_000}}}
    async with services(store_of(), handlers={"act": handler}, **limits) as running:
        waits = await running.generate("act", answer_mode=pb.ANSWER_MODE_ACK, metadata=by("shop"), **MANY)
        await call(running, waits, 3 * BODY)
        made = await running.generate(metadata=by("shop"), **MANY)
        for _ in range(6):
            await call(running, made)
        await apply(running)
        assert 30_000 < (await recorded(running))["shop"] <= 46_000
        assert not running.control_plane.recorded_bytes.limited()
        handler.gate.set()


async def test_servers_that_drop_at_the_same_time_refuse_no_call(store_of):
    async with services(store_of()) as running:
        made = await running.generate(metadata=by("shop"), **MANY)
        for _ in range(6):
            await call(running, made)
        quotas = Quotas(Quota(max_recorded_bytes=45_000))
        servers = [RecordedBytes(running.control_plane.scripts, 45_000, quotas) for _ in range(3)]
        await asyncio.gather(*(server.apply() for server in servers))
        assert [server.limited() for server in servers] == [[]] * 3
        assert 20_000 < (await recorded(running))["shop"] <= 45_000


async def test_a_dead_delivery_keeps_its_body_for_a_replay(store_of):
    async with services(
        store_of(), handlers={"act": Rejecting()}, shop=OWNER | {"quota": {"max_recorded_bytes": 1}}
    ) as running:
        made = await running.generate("act", answer_mode=pb.ANSWER_MODE_ACK, metadata=by("shop"), **MANY)
        answer = await call(running, made)

        async def dead():
            return (await call_of(running, answer, "shop")).delivery.status == pb.DELIVERY_STATUS_DEAD

        await wait_until(dead, what="the end of the delivery")
        await apply(running)
        assert (await call_of(running, answer, "shop")).request_body == BODY


async def test_the_limit_of_all_refuses_the_owner_with_the_most_bytes(store_of):
    handler = GatedHandler()
    async with services(store_of(), handlers={"act": handler}, max_recorded_bytes=5_000) as running:
        made = await running.generate("act", answer_mode=pb.ANSWER_MODE_ACK, metadata=by("shop"), **MANY)
        await call(running, made)
        await wait_until(lambda: handler.started == 1, what="the delivery")
        await apply(running)
        assert (await refusal(call(running, made, b""))).reason == "TOO_MANY_CALLS"
        await call(running, await running.generate(metadata=by("bank")), b"")
        handler.gate.set()


@pytest.mark.parametrize("record_bodies", [True, False])
async def test_the_recorded_bytes_are_those_of_the_calls_whatever_becomes_of_them(store_of, record_bodies):
    handler = GatedHandler()
    async with services(store_of(), handlers={"act": handler}, record_bodies=record_bodies) as running:
        assert not await recorded(running)
        recording = await running.generate(metadata=by("shop"), **MANY)
        held = await running.generate("act", answer_mode=pb.ANSWER_MODE_HOLD, metadata=by("shop"), **MANY)
        await call(running, recording)
        task = running.call(held, body=BODY, metadata=by("edge"))
        (one,) = await running.running(held, metadata=by("shop"))
        before = await recorded(running)
        assert before["shop"] > len(BODY)
        await running.answer(one.call_id, metadata=by("shop"), response=pb.Response(response_body=BODY))
        await task
        after = await recorded(running)
        assert (after["shop"] - before["shop"] > len(BODY) - 1) == record_bodies
        for made in (recording, held):
            request = rpc.EraseCallsRequest(callback_case_id=made.callback_case_id)
            await running.callbacks.EraseCalls(request, metadata=by("shop"))
        assert not await recorded(running)


async def test_a_call_whose_body_was_dropped_cannot_be_replayed(store_of):
    handler = GatedHandler()
    handler.gate.set()
    async with services(
        store_of(), handlers={"act": handler}, shop=OWNER | {"quota": {"max_recorded_bytes": 1000}}
    ) as running:
        made = await running.generate("act", metadata=by("shop"), **MANY)
        answer = await call(running, made)
        await apply(running)
        replay = running.callbacks.ReplayCall(rpc.ReplayCallRequest(call_id=answer.call_id), metadata=by("shop"))
        assert (await refusal(replay)).reason == "CALL_NOT_REPLAYABLE"


async def test_the_metric_has_the_recorded_bytes_of_all_owners(store_of):
    async with services(store_of()) as running:
        await call(running, await running.generate(metadata=by("shop")))
        await apply(running)
        assert REGISTRY.get_sample_value("callback_recorded_bytes") > len(BODY)
