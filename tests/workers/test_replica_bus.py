"""Messages between replicas, in order or not, repeated or lost. The test plays the other replica."""

import asyncio
import contextlib
import time
from types import SimpleNamespace

import pytest
import redis.asyncio
from prometheus_client import REGISTRY
from support.calls import Called
from support.limits import limited
from support.services import refusal, running_services
from support.store import KINDS
from support.wait import DEADLINE_S, wait_until
from support.workers import ACCEPTED, raw_worker, serving_worker

from callback.v1 import callback_handler_service_pb2 as handler_pb
from callback.v1 import callback_pb2 as pb
from callback.v1 import worker_service_pb2
from callback_process.tasks import TaskSet
from callback_server.domain.activity import Activity
from callback_server.handlers.workers import assignment, remote
from callback_server.handlers.workers.remote import DISCOVERY_S, Accept, Complete, Confirm, Offer, Withdraw
from callback_server.store import keys
from callback_server.store.connection.client import connect
from callback_server.store.queries.find_slots import find_slots
from callback_server.store.replica_bus import ReplicaBus, ReplicaMessage
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.announce_slots import announce_slots
from callback_server.store.transitions.send_messages import MAX_QUEUED_MESSAGES, send_messages

ACTIVITIES = {"act": Activity("act", 120_000), "brief": Activity("brief", 1_500)}
SHORT_S = 0.2
"""A wait that a test lets end."""
MESSAGES = (Offer, Accept, Confirm, Withdraw, Complete)


class Replica:
    """A replica that the test plays: `messages` has what it received, by kind."""

    def __init__(self, scripts, replica_bus):
        self.scripts = scripts
        self.replica_bus = replica_bus
        self.name = replica_bus.replica
        self.messages = {kind: [] for kind in MESSAGES}
        for kind in MESSAGES:
            replica_bus.receive(kind, self.messages[kind].append)

    async def got(self, kind, number=1):
        await wait_until(lambda: len(self.messages[kind]) >= number, what=f"message {number}, {kind.__name__}")
        return self.messages[kind][number - 1]

    async def begin(self, to, number=1):
        """Accept the offer with this number, and return it when its call is confirmed."""
        offer = await self.got(Offer, number)
        self.replica_bus.send(to, Accept(offer.assignment))
        await wait_until(lambda: Confirm(offer.assignment) in self.messages[Confirm], what="a confirm")
        return offer

    def offer(self, to, assignment, *, timeout_ms=20_000):
        request = handler_pb.HandleCallbackRequest(call_id=assignment, callback_activity="act")
        self.replica_bus.send(to, Offer(assignment, self.name, timeout_ms, request.SerializeToString()))

    def end(self, offer, to, **outcome):
        result = worker_service_pb2.Result(call_id="", **outcome)
        self.replica_bus.send(to, Complete(offer.assignment, result.SerializeToString(), 1))

    async def has_slots(self, number=9):
        await announce_slots(self.scripts, self.name, {"act": number, "brief": number})


@contextlib.asynccontextmanager
async def replica(store):
    client, reader = connect(store.url), connect(store.url)
    scripts = Scripts(client)
    replica_bus = ReplicaBus(scripts, reader)
    try:
        async with TaskSet() as tasks:
            tasks.start(replica_bus.run())
            yield Replica(scripts, replica_bus)
        await replica_bus.flush()
    finally:
        await client.aclose()
        await reader.aclose()


@pytest.fixture
async def up(store_of):
    """Run a replica of ours, `services`, and one of the test's, `other`."""
    store = store_of()
    async with (
        running_services(store, activities=ACTIVITIES) as services,
        replica(store) as other,
    ):
        yield SimpleNamespace(
            services=services, other=other, ours=services.control_plane.replica_bus.replica, store=store
        )


async def ended(other, number=1):
    message = await other.got(Complete, number)
    return message.result and worker_service_pb2.Result.FromString(message.result).WhichOneof("outcome")


async def test_a_call_whose_worker_is_lost_between_accept_and_confirm_is_declined_and_a_late_confirm_has_no_effect(up):
    async with raw_worker(up.services.worker_stub, "act") as worker:
        up.other.offer(up.ours, "assignment")
        await worker.accept(await worker.next("offer"))
        await up.other.got(Accept)
        await worker.close()
        assert await ended(up.other) == "declined"
        up.other.replica_bus.send(up.ours, Confirm("assignment"))
        await up.other.replica_bus.flush()
    assert not worker.of("confirm")


async def test_a_worker_that_gets_no_confirm_is_free_long_before_the_deadline_and_a_late_confirm_has_no_effect(up):
    async with raw_worker(up.services.worker_stub, "act") as worker:
        up.other.offer(up.ours, "assignment", timeout_ms=1_000_000)
        call = await worker.next("offer")
        with limited(assignment, STEP_TIMEOUT_S=SHORT_S):
            await worker.accept(call)
            assert await ended(up.other) == "declined"
        await worker.next("withdraw")
        up.other.replica_bus.send(up.ours, Confirm("assignment"))
        await worker.decline(call)
        up.other.offer(up.ours, "another")
        await worker.next("offer", 2)
    assert not worker.of("confirm")


async def test_repeated_messages_have_no_effect(up):
    async with raw_worker(up.services.worker_stub, "act", max_calls=9) as worker:
        for _ in range(2):
            up.other.offer(up.ours, "assignment")
        call = await worker.next("offer")
        await worker.accept(call)
        await up.other.got(Accept)
        for _ in range(2):
            up.other.replica_bus.send(up.ours, Confirm("assignment"))
        await worker.next("confirm")
        await worker.result(call)
        assert await ended(up.other) == "response"
        assert [len(worker.of(kind)) for kind in ("offer", "confirm")] == [1, 1]
        up.other.offer(up.ours, "assignment")  # after its end: the worker may get the offer, but no confirm
        await worker.next("offer", 2)
        assert len(worker.of("confirm")) == 1


async def test_a_call_that_is_withdrawn_together_with_its_offer_leaves_the_slot_free(up):
    async with raw_worker(up.services.worker_stub, "act") as worker:
        up.other.offer(up.ours, "assignment")
        up.other.replica_bus.send(up.ours, Withdraw("assignment"))
        call = await worker.next("offer")
        await worker.next("withdraw")
        heard = [message.WhichOneof("message") for message in worker.heard]
        assert [kind for kind in heard if kind != "store_epochs"] == ["welcome", "offer", "withdraw"]
        await worker.decline(call)

        async def is_offered():
            """Offer a call until it comes after that message: the other replica's messages take another way."""
            ends = up.other.messages[Complete]
            before = len(ends)
            up.other.offer(up.ours, f"another, {before}")
            await wait_until(lambda: len(worker.of("offer")) > 1 or len(ends) > before, what="an offer, or its end")
            return len(worker.of("offer")) > 1

        await wait_until(is_offered, what="another offer")


async def test_an_offer_without_a_free_slot_is_declined(up):
    up.other.offer(up.ours, "assignment")
    assert await ended(up.other) == "declined"


async def test_a_call_offered_to_a_replica_that_dies_goes_to_another(up):
    await up.other.has_slots()
    with limited(assignment, STEP_TIMEOUT_S=SHORT_S):
        called = await Called.make(up.services, "act")
        await up.other.got(Offer)
    async with serving_worker(up.services.worker_stub, "act"):
        await called.answer
    await up.other.got(Withdraw)


async def test_a_call_that_a_replica_has_not_accepted_when_it_stops_goes_to_another_at_once(up):
    await up.other.has_slots()
    with limited(assignment, STEP_TIMEOUT_S=2 * DEADLINE_S):
        called = await Called.make(up.services, "act")
        await up.other.got(Offer)
        await announce_slots(up.other.scripts, up.other.name, None)
        async with serving_worker(up.services.worker_stub, "act"), asyncio.timeout(DEADLINE_S):
            await called.answer
    await up.other.got(Withdraw)


async def test_a_replica_that_dies_after_the_confirm_is_missed_long_before_the_deadline(up, limits):
    """Also if its slots are known from an earlier call, so that the call does not read them."""
    await up.other.has_slots()
    called = await Called.make(up.services, "act")
    up.other.end(await up.other.begin(up.ours), up.ours, response=ACCEPTED)
    await called.answer
    asked = time.monotonic()
    await wait_until(lambda: time.monotonic() - asked > 3 * DISCOVERY_S, what="no more reads")
    called = await Called.make(up.services, "act")
    await up.other.begin(up.ours, 2)
    limits(remote, DEAD_S=SHORT_S)
    async with asyncio.timeout(DEADLINE_S / 2):
        assert (await refusal(called.answer)).reason == "HANDLER_LOST"
    assert (await called.recorded()).failure == pb.CALL_FAILURE_HANDLER_LOST


async def test_a_call_at_its_deadline_is_not_offered_again(up):
    for _ in range(2):
        await up.other.has_slots()  # which is valid for 3 s
        assert (await refusal((await Called.make(up.services, "brief")).answer)).reason == "HANDLER_NOT_STARTED"
    await up.other.got(Withdraw, 2)
    assert len(up.other.messages[Offer]) == 2


async def test_a_call_is_confirmed_once_whatever_a_replica_sends(up):
    await up.other.has_slots()
    called = await Called.make(up.services, "act")
    offer = await up.other.got(Offer)
    for _ in range(3):
        up.other.replica_bus.send(up.ours, Accept(offer.assignment))
    await up.other.got(Confirm)
    up.other.end(offer, up.ours, declined=worker_service_pb2.Declined())  # too late: the call goes to no other worker
    assert (await refusal(called.answer)).reason == "HANDLER_LOST"
    up.other.end(offer, up.ours, response=ACCEPTED)
    up.other.replica_bus.send(up.ours, Accept(offer.assignment))
    await up.other.replica_bus.flush()
    assert len(up.other.messages[Confirm]) == len(up.other.messages[Offer]) == 1


async def test_a_replica_that_declines_is_not_flooded_with_offers(up):
    await up.other.has_slots(1000)
    called = await Called.make(up.services, "act")
    began = time.monotonic()
    for number in range(1, 4):
        up.other.end(await up.other.got(Offer, number), up.ours, declined=worker_service_pb2.Declined())
        await up.other.has_slots(1000)
    offer = await up.other.begin(up.ours, 4)
    assert time.monotonic() - began > 2 * DISCOVERY_S  # they are read before each offer, and at most once in this time
    up.other.end(offer, up.ours, response=ACCEPTED)
    await called.answer


@pytest.mark.parametrize("kind", KINDS)
async def test_messages_and_slots_work_on_every_store(store_of, kind):
    async with replica(store_of(kind)) as one, replica(store_of(kind)) as two:
        for number in range(300):
            one.replica_bus.send(two.name, Confirm(str(number)))
        await two.got(Confirm, 300)
        assert [message.assignment for message in two.messages[Confirm]] == [str(number) for number in range(300)]
        await one.has_slots(3)
        await announce_slots(two.scripts, two.name, {})
        found = {each.replica: each.by_activity for each in await find_slots(one.scripts)}
        assert found == {one.name: {"act": 3, "brief": 3}, two.name: {}}
        await announce_slots(one.scripts, one.name, None)
        assert [each.replica for each in await find_slots(one.scripts)] == [two.name]


async def test_an_announcement_expires_and_the_next_announcement_of_another_replica_deletes_it(store_of):
    store = store_of()
    async with replica(store) as one, redis.asyncio.Redis(port=store.port) as client:
        await client.hset(keys.WORKERS_KEY, "dead", b"1:\x80")
        assert await find_slots(one.scripts) == []
        await one.has_slots()
        assert await client.hkeys(keys.WORKERS_KEY) == [one.name.encode()]


async def test_the_message_queue_of_a_dead_replica_is_bounded_and_expires(store_of):
    store = store_of()
    async with replica(store) as one, redis.asyncio.Redis(port=store.port) as client:
        for _ in range(MAX_QUEUED_MESSAGES // 1000):
            assert await send_messages(one.scripts, "dead", [b"x"] * 1000)
        assert not await send_messages(one.scripts, "dead", [b"x"])
        dropped = REGISTRY.get_sample_value("callback_replica_messages_dropped_total")
        one.replica_bus.send("dead", Confirm("x"))
        await one.replica_bus.flush()
        assert REGISTRY.get_sample_value("callback_replica_messages_dropped_total") == dropped + 1
        assert await client.llen(keys.replica_messages_key("dead")) == MAX_QUEUED_MESSAGES
        assert 0 < await client.pttl(keys.replica_messages_key("dead")) <= 60_000


async def test_unknown_and_unreadable_messages_are_ignored(store_of):
    class News(ReplicaMessage, frozen=True, array_like=True):
        kind = "news"

    async with replica(store_of()) as one, replica(store_of()) as two:
        one.replica_bus.send(two.name, News())
        await send_messages(one.scripts, two.name, [b"\xc1", b"\x92\xaeworker.confirm\x90"])
        one.replica_bus.send(two.name, Confirm("x"))
        await two.got(Confirm)


async def test_a_reader_continues_after_an_error_of_the_store(store_of):
    """A store fails in this way when it becomes a replica of another store."""
    store = store_of()
    async with replica(store) as one, replica(store) as two, redis.asyncio.Redis(port=store.port) as client:

        async def turned_away():
            return [
                each["id"]
                for each in await client.client_list()
                if each["cmd"] == "blpop" and await client.client_unblock(each["id"], error=True)
            ]

        await wait_until(turned_away, what="a reader that waits")
        one.replica_bus.send(two.name, Confirm("x"))
        two.replica_bus.send(one.name, Confirm("x"))
        await one.got(Confirm)
        await two.got(Confirm)
