"""Retention of ended calls. A repeated message is recognized although its call is no longer kept."""

import asyncio
import re
import time
from pathlib import Path

import pytest
from support.wait import wait_until

from callback_process.tasks import TaskSet
from callback_server.calls import sweeper as sweeper_module
from callback_server.calls.sweeper import Sweeper
from callback_server.domain import ids
from callback_server.domain.call import CallStatus, Grant
from callback_server.domain.case import AnswerMode, CallMode, CaseStatus
from callback_server.domain.verification import Verification
from callback_server.store import keys, scripts
from callback_server.store.connection.errors import StoreError, store_errors
from callback_server.store.queries.list_cases import list_cases
from callback_server.store.queries.read import list_calls, read_call, read_case
from callback_server.store.recording import Recording
from callback_server.store.transitions import apply_retention
from callback_server.store.transitions.claim_call import EarlierCallEnded

DAY_MS = 24 * 3600 * 1000
ONE = Recording(calls_per_case=1)


async def test_only_ended_calls_count_among_the_recorded_bytes_and_are_kept_within_their_limit(cases):
    case, small = await cases.new(), Recording(bytes_per_case=3500)
    running = [(await cases.claim(case, body=b"x" * 1000, recording=small)).call_id for _ in range(6)]
    for call_id in running:
        await cases.finish(call_id, recording=small)
        assert (await read_call(cases.scripts, call_id)).status is CallStatus.SUCCEEDED
    kept, _ = await list_calls(cases.scripts, case.id, before=None, limit=100)
    assert [call.call_number for call in kept] == [6, 5, 4]


@pytest.mark.parametrize("store", ["valkey", "valkey-cluster"], indirect=True)
async def test_a_recorded_call_of_a_single_use_case_gets_its_answer_again_though_no_call_is_kept(cases):
    case, nothing = await cases.new("record", CallMode.SINGLE), Recording(bytes_per_case=0)
    first = await cases.claim(case, recording=nothing)
    assert isinstance(first, Grant)
    assert await cases.claim(case, first.call_id, recording=nothing) == first
    assert (await read_case(cases.scripts, case.id)).call_count == 1


def test_a_connection_that_uvloop_finds_closed_counts_as_an_unreachable_store():
    with pytest.raises(StoreError) as caught, store_errors():
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")
    assert caught.value.maybe_done


@pytest.mark.parametrize("store", ["valkey", "valkey-cluster"], indirect=True)
async def test_many_lists_at_once_all_get_an_answer(cases):
    await cases.new()
    listing = {"owner": "shop", "activities": [], "status": None, "labels": {}, "after": None, "limit": 50}
    listed = await asyncio.gather(*(list_cases(cases.scripts, **listing) for _ in range(10)))
    assert all(len(page) == 1 for page, _ in listed)


async def test_a_broken_case_does_not_block_the_timeouts_of_others(cases, plain):
    made = [await cases.new(time_to_live_ms=1) for _ in range(200)]
    for partition in range(keys.PARTITIONS):
        await plain.zadd(keys.key(partition, "expiries"), {"f" * 32: 1})
        await plain.zadd(keys.key(partition, "leases"), {f"{'f' * 32}-{'0' * 16}": 1})
    await plain.set(keys.key(0, "closed"), "not a sorted set")  # an error that no script can repair
    stray = f"{'f' * 32}-{'0' * 16}"
    for call_id in (ids.new_call_id(made[0].id), stray):  # listed as ended: without its call, or without its case
        await plain.zadd(keys.key(keys.partition_of(call_id), "ended"), {call_id: 1})
    await plain.hset(keys.key(keys.partition_of(stray), "call", stray), "size", 1)
    sweeper = Sweeper(cases.scripts, Recording(), retention_ms=-60_000, deliveries_due=print, notifications_due=print)

    async def found():
        return [await read_case(cases.scripts, case.id) for case in made if keys.partition_of(case.id) != 0]

    async def closed():
        return all(case is None or case.status is CaseStatus.CLOSED for case in await found())

    async def dropped():
        return not any(await found())

    async with TaskSet() as tasks:
        tasks.start(sweeper.run_sweeps())
        await wait_until(closed, what="all closed")
        tasks.start(sweeper.run_retention())
        await wait_until(dropped, what="all deleted")


async def test_a_sweeper_that_is_woken_sweeps_without_waiting_for_its_interval(cases, limits):
    limits(sweeper_module, SWEEP_INTERVAL_S=3600)
    sweeper = Sweeper(cases.scripts, Recording(), retention_ms=60_000, deliveries_due=print, notifications_due=print)

    async def closed(case):
        return (await read_case(cases.scripts, case.id)).status is CaseStatus.CLOSED

    first = await cases.new(partition=0, time_to_live_ms=1)
    async with TaskSet() as tasks:
        tasks.start(sweeper.run_sweeps())
        await wait_until(lambda: closed(first), what="the first sweep")
        second = await cases.new(partition=0, time_to_live_ms=1)

        async def closed_by_another_sweep():
            sweeper.wake()
            return await closed(second)

        await wait_until(closed_by_another_sweep, what="another sweep")


async def test_cases_that_wait_for_a_delivery_do_not_block_the_retention_of_others(cases, limits):
    limits(apply_retention, LIMIT=1)
    waits = await cases.new("push", CallMode.SINGLE, answer_mode=AnswerMode.ACK)
    await cases.claim(waits)
    partition = keys.partition_of(waits.id)
    other = await cases.new("record", CallMode.SINGLE, partition=partition)
    await cases.claim(other)

    async def dropped():
        await cases.retain(partition, retention_ms=1)
        return await read_case(cases.scripts, other.id) is None

    await wait_until(dropped, what="the other one dropped")
    assert await read_case(cases.scripts, waits.id) is not None


LUA = sorted((Path(scripts.__file__).parent / "lua").rglob("*.lua"))


def test_no_script_gives_a_negated_value_to_the_store():
    """The negative of 0 is -0, which Redis 7.0 does not accept as an integer."""
    for source in LUA:
        assert re.findall(r"[(,=] *-[a-z(#].*", re.sub("--.*", "", source.read_text())) == [], source


async def test_a_closed_case_is_due_with_the_last_of_its_calls(cases):
    case = await cases.new()
    running = (await cases.claim(case)).call_id
    await cases.close(case.id)
    partition = keys.partition_of(case.id)
    closed = await cases.client.zscore(keys.key(partition, "closed"), case.id)

    await wait_until(lambda: time.time() * 1000 > closed + 5, what="a later time")
    await cases.finish(running)
    due = await cases.client.zscore(keys.key(partition, "closed"), case.id)
    assert due == await cases.client.zscore(keys.key(partition, "ended"), running) > closed


async def test_a_message_is_known_for_its_window_after_its_call_was_deleted(cases):
    case, message = await cases.new(), Verification("", "a" * 64, DAY_MS)
    granted = await cases.claim(case, recording=ONE, verification=message)
    await cases.finish(granted.call_id, recording=ONE)
    later = await cases.claim(case, recording=ONE)
    await cases.finish(later.call_id, recording=ONE)
    assert await read_call(cases.scripts, granted.call_id) is None
    left_ms = await cases.client.pttl(keys.key(keys.partition_of(case.id), "call", granted.call_id))
    assert DAY_MS - 600_000 < left_ms <= DAY_MS
    again = await cases.claim(case, recording=ONE, verification=message)
    assert isinstance(again, EarlierCallEnded)
    assert again.call_id == granted.call_id


async def test_an_end_looks_at_few_of_the_calls_before_it_however_many_are_unfinished(cases, plain):
    case = await cases.new()
    oldest = [(await cases.claim(case)).call_id for _ in range(3)]
    partition = keys.partition_of(case.id)
    unfinished = {ids.new_call_id(case.id): number for number in range(4, 3004)}
    await plain.zadd(keys.key(partition, "calls", case.id), unfinished)
    await plain.hset(keys.key(partition, "case", case.id), mapping={"call_count": 3003, "unfinished": 3003})

    async def end(call_id, recording=ONE):
        """End a call. Return at how many calls the store looked."""
        before = (await plain.info("commandstats")).get("cmdstat_zscore", {"calls": 0})["calls"]
        await cases.finish(call_id, recording=recording)
        return (await plain.info("commandstats"))["cmdstat_zscore"]["calls"] - before

    async def kept():
        calls = [await read_call(cases.scripts, call_id) for call_id in [*oldest, *newer]]
        return [call.call_number for call in calls if call and call.status is CallStatus.SUCCEEDED]

    newer = [(await cases.claim(case)).call_id for _ in range(15)]
    for call_id in newer:
        assert await end(call_id) < 300
    assert await kept() == [3018]  # the limit holds again once the search has come to the ended calls

    assert await end(oldest[1]) < 100
    assert await kept() == [3018]  # an earlier call is the oldest, and the search does not go back
    assert await end(oldest[0], Recording(calls_per_case=2)) < 100
    assert await kept() == [1, 3018]
    newer += [(await cases.claim(case)).call_id for _ in range(15)]
    for call_id in newer[-15:]:
        assert await end(call_id, Recording(calls_per_case=2)) < 300
    assert await kept() == [3032, 3033]
