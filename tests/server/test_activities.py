"""Which activities are served, by whom, and what waits for them; and the warning for a callback that nothing serves."""

import asyncio
import contextlib
from collections import defaultdict
from datetime import UTC, datetime, timedelta

import pytest
from support.services import pages, running_services
from support.store import KINDS
from support.wait import wait_for, wait_until
from support.workers import connected

from callback import Handlers, Worker
from callback.v1 import callback_pb2 as pb
from callback.v1 import callbacks_service_pb2 as rpc
from callback.v1 import operations_service_pb2 as operations
from callback_server.handlers import served
from callback_server.store import keys
from callback_server.store.queries import list_activities
from callback_server.store.queries.find_slots import find_slots
from callback_server.store.transitions import announce_slots as announcing
from callback_server.store.transitions.apply_retention import apply_retention

ACK, HOLD = pb.ANSWER_MODE_ACK, pb.ANSWER_MODE_HOLD
BUILT_IN, PUSH = operations.ACTIVITY_KIND_BUILT_IN, operations.ACTIVITY_KIND_PUSH
WORKERS = operations.ACTIVITY_KIND_WORKERS


class Pushed:
    """A handler in the process of the server, as a target in its configuration is one."""


async def activities(services, **fields):
    """Return kind, workers, deliveries and open callbacks of each activity, page by page."""
    found = {}
    for page in await pages(services.operations.ListActivities, operations.ListActivitiesRequest(**fields)):
        for each in page.activities:
            assert each.callback_activity not in found
            counts = each.worker_count, each.delivery_count, each.open_callback_count
            found[each.callback_activity] = each.kind, *counts
    return found


@contextlib.asynccontextmanager
async def working(services, *names):
    handlers = Handlers()

    async def accept(_call):
        return None

    for name in names:
        handlers.activity(name)(accept)
    async with connected(Worker(handlers, services.address)):
        yield


async def test_the_workers_of_all_servers_are_counted_and_one_that_leaves_is_not(store_of):
    store = store_of()
    async with running_services(store, handlers={"pushed": Pushed()}) as one, running_services(store) as other:
        expected = {"form": (BUILT_IN, 0, 0, 0), "pushed": (PUSH, 0, 0, 0), "record": (BUILT_IN, 0, 0, 0)}
        assert await activities(one) == expected
        async with working(one, "a", "b"), working(other, "b"):
            with_workers = expected | {"a": (WORKERS, 1, 0, 0), "b": (WORKERS, 2, 0, 0)}
            await wait_for(lambda: activities(one), with_workers, what="the workers of both servers")

        await wait_for(lambda: activities(one), expected, what="the workers to have left")


@pytest.mark.parametrize("kind", KINDS)
async def test_what_waits_for_an_activity_that_nothing_serves_is_listed(store_of, kind):
    async with running_services(store_of(kind)) as services:
        for _ in range(3):
            await services.generate("nobody")
        made = await services.generate("later", answer_mode=ACK, allow_multiple_calls=True)
        closed = await services.generate("done")
        await services.close(closed)
        await services.pause("later")
        for _ in range(2):
            await services.call(made)
        found = await activities(services)
        assert {name: facts for name, facts in found.items() if name not in ("form", "record")} == {
            "later": (WORKERS, 0, 2, 1), "nobody": (WORKERS, 0, 0, 3),
        }  # fmt: skip
        page = await services.operations.ListActivities(operations.ListActivitiesRequest())
        assert [each.callback_activity for each in page.activities if each.paused] == ["later"]
        assert await activities(services, owner="another") == {
            "form": (BUILT_IN, 0, 0, 0), "later": (WORKERS, 0, 2, 0), "record": (BUILT_IN, 0, 0, 0),
        }  # fmt: skip


@pytest.mark.parametrize("page_size", [1, 2, 5])
async def test_pages_have_every_activity_once_sorted_by_name_with_complete_counts(store_of, page_size):
    names = ["A", "a", "aa", "b", "z", "\u00e9", "\u65e5", "\U0001f600"]
    async with running_services(store_of(), handlers={"pushed": Pushed()}) as services:
        for name in names * 4:
            await services.generate(name)
        found = await activities(services, page_size=page_size)
        assert [*found] == sorted([*names, "form", "pushed", "record"])
        assert [found[name][3] for name in names] == [4] * len(names)


async def test_a_page_ends_where_one_script_has_looked_at_many_activities(store_of, limits):
    limits(list_activities, SCAN=3)
    async with running_services(store_of()) as services:
        names = [f"order-{number:02}" for number in range(40)]
        made = [await services.generate(name) for name in names]
        for each in made[1:-1]:
            await services.close(each)
        partition = keys.partition_of(made[0].callback_case_id)
        await services.control_plane.client.sadd(keys.key(partition, "activities", "local"), *names)
        page = await services.operations.ListActivities(operations.ListActivitiesRequest())
        assert len(page.activities) == 1 + 1  # `form`, and the first order
        assert page.next_page_token.endswith("order-01")
        assert sorted(await activities(services)) == ["form", names[0], names[-1], "record"]


async def test_an_activity_is_forgotten_with_the_last_case_of_its_owner(services):
    last = (await services.generate("one")).callback_case_id
    others = [(await services.generate("two")).callback_case_id for _ in range(keys.PARTITIONS + 1)]
    of_partition = defaultdict(list)
    for each in others:
        of_partition[keys.partition_of(each)].append(each)
    first, *next_ones = max(of_partition.values(), key=len)

    async def known_after_close(case_id):
        await services.callbacks.CloseCallback(rpc.CloseCallbackRequest(callback_case_id=case_id))
        partition = keys.partition_of(case_id)
        await apply_retention(services.control_plane.scripts, partition, retention_ms=0)
        return await services.control_plane.client.smembers(keys.key(partition, "activities", "local"))

    assert b"one" not in await known_after_close(last)
    assert b"two" in await known_after_close(first)
    assert b"two" not in [await known_after_close(each) for each in next_ones][-1]


async def test_a_callback_for_an_activity_that_nothing_serves_is_made_with_a_warning(services):
    made = await services.generate("nobody")
    (warning,) = made.warnings
    assert warning.reason == rpc.WARNING_REASON_ACTIVITY_NOT_SERVED
    assert warning.text == (
        "no worker serves the activity nobody now: callers get a 503 until you start one or configure a target"
    )
    assert (await services.case_of(made)).status == pb.CALLBACK_STATUS_OPEN
    (warning,) = (await services.generate("nobody", answer_mode=ACK)).warnings
    assert "its calls wait until" in warning.text


async def test_a_callback_that_something_serves_or_that_holds_its_calls_has_no_warning(store_of, limits):
    limits(served, READ_INTERVAL_S=0)
    store = store_of()
    async with running_services(store, handlers={"pushed": Pushed()}) as one, running_services(store) as other:
        for activity in ("record", "form", "pushed"):
            assert not (await one.generate(activity)).warnings
        assert not (await one.generate("asked", answer_mode=HOLD)).warnings
        async with working(other, "far"):

            async def is_known():
                return not (await one.generate("far")).warnings

            await wait_until(is_known, what="the worker of the other server")
            assert not (await other.generate("far")).warnings

        async def is_warned():
            return [[each.reason for each in (await services.generate("far")).warnings] for services in (one, other)]

        warned = [[rpc.WARNING_REASON_ACTIVITY_NOT_SERVED]] * 2
        await wait_for(is_warned, warned, what="the warning after the worker has left")


async def test_a_worker_without_a_free_slot_still_serves_its_activity(store_of, limits):
    limits(served, READ_INTERVAL_S=0)
    store, gate, handlers = store_of(), asyncio.Event(), Handlers()

    @handlers.activity("busy")
    async def wait(_call):
        await gate.wait()

    async with (
        running_services(store) as one,
        running_services(store) as other,
        connected(Worker(handlers, other.address, max_calls=1)),
    ):
        replica, made = other.control_plane.replica_bus.replica, await other.generate("busy")
        caller = other.call(made)
        await other.running(made)

        async def has_no_slot():
            found = await find_slots(one.control_plane.scripts)
            is_served = await one.control_plane.client.hexists(keys.SERVING_KEY, replica)
            return is_served and not any(each.by_activity for each in found)

        await wait_until(has_no_slot, what="no free slot")
        assert not (await one.generate("busy")).warnings
        gate.set()
        await caller


async def test_a_callback_whose_notifications_nothing_takes_is_made_with_a_warning(services):
    fields = {"answer_mode": HOLD, "notify": [pb.CALL_REASON_EXPIRY], "time_to_live": {"seconds": 60}}
    async with working(services, "approve"):
        (warning,) = (await services.generate("approve", **fields)).warnings
        assert warning.reason == rpc.WARNING_REASON_NOTIFICATIONS_NOT_SERVED
        assert warning.text == (
            "no worker takes the notifications of the activity approve now: "
            "they wait until you start one or configure a target"
        )
    handlers = Handlers()

    @handlers.notification("approve")
    async def _(_notification):
        return None

    async with connected(Worker(handlers, services.address)):
        assert not (await services.generate("approve", **fields)).warnings
        (warning,) = (await services.generate("approve")).warnings
        assert warning.reason == rpc.WARNING_REASON_ACTIVITY_NOT_SERVED
        page = await services.operations.ListActivities(operations.ListActivitiesRequest())
        (listed,) = [each for each in page.activities if each.callback_activity == "approve"]
        assert (listed.worker_count, listed.notification_worker_count) == (0, 1)


async def test_a_worker_of_a_server_that_announces_only_free_slots_serves_its_activity(store_of, limits):
    limits(served, READ_INTERVAL_S=0)
    limits(announcing, VALID_MS=50_000)  # a busy machine can take longer than 3 s to read them
    async with running_services(store_of()) as services:
        scripts = services.control_plane.scripts
        await announcing.announce_slots(scripts, "of-the-release-before", {"old": 2})
        assert not (await services.generate("old")).warnings
        assert (await activities(services))["old"] == (WORKERS, 1, 0, 1)


async def test_new_callbacks_read_the_workers_of_other_servers_at_most_four_times_a_second(store_of, limits):
    limits(served, READ_INTERVAL_S=3600)
    async with running_services(store_of()) as one, running_services(store_of(is_in_use=True)) as other:
        assert (await one.generate("late")).warnings
        async with working(other, "late"):

            async def is_announced():
                return any(each.by_activity for each in await find_slots(one.control_plane.scripts))

            await wait_until(is_announced, what="the worker of the other server")
            assert (await one.generate("late")).warnings  # it has not read again


async def test_a_new_callback_says_when_it_expires_and_so_does_the_same_request_again(services):
    assert not (await services.generate("record")).HasField("expire_time")
    lives = {"time_to_live": {"seconds": 3600}, "request_id": "order-5"}
    made, again = [await services.generate("record", **lives) for _ in range(2)]
    case = await services.case_of(made)
    assert made.expire_time == again.expire_time == case.expire_time
    assert abs(made.expire_time.ToDatetime(UTC) - datetime.now(UTC) - timedelta(hours=1)) < timedelta(minutes=1)
    later = rpc.ExtendCallbackRequest(callback_case_id=made.callback_case_id, expire_time=case.expire_time)
    later.expire_time.FromSeconds(case.expire_time.seconds + 60)
    await services.callbacks.ExtendCallback(later)
    assert (await services.generate("record", **lives)).expire_time == later.expire_time
