"""Paused activities: one key lists them, each partition has a copy, and a sweep repairs a copy that is wrong."""

import contextlib
import itertools

import pytest
from redis.crc import key_slot
from soak.counts import count
from support.store import KINDS
from support.wait import wait_until

from callback_process.tasks import TaskSet
from callback_server.calls.sweeper import Sweeper
from callback_server.domain.activity import Pause, PausedActivities
from callback_server.domain.case import AnswerMode
from callback_server.store import keys
from callback_server.store.connection.errors import StoreError
from callback_server.store.queries.read_pauses import is_paused, read_pauses
from callback_server.store.recording import Recording
from callback_server.store.transitions import change_pauses as change_pauses_module
from callback_server.store.transitions.change_pauses import change_pauses
from callback_server.store.transitions.sync_pauses import sync_pauses

on_each_kind = pytest.mark.parametrize("store", KINDS, indirect=True)


async def pause(cases, activity):
    """Pause an activity."""
    return (await change_pauses(cases.scripts, activity, is_paused=True)).name


async def resume(cases, activity):
    """Resume an activity."""
    await change_pauses(cases.scripts, activity, is_paused=False)


async def listed(cases):
    """Return the activities that the list of the store has."""
    return [*(await read_pauses(cases.scripts)).names]


def copies():
    """Return the keys of the copies of all partitions."""
    return [keys.key(partition, "pauses") for partition in range(keys.PARTITIONS)]


async def held(cases):
    """Return the activities that the copies of all partitions hold back. All copies must agree."""
    found = {tuple(sorted(await cases.client.hkeys(copy))) for copy in copies()}
    (names,) = found
    return [name.decode() for name in names if name]


async def sweep(cases, what):
    """Sweep until all partitions hold back these activities and no others."""
    sweeper = Sweeper(cases.scripts, Recording(), retention_ms=3600, deliveries_due=print, notifications_due=print)

    async def holds():
        with contextlib.suppress(ValueError):
            return await held(cases) == what

    async with TaskSet() as tasks:
        tasks.start(sweeper.run_sweeps())
        await wait_until(holds, what="a sweep")


@on_each_kind
async def test_a_paused_activity_is_held_back_in_every_partition_once_the_change_is_acknowledged(cases):
    assert await held(cases) == await listed(cases) == []
    for activity in ("push", "other", "push"):
        await pause(cases, activity)
    assert await held(cases) == await listed(cases) == ["other", "push"]
    assert await is_paused(cases.scripts, "push")
    await resume(cases, "push")
    assert await held(cases) == await listed(cases) == ["other"]
    assert not await is_paused(cases.scripts, "push")
    await resume(cases, "other")
    assert await held(cases) == []


async def test_a_partition_gets_a_lost_copy_back_with_the_next_sweep(cases):
    await pause(cases, "push")
    for copy in copies()[::3]:
        await cases.client.delete(copy)
    await sweep(cases, ["push"])


@pytest.mark.parametrize("change", [pause, resume])
@pytest.mark.parametrize("store", ["valkey-cluster"], indirect=True)
async def test_a_change_that_failed_half_way_is_listed_and_the_next_sweep_completes_it(cases, plain, change):
    slot = key_slot(keys.tag(7).encode())
    await pause(cases, "other")
    if change is resume:
        await pause(cases, "push")
    await plain.config_set("cluster-require-full-coverage", "no")
    try:
        await plain.execute_command("CLUSTER DELSLOTS", slot)
        with pytest.raises(StoreError) as failed:
            await change(cases, "push")
    finally:
        await plain.execute_command("CLUSTER ADDSLOTS", slot)
        await plain.config_set("cluster-require-full-coverage", "yes")
    assert failed.value.maybe_done
    then = ["other", "push"] if change is pause else ["other"]
    assert await listed(cases) == then
    await sweep(cases, then)


@on_each_kind
async def test_the_last_change_stays_in_whatever_order_changes_reach_a_partition(cases):
    known = [PausedActivities(pauses={"never": Pause()})]
    for change, activity in ((pause, "push"), (pause, "other"), (resume, "push")):
        await change(cases, activity)
        known.append(await read_pauses(cases.scripts))
    for order in itertools.islice(itertools.permutations(known), 0, None, count(4, 1)):
        for copy in copies():
            await cases.client.delete(copy)
        for paused in order:
            await sync_pauses(cases.scripts, paused)
        assert await held(cases) == await listed(cases) == ["other"]


async def test_a_change_counts_though_the_store_has_lost_the_list(cases):
    """A node of a cluster can lose the list in a failover, while the partitions on other nodes keep their copies."""
    await pause(cases, "push")
    await cases.client.delete(keys.PAUSED_KEY)
    await resume(cases, "push")
    assert await held(cases) == []


async def test_an_older_list_does_not_resume_a_paused_activity(cases):
    case = await cases.new(answer_mode=AnswerMode.ACK)
    partition = keys.partition_of(case.id)

    async def take():
        taken, _ = await cases.take(partition)
        return [attempt.grant.activity for attempt in taken]

    await cases.claim(case)
    before = await read_pauses(cases.scripts)
    await pause(cases, "push")
    await sync_pauses(cases.scripts, before)
    assert await take() == []
    await resume(cases, "push")
    assert await take() == ["push"]


async def test_no_more_than_the_maximum_are_paused_at_a_time(cases, limits):
    limits(change_pauses_module, MAX_PAUSED=2)
    assert [await pause(cases, name) for name in ("a", "b", "c", "a")] == ["OK", "OK", "FULL", "OK"]
    await resume(cases, "b")
    assert await pause(cases, "c") == "OK"
