"""Repair finds cases and calls without their entries, and entries without their case, and mends both."""

import itertools

import pytest
from store.test_stored_data import STORED
from structlog.testing import capture_logs
from support.stored import load
from support.wait import wait_until

from callback_process.tasks import TaskSet
from callback_server.calls import sweeper
from callback_server.domain.case import AnswerMode, CallMode, Settings
from callback_server.domain.notification import CallReason, reminder_id
from callback_server.domain.reports import EntryWithoutCase
from callback_server.operations.repair import Fault, FaultKind, Repair
from callback_server.store import keys
from callback_server.store.recording import Recording
from callback_server.store.transitions import repair_case, repair_list
from callback_server.store.transitions.replay_call import ReplayResult, replay_call

LISTS = [
    "index", "label", "closed", "expiries", "held", "waiting", "leases", "dead", "ended", "due", "queue", "activities",
    "owners", "delivery_activities", "reminders", "notification_due", "notification_activities", "calls",
]  # fmt: skip

on_a_cluster_too = pytest.mark.parametrize("store", ["valkey", "redis-cluster"], indirect=True)


@pytest.fixture
async def stored(cases, plain):
    """Cases of all kinds."""
    await load(plain, STORED[keys.SCHEMA_VERSION])
    # The release that has written this data had no list of owners. A repair makes it.
    assert {fault.listed_in for fault in await examined(cases, changes=True)} == {"owners"}
    free, ordered = await cases.new(answer_mode=AnswerMode.ACK), await cases.new(answer_mode=AnswerMode.ACK)
    await make_ordered(cases, ordered)
    for case in (free, ordered, ordered, ordered):  # calls with a delivery to run
        await cases.claim(case)
    reminding = await cases.new(settings=Settings(remind_after_ms=(1, 3_600_000)), notify=(CallReason.REMINDER,))
    partition = keys.partition_of(reminding.id)

    async def is_reminded():  # of the first of two
        await cases.sweep(partition)
        return await plain.exists(keys.key(partition, "call", reminder_id(reminding.id, 1)))

    await wait_until(is_reminded, what="the first reminder")
    return cases


@pytest.fixture
def few_at_a_time(limits):
    """Let scripts look at few entries at a time."""
    limits(repair_case, LIMIT=1)
    limits(repair_list, LIMIT=2)


async def make_ordered(cases, case):
    await cases.client.hset(keys.key(keys.partition_of(case.id), "case", case.id), "ordered", "1")


async def examined(cases, *, changes):
    """Return the faults that an examination finds."""
    repair = Repair(cases.scripts, makes_entries=changes, removes_entries=changes)
    steps = [step async for step in repair.steps(100)]
    assert not [step.not_examined for step in steps if step.not_examined]
    return list(itertools.chain.from_iterable(step.faults for step in steps))


async def members(plain, kind):
    """Return the members of all lists of a kind, by key."""
    found = {}
    async for key in plain.scan_iter(f"{{cb:*}}:{kind}*", count=10_000):
        if keys.parse(key.decode())[1].partition(":")[0] == kind:
            read = {
                b"zset": lambda key: plain.zrange(key, 0, -1), b"list": lambda key: plain.lrange(key, 0, -1),
                b"set": plain.smembers,
            }[await plain.type(key)]  # fmt: skip
            found[key] = set(await read(key))
    return found


async def delete_all(plain, kind):
    """Delete all keys of a kind."""
    async for key in plain.scan_iter(f"{{cb:*}}:{kind}:*", count=10_000):
        await plain.delete(key)


@on_a_cluster_too
async def test_nothing_is_wrong_with_what_the_scripts_have_stored(stored):
    assert await examined(stored, changes=False) == []


async def test_entries_that_are_lost_are_found_and_made_again(stored, plain):
    for kind in LISTS:
        before = await members(plain, kind)
        assert before, f"the stored data has no {kind}"
        await plain.delete(*before)
        found = await examined(stored, changes=False)
        assert {(fault.kind, fault.listed_in) for fault in found} == {(FaultKind.MISSING_ENTRY, kind)}
        assert await members(plain, kind) == {}  # a check changes nothing
        await examined(stored, changes=True)
        assert await members(plain, kind) == before
    assert await examined(stored, changes=False) == []


@pytest.mark.usefixtures("few_at_a_time")
async def test_all_lists_are_made_again_from_the_cases_and_calls_alone(stored, plain):
    before = [await members(plain, kind) for kind in LISTS]
    queues = {key: await plain.lrange(key, 0, -1) for key in before[LISTS.index("queue")]}
    await plain.delete(*itertools.chain.from_iterable(before))
    await examined(stored, changes=True)
    assert [await members(plain, kind) for kind in LISTS] == before
    assert {key: await plain.lrange(key, 0, -1) for key in queues} == queues
    assert await examined(stored, changes=False) == []


async def test_a_case_in_progress_whose_call_is_not_there_is_named_until_it_is_closed(stored):
    case_id, call_id = await lose_a_running_call(stored)
    expected = Fault(FaultKind.NO_CALL, keys.partition_of(case_id), "call", call_id)
    assert expected in await examined(stored, changes=True)
    assert await examined(stored, changes=True) == [expected]
    await stored.close(case_id)
    assert await examined(stored, changes=True) == []


async def lose_a_running_call(cases):
    """Delete the call that a single-use case is in progress with. Return the ids of both."""
    case = await cases.new(mode=CallMode.SINGLE)
    granted = await cases.claim(case)
    await cases.client.delete(keys.key(keys.partition_of(case.id), "call", granted.call_id))
    return case.id, granted.call_id


@on_a_cluster_too
@pytest.mark.usefixtures("few_at_a_time")
@pytest.mark.parametrize("lost", ["case", "call"])
async def test_entries_without_their_case_or_call_are_found_and_removed(stored, plain, lost):
    await delete_all(plain, lost)
    found = await examined(stored, changes=False)
    without_call = [fault for fault in found if fault.kind is FaultKind.NO_CALL]
    assert {fault.kind for fault in found if fault not in without_call} == {FaultKind.ENTRY_WITHOUT_CASE}
    assert bool(without_call) == (lost == "call")
    # A check changes nothing. The store may list its keys in another order each time.
    assert set(found) == set(await examined(stored, changes=False))
    await examined(stored, changes=True)
    assert set(await examined(stored, changes=False)) == set(without_call)
    for kind in ("leases", "due", "ended", "held", "waiting", "calls"):
        assert await members(plain, kind) == {}


async def test_an_entry_of_a_call_with_another_state_is_removed(stored, plain):
    key, (call_id, *_) = next(iter((await members(plain, "ended")).items()))
    partition, _ = keys.parse(key.decode())
    leases = keys.key(partition, "leases")
    await plain.zadd(leases, {call_id: 1})
    (fault,) = await examined(stored, changes=True)
    assert fault == Fault(FaultKind.ENTRY_WITHOUT_CASE, partition, "leases", call_id.decode())
    assert call_id not in (await members(plain, "leases")).get(leases.encode(), ())


async def apply_what_is_due(cases):
    """Do in all partitions what servers do by themselves."""
    for partition in range(keys.PARTITIONS):
        await cases.sweep(partition)
        await cases.retain(partition, retention_ms=1)
        for notifications in (False, True):
            await cases.take(partition, notifications=notifications)


@pytest.mark.parametrize(
    ("lost", "due"),
    [
        ("case", ["leases", "expiries", "ended", "closed", "due", "notification_due", "reminders"]),
        ("call", ["leases", "ended", "due", "notification_due"]),
        ("content", ["closed", "reminders", "notification_due"]),  # others do not need it
    ],
)
async def test_transitions_keep_and_report_entries_whose_case_content_or_call_is_not_there(stored, plain, lost, due):
    entries = {kind: await members(plain, kind) for kind in due}
    await delete_all(plain, lost)
    for lists_of_kind in entries.values():
        for key, names in lists_of_kind.items():
            await plain.zadd(key, dict.fromkeys(names, 1))
    stored.due.clear()
    await apply_what_is_due(stored)
    found = {(report.listed_in, report.name) for report in stored.due if isinstance(report, EntryWithoutCase)}
    for kind, lists_of_kind in entries.items():
        kept = await members(plain, kind)
        for key, names in lists_of_kind.items():
            assert names <= kept[key]
            assert {(kind, name.decode()) for name in names} <= found
    stored.due.clear()
    for partition in range(keys.PARTITIONS):
        await stored.sweep(partition)
    assert stored.due == []  # the entries are due again later, so that they block no others


async def test_a_case_without_its_content_is_examined(stored, plain):
    await delete_all(plain, "content")
    assert await examined(stored, changes=False) == []


@pytest.mark.parametrize("is_ordered", [False, True])
async def test_a_replay_lists_a_waiting_delivery_again(cases, is_ordered):
    case = await cases.new(answer_mode=AnswerMode.ACK)
    if is_ordered:
        await make_ordered(cases, case)
    granted = [await cases.claim(case) for _ in range(2)]
    due, queue = (keys.key(keys.partition_of(case.id), *name) for name in (("due", "push"), ("queue", case.id)))
    await cases.client.delete(due, queue)
    for grant in granted:
        assert await replay_call(cases.scripts, grant.call_id, owner=None) is ReplayResult.OK
    listed = {name.decode() for name in await cases.client.zrange(due, 0, -1)}
    assert listed == {grant.call_id for grant in granted[: 1 if is_ordered else 2]}


async def test_a_server_makes_missing_entries_by_itself_and_keeps_the_others(stored, plain, limits):
    limits(sweeper, REPAIR_INTERVAL_S=0.01, REPAIR_REST_FACTOR=0, SWEEP_INTERVAL_S=0.01)
    before = await members(plain, "leases")
    count = sum(map(len, before.values()))
    await plain.delete(*before)
    stray = keys.key(keys.partition_of("f" * 32), "closed")
    await plain.zadd(stray, {"f" * 32: 1})
    _, lost = await lose_a_running_call(stored)

    async def are_made():
        made = await members(plain, "leases")
        return all(calls <= made.get(key, set()) for key, calls in before.items())

    def missing():
        return [each["listed_in"] for each in logged if each["event"] == "missing_entry"]

    def are_reported():  # after the store has them
        without_case = {each["name"] for each in logged if each["event"] == "entry_without_case"}
        without_call = {each["call_id"] for each in logged if each["event"] == "no_call"}
        return "f" * 32 in without_case and lost in without_call and len(missing()) >= count

    server = sweeper.Sweeper(
        stored.scripts, Recording(), retention_ms=1000, deliveries_due=print, notifications_due=print
    )
    with capture_logs() as logged:
        async with TaskSet() as tasks:
            tasks.start(server.run_repairs())
            await wait_until(are_made, what="the leases, made")
            await wait_until(are_reported, what="all of these and the case without its call, reported")
    assert missing() == ["leases"] * count
    assert await plain.zscore(stray, "f" * 32) == 1


def test_a_server_rests_after_each_step_of_its_repair_by_what_the_step_took():
    assert [sweeper.rest_after(step_s) for step_s in (0.05, 0.5, 0.001)] == [
        5,
        sweeper.REPAIR_MAX_REST_S,
        sweeper.SWEEP_INTERVAL_S,
    ]


async def test_a_partition_with_a_broken_key_is_named_and_the_others_are_examined(cases, plain):
    partition, other = 3, 5
    await plain.set(keys.key(partition, "leases"), "broken")
    await plain.zadd(keys.key(other, "leases"), {"0" * 49: 1})
    steps = [step async for step in Repair(cases.scripts, makes_entries=True, removes_entries=True).steps(10)]
    assert {partition for step in steps for partition in step.not_examined} == {partition}
    assert [fault.name for step in steps for fault in step.faults] == ["0" * 49]


@pytest.mark.parametrize("kind", ["case", "content", "calls", "call"])
async def test_a_key_of_a_wrong_type_is_named_and_its_case_is_left_as_it_is(stored, plain, kind):
    key, (call_id, *_) = min((await members(plain, "calls")).items())
    partition, name = keys.parse(key.decode())
    name = call_id.decode() if kind == "call" else name.partition(":")[2]
    damaged = keys.key(partition, kind, name)
    await plain.delete(damaged)
    await plain.lpush(damaged, "wrong type")
    before = {name: await members(plain, name) for name in LISTS}
    assert await examined(stored, changes=True) == [Fault(FaultKind.WRONG_TYPE, partition, kind, name)]
    assert {name: await members(plain, name) for name in LISTS} == before
