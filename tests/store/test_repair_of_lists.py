"""Repair finds cases and calls without their entries, and entries without their case, and mends both."""

import asyncio
import itertools
from types import SimpleNamespace

import pytest
import redis.asyncio
from store.test_keeping import Cases
from store.test_stored_data import STORED
from structlog.testing import capture_logs
from support.stored import load
from support.wait import wait_until

from callback_process.tasks import TaskSet
from callback_server.calls import sweeper
from callback_server.domain.case import AnswerMode, CallMode, Settings
from callback_server.domain.notification import Reason, reminder_id
from callback_server.domain.timeouts import EntryWithoutCase
from callback_server.repair import Fault, FaultKind, Repair
from callback_server.store import keys
from callback_server.store.connection.client import connect
from callback_server.store.recording import Recording
from callback_server.store.scripts import Scripts
from callback_server.store.transitions import repair_case, repair_list
from callback_server.store.transitions.apply_retention import apply_retention
from callback_server.store.transitions.claim_call import Leases
from callback_server.store.transitions.close_case import close_case
from callback_server.store.transitions.replay_call import ReplayResult, replay_call
from callback_server.store.transitions.sweep_partition import sweep_partition
from callback_server.store.transitions.take_deliveries import take_deliveries

LISTS = [
    "index", "label", "closed", "expiries", "held", "waiting", "leases", "dead", "ended", "due", "queue", "activities",
    "delivery_activities", "reminders", "notification_due", "notification_activities", "calls",
]  # fmt: skip


@pytest.fixture(params=["valkey"])
async def stored(store_of, request, monkeypatch):
    """A store with cases of all kinds, as `Scripts`. Scripts look at few entries at a time."""
    monkeypatch.setattr(repair_case, "LIMIT", 1)
    monkeypatch.setattr(repair_list, "LIMIT", 2)
    store = store_of(request.param)
    async with redis.asyncio.Redis(port=store.port) as plain, connect(store.url) as client:
        await load(plain, STORED[keys.SCHEMA_VERSION])
        scripts = Scripts(client, lambda _report: None)
        scripts.plain = plain
        await add_deliveries(Cases(client))
        await add_reminders(Cases(client))
        yield scripts


async def add_deliveries(cases):
    """Add calls with a delivery to run, of an ordered case too."""
    plain, ordered = await cases.new(answer_mode=AnswerMode.ACK), await cases.new(answer_mode=AnswerMode.ACK)
    await cases.client.hset(keys.key(keys.partition_of(ordered.id), "case", ordered.id), "ordered", "1")
    for case in (plain, ordered, ordered, ordered):
        await cases.claim(case)


async def add_reminders(cases):
    """Add a case with a reminder that is due, and another one that is not."""
    case = await cases.new(settings=Settings(remind_after_ms=(1, 3_600_000)), notify=(Reason.REMINDER,))
    await wait_until(lambda: told(cases, case), what="the first reminder")


async def told(cases, case):
    await sweep_partition(cases.scripts, keys.partition_of(case.id), recording=Recording())
    return await cases.client.exists(keys.key(keys.partition_of(case.id), "call", reminder_id(case.id, 1)))


async def examined(scripts, *, changes):
    """Return the faults that an examination finds."""
    repair = Repair(scripts, makes_entries=changes, removes_entries=changes)
    steps = [step async for step in repair.steps(10)]
    assert not [step.not_examined for step in steps if step.not_examined]
    return list(itertools.chain.from_iterable(step.faults for step in steps))


async def members(scripts, kind):
    """Return the members of all lists of a kind, by key."""
    found = {}
    async for key in scripts.plain.scan_iter(f"{{cb:*}}:{kind}*"):
        if keys.parse(key.decode())[1].partition(":")[0] == kind:
            read = {b"zset": scripts.plain.zrange, b"list": scripts.plain.lrange, b"set": scripts.plain.smembers}[
                await scripts.plain.type(key)
            ]
            found[key] = set(await read(key, 0, -1) if read != scripts.plain.smembers else await read(key))
    return found


@pytest.mark.parametrize("stored", ["valkey", "redis-cluster"], indirect=True)
async def test_nothing_is_wrong_with_what_the_scripts_have_stored(stored):
    assert await examined(stored, changes=False) == []


@pytest.mark.parametrize("kind", LISTS)
async def test_entries_that_are_lost_are_found_and_made_again(stored, kind):
    before = await members(stored, kind)
    assert before, f"the stored data has no {kind}"
    for key in before:
        await stored.plain.delete(key)
    found = await examined(stored, changes=False)
    assert {(fault.kind, fault.listed_in) for fault in found} == {(FaultKind.MISSING_ENTRY, kind)}
    assert await members(stored, kind) == {}  # a check changes nothing
    await examined(stored, changes=True)
    assert await members(stored, kind) == before
    assert await examined(stored, changes=False) == []


async def test_all_lists_are_made_again_from_the_cases_and_calls_alone(stored):
    before = [await members(stored, kind) for kind in LISTS]
    queues = {key: await stored.plain.lrange(key, 0, -1) for key in before[LISTS.index("queue")]}
    for key in itertools.chain.from_iterable(before):
        await stored.plain.delete(key)
    await examined(stored, changes=True)
    assert [await members(stored, kind) for kind in LISTS] == before
    assert {key: await stored.plain.lrange(key, 0, -1) for key in queues} == queues
    assert await examined(stored, changes=False) == []


async def test_a_case_in_progress_whose_call_is_not_there_is_named_until_it_is_closed(stored):
    case_id, call_id = await lose_a_running_call(stored)
    expected = Fault(FaultKind.NO_CALL, keys.partition_of(case_id), "call", call_id)
    assert expected in await examined(stored, changes=True)
    assert await examined(stored, changes=True) == [expected]
    await close_case(stored, case_id, owner=None, recording=Recording())
    assert await examined(stored, changes=True) == []


async def lose_a_running_call(stored):
    """Delete the call that a single-use case is in progress with. Return the ids of both."""
    cases = Cases(stored.client)
    case = await cases.new(mode=CallMode.SINGLE)
    granted = await cases.claim(case)
    await stored.plain.delete(keys.key(keys.partition_of(case.id), "call", granted.call_id))
    return case.id, granted.call_id


@pytest.mark.parametrize("stored", ["valkey", "redis-cluster"], indirect=True)
@pytest.mark.parametrize("lost", ["case", "call"])
async def test_entries_without_their_case_or_call_are_found_and_removed(stored, lost):
    gone = [key async for key in stored.plain.scan_iter(f"{{cb:*}}:{lost}:*")]
    for key in gone:
        await stored.plain.delete(key)
    found = await examined(stored, changes=False)
    without_call = [fault for fault in found if fault.kind is FaultKind.NO_CALL]
    assert {fault.kind for fault in found if fault not in without_call} == {FaultKind.ENTRY_WITHOUT_CASE}
    assert bool(without_call) == (lost == "call")
    # A check changes nothing. The store may list its keys in another order each time.
    assert set(found) == set(await examined(stored, changes=False))
    await examined(stored, changes=True)
    assert set(await examined(stored, changes=False)) == set(without_call)
    for kind in ("leases", "due", "ended", "held", "waiting", "calls"):
        assert await members(stored, kind) == {}


async def test_an_entry_of_a_call_with_another_state_is_removed(stored):
    ended = await members(stored, "ended")
    key, (call_id, *_) = next(iter(ended.items()))
    partition, _ = keys.parse(key.decode())
    await stored.plain.zadd(keys.key(partition, "leases"), {call_id: 1})
    (fault,) = await examined(stored, changes=True)
    assert (fault.kind, fault.partition, fault.listed_in, fault.name) == (
        FaultKind.ENTRY_WITHOUT_CASE, partition, "leases", call_id.decode(),
    )  # fmt: skip
    assert call_id not in (await members(stored, "leases")).get(keys.key(partition, "leases").encode(), ())


@pytest.mark.parametrize("lost", ["case", "call", "content"])
async def test_transitions_keep_and_report_entries_whose_case_content_or_call_is_not_there(stored, lost):
    due = ["leases", "expiries", "ended", "closed", "due", "notification_due"]
    if lost == "case":
        due.append("reminders")  # those of a case whose calls are lost are told
    elif lost == "content":
        due = ["closed", "reminders", "notification_due"]  # others do not need it
    entries = {kind: await members(stored, kind) for kind in due}
    async for key in stored.plain.scan_iter(f"{{cb:*}}:{lost}:*"):
        await stored.plain.delete(key)
    for lists_of_kind in entries.values():
        for key, names in lists_of_kind.items():
            await stored.plain.zadd(key, dict.fromkeys(names, 1))
    reports = []
    scripts = Scripts(stored.client, reports.append)
    for partition in range(keys.PARTITIONS):
        await sweep_partition(scripts, partition, recording=Recording())
        await apply_retention(scripts, partition, retention_ms=1)
        for notifications in (False, True):
            await take_deliveries(
                scripts, partition, limit=50, turn=0, leases=Leases({}, default_ms=1000), recording=Recording(),
                notifications=notifications,
            )  # fmt: skip
    found = {(report.listed_in, report.name) for report in reports if isinstance(report, EntryWithoutCase)}
    for kind in due:
        names = {name for lists_of_kind in entries[kind].values() for name in lists_of_kind}
        if lost != "call" or kind in ("leases", "ended", "due", "notification_due"):
            kept = await members(stored, kind)
            assert all(members_before <= kept[key] for key, members_before in entries[kind].items())
            assert {(kind, name.decode()) for name in names} <= found
    reports.clear()
    for partition in range(keys.PARTITIONS):
        await sweep_partition(scripts, partition, recording=Recording())
    assert reports == []  # the entries are due again later, so that they block no others


async def test_a_case_without_its_content_is_examined(stored):
    async for key in stored.plain.scan_iter("{cb:*}:content:*"):
        await stored.plain.delete(key)
    assert await examined(stored, changes=False) == []


@pytest.mark.parametrize("is_ordered", [False, True])
async def test_a_replay_lists_a_waiting_delivery_again(store_of, is_ordered):
    async with connect(store_of().url) as client:
        cases = Cases(client)
        case = await cases.new(answer_mode=AnswerMode.ACK)
        partition = keys.partition_of(case.id)
        if is_ordered:
            await client.hset(keys.key(partition, "case", case.id), "ordered", "1")
        granted = [await cases.claim(case) for _ in range(2)]
        for name in (keys.key(partition, "due", "push"), keys.key(partition, "queue", case.id)):
            await client.delete(name)
        for grant in granted:
            replayed = await replay_call(cases.scripts, grant.call_id, owner=None)
            assert replayed is ReplayResult.OK
        listed = {name.decode() for name in await client.zrange(keys.key(partition, "due", "push"), 0, -1)}
        assert listed == {grant.call_id for grant in granted[: 1 if is_ordered else 2]}


async def test_a_server_makes_missing_entries_by_itself_and_keeps_the_others(stored, monkeypatch):
    monkeypatch.setattr(sweeper, "REPAIR_INTERVAL_S", 0.01)
    monkeypatch.setattr(sweeper, "REPAIR_REST_FACTOR", 0)
    monkeypatch.setattr(sweeper, "SWEEP_INTERVAL_S", 0.01)
    before = await members(stored, "leases")
    count = sum(map(len, before.values()))
    for key in before:
        await stored.plain.delete(key)
    stray = keys.key(keys.partition_of("f" * 32), "closed")
    await stored.plain.zadd(stray, {"f" * 32: 1})
    _, lost = await lose_a_running_call(stored)

    async def are_made():
        made = await members(stored, "leases")
        return all(calls <= made.get(key, set()) for key, calls in before.items())

    def missing():
        return [each["listed_in"] for each in logged if each["event"] == "missing_entry"]

    def are_reported():  # after the store has them
        without_case = {each["name"] for each in logged if each["event"] == "entry_without_case"}
        without_call = {each["call_id"] for each in logged if each["event"] == "no_call"}
        return "f" * 32 in without_case and lost in without_call and len(missing()) >= count

    server = sweeper.Sweeper(stored, Recording(), retention_ms=1000, deliveries_due=print, notifications_due=print)
    with capture_logs() as logged:
        async with TaskSet() as tasks:
            tasks.start(server.run_repairs())
            await wait_until(are_made, what="the leases, made")
            await wait_until(are_reported, what="all of these and the case without its call, reported")
    assert missing() == ["leases"] * count
    assert await stored.plain.zscore(stray, "f" * 32) == 1


async def test_a_server_rests_after_each_step_of_its_repair_by_what_the_step_took(stored, monkeypatch):
    clock, rests = iter([0, 0.05, 10, 10.5, 30, 30.001]), []  # the beginning and the end of three steps

    async def rest(interval_s):
        rests.append(interval_s)
        if len(rests) == 4:
            raise asyncio.CancelledError

    monkeypatch.setattr(sweeper, "_pause", rest)
    monkeypatch.setattr(sweeper, "REPAIR_KEYS", 10)
    monkeypatch.setattr(sweeper, "time", SimpleNamespace(monotonic=clock.__next__))
    server = sweeper.Sweeper(stored, Recording(), retention_ms=1000, deliveries_due=print, notifications_due=print)
    with pytest.raises(asyncio.CancelledError):
        await server.run_repairs()
    assert rests == [sweeper.REPAIR_INTERVAL_S, 5, sweeper.REPAIR_MAX_REST_S, sweeper.SWEEP_INTERVAL_S]


async def test_a_partition_with_a_broken_key_is_named_and_the_others_are_examined(stored):
    partition, other = 3, 5
    await stored.plain.delete(keys.key(partition, "leases"))
    await stored.plain.set(keys.key(partition, "leases"), "broken")
    await stored.plain.zadd(keys.key(other, "leases"), {"0" * 49: 1})
    steps = [step async for step in Repair(stored, makes_entries=True, removes_entries=True).steps(10)]
    assert {partition for step in steps for partition in step.not_examined} == {partition}
    assert [fault.name for step in steps for fault in step.faults] == ["0" * 49]


@pytest.mark.parametrize("kind", ["case", "content", "calls", "call"])
async def test_a_key_of_a_wrong_type_is_named_and_its_case_is_left_as_it_is(stored, kind):
    key, (call_id, *_) = min((await members(stored, "calls")).items())
    partition, name = keys.parse(key.decode())
    name = call_id.decode() if kind == "call" else name.partition(":")[2]
    damaged = keys.key(partition, kind, name)
    await stored.plain.delete(damaged)
    await stored.plain.lpush(damaged, "wrong type")
    before = {name: await members(stored, name) for name in LISTS}
    faults = await examined(stored, changes=True)
    assert [(fault.kind, fault.partition, fault.listed_in, fault.name) for fault in faults] == [
        (FaultKind.WRONG_TYPE, partition, kind, name)
    ]
    assert {name: await members(stored, name) for name in LISTS} == before
