"""What is paused: one set says it, each partition has a copy, and what went wrong in between is mended by a sweep."""

import contextlib
import itertools

import pytest
import redis.asyncio
from redis.crc import key_slot
from store.test_keeping import LEASES, Cases
from support.store import KINDS
from support.wait import wait_until

from callback_process.tasks import TaskSet
from callback_server.calls.sweeper import Sweeper
from callback_server.domain.case import AnswerMode
from callback_server.store import keys
from callback_server.store.connection.client import StoreError, connect
from callback_server.store.retention import Retention
from callback_server.store.transitions.pause_activity import (
    Pauses,
    is_paused,
    pause_activity,
    paused_activities,
    read_pauses,
    resume_activity,
    sync_pauses,
)
from callback_server.store.transitions.take_deliveries import take_deliveries


@pytest.fixture(params=KINDS)
def store(store_of, request):
    return store_of(request.param)


@pytest.fixture
async def cases(store):
    client = connect(store.url)
    yield Cases(client)
    await client.aclose()


def copies():
    """The key of each partition's copy."""
    return [keys.key(partition, "pauses") for partition in range(keys.PARTITIONS)]


async def held(cases):
    """What each partition holds back: one list, if they agree."""
    found = {tuple(sorted(await cases.client.hkeys(copy))) for copy in copies()}
    (names,) = found
    return [name.decode() for name in names if name]


async def sweep(cases, what):
    """Sweeps until all partitions hold that back, and nothing else."""
    async with TaskSet() as tasks:
        tasks.start(Sweeper(cases.scripts, Retention(), lambda _: None).sweep_for_ever())

        async def holds():
            with contextlib.suppress(ValueError):
                return await held(cases) == what

        await wait_until(holds, what="a sweep")


async def test_what_is_paused_is_held_back_everywhere_once_it_is_said(cases):
    assert await held(cases) == await paused_activities(cases.scripts) == []
    for activity in ("push", "other", "push"):
        await pause_activity(cases.scripts, activity)
    assert await held(cases) == await paused_activities(cases.scripts) == ["other", "push"]
    assert await is_paused(cases.scripts, "push")
    await resume_activity(cases.scripts, "push")
    assert await held(cases) == await paused_activities(cases.scripts) == ["other"]
    assert not await is_paused(cases.scripts, "push")
    await resume_activity(cases.scripts, "other")
    assert await held(cases) == []


async def test_what_a_partition_has_lost_it_gets_back_with_the_next_sweep(cases):
    await pause_activity(cases.scripts, "push")
    for copy in copies()[::3]:
        await cases.client.delete(copy)
    await sweep(cases, ["push"])


@pytest.mark.parametrize("change", [pause_activity, resume_activity])
async def test_a_change_that_failed_half_way_is_listed_and_is_done_by_the_next_sweep(store_of, change):
    store = store_of("valkey-cluster")
    slot = key_slot(keys.tag(7).encode())
    async with connect(store.url) as client, redis.asyncio.Redis(port=store.port) as node:
        cases = Cases(client)
        await pause_activity(cases.scripts, "other")
        if change is resume_activity:
            await pause_activity(cases.scripts, "push")
        await node.config_set("cluster-require-full-coverage", "no")
        try:
            await node.execute_command("CLUSTER DELSLOTS", slot)
            with pytest.raises(StoreError) as failed:
                await change(cases.scripts, "push")
        finally:
            await node.execute_command("CLUSTER ADDSLOTS", slot)
            await node.config_set("cluster-require-full-coverage", "yes")
        assert failed.value.maybe_done
        then = ["other", "push"] if change is pause_activity else ["other"]
        assert await paused_activities(cases.scripts) == then
        await sweep(cases, then)


async def test_in_whatever_order_changes_reach_a_partition_the_last_one_stays(cases):
    known = [Pauses(activities=(b"never",))]
    for change, activity in ((pause_activity, "push"), (pause_activity, "other"), (resume_activity, "push")):
        await change(cases.scripts, activity)
        known.append(await read_pauses(cases.scripts))
    for order in itertools.permutations(known):
        for copy in copies():
            await cases.client.delete(copy)
        for pauses in order:
            await sync_pauses(cases.scripts, pauses)
        assert await held(cases) == await paused_activities(cases.scripts) == ["other"]


async def test_a_change_counts_though_the_store_has_lost_the_one_before(cases):
    """As a node of a cluster that a replica took over from: partitions elsewhere know of more than the list."""
    await pause_activity(cases.scripts, "push")
    await cases.client.delete(keys.PAUSED_KEY)
    await cases.client.delete(keys.PAUSES_KEY)
    await resume_activity(cases.scripts, "push")
    assert await held(cases) == []


async def test_what_the_release_before_has_paused_or_resumed_is_brought_by_a_sweep(cases):
    await cases.client.sadd(keys.PAUSED_KEY, "push", "other")
    await sweep(cases, ["other", "push"])
    await cases.client.srem(keys.PAUSED_KEY, "push", "other")
    await sweep(cases, [])


async def test_the_release_before_finds_what_is_paused(cases):
    await pause_activity(cases.scripts, "push")
    await pause_activity(cases.scripts, "other")
    await resume_activity(cases.scripts, "push")
    assert await cases.client.smembers("cb:paused") == {b"other"}


async def test_a_delivery_of_what_is_paused_is_not_taken_by_whoever_has_an_older_list(cases):
    case = await cases.new(answer=AnswerMode.ACK)
    partition = keys.partition_of(case.id)

    async def take():
        taken, _ = await take_deliveries(
            cases.scripts, partition, limit=1, turn=0, leases=LEASES, retention=Retention()
        )
        return [attempt.grant.activity for attempt in taken]

    await cases.claim(case)
    before = await read_pauses(cases.scripts)
    await pause_activity(cases.scripts, "push")
    await sync_pauses(cases.scripts, before)
    assert await take() == []
    await resume_activity(cases.scripts, "push")
    assert await take() == ["push"]
