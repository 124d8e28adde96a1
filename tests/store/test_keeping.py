"""Retention of ended calls. A repeated message is recognized although its call is no longer kept."""

import asyncio
import re
import time
from pathlib import Path

import pytest
import redis.asyncio
from support.store import KINDS
from support.wait import wait_until

from callback_process.tasks import TaskSet
from callback_server.calls.sweeper import Sweeper
from callback_server.domain import ids
from callback_server.domain.activity import Activity
from callback_server.domain.call import CallStatus, Grant, Outcome, Request
from callback_server.domain.case import AnswerMode, CallMode, CaseStatus, NewCase, Settings
from callback_server.domain.response import Response, ResponseType
from callback_server.store import keys, scripts
from callback_server.store.connection.client import connect
from callback_server.store.connection.errors import StoreError, store_errors
from callback_server.store.queries.list_cases import list_cases
from callback_server.store.queries.read import list_calls, read_call, read_case
from callback_server.store.recording import Recording
from callback_server.store.scripts import Scripts
from callback_server.store.transitions import apply_retention
from callback_server.store.transitions.claim_call import UNVERIFIED, EarlierCall, Leases, Verification, claim_call
from callback_server.store.transitions.close_case import close_case
from callback_server.store.transitions.create_case import create_case
from callback_server.store.transitions.erase_calls import erase_calls
from callback_server.store.transitions.finish_call import FinishResult, finish_call
from callback_server.store.transitions.open_epoch import EpochGuard

LEASES = Leases({"push": Activity("push")})
DONE = Outcome(CallStatus.SUCCEEDED, Response(type=ResponseType.RESPONSE, code=200, headers=(), body=b""))


class Cases:
    """Cases on one store."""

    def __init__(self, client, *, replicas=0, epochs=None):
        self.client = client
        self.due = []
        guard = None if epochs is None else EpochGuard(epochs, replicas=replicas)
        self.scripts = Scripts(client, self.due.append, replicas=replicas, epochs=epochs, guard=guard)

    async def new(
        self,
        activity="push",
        mode=CallMode.MULTIPLE,
        time_to_live_ms=None,
        *,
        answer_mode=AnswerMode.HANDLER,
        settings=Settings(),  # noqa: B008  # frozen
        notify=(),
        partition=None,
    ):
        sha = ids.state_hash(ids.new_state())
        while partition not in (None, keys.partition_of(ids.case_id_of(sha))):
            sha = ids.state_hash(ids.new_state())
        case = NewCase(
            id=ids.case_id_of(sha), state_sha256=sha, fingerprint=b"f" * 32, owner="shop", activity=activity, mode=mode,
            state_query_parameter="", time_to_live_ms=time_to_live_ms, settings=settings, notify=notify,
            response=Response(type=ResponseType.RESPONSE), answer_mode=answer_mode,
        )  # fmt: skip
        await create_case(self.scripts, case)
        return case

    async def claim(self, case, call_id=None, *, body=b"", recording=Recording(), verification=UNVERIFIED):  # noqa: B008  # frozen
        return await claim_call(
            self.scripts, call_id=call_id or ids.new_call_id(case.id), state_sha256=case.state_sha256, parameter="",
            request=Request("post", body=body), leases=LEASES, recording=recording, platform_url=None,
            verification=verification,
        )  # fmt: skip

    async def finish(self, call_id, *, recording=Recording()):  # noqa: B008  # frozen
        return await finish_call(self.scripts, call_id=call_id, outcome=DONE, recording=recording)


@pytest.fixture(params=["valkey", "valkey-cluster"])
async def cases(store_of, request):
    client = connect(store_of(request.param).url)
    yield Cases(client)
    await client.aclose()


async def test_running_calls_do_not_count_among_the_recorded_bytes(cases):
    case, small = await cases.new(), Recording(bytes_per_case=10_000)
    running = [(await cases.claim(case, body=b"x" * 1000, recording=small)).call_id for _ in range(18)]
    for call_id in running[:3]:
        assert await cases.finish(call_id, recording=small) == FinishResult(None)
        assert (await read_call(cases.scripts, call_id)).status is CallStatus.SUCCEEDED


async def test_ended_calls_are_kept_within_the_limit_of_bytes(cases):
    case, small = await cases.new(), Recording(bytes_per_case=3500)
    for _ in range(6):
        call_id = (await cases.claim(case, body=b"x" * 1000, recording=small)).call_id
        await cases.finish(call_id, recording=small)
    kept, _ = await list_calls(cases.scripts, case.id, before=None, limit=100)
    assert [call.attempt for call in kept] == [6, 5, 4]


async def test_an_end_sent_again_gets_the_same_result_after_its_call_was_deleted(cases):
    case, one = await cases.new(), Recording(calls_per_case=1)
    first = (await cases.claim(case, recording=one)).call_id
    assert await cases.finish(first, recording=one) == FinishResult(None)
    second = (await cases.claim(case, recording=one)).call_id
    assert await cases.finish(second, recording=one) == FinishResult(None)
    assert await read_call(cases.scripts, first) is None
    assert await cases.finish(first, recording=one) == FinishResult(None, again=True)


async def test_a_recorded_call_sent_again_is_not_made_twice_after_it_was_deleted(cases):
    case, one = await cases.new("record"), Recording(calls_per_case=1)
    first = await cases.claim(case, recording=one)
    await cases.claim(case, recording=one)
    assert await cases.claim(case, first.call_id, recording=one) == first
    assert (await read_case(cases.scripts, case.id)).call_count == 2


async def test_a_recorded_call_of_a_single_use_case_gets_its_answer_again_though_no_call_is_kept(cases):
    case, nothing = await cases.new("record", CallMode.SINGLE), Recording(bytes_per_case=0)
    first = await cases.claim(case, recording=nothing)
    assert isinstance(first, Grant)
    assert await cases.claim(case, first.call_id, recording=nothing) == first


def test_a_connection_that_uvloop_finds_closed_counts_as_an_unreachable_store():
    with pytest.raises(StoreError) as caught, store_errors():
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")
    assert caught.value.maybe_done


async def test_more_callers_than_connections_all_get_an_answer(cases):
    made = [await cases.new() for _ in range(200)]
    grants = await asyncio.gather(*(cases.claim(case) for case in made))
    assert all(isinstance(grant, Grant) for grant in grants)


async def test_many_lists_at_once_all_get_an_answer(cases):
    await cases.new()
    listed = await asyncio.gather(
        *(
            list_cases(cases.scripts, owner="shop", activities=[], status=None, labels={}, after=None, limit=50)
            for _ in range(10)
        )
    )
    assert all(len(page) == 1 for page, _ in listed)


async def test_a_broken_case_does_not_block_the_timeouts_of_others(store_of):
    store = store_of()
    client = connect(store.url)
    cases = Cases(client)
    made = [await cases.new(time_to_live_ms=1) for _ in range(200)]
    await cases.new()
    async with redis.asyncio.Redis(port=store.port) as plain:
        for partition in range(keys.PARTITIONS):
            await plain.zadd(keys.key(partition, "expiries"), {"f" * 32: 1})
            await plain.zadd(keys.key(partition, "leases"), {f"{'f' * 32}-{'0' * 16}": 1})
        await plain.set(keys.key(0, "closed"), "not a sorted set")  # an error that no script can repair
        lost = ids.new_call_id(made[0].id)  # listed as ended: without its call, or without its case
        stray = f"{'f' * 32}-{'0' * 16}"
        for call_id in (lost, stray):
            partition = keys.partition_of(ids.case_id_of_call(call_id))
            await plain.zadd(keys.key(partition, "ended"), {call_id: 1})
        await plain.hset(keys.key(keys.partition_of("f" * 32), "call", stray), "size", 1)
        sweeper = Sweeper(
            cases.scripts, Recording(), retention_ms=-60_000, deliveries_due=print, notifications_due=print
        )
        in_other_partitions = [case for case in made if keys.partition_of(case.id) != 0]

        async def closed():
            found = [await read_case(cases.scripts, case.id) for case in in_other_partitions]
            return all(case is None or case.status is CaseStatus.CLOSED for case in found)

        async def dropped():
            return not any([await read_case(cases.scripts, case.id) for case in in_other_partitions])

        async with TaskSet() as tasks:
            tasks.start(sweeper.run_sweeps())
            await wait_until(closed, what="all closed")
            tasks.start(sweeper.run_retention())
            await wait_until(dropped, what="all deleted")
    await client.aclose()


async def test_cases_that_wait_for_a_delivery_do_not_block_the_retention_of_others(cases, monkeypatch):
    monkeypatch.setattr(apply_retention, "LIMIT", 1)
    waits = await cases.new("push", CallMode.SINGLE, answer_mode=AnswerMode.ACK)
    await cases.claim(waits)
    partition = keys.partition_of(waits.id)
    other = await cases.new("record", CallMode.SINGLE, partition=partition)
    await cases.claim(other)

    async def dropped():
        await apply_retention.apply_retention(cases.scripts, partition, retention_ms=1)
        return await read_case(cases.scripts, other.id) is None

    await wait_until(dropped, what="the other one dropped")
    assert await read_case(cases.scripts, waits.id) is not None


@pytest.mark.parametrize("cases", KINDS, indirect=True)
async def test_an_erased_call_is_deleted(cases):
    """Its size is 0, and Redis 7.0 does not accept the negative of that as an integer."""
    case = await cases.new()
    for _ in range(2):  # the second one is empty too: it ends after its erasure
        call_id = (await cases.claim(case, body=b"recorded")).call_id
        assert await erase_calls(cases.scripts, case.id, owner=None, erasure="one", before=None) is not None
        await cases.finish(call_id)
    await close_case(cases.scripts, case.id, owner=None, recording=Recording())
    dropped = await apply_retention.apply_retention(cases.scripts, keys.partition_of(case.id), retention_ms=-60_000)
    assert (dropped.calls, dropped.cases) == (2, 1)


@pytest.mark.parametrize("cases", KINDS, indirect=True)
async def test_an_erased_call_makes_room_for_a_newer_one(cases):
    case, one = await cases.new(), Recording(calls_per_case=1)
    erased = (await cases.claim(case, body=b"recorded")).call_id
    await cases.finish(erased)
    assert await erase_calls(cases.scripts, case.id, owner=None, erasure="one", before=None) is not None
    newer = (await cases.claim(case, recording=one)).call_id
    await cases.finish(newer, recording=one)
    assert await read_call(cases.scripts, erased) is None
    assert await read_call(cases.scripts, newer) is not None


LUA = sorted((Path(scripts.__file__).parent / "lua").rglob("*.lua"))


@pytest.mark.parametrize("source", LUA, ids=lambda path: path.stem)
def test_no_script_gives_a_negated_value_to_the_store(source):
    """The negative of 0 is -0, which Redis 7.0 does not accept as an integer."""
    assert re.findall(r"[(,=] *-[a-z(#].*", re.sub("--.*", "", source.read_text())) == []


async def test_a_closed_case_is_due_with_the_last_of_its_calls(cases):
    case = await cases.new()
    running = (await cases.claim(case)).call_id
    await close_case(cases.scripts, case.id, owner=None, recording=Recording())
    partition = keys.partition_of(case.id)
    closed = await cases.client.zscore(keys.key(partition, "closed"), case.id)

    await wait_until(lambda: time.time() * 1000 > closed + 5, what="a later time")
    await cases.finish(running)
    due = await cases.client.zscore(keys.key(partition, "closed"), case.id)
    assert due == await cases.client.zscore(keys.key(partition, "ended"), running) > closed


async def test_a_message_is_known_for_its_window_after_its_call_was_deleted(cases):
    case, day_ms = await cases.new(), 24 * 3600 * 1000
    one = Recording(calls_per_case=1)
    granted = await cases.claim(case, recording=one, verification=Verification("", "a" * 64, day_ms))
    await cases.finish(granted.call_id, recording=one)
    later = await cases.claim(case, recording=one)
    await cases.finish(later.call_id, recording=one)
    assert await read_call(cases.scripts, granted.call_id) is None
    left_ms = await cases.client.pttl(keys.key(keys.partition_of(case.id), "call", granted.call_id))
    assert day_ms - 60_000 < left_ms <= day_ms
    again = await cases.claim(case, recording=one, verification=Verification("", "a" * 64, day_ms))
    assert isinstance(again, EarlierCall)
    assert again.call_id == granted.call_id
