"""Paused activities: one key lists them, each partition has a copy, and a sweep repairs a copy that is wrong."""

import contextlib
import itertools

import pytest
import redis.asyncio
from redis.crc import key_slot
from soak.counts import count
from store.test_keeping import LEASES, Cases
from support.store import KINDS
from support.wait import wait_until

from callback_process.tasks import TaskSet
from callback_server.calls.sweeper import Sweeper
from callback_server.domain.activity import Pause, PausedActivities
from callback_server.domain.case import AnswerMode
from callback_server.store import keys
from callback_server.store.connection.client import connect
from callback_server.store.connection.errors import StoreError
from callback_server.store.queries.read_pauses import is_paused, read_pauses
from callback_server.store.recording import Recording
from callback_server.store.transitions import change_pauses as change_pauses_module
from callback_server.store.transitions.change_pauses import change_pauses
from callback_server.store.transitions.sync_pauses import sync_pauses
from callback_server.store.transitions.take_deliveries import take_deliveries


async def pause(cases, *activities):
    """Pause activities."""
    for activity in activities:
        await change_pauses(cases.scripts, activity, is_paused=True)


async def resume(cases, *activities):
    """Resume activities."""
    for activity in activities:
        await change_pauses(cases.scripts, activity, is_paused=False)


async def listed(cases):
    """Return the activities that the list of the store has."""
    return [*(await read_pauses(cases.scripts)).names]


@pytest.fixture(params=KINDS)
def store(store_of, request):
    return store_of(request.param)


@pytest.fixture
async def cases(store):
    client = connect(store.url)
    yield Cases(client)
    await client.aclose()


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
    async with TaskSet() as tasks:
        tasks.start(
            Sweeper(
                cases.scripts, Recording(), retention_ms=3_600_000, deliveries_due=print, notifications_due=print
            ).run_sweeps()
        )

        async def holds():
            with contextlib.suppress(ValueError):
                return await held(cases) == what

        await wait_until(holds, what="a sweep")


async def test_a_paused_activity_is_held_back_in_every_partition_once_the_change_is_acknowledged(cases):
    assert await held(cases) == await listed(cases) == []
    await pause(cases, "push", "other", "push")
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
async def test_a_change_that_failed_half_way_is_listed_and_the_next_sweep_completes_it(store_of, change):
    store = store_of("valkey-cluster")
    slot = key_slot(keys.tag(7).encode())
    async with connect(store.url) as client, redis.asyncio.Redis(port=store.port) as node:
        cases = Cases(client)
        await pause(cases, "other")
        if change is resume:
            await pause(cases, "push")
        await node.config_set("cluster-require-full-coverage", "no")
        try:
            await node.execute_command("CLUSTER DELSLOTS", slot)
            with pytest.raises(StoreError) as failed:
                await change(cases, "push")
        finally:
            await node.execute_command("CLUSTER ADDSLOTS", slot)
            await node.config_set("cluster-require-full-coverage", "yes")
        assert failed.value.maybe_done
        then = ["other", "push"] if change is pause else ["other"]
        assert await listed(cases) == then
        await sweep(cases, then)


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
        taken, _ = await take_deliveries(
            cases.scripts, partition, limit=1, turn=0, leases=LEASES, recording=Recording()
        )
        return [attempt.grant.activity for attempt in taken]

    await cases.claim(case)
    before = await read_pauses(cases.scripts)
    await pause(cases, "push")
    await sync_pauses(cases.scripts, before)
    assert await take() == []
    await resume(cases, "push")
    assert await take() == ["push"]


async def test_no_more_than_the_maximum_are_paused_at_a_time(cases, monkeypatch):
    monkeypatch.setattr(change_pauses_module, "MAX_PAUSED", 2)
    scripts = cases.scripts
    paused = [await change_pauses(scripts, name, is_paused=True) for name in ("a", "b", "c", "a")]
    await resume(cases, "b")
    results = [*paused, await change_pauses(scripts, "c", is_paused=True)]
    assert [each.name for each in results] == ["OK", "OK", "FULL", "OK", "OK"]
    await resume(cases, "a", "c")
