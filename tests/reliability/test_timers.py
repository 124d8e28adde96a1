"""Timers live in the store alone: servers die, the clock jumps, thousands are due at once, and a wait takes a month."""

import asyncio
import contextlib
import statistics
import time
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from bench.kit.programs import processor_s
from soak.counts import SOAK, count
from structlog.testing import capture_logs
from support.services import running_services
from support.store import KINDS
from support.system import own_store, running_system
from support.timers import make_expiry_due, make_reminder_due, move_clock
from support.wait import DEADLINE_S, wait_until
from support.workers import connected

from callback import CallReason, CloseReason, Handlers, Response, Worker
from callback.v1 import callback_pb2 as pb
from callback.v1 import callbacks_service_pb2 as rpc
from callback_server.calls import sweeper
from callback_server.settings import ActivitySettings, RetrySettings
from callback_server.store import keys
from callback_server.store.connection.client import connect
from callback_server.store.queries.read import read_case, read_notifications
from callback_server.store.recording import Recording
from callback_server.store.scripts import Scripts
from callback_server.store.transitions import sweep_partition as sweeping
from callback_server.store.transitions.sweep_partition import sweep_partition

REMINDER, EXPIRY = pb.CALL_REASON_REMINDER, pb.CALL_REASON_EXPIRY
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
RETRY = RetrySettings(initial_s=0.01, max_s=0.05)


def seconds(number):
    return {"seconds": number}


async def generate(services, **more):
    """Generate a callback of `act` with a reminder in half an hour, which expires in two hours."""
    asked = {"notify": [REMINDER, EXPIRY], "remind_after": [seconds(1800)], "time_to_live": seconds(7200)}
    return await services.generate("act", **asked | more)


class Told(Handlers):
    """Handlers of `act` that count the notifications that they have taken."""

    def __init__(self):
        super().__init__()
        self.taken = Counter()
        self.activity("act")(self._on_call)
        self.notification("act")(self._on_notification)

    async def _on_call(self, _call):
        return None

    async def _on_notification(self, notification):
        self.taken[notification.case_id, notification.reason] += 1


# ---- Killed servers ----


@pytest.mark.parametrize("step", ["before it is due", "while it waits", "while a handler has it"])
async def test_a_server_that_is_killed_at_any_step_of_a_notification_loses_none(tmp_path, store, step):
    """The handler gets it again with the same id. Only an attempt that was under way can come twice."""
    attempts, may_answer, handlers = [], asyncio.Event(), Handlers()

    @handlers.notification("act")
    async def take(notification):
        attempts.append(notification.call_id)
        if step == "while a handler has it" and len(attempts) == 1:
            await may_answer.wait()

    async with handlers.listen("127.0.0.1:0", grace=0) as listening, connect(store.url) as client:
        config = f'[activities.act]\ntarget = "{listening.address}"\nretry = {{ initial_s = 0.01 }}\n'
        async with running_system(tmp_path, store, config=config) as system:
            made = await system.client.generate_callback_url(
                "act", Response("ok"), time_to_live=timedelta(hours=2), remind_after=[timedelta(hours=1)],
                notify=[CallReason.REMINDER, CallReason.EXPIRY],
            )  # fmt: skip
            for reason, make_due in ((CallReason.REMINDER, make_reminder_due), (CallReason.EXPIRY, make_expiry_due)):
                attempts.clear()
                if step == "while it waits":
                    system.server.kill()
                await make_due(client, made.case_id)
                if step == "while it waits":  # as another server would have left it
                    scripts = Scripts(client)
                    await sweep_partition(scripts, keys.partition_of(made.case_id), recording=Recording())
                elif step == "while a handler has it":
                    await wait_until(lambda: attempts, what="the first attempt")
                    system.server.kill()
                    due = keys.key(keys.partition_of(made.case_id), "notification_due", "act")
                    for member in await client.zrange(due, 0, -1):
                        await client.zadd(due, {member: 1})
                else:
                    system.server.kill()
                await asyncio.to_thread(system.server.start)

                async def delivered(reason=reason):
                    case = await system.client.get_callback(made.case_id)
                    return [each for each in case.notifications if each.reason is reason and
                            each.delivery.status == "DELIVERED"]  # fmt: skip

                (notification,) = await wait_until(delivered, what=f"the {reason} to be delivered")
                assert set(attempts) == {notification.call_id}
                assert len(attempts) <= (2 if step == "while a handler has it" else 1)
            may_answer.set()


# ---- The clock ----


@pytest.mark.parametrize("jump_ms", [HOUR_MS, -HOUR_MS])
async def test_a_clock_that_jumps_by_an_hour_moves_what_is_due_and_repeats_nothing(store_of, limits, jump_ms):
    limits(sweeper, SWEEP_INTERVAL_S=0.1)
    told = Told()
    async with (
        running_services(store_of(), sweeps=True, activities={"act": ActivitySettings(retry=RETRY)}) as services,
        connected(Worker(told, services.address)),
    ):
        client = services.control_plane.client
        made = await generate(services)
        first = await generate(services, remind_after=[seconds(1)])
        await wait_until(lambda: told.taken[first.callback_case_id, CallReason.REMINDER], what="a reminder in time")
        await move_clock(client, jump_ms)
        if jump_ms < 0:
            await move_clock(client, -jump_ms)  # back to where it was: nothing that was told is told again
            await make_reminder_due(client, made.callback_case_id)
        await wait_until(lambda: told.taken[made.callback_case_id, CallReason.REMINDER], what="the reminder")
        await move_clock(client, 2 * HOUR_MS)
        for each in (made, first):
            await wait_until(lambda each=each: told.taken[each.callback_case_id, CallReason.EXPIRY], what="the expiry")
        assert set(told.taken.values()) == {1}
        assert len(told.taken) == 4
        for each in (made, first):
            assert (await services.case_of(each)).close_reason == pb.CLOSE_REASON_EXPIRED


# ---- Races ----


ACTIONS = ("answer", "close", "extend", "resolve")


@pytest.mark.parametrize("timer", ["reminder", "expiry"])
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("kind", KINDS if SOAK else ["valkey"])
async def test_of_a_timer_and_an_action_at_the_same_moment_one_comes_first(store_of, kind, action, timer):
    """Two servers sweep at that moment. Whoever is second finds what the first one did, and nothing is told twice."""
    store = store_of(kind)
    outcomes = Counter()
    async with running_services(store) as one, running_services(store) as other:
        client = one.control_plane.client
        scripts = [services.control_plane.scripts for services in (one, other)]
        for number in range(count(9, 1000)):
            mode = pb.ANSWER_MODE_HOLD if action == "resolve" else pb.ANSWER_MODE_ACK
            made = await generate(one, answer_mode=mode)
            case_id = made.callback_case_id
            partition = keys.partition_of(case_id)
            await (make_reminder_due if timer == "reminder" else make_expiry_due)(client, case_id)

            async def act(made=made, case_id=case_id):
                with contextlib.suppress(grpc.aio.AioRpcError):  # it came too late
                    if action == "answer":
                        await one.call(made)
                    elif action == "resolve":
                        await one.callbacks.ResolveCallback(rpc.ResolveCallbackRequest(callback_case_id=case_id))
                    elif action == "close":
                        await one.close(made)
                    else:
                        asked = rpc.ExtendCallbackRequest(callback_case_id=case_id)
                        asked.expire_time.FromDatetime(datetime.now(UTC) + timedelta(days=1))
                        await one.callbacks.ExtendCallback(asked)

            racing = [sweep_partition(each, partition, recording=Recording()) for each in scripts]
            racing.insert(number % 3, act())
            await asyncio.gather(*racing)
            case = await read_case(scripts[0], case_id)
            told = Counter(each.reason for each in await read_notifications(scripts[0], case))
            outcome = case.close_reason, told["REMINDER"], told["EXPIRY"]
            outcomes[outcome] += 1
            assert outcome in EXPECTED[timer, action], outcome
    print(f"\n{timer} and {action} on {kind}: {dict(outcomes)}")


EXPECTED = {
    ("reminder", "answer"): {(CloseReason.CONSUMED, 0, 0)},
    ("reminder", "close"): {(CloseReason.CLOSED_BY_OWNER, 0, 0)},
    ("reminder", "extend"): {(None, 1, 0)},
    ("reminder", "resolve"): {(None, 0, 0)},
    **{("expiry", action): {(CloseReason.EXPIRED, 0, 1)} for action in ACTIONS},
}
"""Close reason, and how many reminders and expiries there are. What is due happens before an action, and a reminder
that waits is dropped as its case closes or is resolved."""


async def test_of_a_reminder_and_an_expiry_that_are_due_the_expiry_is_told_and_its_event_has_what_was_skipped(
    store_of, limits
):
    limits(sweeping, LIMIT=1)  # however many more are due
    async with running_services(store_of()) as services:
        client, scripts = services.control_plane.client, services.control_plane.scripts
        by_partition = defaultdict(list)
        while all(len(case_ids) < 2 for case_ids in by_partition.values()):
            case_id = (await generate(services)).callback_case_id
            by_partition[keys.partition_of(case_id)].append(case_id)
        (first, second), partition = sorted(by_partition[keys.partition_of(case_id)]), keys.partition_of(case_id)
        for each in (first, second):
            await make_expiry_due(client, each)
        await make_reminder_due(client, second)
        with capture_logs() as logged:
            await sweep_partition(scripts, partition, recording=Recording())
        expired = {each["case_id"]: each.get("skipped_reminders") for each in logged if each["event"] == "case_expired"}
        assert expired == {first: None, second: 1}
        case = await read_case(scripts, second)
        assert [each.reason for each in await read_notifications(scripts, case)] == ["EXPIRY"]


# ---- Many at once ----


async def test_many_reminders_at_once_are_told_within_a_minute_once_each_and_leave_calls_alone(tmp_path, store):
    reminders, calls = count(40, 10_000), count(5, 50)
    told = Told()
    async with running_system(tmp_path, store) as system, connected(Worker(told, system.grpc, max_calls=100)):
        processes = [system.server.process.pid, store.process.pid]
        options = {"remind_after": [timedelta(hours=1)], "notify": [CallReason.REMINDER]}
        made = []
        while len(made) < reminders:
            made += await asyncio.gather(
                *(
                    system.client.generate_callback_url("act", Response("ok"), **options)
                    for _ in range(min(100, reminders))
                )
            )

        async def duration():
            case = await system.client.generate_callback_url("act", Response("ok"))
            began = time.monotonic()
            assert (await system.http.post(case.url)).status_code == 200
            return time.monotonic() - began

        alone = [await duration() for _ in range(calls)]
        client = connect(store.url)
        used = [processor_s(pid) for pid in processes]
        began, together = time.monotonic(), []
        await make_reminder_due(client, *(each.case_id for each in made))
        await client.aclose()
        while len(told.taken) < reminders:
            assert time.monotonic() - began < 10 * DEADLINE_S
            together.append(await duration())
        took = time.monotonic() - began
        shares = [(processor_s(pid) - before) / took for pid, before in zip(processes, used, strict=True)]
        alone += [await duration() for _ in range(calls)]  # before and after, for another load of the machine
    medians = [statistics.median(each) * 1000 for each in (alone, together)]
    print(
        f"\n{reminders} reminders in {took:.1f} s; median of a call {medians[0]:.1f} ms alone, {medians[1]:.1f} ms"
        f" beside them ({len(together)} calls); processor: server {shares[0]:.0%}, store {shares[1]:.0%}"
    )
    assert set(told.taken.values()) == {1}
    if SOAK:  # on an idle machine
        assert took < 60
        assert medians[1] <= 2 * medians[0]


# ---- A month ----


async def test_a_wait_of_a_month_outlives_the_restart_of_everything_every_day(tmp_path, limits):
    """Each call is answered once, on its day, and each reminder is told once."""
    limits(sweeper, SWEEP_INTERVAL_S=0.1)
    cases, days, step = count(6, 1000), 30, 1 if SOAK else 5
    told, store = Told(), own_store(tmp_path).start()
    settings = {"sweeps": True, "activities": {"act": ActivitySettings(retry=RETRY)}, "retention_s": 90 * 86_400}
    waiting, answered = [], Counter()
    try:
        for day in range(0, days, step):
            async with running_services(store, **settings) as services, connected(Worker(told, services.address)):
                if day == 0:
                    for _ in range(cases):
                        made = await generate(
                            services, answer_mode=pb.ANSWER_MODE_HOLD, hold_time=seconds(30 * 86_400),
                            time_to_live=seconds(40 * 86_400), remind_after=[seconds(7 * 86_400)],
                        )  # fmt: skip
                        waiting.append((made, services.call(made)))

                    async def all_held():
                        listed = rpc.ListOwnerCallsRequest(filter=rpc.CALL_FILTER_WAITING, page_size=100)
                        return len((await services.callbacks.ListOwnerCalls(listed)).calls) >= min(cases, 100)

                    await wait_until(all_held, what="held calls")
                else:
                    await move_clock(services.control_plane.client, step * DAY_MS)
                    if day >= 7:
                        still_open = {made.callback_case_id for made, _ in waiting} - answered.keys()
                        await wait_until(
                            lambda still_open=still_open: all(
                                told.taken[case_id, CallReason.REMINDER] for case_id in still_open
                            ),
                            what="reminders",
                        )
                for at, (made, _) in enumerate(waiting):
                    if at * days // cases // step * step == day:
                        (call,) = await services.calls_of(made)
                        said = await services.callbacks.AnswerCall(
                            rpc.AnswerCallRequest(call_id=call.call_id, response=pb.Response(response_body=b"%d" % at))
                        )
                        assert said.callback.close_reason == pb.CLOSE_REASON_CONSUMED
                        answered[made.callback_case_id] += 1
            store.stop()
            store.start()
        async with running_services(store) as services:
            for at, (made, _) in enumerate(waiting):
                (found,) = await services.calls_of(made)
                assert (found.status, found.response.response_body) == (pb.CALL_STATUS_SUCCEEDED, b"%d" % at)
    finally:
        await asyncio.gather(*(caller for _, caller in waiting), return_exceptions=True)
        store.stop()
    assert set(answered.values()) == {1}
    assert len(answered) == cases
    assert set(told.taken.values()) == {1}
    assert {reason for _, reason in told.taken} == {CallReason.REMINDER}
