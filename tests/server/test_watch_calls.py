"""`WatchCalls`: a watcher gets each event of its owner once and in order, and can resume where it stopped."""

import asyncio
import base64
import contextlib
import random
import time

import grpc
import msgspec
import pytest
import redis.asyncio
from soak.counts import count
from support.handlers import accept, reject, stub_handler
from support.principals import KnownRoles, by
from support.services import refusal, running_services
from support.store import StoreProcess
from support.system import own_store
from support.wait import DEADLINE_S, wait_until
from support.watching import Watch, told, watch

from callback_server.access.roles import Role
from callback_server.calls import watch as watch_hub
from callback_server.domain.event import Event
from callback_server.settings import ActivitySettings
from callback_server.store import keys
from callback_server.store.queries.read_events import read_end_position


@pytest.fixture
async def services(shared_store):
    """Run a server for each test: one that runs on can tell of events that were before the store was emptied."""
    shared_store.flush()
    async with running_services(shared_store) as running:
        yield running


@pytest.fixture
async def both(services, shared_store):
    """Run a second server on that store, and return both."""
    async with running_services(shared_store) as other:
        yield services, other


def cases(events):
    return [event.callback_case_id for event in events]


@contextlib.asynccontextmanager
async def plain(store):
    """Connect a client of the store for the test."""
    async with redis.asyncio.Redis(port=store.port) as client:
        yield client


async def test_each_change_is_an_event_in_order_with_the_new_state_of_the_case(store_of):
    verdicts = iter([reject(), accept()])

    async def decide(_request, _context):
        return next(verdicts)

    async with (
        stub_handler() as stub,
        running_services(store_of(), activities={"act": ActivitySettings(target=stub.target)}) as services,
        watch(services.callbacks) as watching,
    ):
        name = stub.play(decide)
        made = await services.generate("act", callback_activity_case=name, retryable_after_error=True)
        first = (await services.call(made)).call_id
        second = (await services.call(made)).call_id
        other = await services.generate("form")
        await services.set_response(other, response_code=201)
        await services.close(other)
        events = await watching.events(8)
    of_case = [event for event in events if event.callback_case_id == made.callback_case_id]
    assert [(told(event), event.call_id) for event in of_case] == [
        (("CASE_CREATED", "OPEN", "", "", ""), ""),
        (("CALL_STARTED", "IN_PROGRESS", "", "RUNNING", ""), first),
        (("CALL_ENDED", "OPEN", "", "REJECTED", ""), first),
        (("CALL_STARTED", "IN_PROGRESS", "", "RUNNING", ""), second),
        (("CALL_ENDED", "CLOSED", "CONSUMED", "SUCCEEDED", ""), second),
    ]
    assert {(event.callback_activity, event.owner) for event in of_case} == {("act", "local")}
    assert [told(event) for event in events if event not in of_case] == [
        ("CASE_CREATED", "OPEN", "", "", ""),
        ("RESPONSE_SET", "OPEN", "", "", ""),
        ("CASE_CLOSED", "CLOSED", "CLOSED_BY_OWNER", "", ""),
    ]
    times = [event.time.ToMilliseconds() for event in of_case]
    assert times == sorted(times)
    assert abs(times[0] - time.time() * 1000) < 60_000


async def test_a_watch_without_a_token_gets_no_earlier_events(services):
    await services.generate()
    async with watch(services.callbacks) as watching:
        made = await services.generate()
        assert cases(await watching.events(1)) == [made.callback_case_id]


async def test_a_watch_that_goes_on_at_another_replica_misses_nothing_and_sees_nothing_twice(both):
    here, there = both
    async with watch(here.callbacks) as watching:
        made = await here.generate()
        assert cases(await watching.events(1)) == [made.callback_case_id]
    missed = [await here.generate() for _ in range(5)]
    async with watch(there.callbacks, resume_token=watching.token) as watching:
        assert sorted(cases(await watching.events(5))) == sorted(each.callback_case_id for each in missed)
        made = await here.generate()
        assert cases(await watching.events(1)) == [made.callback_case_id]


async def test_a_watch_of_the_latest_event_skips_those_before_it(services):
    async with watch(services.callbacks) as watching:
        made = await services.generate()
        await watching.events(1)
    for _ in range(3):
        await services.set_response(made, response_code=201)
    await services.close(made)
    async with watch(services.callbacks, resume_token=watching.token, latest_only=True) as watching:
        assert [told(event)[0] for event in await watching.events(1)] == ["CASE_CLOSED"]
        made = await services.generate()
        assert cases(await watching.events(1)) == [made.callback_case_id]


@pytest.mark.parametrize(
    "values",
    [{"LATEST_PAUSE_S": 3600}, {"LATEST_PAUSE_S": 0, "LATEST_BATCHES_PER_S": 1e-3, "MAX_LATEST_PAUSE_S": 3600}],
)
async def test_a_watch_of_the_latest_event_pauses_while_there_are_more_and_ends_when_its_server_stops(
    store_of, limits, values
):
    limits(watch_hub, **values)
    async with running_services(store_of()) as services:
        async with watch(services.callbacks) as every:
            latest = await Watch(services.callbacks, latest_only=True).begin()
            made = await services.generate()
            assert cases(await latest.events(1)) == cases(await every.events(1)) == [made.callback_case_id]
            following = asyncio.create_task(latest.read())
            for _ in range(5):
                made = await services.generate()
                assert cases(await every.events(1)) == [made.callback_case_id]
            assert not following.done()
        services.control_plane.watch_hub.stop()
        assert (await refusal(following)).reason == "SERVER_STOPPING"


async def test_watches_that_start_and_end_under_load_get_each_event_once(store_of, limits):
    limits(watch_hub, MAX_BATCH_EVENTS=7, READ_INTERVAL_S=0.01)
    store, cases = store_of(), count(8, 60)
    chance = random.Random(5)
    async with running_services(store) as here, running_services(store) as there:
        begun = await Watch(here.callbacks).begin()
        watchers = [(begun.token, []) for _ in range(3)]
        begun.cancel()
        done = asyncio.Event()

        async def work():
            for _ in range(cases):
                made = await here.generate(allow_multiple_calls=True)
                await asyncio.gather(*(chance.choice((here, there)).call(made) for _ in range(5)))

        async def look(token, seen):
            while not (done.is_set() and len(seen) >= 3 * cases * 6):
                async with watch(chance.choice((here, there)).callbacks, resume_token=token) as watching:
                    for _ in range(chance.randrange(1, 8)):
                        events = await watching.read()
                        token = watching.token
                        if events and chance.random() < 0.5:  # a watch that breaks off in the middle of a message
                            del events[chance.randrange(len(events)) + 1 :]
                            token = events[-1].resume_token
                        seen += events
                        if token != watching.token or (done.is_set() and len(seen) >= 3 * cases * 6):
                            break

        looking = [asyncio.create_task(look(*each)) for each in watchers]
        await asyncio.gather(work(), work(), work())
        done.set()
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.gather(*looking)
        ends = await read_end_position(here.control_plane.scripts)
    assert sum(ends.numbers) == 3 * cases * 6
    for _, seen in watchers:
        by_case = {}
        for event in seen:
            by_case.setdefault(event.callback_case_id, []).append(told(event)[0])
        assert len(by_case) == 3 * cases
        assert all(each == ["CASE_CREATED", *["CALL_ENDED"] * 5] for each in by_case.values())
        assert len({event.call_id for event in seen if event.call_id}) == 3 * cases * 5


async def test_a_position_that_is_no_longer_kept_is_an_error_and_never_a_gap(store_of):
    store = store_of()
    async with running_services(store) as services, plain(store) as client:
        async with watch(services.callbacks) as watching:
            pass
        made = await services.generate()
        await services.close(made)
        key = keys.key(keys.partition_of(made.callback_case_id), "events")
        await client.xtrim(key, maxlen=1, approximate=False)
        error = await refusal(Watch(services.callbacks, resume_token=watching.token).end_of())
        assert (error.code, error.reason) == (grpc.StatusCode.OUT_OF_RANGE, "WATCH_POSITION_LOST")


@pytest.fixture
def lossy_store(tmp_path):
    """Run a store that may lose the last second, so that a server works on it after a loss."""
    with StoreProcess(tmp_path, fsync="everysec") as store:
        yield store


async def test_a_position_that_the_store_lost_ends_running_watches_too(lossy_store):
    async with running_services(lossy_store, store_durability="everysec") as services, plain(lossy_store) as client:
        async with watch(services.callbacks) as watching, watch(services.callbacks) as other:
            made = await services.generate()
            await watching.events(1)
            await other.events(1)
            await client.delete(keys.key(keys.partition_of(made.callback_case_id), "events"))
            error = await refusal(other.end_of())
            assert (error.code, error.reason) == (grpc.StatusCode.OUT_OF_RANGE, "WATCH_POSITION_LOST")
        error = await refusal(Watch(services.callbacks, resume_token=watching.token).end_of())
        assert error.reason == "WATCH_POSITION_LOST"
        async with watch(services.callbacks) as anew:
            made = await services.generate()
            assert cases(await anew.events(1)) == [made.callback_case_id]


def text(*form):
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(form)).decode()


@pytest.mark.parametrize("form", [(2, 1, [0] * 64), (9, {"a": "b"}, "c"), (2**40,)])
async def test_a_token_of_a_later_release_is_a_lost_position(services, form):
    error = await refusal(Watch(services.callbacks, resume_token=text(*form)).read())
    assert (error.code, error.reason) == (grpc.StatusCode.OUT_OF_RANGE, "WATCH_POSITION_LOST")


NESTED = base64.urlsafe_b64encode(b"\x92\x01" + b"\x91" * 2990 + b"\x90").decode()


@pytest.mark.parametrize(
    "token",
    ["x", "nonsense", "AAAA", "kgGQ", "ñ", "a" * 4000, NESTED, text(0, 1, [0] * 64), text(1, [0] * 64),
     text(1, 1, [-1] * 64), text(1, 1, [0] * 63), text()],
)  # fmt: skip
async def test_a_token_that_is_none_is_refused(services, token):
    error = await refusal(Watch(services.callbacks, resume_token=token).read())
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert error.fields == ["resume_token"]


async def test_events_are_kept_by_activity_by_case_and_by_all_labels(services):
    both, one = {"team": "x", "a/b": "ü:y}{"}, {"team": "x"}
    mine = await services.generate(labels=both)
    async with (
        watch(services.callbacks, callback_activity="form") as by_activity,
        watch(services.callbacks, callback_case_id=mine.callback_case_id) as by_case,
        watch(services.callbacks, labels=both) as by_labels,
        watch(services.callbacks, labels=one, callback_activity="record") as by_label_and_activity,
        watch(services.callbacks) as all_of_them,
    ):
        made = [
            await services.generate(activity, labels=labels)
            for activity in ("record", "form")
            for labels in ({}, one, both, {"team": "y"}, {"a/b": "x", "team": "ü:y}{"})
        ]
        await services.call(mine)
        made = [each.callback_case_id for each in made]
        assert sorted(cases(await by_activity.events(5))) == sorted(made[5:])
        assert cases(await by_case.events(1)) == [mine.callback_case_id]
        assert sorted(cases(await by_labels.events(3))) == sorted([made[2], made[7], mine.callback_case_id])
        assert sorted(cases(await by_label_and_activity.events(3))) == sorted([*made[1:3], mine.callback_case_id])
        assert sorted(cases(await all_of_them.events(11))) == sorted([*made, mine.callback_case_id])


async def test_an_owner_gets_its_own_events_and_an_administrator_all(store_of):
    known = KnownRoles(shop={Role.OWNER}, bank={Role.OWNER}, admin={Role.ADMIN}, edge={Role.EDGE})
    async with running_services(store_of(), principals=lambda: known) as services:
        watches = {
            name: await Watch(services.callbacks, metadata=by(name)).begin() for name in ("shop", "bank", "admin")
        }
        made = {name: await services.generate(metadata=by(name)) for name in ("bank", "shop")}
        foreign = Watch(
            services.callbacks, metadata=by("bank"), callback_case_id=made["shop"].callback_case_id,
            resume_token=watches["bank"].token,
        )  # fmt: skip
        await foreign.begin()
        for name, each in made.items():
            (event,) = await watches[name].events(1)
            assert (event.callback_case_id, event.owner) == (each.callback_case_id, name)
        assert sorted(event.owner for event in await watches["admin"].events(2)) == ["bank", "shop"]
        await services.close(made["bank"], metadata=by("bank"))
        assert cases(await watches["bank"].events(1)) == [made["bank"].callback_case_id]
        error = await refusal(Watch(services.callbacks, metadata=by("edge")).read())
        assert error.reason == "ROLE_MISSING"
        # The watch of a foreign case got no events, so its next message is the heartbeat.
        for each in (*watches.values(), foreign):
            each.cancel()
        with pytest.raises(asyncio.CancelledError):
            await foreign.read()


async def test_a_resumed_watch_gets_the_last_events_of_a_deleted_case(store_of):
    store = store_of()
    async with running_services(store) as services, plain(store) as client:
        async with watch(services.callbacks) as watching:
            token = watching.token
        made = await services.generate()
        await services.close(made)
        assert await client.delete(keys.key(keys.partition_of(made.callback_case_id), "case", made.callback_case_id))
        async with watch(services.callbacks, callback_case_id=made.callback_case_id, resume_token=token) as watching:
            assert cases(await watching.events(2)) == [made.callback_case_id] * 2


def packed(number):
    event = Event("CALL_ENDED", f"{number:032x}", "0" * 16, "a" * 200, "local", 1, "OPEN", "", "FAILED", "", "")
    return {"event": msgspec.msgpack.encode(event)}


async def test_a_slow_watch_gets_an_error_and_can_resume_without_delaying_others(store_of, limits):
    limits(watch_hub, MAX_KEPT_EVENTS=500, READ_INTERVAL_S=0.01)
    store = store_of()
    total = 0
    async with running_services(store) as services, plain(store) as client:
        async with watch(services.callbacks) as slow, watch(services.callbacks) as quick:
            while total < 20_000 + watch_hub.MAX_KEPT_EVENTS:
                pipeline = client.pipeline(transaction=False)
                for number in range(200):
                    pipeline.xadd(keys.key(number % 64, "events"), packed(number), id="0-*")
                await pipeline.execute()
                total += 200
                await quick.events(200)
            error = await refusal(slow.end_of())
            assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "WATCHER_TOO_SLOW")
            behind = await read_end_position(services.control_plane.scripts)
        assert sum(behind.numbers) == total
        async with watch(services.callbacks, resume_token=slow.token) as again:
            left = total - sum(watch_hub.ResumeToken.from_text(slow.token).numbers)
            assert 0 < left < total
            await again.events(left)


async def test_a_watch_that_nothing_is_for_is_not_too_slow_and_its_place_goes_on(store_of, limits):
    limits(watch_hub, MAX_KEPT_EVENTS=10, HEARTBEAT_S=0.05)
    known = KnownRoles(local={Role.OWNER}, shop={Role.OWNER})
    store = store_of()
    async with running_services(store, principals=lambda: known) as services, plain(store) as client:
        quiet = await Watch(services.callbacks, metadata=by("shop")).begin()
        for number in range(100):
            await client.xadd(keys.key(number % 64, "events"), packed(number), id="0-*")

        async def moved():
            assert await quiet.read() == []
            return sum(watch_hub.ResumeToken.from_text(quiet.token).numbers) == 100

        await wait_until(moved, what="a place that goes on")
        made = await services.generate(metadata=by("shop"))
        assert cases(await quiet.events(1)) == [made.callback_case_id]
        quiet.cancel()


async def reads(client):
    """Return how often the events of a partition were read."""
    return (await client.info("commandstats")).get("cmdstat_xrange", {"calls": 0})["calls"]


async def test_events_are_not_read_without_watchers(store_of):
    store = store_of()
    async with running_services(store) as services, plain(store) as client:
        await client.config_resetstat()
        await services.call(await services.generate())
        assert await reads(client) == 0
        async with watch(services.callbacks) as watching:
            await services.generate()
            await watching.events(1)
        assert await reads(client) > 0

        async def reads_no_more():
            """An active watch reads each partition about ten times a second."""
            before, began = await reads(client), time.monotonic()
            while time.monotonic() - began < 0.5:
                await services.generate()
            return await reads(client) == before

        await wait_until(reads_no_more, what="a reader that has stopped")


async def test_one_reader_is_enough_for_any_number_of_watches(store_of):
    store = store_of()
    async with running_services(store) as services, plain(store) as client, contextlib.AsyncExitStack() as stack:
        watches = [await stack.enter_async_context(watch(services.callbacks)) for _ in range(50)]
        before, began = await reads(client), time.monotonic()
        await wait_until(lambda: _reads_since(client, before, 10 * keys.PARTITIONS), what="ten looks at each partition")
        assert time.monotonic() - began > 8 * watch_hub.READ_INTERVAL_S
        made = await services.generate()
        for each in watches:
            assert cases(await each.events(1)) == [made.callback_case_id]


async def _reads_since(client, before, count):
    return await reads(client) - before >= count


async def test_there_are_no_more_watches_than_may_be(store_of, limits):
    known = KnownRoles(shop={Role.OWNER}, bank={Role.OWNER}, other={Role.OWNER})
    limits(watch_hub, MAX_WATCHERS_PER_PRINCIPAL=2, MAX_WATCHERS=3)
    async with running_services(store_of(), principals=lambda: known) as services:
        watches = [await Watch(services.callbacks, metadata=by(name)).begin() for name in ("shop", "shop", "bank")]
        for name in ("shop", "other"):
            error = await refusal(Watch(services.callbacks, metadata=by(name)).read())
            assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_WATCHERS")
        watches.pop(0).cancel()

        async def begun():
            with contextlib.suppress(grpc.aio.AioRpcError):
                return await Watch(services.callbacks, metadata=by("shop")).begin()

        watches.append(await wait_until(begun, what="a watch in the place of one that ended"))
        for each in watches:
            each.cancel()


async def test_a_watch_outlasts_a_store_that_starts_again(tmp_path):
    with own_store(tmp_path) as store:
        async with running_services(store) as services, watch(services.callbacks) as watching:
            first = await services.generate()
            assert cases(await watching.events(1)) == [first.callback_case_id]
            store.kill()
            error = await refusal(Watch(services.callbacks).read())
            assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
            store.start()
            await services.close(first)
            assert [told(event)[0] for event in await watching.events(1)] == ["CASE_CLOSED"]


async def test_a_watch_ends_with_an_error_when_the_process_stops(store_of, limits):
    limits(watch_hub, HEARTBEAT_S=3600)
    async with running_services(store_of()) as services, watch(services.callbacks) as watching:
        services.control_plane.watch_hub.stop()
        error = await refusal(watching.read())
        assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVER_STOPPING")
        error = await refusal(Watch(services.callbacks).read())
        assert error.reason == "SERVER_STOPPING"
