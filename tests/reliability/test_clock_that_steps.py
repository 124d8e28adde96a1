"""A store's clock that steps back: leases, retries and expiries go on, and no time that is stored runs back."""

import pytest
from prometheus_client import REGISTRY
from support.cases import Cases
from support.clock import ClockedStore
from support.wait import wait_until

from callback_process.findings import Level
from callback_process.tasks import TaskSet
from callback_server.calls import sweeper
from callback_server.domain.activity import Leases
from callback_server.domain.call import CallStatus, DeliveryStatus
from callback_server.domain.case import AnswerMode, CallMode, CaseStatus
from callback_server.domain.verification import Verification
from callback_server.operations import doctor
from callback_server.settings import ServerSettings
from callback_server.store import keys
from callback_server.store.connection.client import connect
from callback_server.store.queries.find_slots import find_slots
from callback_server.store.queries.list_cases import list_cases
from callback_server.store.queries.read import read_call, read_case
from callback_server.store.queries.read_events import decode_event
from callback_server.store.recording import Recording
from callback_server.store.transitions import announce_slots as announcing
from callback_server.store.transitions.announce_slots import announce_slots
from callback_server.store.transitions.claim_call import EarlierCallEnded
from callback_server.store.transitions.sweep_partition import sweep_partition
from callback_server.store.transitions.take_deliveries import take_deliveries

HOUR_S = 3600


@pytest.fixture
async def cases(tmp_path):
    """A store whose clock is an hour ahead, as `Cases` with `store`."""
    store = ClockedStore(tmp_path)
    store.set_clock(HOUR_S)
    store.start()
    async with connect(store.url) as client:
        made = Cases(client)
        made.store = store
        yield made
    store.stop()


async def swept(cases, case):
    """Sweep the partition of a case, and return what the sweep found."""
    return await sweep_partition(cases.scripts, keys.partition_of(case.id), recording=Recording())


@pytest.mark.parametrize("step_s", [0.5, HOUR_S, 1000 * HOUR_S])
async def test_leases_end_cases_expire_and_retries_run_in_their_time(cases, step_s):
    leases = cases.leases = Leases({}, default_ms=1000)
    single = await cases.new(mode=CallMode.SINGLE)
    granted = await cases.claim(single)
    expires = await cases.new(time_to_live_ms=1000)
    acknowledged = await cases.new(answer_mode=AnswerMode.ACK)
    delivered = await cases.claim(acknowledged)
    partition = keys.partition_of(acknowledged.id)
    await take_deliveries(cases.scripts, partition, limit=1, turn=0, leases=leases, recording=Recording())

    cases.store.set_clock(HOUR_S - step_s)

    async def is_over():
        for case in (single, expires):
            await swept(cases, case)
        return (await read_call(cases.scripts, granted.call_id)).status is CallStatus.INTERRUPTED and (
            await read_case(cases.scripts, expires.id)
        ).status is CaseStatus.CLOSED

    async def is_retried():
        await swept(cases, acknowledged)
        taken, _ = await take_deliveries(
            cases.scripts, partition, limit=1, turn=0, leases=leases, recording=Recording()
        )
        return [attempt.fencing_token for attempt in taken] == [2]

    await wait_until(is_over, what="the end of a lease and an expiry")
    await wait_until(is_retried, what="another attempt")
    assert (await read_call(cases.scripts, delivered.call_id)).delivery.status is DeliveryStatus.RUNNING


async def test_stored_times_never_run_back_and_the_clock_is_followed_again_once_it_is_right(cases):
    partition, times, made = 7, [], []
    for ahead_s in (HOUR_S, 0, -HOUR_S, -2 * HOUR_S, HOUR_S / 2, 2 * HOUR_S, 2 * HOUR_S):
        cases.store.set_clock(ahead_s)
        for _ in range(3):
            made.append(await cases.new(partition=partition))
            behind = (await swept(cases, made[-1])).behind_ms
    assert behind == 0
    cases.store.stop_clock()
    made += [await cases.new(partition=partition) for _ in range(5)]
    events = await cases.client.xrange(keys.key(partition, "events"))
    times = [decode_event(fields[b"event"]).time_ms for _, fields in events]
    assert times == sorted(times)
    created = [int(await cases.client.hget(keys.key(7, "case", case.id), "created")) for case in made]
    assert created == sorted(set(created))  # also while the clock is behind, or stands still
    found, after = [], None
    while len(found) < len(made):
        page, after = await list_cases(
            cases.scripts, owner="shop", activities=(), status=None, labels={}, after=after, limit=1
        )
        found += page
    assert found == [case.id for case in made[::-1]]


async def test_the_window_of_a_repeat_ends_by_the_time_of_the_partition_although_the_clock_is_put_right(cases):
    case = await cases.new(activity="record")
    cases.store.set_clock(0)
    short, long = (Verification("", letter * 64, window_ms) for letter, window_ms in (("a", 100), ("b", 600_000)))
    first, kept = [await cases.claim(case, verification=each) for each in (short, long)]

    async def is_forgotten():
        return (await cases.claim(case, verification=short)).call_id != first.call_id

    await wait_until(is_forgotten, what="the end of the short window, while the clock is behind")
    cases.store.set_clock(HOUR_S)
    again = await cases.claim(case, verification=long)
    assert isinstance(again, EarlierCallEnded)
    assert again.call_id == kept.call_id
    assert again.answer is not None


async def test_announcements_of_workers_from_before_the_step_do_not_count(cases, limits):
    limits(announcing, VALID_MS=50_000)  # a busy machine can take longer than 3 s to read them
    await announce_slots(cases.scripts, "replica", {"act": 1})
    assert await find_slots(cases.scripts)
    cases.store.set_clock(0)
    assert not await find_slots(cases.scripts)
    await announce_slots(cases.scripts, "replica", {"act": 1})
    assert await find_slots(cases.scripts)


async def test_metrics_and_doctor_show_the_skew_and_the_step(cases, limits):
    limits(sweeper, SWEEP_INTERVAL_S=0.01)
    await cases.new()
    cases.store.set_clock(60)

    def are_shown():
        skew, behind = (
            REGISTRY.get_sample_value(f"callback_store_clock_{name}_seconds") for name in ("skew", "behind")
        )
        return 50 < skew < 70 and HOUR_S - 120 < behind <= HOUR_S

    async with TaskSet() as tasks:
        tasks.start(
            sweeper.Sweeper(
                cases.scripts, Recording(), retention_ms=1000, deliveries_due=print, notifications_due=print
            ).run_sweeps()
        )
        await wait_until(are_shown, what="both in the metrics")
    found = {finding.check: finding async for finding in doctor.check_store(ServerSettings(store_url=cases.store.url))}
    assert found["store clock"].level is Level.WARNING
    assert found["store time"].level is Level.WARNING
    assert "has stepped back" in found["store time"].seen
    cases.store.set_clock(2 * HOUR_S)
    found = {finding.check: finding async for finding in doctor.check_store(ServerSettings(store_url=cases.store.url))}
    assert found["store time"].level is Level.OK
