"""Each change that someone was told of is a step: it is counted, so that its loss in a failover is reported."""

import pytest
import redis.asyncio
from support.cases import DONE, RECORDING, Cases
from support.replicas import running_stores

from callback_server.domain.call import Request
from callback_server.domain.case import AnswerMode
from callback_server.domain.event import STEP, EventFilter
from callback_server.store import keys
from callback_server.store.connection.client import connect
from callback_server.store.epochs.known import Epochs, Loss
from callback_server.store.queries.read_events import decode_event
from callback_server.store.transitions.mark_fallback import mark_fallback
from callback_server.store.transitions.mark_waiting import mark_waiting
from callback_server.store.transitions.replay_call import replay_call
from callback_server.store.transitions.resolve_case import resolve_case

PARTITION = 7
TAG = keys.tag(PARTITION)


class Server(Cases):
    """A server with a case and a call in each state that a change needs."""

    def __init__(self, client, epochs):
        super().__init__(client, epochs=epochs)
        self.epochs = epochs

    @property
    def steps(self):
        return self.epochs.known[TAG].steps

    async def create(self, **fields):
        return await self.new(partition=PARTITION, **fields)

    async def call_of(self, case):
        call_id = f"{case.id}-f000000000000001"
        await self.claim(case, call_id, body=b"secret")
        return call_id

    async def prepare(self):
        self.multiple = await self.create()
        self.running = await self.call_of(self.multiple)
        self.ended = await self.create()
        await self.finish(await self.call_of(self.ended))
        self.holding = await self.create(activity="form", answer_mode=AnswerMode.HOLD, hold_time_ms=60_000)
        self.waiting_call = await self.call_of(await self.create(answer_mode=AnswerMode.ACK))


CHANGES = {
    "an erasure": lambda server: server.erase(server.ended.id),
    "a resolution before any call": lambda server: resolve_case(
        server.scripts, server.holding.id, owner=None, digest="d", outcome=DONE, version=None, up_to=0,
        recording=RECORDING,
    ),
    "a caller who is told to wait": lambda server: mark_waiting(
        server.scripts, call_id=server.running, wait_hash="h", method="post", is_own=True
    ),
    "a fallback that accepts nothing": lambda server: mark_fallback(
        server.scripts, call_id=server.running, request=Request("post"), recording=RECORDING, accepts=False
    ),
    "a replay of a delivery that waits": lambda server: replay_call(server.scripts, server.waiting_call, owner=None),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_a_change_is_a_step_whose_loss_is_reported_and_watchers_are_not_told(tmp_path, change):
    reports = []
    with running_stores(tmp_path, 2) as (old, new):
        await new.follow(str(old.address))
        async with connect(old.url) as client, redis.asyncio.Redis(port=new.port) as replica:
            server = Server(client, Epochs(reports.append))
            await server.prepare()
            await client.wait(1, 0)
            await replica.replicaof("NO", "ONE")
            before = server.steps
            await change(server)
            assert server.steps == before + 1
            ((_, fields),) = await client.xrevrange(keys.key(PARTITION, "events"), count=1)
            event = decode_event(fields[b"event"])
            assert (event.type, EventFilter(owner=None).matches(event)) == (STEP, False)
        async with connect(new.url) as client:
            await Server(client, server.epochs).create()
    assert Loss(PARTITION, 1001, 1, 1) in reports


@pytest.mark.parametrize("name", [*CHANGES][:4])  # each request for a replay is one
async def test_a_change_that_is_sent_again_is_no_other_step(store, name):
    async with connect(store.url) as client:
        server = Server(client, Epochs())
        await server.prepare()
        await CHANGES[name](server)
        before = server.steps
        await CHANGES[name](server)
        assert server.steps == before
