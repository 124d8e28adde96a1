"""A slot of a cluster that moves to another node: the partition is unavailable meanwhile, and nothing is lost.

In the classic way (`CLUSTER SETSLOT`, `MIGRATE`), each key moves by itself. A client that follows ASK runs scripts on
the new node before their keys have arrived there. Then a consumed single-use URL ran again, valid URLs were unknown,
and the tool stopped because the scripts had made keys that it was about to move.
"""

import asyncio
import collections
import random

import grpc
import pytest
from soak.counts import SOAK, count
from support.calls import Called
from support.cluster import running_cluster, slot_of
from support.services import refusal, running_services
from support.wait import wait_until

from callback.v1 import callback_handler_service_pb2 as handler_pb
from callback.v1 import callback_pb2 as pb
from callback.v1 import callbacks_service_pb2 as rpc
from callback_server.calls import claims
from callback_server.domain.ids import case_id_of_call
from callback_server.handlers.handler import Reply
from callback_server.store import keys

CASES = count(30, 100)
HELD_CALLS = count(6, 20)
CALLERS = count(3, 8)
MOVING = range(count(8, 32))
"""The partitions whose slots move: in a soak, half of all."""
MOMENTARY = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.ABORTED}
"""The codes of refusals that are right while slots move: unavailable, consumed, and another call runs."""


class Handler:
    """A handler in this process that accepts, and counts the calls of each case."""

    def __init__(self):
        self.handled = collections.Counter()

    async def handle(self, grant, _request, *, timeout_s):
        self.handled[case_id_of_call(grant.call_id)] += 1
        return Reply(handler_pb.HandleCallbackResponse(verdict=handler_pb.VERDICT_ACCEPTED), lambda _reason: None)


class Load:
    """Callers that make callbacks and call them, and what they were told."""

    def __init__(self, services):
        self._services = services
        self.codes = collections.Counter()
        self.open = []
        """Single-use cases that are still to be called."""
        self.consumed = []
        """Single-use cases whose call succeeded."""
        self.acknowledged = []
        """The calls that were acknowledged."""

    async def make(self, **more):
        """Make a callback, at once or as soon as its partition is available."""
        while True:
            try:
                return await self._services.generate("act", **more)
            except grpc.aio.AioRpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise

    async def call(self, made):
        """Call a callback. Return the id of the call, or None if it was refused."""
        try:
            result = await self._services.call(made)
        except grpc.aio.AioRpcError as error:
            self.codes[error.code()] += 1
            return None
        self.codes[grpc.StatusCode.OK] += 1
        return result.call_id

    async def consume(self):
        """Call a single-use callback twice at the same time."""
        made = self.open.pop()
        if any(await asyncio.gather(self.call(made), self.call(made))):
            self.consumed.append(made)
        else:
            self.open.insert(0, made)

    async def acknowledge(self):
        """Call a callback that is answered before its handler runs."""
        call_id = await self.call(await self.make(answer_mode=pb.ANSWER_MODE_ACK))
        if call_id:
            self.acknowledged.append(call_id)

    async def prepare(self):
        """Make callbacks, and consume half of them."""
        self.open = await asyncio.gather(*(self.make() for _ in range(2 * CASES)))
        await asyncio.gather(*(self.consume() for _ in range(CASES)))

    async def run_until(self, done):
        """Make and call callbacks until this future is done."""
        while not done.done():
            await self.acknowledge()
            self.open.append(await self.make())
            await self.consume()
            await self.call(random.choice(self.consumed))


@pytest.mark.parametrize(
    ("kind", "way"),
    [("redis-cluster", "reshard"), ("valkey-cluster", "migrate_slots"), ("valkey-cluster", "reshard")][: count(2, 3)],
)
async def test_slots_that_move_under_load_lose_nothing_and_run_nothing_twice(tmp_path_factory, kind, way):
    handler = Handler()
    async with (
        running_cluster(tmp_path_factory, kind, moving=MOVING) as cluster,
        running_services(cluster, handlers={"act": handler}, sweeps=True, grace_s=30) as services,
    ):
        load = Load(services)
        await load.prepare()
        held = [await Called.make(services, "form") for _ in range(HELD_CALLS)]
        await wait_until(lambda: are_held(services), what="calls that wait")
        moving = asyncio.ensure_future(getattr(cluster, way)())
        await asyncio.gather(moving, *(load.run_until(moving) for _ in range(CALLERS)))
        code, said = moving.result()
        assert code == 0, said

        print(f"\n{kind}, {way}: {len(load.consumed)} cases, {dict(load.codes)}")
        assert load.codes.keys() <= {grpc.StatusCode.OK, *MOMENTARY}
        while load.open:
            await load.consume()
        assert {made.callback_case_id for made in load.consumed} <= handler.handled.keys()
        assert max(handler.handled.values()) == 1
        for called in held:
            call = await called.recorded()
            await services.callbacks.AnswerCall(rpc.AnswerCallRequest(call_id=call.call_id))
        assert {(await called.answer).response.response_code for called in held} == {200}
        await wait_until(lambda: are_delivered(services, load.acknowledged), what="the acknowledged calls, delivered")


@pytest.mark.parametrize("kind", ["redis-cluster", "valkey-cluster"] if SOAK else ["redis-cluster"])
async def test_a_partition_is_unavailable_while_its_keys_move_and_as_it_was_afterwards(tmp_path_factory, limits, kind):
    limits(claims, UNSENT_S=0.1)
    handler = Handler()
    async with (
        running_cluster(tmp_path_factory, kind, moving=MOVING) as cluster,
        running_services(cluster, handlers={"act": handler}) as services,
    ):
        load = Load(services)
        await load.prepare()
        while not (moving := [p for p in map(partition_of_made, load.consumed) if p in MOVING]):
            load.open.append(await load.make())
            await load.consume()
        partition = moving[0]
        consumed, fresh = (
            [made for made in cases if partition_of_made(made) == partition] for cases in (load.consumed, load.open)
        )
        await cluster.source.begin_to_move(slot_of(partition), cluster.target)
        stored = await cluster.keys_of(partition)
        for half in (stored[::2], stored[1::2]):
            await cluster.source.move_keys(half, cluster.target)
            load.codes.clear()
            await asyncio.gather(*(load.call(made) for made in consumed + fresh))
            assert load.codes == {grpc.StatusCode.UNAVAILABLE: len(consumed + fresh)}
        listed = services.callbacks.ListCallbacks(rpc.ListCallbacksRequest())
        assert (await refusal(listed)).code is grpc.StatusCode.UNAVAILABLE
        assert sorted(await cluster.keys_of(partition)) == []
        await cluster.source.give_slot(slot_of(partition), cluster.target)
        await asyncio.gather(*(load.call(made) for made in consumed + fresh))
        assert max(handler.handled.values()) == 1
        assert {made.callback_case_id for made in consumed + fresh} <= handler.handled.keys()
        await services.callbacks.ListCallbacks(rpc.ListCallbacksRequest())


async def are_held(services):
    asked = rpc.ListOwnerCallsRequest(filter=rpc.CALL_FILTER_WAITING, page_size=200)
    return len((await services.callbacks.ListOwnerCalls(asked)).calls) == HELD_CALLS


async def are_delivered(services, call_ids):
    for call_id in call_ids:
        call = await services.call_of(call_id)
        if call.delivery.status != pb.DELIVERY_STATUS_DELIVERED:
            return False
    return True


def partition_of_made(made):
    return keys.partition_of(made.callback_case_id)
