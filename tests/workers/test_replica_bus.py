"""Between replicas: what a replica says by mail, in order or out of it, twice or never. The other one is the test."""

import asyncio
import contextlib
import time
from types import SimpleNamespace

import pytest
import redis.asyncio
from prometheus_client import REGISTRY
from support.calls import Called
from support.services import refusal, running_services
from support.store import KINDS
from support.wait import wait_until
from support.workers import ACCEPTED, raw_worker

from callback.v1 import callback_handler_service_pb2 as handler_pb
from callback.v1 import callback_pb2 as pb
from callback.v1 import worker_service_pb2
from callback_process.tasks import TaskSet
from callback_server.domain.activity import Activity
from callback_server.handlers.workers.remote import ASK_S, Ended, Go, Offer, Start, Withdrawn
from callback_server.replica_bus import ReplicaBus, ReplicaMessage
from callback_server.store import keys
from callback_server.store.connection.client import connect
from callback_server.store.queries.find_slots import find_slots
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.announce_slots import announce_slots
from callback_server.store.transitions.send_messages import MAX_QUEUED_MESSAGES, send_messages
from callback_server.transition_log import log_timeout

ACTIVITIES = {"act": Activity("act", 20_000), "brief": Activity("brief", 500)}
LETTERS = (Offer, Start, Go, Withdrawn, Ended)


class Replica:
    """A replica of the test's own: `letters` is what came, by kind."""

    def __init__(self, scripts, replica_bus):
        self.scripts = scripts
        self.replica_bus = replica_bus
        self.name = replica_bus.replica
        self.letters = {kind: [] for kind in LETTERS}
        for kind in LETTERS:
            replica_bus.receive(kind, self.letters[kind].append)

    async def got(self, kind, number=1):
        await wait_until(lambda: len(self.letters[kind]) >= number, what=f"letter {number}, {kind.__name__}")
        return self.letters[kind][number - 1]

    async def begins(self, offer, to):
        self.replica_bus.post(to, Start(offer.seat))
        await wait_until(lambda: any(go.seat == offer.seat for go in self.letters[Go]), what="a go")

    def offer(self, to, seat, *, timeout_ms=20_000):
        question = handler_pb.HandleCallbackRequest(call_id=seat, callback_activity="act")
        self.replica_bus.post(to, Offer(seat, self.name, timeout_ms, question.SerializeToString()))

    def end(self, offer, to, **outcome):
        result = worker_service_pb2.Result(call_id="", **outcome)
        self.replica_bus.post(to, Ended(offer.seat, result.SerializeToString()))

    async def has_places(self, number=9):
        await announce_slots(self.scripts, self.name, {"act": number, "brief": number})


@contextlib.asynccontextmanager
async def replica(store):
    client, reader = connect(store.url), connect(store.url)
    scripts = Scripts(client, log_timeout)
    replica_bus = ReplicaBus(scripts, reader)
    try:
        async with TaskSet() as tasks:
            tasks.start(replica_bus.read_for_ever())
            yield Replica(scripts, replica_bus)
        await replica_bus.flush()
    finally:
        await client.aclose()
        await reader.aclose()


@pytest.fixture
async def up(store_of):
    """A replica of ours, `services`, and one of the test's, `other`."""
    store = store_of()
    async with (
        running_services(store, activities=ACTIVITIES) as services,
        replica(store) as other,
    ):
        yield SimpleNamespace(
            services=services, other=other, ours=services.control_plane.replica_bus.replica, store=store
        )


async def ended(other, number=1):
    letter = await other.got(Ended, number)
    return letter.result and worker_service_pb2.Result.FromString(letter.result).WhichOneof("outcome")


async def test_a_worker_lost_between_start_and_go_has_not_begun_whatever_comes_after(up):
    async with raw_worker(up.services.worker_stub, "act") as worker:
        up.other.offer(up.ours, "seat")
        await worker.start(await worker.next("call"))
        await up.other.got(Start)
        await worker.close()
        assert await ended(up.other) == "declined"
        up.other.replica_bus.post(up.ours, Go("seat"))
        await up.other.replica_bus.flush()
    assert not worker.of("go")


async def test_a_worker_that_is_never_told_to_begin_is_free_again_and_a_late_go_does_nothing(up):
    async with raw_worker(up.services.worker_stub, "act") as worker:
        up.other.offer(up.ours, "seat")
        call = await worker.next("call")
        await worker.start(call)
        assert await ended(up.other) == "declined"
        await worker.next("withdrawn")
        up.other.replica_bus.post(up.ours, Go("seat"))
        await worker.decline(call)
        up.other.offer(up.ours, "another")
        await worker.next("call", 2)
    assert not worker.of("go")


async def test_letters_that_come_twice_say_nothing_new(up):
    async with raw_worker(up.services.worker_stub, "act", max_calls=9) as worker:
        for _ in range(2):
            up.other.offer(up.ours, "seat")
        call = await worker.next("call")
        await worker.start(call)
        await up.other.got(Start)
        for _ in range(2):
            up.other.replica_bus.post(up.ours, Go("seat"))
        await worker.next("go")
        await worker.result(call)
        assert await ended(up.other) == "response"
        assert [len(worker.of(kind)) for kind in ("call", "go")] == [1, 1]
        up.other.offer(up.ours, "seat")  # after its end: the worker may be offered it, and is not told to begin
        await worker.next("call", 2)
        assert len(worker.of("go")) == 1


async def test_a_call_that_is_taken_back_by_mail_is_taken_back_from_the_worker(up):
    async with raw_worker(up.services.worker_stub, "act") as worker:
        up.other.offer(up.ours, "seat")
        call = await worker.next("call")
        await worker.start(call)
        await up.other.got(Start)
        up.other.replica_bus.post(up.ours, Go("seat"))
        await worker.next("go")
        up.other.replica_bus.post(up.ours, Withdrawn("seat"))
        assert (await worker.next("withdrawn")).call_id == call.call_id


async def test_a_call_that_is_taken_back_in_the_mail_that_offers_it_leaves_the_place_free(up):
    async with raw_worker(up.services.worker_stub, "act") as worker:
        up.other.offer(up.ours, "seat")
        up.other.replica_bus.post(up.ours, Withdrawn("seat"))
        call = await worker.next("call")
        await worker.next("withdrawn")
        assert [message.WhichOneof("message") for message in worker.heard] == ["welcome", "call", "withdrawn"]
        await worker.decline(call)
        up.other.offer(up.ours, "another")
        assert (await worker.next("call", 2)).call_id == "another"


async def test_an_offer_that_nobody_has_a_place_for_is_declined(up):
    up.other.offer(up.ours, "seat")
    assert await ended(up.other) == "declined"


async def test_a_replica_that_takes_an_offer_and_dies_loses_the_call_to_another(up):
    await up.other.has_places()
    called = await Called.make(up.services, "act")
    await up.other.got(Offer)
    async with raw_worker(up.services.worker_stub, "act") as worker:
        serving = asyncio.create_task(worker.serve())
        await called.answer
        await worker.close()
        await serving
    await up.other.got(Withdrawn)


async def test_a_replica_that_dies_after_go_is_missed_long_before_the_deadline(up):
    await up.other.has_places()
    called = await Called.make(up.services, "act")
    offer = await up.other.got(Offer)
    up.other.replica_bus.post(up.ours, Start(offer.seat))
    await up.other.got(Go)
    async with asyncio.timeout(15):
        assert (await refusal(called.answer)).reason == "HANDLER_LOST"
    assert (await called.recorded()).failure == pb.CALL_FAILURE_HANDLER_LOST


async def test_a_replica_that_dies_with_a_call_that_nobody_had_to_ask_for_is_missed_as_soon(up):
    """Its place was known still, from when one was asked for before."""
    await up.other.has_places()
    called = await Called.make(up.services, "act")
    offer = await up.other.got(Offer)
    await up.other.begins(offer, up.ours)
    up.other.end(offer, up.ours, response=ACCEPTED)
    await called.answer
    asked = time.monotonic()
    await wait_until(lambda: time.monotonic() - asked > 3 * ASK_S, what="nobody who asks any more")
    called = await Called.make(up.services, "act")
    await up.other.begins(await up.other.got(Offer, 2), up.ours)
    async with asyncio.timeout(15):
        assert (await refusal(called.answer)).reason == "HANDLER_LOST"


async def test_at_its_deadline_a_call_is_offered_to_nobody_else(up):
    await up.other.has_places()
    for _ in range(2):
        assert (await refusal((await Called.make(up.services, "brief")).answer)).reason == "HANDLER_NOT_STARTED"
    await up.other.got(Withdrawn, 2)
    assert len(up.other.letters[Offer]) == 2


async def test_go_is_given_once_whatever_a_replica_says(up):
    await up.other.has_places()
    called = await Called.make(up.services, "act")
    offer = await up.other.got(Offer)
    for _ in range(3):
        up.other.replica_bus.post(up.ours, Start(offer.seat))
    await up.other.got(Go)
    up.other.end(offer, up.ours, declined=True)  # too late for it to go to another one
    assert (await refusal(called.answer)).reason == "HANDLER_LOST"
    up.other.end(offer, up.ours, response=ACCEPTED)
    up.other.replica_bus.post(up.ours, Start(offer.seat))
    await up.other.replica_bus.flush()
    assert len(up.other.letters[Go]) == len(up.other.letters[Offer]) == 1


async def test_a_replica_that_declines_is_not_flooded_with_offers(up):
    await up.other.has_places(1000)
    called = await Called.make(up.services, "act")
    began = time.monotonic()
    for number in range(1, 4):
        up.other.end(await up.other.got(Offer, number), up.ours, declined=True)
        await up.other.has_places(1000)
    offer = await up.other.got(Offer, 4)
    assert (
        time.monotonic() - began > 2 * ASK_S
    )  # it was asked for its places each time, and that is not done more often
    up.other.replica_bus.post(up.ours, Start(offer.seat))
    await up.other.got(Go)
    up.other.end(offer, up.ours, response=ACCEPTED)
    await called.answer


@pytest.mark.parametrize("kind", KINDS)
async def test_mail_and_places_work_on_every_store(store_of, kind):
    async with replica(store_of(kind)) as one, replica(store_of(kind)) as two:
        for number in range(300):
            one.replica_bus.post(two.name, Go(str(number)))
        await two.got(Go, 300)
        assert [letter.seat for letter in two.letters[Go]] == [str(number) for number in range(300)]
        await one.has_places(3)
        await announce_slots(two.scripts, two.name, {})
        found = {each.replica: each.by_activity for each in await find_slots(one.scripts)}
        assert found == {one.name: {"act": 3, "brief": 3}, two.name: {}}
        await announce_slots(one.scripts, one.name, None)
        assert [each.replica for each in await find_slots(one.scripts)] == [two.name]


async def test_what_a_replica_said_holds_for_a_while_and_goes_when_another_speaks(store_of):
    store = store_of()
    async with replica(store) as one, redis.asyncio.Redis(port=store.port) as client:
        await client.hset(keys.WORKERS_KEY, "dead", b"1:\x80")
        assert await find_slots(one.scripts) == []
        await one.has_places()
        assert await client.hkeys(keys.WORKERS_KEY) == [one.name.encode()]


async def test_the_mailbox_of_a_dead_replica_is_bounded_and_ends_by_itself(store_of):
    store = store_of()
    async with replica(store) as one, redis.asyncio.Redis(port=store.port) as client:
        for _ in range(MAX_QUEUED_MESSAGES // 1000):
            assert await send_messages(one.scripts, "dead", [b"x"] * 1000)
        assert not await send_messages(one.scripts, "dead", [b"x"])
        dropped = REGISTRY.get_sample_value("callback_letters_dropped_total")
        one.replica_bus.post("dead", Go("x"))
        await one.replica_bus.flush()
        assert REGISTRY.get_sample_value("callback_letters_dropped_total") == dropped + 1
        assert await client.llen(keys.replica_bus_key("dead")) == MAX_QUEUED_MESSAGES
        assert 0 < await client.pttl(keys.replica_bus_key("dead")) <= 60_000


async def test_letters_of_a_newer_release_and_ones_that_can_not_be_read_are_passed_over(store_of):
    class News(ReplicaMessage, frozen=True, array_like=True):
        kind = "news"

    async with replica(store_of()) as one, replica(store_of()) as two:
        one.replica_bus.post(two.name, News())
        await send_messages(one.scripts, two.name, [b"\xc1", b"\x92\xa9worker.go\x90"])
        one.replica_bus.post(two.name, Go("x"))
        await two.got(Go)


async def test_a_reader_that_the_store_turns_away_reads_on(store_of):
    """As it does where it becomes a replica of another."""
    store = store_of()
    async with replica(store) as one, replica(store) as two, redis.asyncio.Redis(port=store.port) as client:

        async def turned_away():
            return [
                each["id"]
                for each in await client.client_list()
                if each["cmd"] == "blpop" and await client.client_unblock(each["id"], error=True)
            ]

        await wait_until(turned_away, what="a reader that waits")
        one.replica_bus.post(two.name, Go("x"))
        two.replica_bus.post(one.name, Go("x"))
        await one.got(Go)
        await two.got(Go)
