"""Notifications: the handler gets reminders and the expiry, and a case gets another time to expire."""

import asyncio
import contextlib
import time
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from support.handlers import stub_handler
from support.services import refusal, running_services
from support.timers import make_expiry_due, make_reminder_due
from support.wait import wait_until
from support.workers import connected, raw_worker

from callback import Accept, AsyncCallbackClient, CallReason, Handlers, Reject, Worker
from callback.v1 import callback_handler_service_pb2 as handler_pb
from callback.v1 import callback_pb2 as pb
from callback.v1 import callbacks_service_pb2 as rpc
from callback_server.handlers.workers import pool
from callback_server.handlers.workers.worker import NOTIFICATIONS
from callback_server.settings import ActivitySettings, RetrySettings
from callback_server.store import keys
from callback_server.store.queries.find_slots import find_slots
from callback_server.store.recording import Recording
from callback_server.store.transitions.apply_retention import apply_retention
from callback_server.store.transitions.sweep_partition import sweep_partition

REMINDER, EXPIRY = pb.CALL_REASON_REMINDER, pb.CALL_REASON_EXPIRY
PENDING, DELIVERED, DEAD = pb.DELIVERY_STATUS_PENDING, pb.DELIVERY_STATUS_DELIVERED, pb.DELIVERY_STATUS_DEAD
QUICK = RetrySettings(initial_s=0.001, max_s=0.002, max_attempts=3)
ACT = {"act": ActivitySettings(deadline_s=60, retry=QUICK)}


def seconds(number):
    return {"seconds": number}


async def generate(services, *, callback_activity="act", **more):
    """Generate a callback, by default of `act`, with one reminder in an hour and an expiry in two."""
    asked = {"notify": [REMINDER, EXPIRY], "remind_after": [seconds(3600)], "time_to_live": seconds(7200)}
    return await services.generate(callback_activity, **asked | more)


async def remind(services, made):
    await make_reminder_due(services.control_plane.client, made.callback_case_id)


async def expire(services, made):
    await make_expiry_due(services.control_plane.client, made.callback_case_id)


async def extend(services, made, at):
    asked = rpc.ExtendCallbackRequest(callback_case_id=made.callback_case_id)
    asked.expire_time.FromDatetime(at)
    return (await services.callbacks.ExtendCallback(asked)).callback


async def notifications(services, made, *statuses):
    """Return the notifications of a case as soon as they have these statuses of their deliveries."""

    async def there():
        found = (await services.case_of(made)).notifications
        return found if [each.delivery.status for each in found] == [*statuses] else None

    return await wait_until(there, what=f"notifications at {statuses}")


async def reminded(services, status, **more):
    """Generate a callback, and return it and its reminder as soon as its delivery has this status."""
    made = await generate(services, **more)
    await remind(services, made)
    (reminder,) = await notifications(services, made, status)
    return made, reminder


async def closed(services, made):
    """Return a case as soon as it is closed."""

    async def there():
        case = await services.case_of(made)
        return case if case.status == pb.CALLBACK_STATUS_CLOSED else None

    return await wait_until(there, what="the close")


async def refused(services, made):
    """Return the notification of a case once an attempt has found no handler, and is not in its next one."""

    async def there():
        (found,) = (await services.case_of(made)).notifications or [pb.Call()]
        has_failed = found.delivery.failure == pb.CALL_FAILURE_NO_HANDLER
        return found if has_failed and found.delivery.status == PENDING else None

    return await wait_until(there, what="an attempt without a handler")


def slow_handlers(error=None):
    """Return handlers of `act` whose attempt at a notification ends when the test says so, and fails with an error.

    Also return the event that an attempt has started, and the one after which it may end.
    """
    handlers, started, may_end = Handlers(), asyncio.Event(), asyncio.Event()

    @handlers.notification("act")
    async def slow(_notification):
        started.set()
        await may_end.wait()
        if error is not None:
            raise error

    return handlers, started, may_end


class Told:
    """Handlers of `act` that record what they get."""

    def __init__(self):
        self.calls, self.notifications = [], []
        self.answers = []
        """What the handler of notifications does next: an exception to raise. Then it accepts."""
        self.handlers = Handlers()
        self.handlers.activity("act")(self._on_call)
        self.handlers.notification("act")(self._on_notification)

    async def _on_call(self, call):
        self.calls.append(call)

    async def _on_notification(self, notification):
        self.notifications.append(notification)
        if self.answers and (answer := self.answers.pop(0)):
            raise answer

    @contextlib.asynccontextmanager
    async def working(self, services):
        async with connected(Worker(self.handlers, services.address)):
            yield self

    async def reasons(self, *expected):
        await wait_until(lambda: len(self.notifications) >= len(expected), what=f"{expected}")
        assert [each.reason for each in self.notifications] == [*expected]


@pytest.fixture
async def running(shared_store):
    """Run a server for each test that tells handlers of timers: one that sweeps must keep its store."""
    shared_store.flush()
    async with running_services(shared_store, sweeps=True, activities=ACT) as services:
        yield services


@pytest.fixture
async def told(running):
    async with Told().working(running) as told:
        yield told


async def test_the_handler_gets_a_reminder_and_then_the_expiry_and_a_call_is_none_of_them(running, told):
    made, reminder = await reminded(running, DELIVERED, labels={"order": "5"}, callback_activity_case="five")
    await expire(running, made)
    await notifications(running, made, DELIVERED, DELIVERED)
    await told.reasons(CallReason.REMINDER, CallReason.EXPIRY)
    first, last = told.notifications
    assert (first.call_id, first.case_id) == (reminder.call_id, made.callback_case_id)
    assert (first.activity_case, dict(first.labels), first.attempt) == ("five", {"order": "5"}, 1)
    assert first.call_id != last.call_id
    case = await running.case_of(made)
    assert (case.close_reason, case.call_count) == (pb.CLOSE_REASON_EXPIRED, 0)
    assert [each.reason for each in case.notifications] == [REMINDER, EXPIRY]
    assert (list(await running.list_calls(made)), told.calls) == ([], [])


async def test_each_time_has_its_reminder(running, told):
    made = await generate(running, remind_after=[seconds(2000), seconds(1000), seconds(3000)])
    case = await running.case_of(made)
    assert [each.seconds for each in case.remind_after] == [1000, 2000, 3000]
    assert list(case.notify) == [REMINDER, EXPIRY]
    for number in range(1, 4):
        await remind(running, made)
        await notifications(running, made, *[DELIVERED] * number)
    assert len({each.call_id for each in told.notifications}) == 3


async def test_a_reminder_comes_at_its_time(running, told):
    made = await generate(running, remind_after=[seconds(1)])
    (reminder,) = await notifications(running, made, DELIVERED)
    created = (await running.case_of(made)).create_time.ToMilliseconds()
    assert reminder.start_time.ToMilliseconds() >= created + 1000


async def test_a_case_without_notify_expires_in_silence(running, told):
    made = await generate(running, notify=[], remind_after=[])
    await expire(running, made)
    assert (list((await closed(running, made)).notifications), told.notifications) == ([], [])


async def test_a_handler_can_close_its_case_when_it_is_reminded(running):
    handlers, owners = Handlers(), []

    @handlers.notification("act")
    async def give_up(notification):
        owners.append(notification.owner)
        return Accept(close=True)

    async with connected(Worker(handlers, running.address)):
        made, reminder = await reminded(running, DELIVERED)
        case = await running.case_of(made)
        assert (case.close_reason, case.call_count, owners) == (pb.CLOSE_REASON_CONSUMED, 0, ["local"])
        assert reminder.close


@pytest.mark.parametrize("end", ["answered", "closed"])
async def test_no_reminder_comes_once_the_case_is_closed(running, told, end):
    made, other = await generate(running), await generate(running)
    await (running.call if end == "answered" else running.close)(made)
    assert await running.control_plane.client.keys("*:reminders") != []  # that of the other case
    await remind(running, other)
    await told.reasons(CallReason.REMINDER)
    assert told.notifications[0].case_id == other.callback_case_id
    assert await running.control_plane.client.keys("*:reminders") == []


@pytest.mark.parametrize("end", ["closed", "resolved"])
async def test_a_reminder_that_waits_for_its_handler_is_dropped_when_its_case_is_closed_or_resolved(running, end):
    await running.pause("act")
    made = await generate(running, answer_mode=pb.ANSWER_MODE_HOLD, remind_after=[seconds(3600), seconds(7200)])
    await remind(running, made)
    await notifications(running, made, PENDING)
    await (running.close if end == "closed" else running.resolve)(made)
    assert await running.control_plane.client.keys("*:reminders") == []
    assert list((await running.case_of(made)).notifications) == []
    assert await running.control_plane.client.keys("*notification*") == []


async def test_a_resolved_case_expires_in_silence_and_its_caller_got_the_answer(running, told):
    made = await generate(running, answer_mode=pb.ANSWER_MODE_HOLD, allow_multiple_calls=True)
    await running.resolve(made)
    assert (await running.call(made)).response.response_code == 200
    await expire(running, made)
    case = await closed(running, made)
    assert (case.close_reason, list(case.notifications), told.notifications) == (pb.CLOSE_REASON_EXPIRED, [], [])


async def test_a_rejection_of_a_held_call_that_leaves_its_case_open_leaves_the_reminders(running, told):
    made = await generate(running, answer_mode=pb.ANSWER_MODE_HOLD, retryable_after_error=True)
    await running.resolve(made, verdict=handler_pb.VERDICT_REJECTED)
    await remind(running, made)
    await told.reasons(CallReason.REMINDER)


async def test_a_call_that_runs_when_its_case_expires_still_gets_its_decision(running):
    started, may_end, told = asyncio.Event(), asyncio.Event(), []
    handlers = Handlers()

    @handlers.activity("act")
    async def decide(_call):
        started.set()
        await may_end.wait()

    @handlers.notification("act")
    async def notified(notification):
        told.append(notification.reason)
        may_end.set()

    async with connected(Worker(handlers, running.address)):
        made = await generate(running)
        caller = running.call(made)
        await started.wait()
        await expire(running, made)
        assert (await caller).response.response_code == 200
        assert told == [CallReason.EXPIRY]
        assert (await running.case_of(made)).close_reason == pb.CLOSE_REASON_EXPIRED


async def test_a_call_that_is_held_when_its_case_expires_can_still_be_answered(running, told):
    made = await generate(running, answer_mode=pb.ANSWER_MODE_HOLD, hold_time=seconds(86400))
    caller = running.call(made)
    (call,) = await running.running(made)
    await expire(running, made)
    await told.reasons(CallReason.EXPIRY)
    await running.answer(call.call_id)
    assert (await caller).response.response_code == 200
    assert (await running.case_of(made)).close_reason == pb.CLOSE_REASON_EXPIRED


async def test_a_reminder_whose_attempt_fails_after_the_close_is_dropped(running):
    handlers, started, may_end = slow_handlers(RuntimeError())

    async with connected(Worker(handlers, running.address)):
        made = await generate(running)
        await remind(running, made)
        await started.wait()
        await running.close(made)
        assert len((await running.case_of(made)).notifications) == 1
        may_end.set()

        async def dropped():
            return not (await running.case_of(made)).notifications

        await wait_until(dropped, what="the end of the attempt")


async def test_a_notification_is_retried_until_it_is_taken(running, told):
    told.answers = [RuntimeError("not now"), RuntimeError("not now")]
    made = await generate(running)
    with capture_logs() as logs:
        await remind(running, made)
        (reminder,) = await notifications(running, made, DELIVERED)

        def tried():  # logged after the store has it
            found = [(each["reason"], each["status"]) for each in logs if each["event"] == "delivery_tried"]
            return found if len(found) == reminder.delivery.attempts else None

        assert await wait_until(tried, what="a log line of each attempt") == [
            ("REMINDER", "PENDING"), ("REMINDER", "PENDING"), ("REMINDER", "DELIVERED")]  # fmt: skip
    assert reminder.delivery.attempts == 3
    assert [each.attempt for each in told.notifications] == [1, 2, 3]
    assert len({each.call_id for each in told.notifications}) == 1


async def test_a_notification_that_fails_for_good_is_dead_and_can_be_replayed(running, told):
    told.answers = [Reject(), None]
    made = await generate(running)
    await expire(running, made)
    (expiry,) = await notifications(running, made, DEAD)
    assert [(each.call_id, each.reason) for each in await running.dead()] == [(expiry.call_id, EXPIRY)]
    await running.replay(expiry.call_id)
    await notifications(running, made, DELIVERED)
    assert [each.replayed for each in told.notifications] == [False, True]
    assert not await running.dead()


async def test_a_dead_reminder_goes_with_its_open_case(running, told):
    told.answers = [Reject()]
    made, reminder = await reminded(running, DEAD)
    await running.close(made)
    assert (await refusal(running.replay(reminder.call_id))).reason == "CALL_NOT_FOUND"


async def test_a_delivered_reminder_is_not_replayed_once_its_case_is_closed(running, told):
    made, reminder = await reminded(running, DELIVERED)
    await running.replay(reminder.call_id)
    await told.reasons(CallReason.REMINDER, CallReason.REMINDER)
    await notifications(running, made, DELIVERED)
    await running.close(made)
    refused = await refusal(running.replay(reminder.call_id))
    assert (refused.reason, "reminder" in refused.text) == ("CALL_NOT_REPLAYABLE", True)


async def test_a_worker_without_a_handler_of_notifications_never_gets_one_as_a_call(running):
    async with raw_worker(running.worker_stub, "act") as worker:
        made = await generate(running)
        await remind(running, made)

        reminder = await refused(running, made)
        assert reminder.delivery.attempts == 0
        assert "no worker takes notifications of act" in reminder.delivery.failure_detail
        assert worker.of("offer") == []
    async with Told().working(running):
        await notifications(running, made, DELIVERED)


async def test_a_push_handler_that_does_not_implement_notifications_never_gets_one_as_a_call(store_of):
    async with stub_handler() as stub:
        act = {"act": ActivitySettings(target=stub.target, deadline_s=60, retry=QUICK)}
        async with running_services(store_of(), sweeps=True, activities=act) as services:
            made = await generate(services, callback_activity_case=(name := stub.play(None)))
            await expire(services, made)
            await refused(services, made)
            assert stub.requests(name) == []


async def test_a_push_handler_takes_notifications(store_of):
    told = Told()
    told.answers = [RuntimeError("not now")]
    async with told.handlers.listen("127.0.0.1:0") as listening:
        act = {"act": ActivitySettings(target=listening.address, deadline_s=60, retry=QUICK)}
        async with running_services(store_of(), sweeps=True, activities=act) as services:
            made = await generate(services)
            await expire(services, made)
            await notifications(services, made, DELIVERED)
            await told.reasons(CallReason.EXPIRY, CallReason.EXPIRY)
            assert told.calls == []


async def test_a_worker_may_take_notifications_alone_also_of_another_server(store_of):
    store = store_of()
    handlers, got = Handlers(), []

    @handlers.notification("act")
    async def take(notification):
        got.append(notification)

    async with (
        running_services(store, sweeps=False) as other,
        running_services(store, sweeps=True, activities=ACT) as services,
        connected(Worker(handlers, other.address)),
    ):
        made = await generate(services, answer_mode=pb.ANSWER_MODE_HOLD)
        await remind(services, made)
        await notifications(services, made, DELIVERED)
        assert [each.reason for each in got] == [CallReason.REMINDER]


async def test_notifications_that_no_handler_takes_do_not_keep_others_from_theirs(store_of):
    count = 8
    async with (
        running_services(store_of(), sweeps=True, activities=ACT, max_in_flight_deliveries=1) as services,
        Told().working(services) as told,
    ):
        made = [await generate(services, callback_activity="nobody") for _ in range(count)]
        with capture_logs() as logs:
            for each in [*made, await generate(services)]:
                await remind(services, each)

            def tried():
                return {each["call_id"] for each in logs if each["event"] == "delivery_tried"}

            await wait_until(lambda: len(tried()) == count + 1, what="an attempt of each")
        assert len(told.notifications) == 1


async def test_notifications_that_are_due_together_start_at_a_limited_rate(store_of):
    number, per_second = 4, 5
    async with (
        running_services(store_of(), activities=ACT, max_notifications_per_second=per_second) as services,
        Told().working(services) as told,
    ):
        partitions = []
        for _ in range(number):
            made = await generate(services)
            await remind(services, made)
            partitions.append(keys.partition_of(made.callback_case_id))
            await sweep_partition(services.control_plane.scripts, partitions[-1], recording=Recording())
        began = time.monotonic()
        for partition in partitions:
            services.control_plane.notifications.wake_due(partition)
        await told.reasons(*[CallReason.REMINDER] * number)
        assert time.monotonic() - began > (number - 2) / per_second  # all but the first, and what is made up for


async def test_other_servers_learn_at_once_that_a_worker_of_notifications_has_a_slot_again(store_of, limits):
    limits(pool, ANNOUNCE_S=3600)
    handlers, started, may_end = slow_handlers()

    async with (
        running_services(store_of(), sweeps=True, activities=ACT) as services,
        connected(Worker(handlers, services.address, max_calls=1)),
    ):

        async def announces(free):
            found = await find_slots(services.control_plane.scripts)
            return [each.by_activity for each in found] == [{NOTIFICATIONS + "act": free}]

        await remind(services, await generate(services))
        await started.wait()
        await wait_until(lambda: announces(0), what="no free slot")
        may_end.set()
        await wait_until(lambda: announces(1), what="a free slot")


async def test_the_notifications_of_a_paused_activity_wait(running, told):
    await running.pause("act")
    made, reminder = await reminded(running, PENDING)
    assert reminder.delivery.paused
    await running.resume("act")
    await notifications(running, made, DELIVERED)


async def test_an_extended_case_expires_at_its_new_time_and_its_handler_gets_that_once(running, told):
    made = await generate(running, notify=[EXPIRY], remind_after=[], time_to_live=seconds(7200))
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    case = await extend(running, made, later)
    assert case.expire_time.ToDatetime(UTC) == later
    assert (await extend(running, made, later)).expire_time == case.expire_time  # sent again
    sooner = await extend(running, made, datetime.now(UTC) + timedelta(hours=1))
    assert sooner.expire_time.ToDatetime(UTC) < later
    await expire(running, made)
    await notifications(running, made, DELIVERED)
    assert (await running.case_of(made)).close_reason == pb.CLOSE_REASON_EXPIRED
    await told.reasons(CallReason.EXPIRY)


async def test_a_case_that_never_expires_can_get_a_time(running, told):
    made = await running.generate("act", notify=[EXPIRY])
    await extend(running, made, datetime.now(UTC) + timedelta(hours=1))
    await expire(running, made)
    await told.reasons(CallReason.EXPIRY)


async def test_a_case_is_not_extended_into_the_past_or_beyond_the_maximum(store_of):
    async with running_services(store_of(), max_time_to_live_s=3600) as services:
        made = await generate(services, time_to_live=seconds(1800), remind_after=[seconds(60)])
        before = (await services.case_of(made)).expire_time
        for at in (datetime.now(UTC) - timedelta(seconds=1), datetime.now(UTC) + timedelta(seconds=3660)):
            refused = await refusal(extend(services, made, at))
            assert (refused.reason, refused.fields) == ("INVALID_REQUEST", ["expire_time"])
        assert (await services.case_of(made)).expire_time == before
        await expire(services, made)  # what is due happens first
        refused = await refusal(extend(services, made, datetime.now(UTC) + timedelta(seconds=60)))
        assert (refused.reason, refused.metadata["close_reason"]) == ("CALLBACK_CLOSED", "EXPIRED")


@pytest.mark.parametrize(("whole", "nanos"), [(10**15, 0), (-(10**15), 0), (2**62, 0), (4_000_000_000, -5)])
async def test_a_time_that_is_no_time_is_refused(running, whole, nanos):
    asked = rpc.ExtendCallbackRequest(callback_case_id=(await generate(running)).callback_case_id)
    asked.expire_time.seconds, asked.expire_time.nanos = whole, nanos
    refused = await refusal(running.callbacks.ExtendCallback(asked))
    assert (refused.reason, refused.fields) == ("INVALID_REQUEST", ["expire_time"])


async def test_a_request_without_a_case_or_a_time_is_refused(running):
    asked = rpc.ExtendCallbackRequest(callback_case_id="0" * 32)
    assert (await refusal(running.callbacks.ExtendCallback(asked))).fields == ["expire_time"]
    asked.expire_time.FromDatetime(datetime.now(UTC) + timedelta(seconds=60))
    assert (await refusal(running.callbacks.ExtendCallback(asked))).reason == "CALLBACK_NOT_FOUND"


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"callback_activity": "record"}, "notify"),
        ({"callback_activity": "form"}, "notify"),
        ({"notify": [EXPIRY]}, "remind_after"),
        ({"remind_after": []}, "notify"),
        ({"notify": [pb.CALL_REASON_CALL], "remind_after": []}, "notify[0]"),
        ({"notify": [REMINDER, REMINDER]}, "notify"),
        ({"remind_after": [seconds(5), seconds(5)]}, "remind_after"),
        ({"remind_after": [seconds(at) for at in range(1, 12)]}, "remind_after"),
        ({"remind_after": [{"nanos": 1}]}, "remind_after[0]"),
    ],
)
async def test_what_cannot_be_told_is_refused(running, asked, field):
    assert (await refusal(generate(running, **asked))).fields == [field]


async def test_a_watcher_sees_the_extension_and_the_notification(running, told):
    made = await generate(running)
    async with (
        AsyncCallbackClient(running.address) as client,
        client.watch_calls(case_id=made.callback_case_id) as watch,
    ):
        await client.extend_callback(made.callback_case_id, datetime.now(UTC) + timedelta(days=1))
        await remind(running, made)
        seen = [await anext(watch) for _ in range(4)]
    assert [(each.type, each.reason, each.delivery_status) for each in seen] == [
        ("CASE_EXTENDED", None, None),
        ("DELIVERY_CHANGED", "REMINDER", "PENDING"),
        ("DELIVERY_CHANGED", "REMINDER", "RUNNING"),
        ("DELIVERY_CHANGED", "REMINDER", "DELIVERED"),
    ]


async def test_attempts_are_counted_by_reason(running, told):
    name, labels = "callback_notifications_total", {"reason": "EXPIRY", "outcome": "DELIVERED"}
    before = REGISTRY.get_sample_value(name, labels)
    made = await generate(running)
    await expire(running, made)
    await wait_until(lambda: REGISTRY.get_sample_value(name, labels) == before + 1, what="the count")


async def test_what_is_kept_of_notifications_goes_with_their_case(store_of):
    told = Told()
    async with running_services(store_of(), sweeps=True, activities=ACT, retention_s=0) as services:
        client = services.control_plane.client
        made = await generate(services)
        partition = keys.partition_of(made.callback_case_id)
        await expire(services, made)
        (expiry,) = await notifications(services, made, PENDING)
        await apply_retention(services.control_plane.scripts, partition, retention_ms=0)  # it waits for the delivery
        assert await client.exists(f"{{cb:{int(expiry.call_id[:8], 16) % 64}}}:call:{expiry.call_id}") == 1
        async with told.working(services):
            await told.reasons(CallReason.EXPIRY)

            async def gone():
                await apply_retention(services.control_plane.scripts, partition, retention_ms=-60_000)
                return not await client.keys(f"*{made.callback_case_id}*")

            await wait_until(gone, what="the deletion")


async def test_the_failure_of_a_notification_is_erased_and_its_delivery_goes_on(running, told):
    told.answers = [RuntimeError("secret")] * 3
    made = await generate(running)
    await expire(running, made)
    (expiry,) = await notifications(running, made, DEAD)
    assert expiry.delivery.failure_detail
    assert not expiry.erased
    await running.erase(made)
    (expiry,) = (await running.case_of(made)).notifications
    assert (expiry.delivery.failure_detail, expiry.delivery.failure) == ("", pb.CALL_FAILURE_HANDLER_ERROR)
    assert [each.call_id for each in await running.dead()] == [expiry.call_id]
    await running.replay(expiry.call_id)
    await notifications(running, made, DELIVERED)


async def test_a_notification_is_no_held_call(running):
    _, reminder = await reminded(running, PENDING, answer_mode=pb.ANSWER_MODE_HOLD)
    assert (
        await refusal(running.answer(reminder.call_id, verdict=handler_pb.VERDICT_ACCEPTED))
    ).reason == "CALL_NOT_FOUND"
