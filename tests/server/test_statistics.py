"""What administrators are told: what all servers have done by minute, what waits, and what a server finds of itself."""

import asyncio
import time
from collections import Counter

import pytest
from support.services import refusal, running_services
from support.store import KINDS, free_port
from support.wait import wait_until

from callback.v1 import callback_pb2 as pb
from callback.v1 import edge_service_pb2 as edge
from callback.v1 import operations_service_pb2 as operations
from callback_process.durations import SECONDS
from callback_process.findings import Finding
from callback_server import metrics
from callback_server.calls import call_statistics
from callback_server.calls.call_statistics import StatisticsRecorder, quantile
from callback_server.calls.waiting import BROWSER_AFTER_MS
from callback_server.domain.activity import DEFAULT_DEADLINE_MS
from callback_server.operations import doctor
from callback_server.operations.self_check import SelfCheck
from callback_server.settings import ActivitySettings, ServerSettings
from callback_server.store import keys
from callback_server.store.transitions.write_statistics import write_statistics


async def generate(services, activity="record", **fields):
    return await services.generate(activity, allow_multiple_calls=True, **fields)


async def statistics(services):
    return await services.operations.GetStatistics(operations.GetStatisticsRequest())


def outcomes(found):
    """Return the numbers of calls in all minutes, by status."""
    counts = Counter()
    for minute in found.minutes:
        for each in minute.outcomes:
            counts[pb.CallStatus.Name(each.call_status)] += each.count
    return counts


@pytest.mark.parametrize("kind", KINDS)
async def test_calls_of_all_servers_are_counted_by_outcome_and_stage_also_after_a_restart(store_of, kind):
    async with running_services(store_of(kind)) as services:
        recorder = services.control_plane.statistics
        made = await generate(services)
        for number in range(3):
            await services.call(made, body=b"%d" % number)
        await refusal(services.edge.Invoke(edge.InvokeRequest(state="wrong", request_method="post")))
        assert outcomes(await statistics(services)) == {}
        await recorder.write()
        await recorder.write()  # it stores the same again
        found = await statistics(services)
        assert len(found.minutes) == call_statistics.MINUTES
        *before, present = [each.duration.seconds for each in found.minutes]
        assert ({*before}, present < 60) == ({60}, True)
        assert outcomes(found) == {"CALL_STATUS_SUCCEEDED": 3}
        [refused] = [each for minute in found.minutes for each in minute.refusals]
        assert (refused.reason, refused.count) == ("STATE_UNKNOWN", 1)
        [claim] = found.stages
        assert (claim.stage, claim.count) == ("claim", 3)
        assert 0 < claim.median.ToNanoseconds() <= claim.p95.ToNanoseconds() <= claim.p99.ToNanoseconds()

        scripts, now = services.control_plane.scripts, call_statistics.minute_now()
        await write_statistics(
            scripts, "other", minute=now, counts={"call:SUCCEEDED:": 2, "call:FAILED:HANDLER_LOST": 1}
        )
        await write_statistics(scripts, "other", minute=now - 70, counts={"call:SUCCEEDED:": 100})
        again = StatisticsRecorder(scripts, replica="restarted", owners=local, count_unserved=lambda: none())
        await services.call(made, method="get")
        await again.write()
        assert outcomes(await statistics(services)) == {"CALL_STATUS_SUCCEEDED": 6, "CALL_STATUS_FAILED": 1}


async def test_calls_have_copies_of_a_body_until_no_server_of_the_release_before_has_run_for_minutes(store_of, limits):
    first = call_statistics.minute_now()
    limits(call_statistics, CLOCK=lambda: first * 60)
    async with running_services(store_of()) as services:
        scripts, recorder = services.control_plane.scripts, services.control_plane.statistics
        await write_statistics(scripts, "of the release before", minute=first, counts={"gauge:known": 1})
        named = []
        for minute in (first, first - 3, first + 3, first + 4):
            limits(call_statistics, CLOCK=lambda minute=minute: minute * 60)
            await recorder.write()
            named.append(scripts.names_bodies)
        assert named == [False, False, False, True]
        await write_statistics(scripts, "started again, with a clock behind", minute=first + 1, counts={})
        await recorder.write()
        assert not scripts.names_bodies


async def local():
    return ["local"]


async def none():
    return 0


async def test_a_lease_that_ends_is_an_interrupted_call_and_the_failure_of_a_call_no_refusal(store_of):
    async with running_services(store_of()) as services:
        metrics.LEASES_ENDED.inc()
        for reason in ("HANDLER_FAILED", "HANDLER_NOT_STARTED", "TOO_MANY_CALLS"):
            metrics.REFUSED.labels(metrics.INVOKE_METHOD, reason, "").inc()
        await services.control_plane.statistics.write()
        found = await statistics(services)
        assert outcomes(found) == {"CALL_STATUS_INTERRUPTED": 1}
        assert [each.reason for minute in found.minutes for each in minute.refusals] == ["TOO_MANY_CALLS"]


async def test_the_present_minute_is_as_long_as_the_servers_have_stored_it(store_of, limits):
    limits(call_statistics, CLOCK=lambda: 60_017.9)
    async with running_services(store_of()) as services:
        *_, before, present = (await statistics(services)).minutes
        assert [each.duration.seconds for each in (before, present)] == [60, 15]


async def test_what_was_done_before_a_minute_ends_stays_in_that_minute_and_expires(store_of, limits):
    first = call_statistics.minute_now()
    limits(call_statistics, CLOCK=lambda: first * 60)
    async with running_services(store_of()) as services:
        recorder = services.control_plane.statistics
        made = await generate(services)
        for minute in (first, first + 1):
            limits(call_statistics, CLOCK=lambda minute=minute: minute * 60)
            await services.call(made, method="get")
            await recorder.write()
        await services.call(made, method="put")
        await recorder.write()
        found = await statistics(services)
        by_minute = {each.start_time.seconds // 60: sum(o.count for o in each.outcomes) for each in found.minutes}
        assert (by_minute[first], by_minute[first + 1]) == (2, 1)
        for minute in (first, first + 1):
            left_s = await services.control_plane.client.ttl(f"{keys.STATISTICS_KEY}:{minute}")
            assert 3600 < left_s < 4000


def value_of(gauge):
    (family,) = gauge.collect()
    return family.samples[0].value


async def test_open_callbacks_waiting_calls_and_the_backlog_are_counted(store_of, limits):
    async with running_services(store_of()) as services:
        await generate(services)
        held = await generate(services, "form")
        caller = services.call(held)
        closed = await generate(services)
        await services.close(closed)
        made = await generate(services, "later", answer_mode=pb.ANSWER_MODE_ACK)
        await services.pause("later")
        for method in ("post", "put"):
            await services.call(made, method=method)

        async def all_are_there():
            found = await statistics(services)
            is_due = found.work.delivery_delay.ToNanoseconds() > 0
            return found if is_due and found.owners[0].waiting_call_count else None

        found = await wait_until(all_are_there, what="a delivery that is due, and a held call")
        assert found.work.delivery_count == 2
        [owner] = found.owners
        counts = owner.open_callback_count, owner.waiting_call_count, owner.dead_call_count
        assert (owner.owner, *counts) == ("local", 3, 1, 0)
        assert not any(each.HasField("work") for each in found.minutes)
        # In another minute they are counted again. No other server of this process can set the metrics meanwhile.
        limits(call_statistics, CLOCK=lambda: time.time() + 60)
        await services.control_plane.statistics.write()
        shown = (metrics.OPEN_CALLBACKS, metrics.HELD_CALLS, metrics.WAITING_DELIVERIES, metrics.UNSERVED_ACTIVITIES)
        assert [value_of(each) for each in shown] == [3, 1, 2, 1]  # nothing serves `later`
        for oldest in (metrics.OLDEST_HELD_CALL_SECONDS, metrics.OLDEST_WAITING_DELIVERY_SECONDS):
            assert 0 < value_of(oldest) < 3600
        await services.control_plane.statistics.write()
        [work] = [each.work for each in (await statistics(services)).minutes if each.HasField("work")]
        assert (work.open_callback_count, work.waiting_call_count, work.delivery_count) == (3, 1, 2)
        assert work.delivery_delay.ToNanoseconds() > 0
        await services.resolve(held)
        await caller


async def test_a_server_finds_its_store_safe_and_a_target_that_is_away(store_of):
    activities = {"away": ActivitySettings(target=f"127.0.0.1:{free_port()}", connect_timeout_s=0.2)}
    async with running_services(store_of(), activities=activities) as services:
        found = await services.operations.ListFindings(operations.ListFindingsRequest())
        again = await services.operations.ListFindings(operations.ListFindingsRequest())
        assert again == found  # the checks are not made for each request
        by_check = {each.check: each for each in found.findings}
        assert by_check["store settings"].level == operations.FINDING_LEVEL_OK
        assert by_check["activities.away"].level == operations.FINDING_LEVEL_PROBLEM
        assert by_check["activities.away"].advice
        assert found.check_time.seconds > 0


async def test_a_check_that_takes_longer_than_a_client_waits_is_there_for_the_next_request(limits):
    begun, ended = [], asyncio.Event()

    async def check(_settings):
        begun.append(check)
        await ended.wait()
        yield Finding.ok("slow", "it answered")

    limits(doctor, CHECKS=(check,))
    checks = SelfCheck(ServerSettings())
    waiting = asyncio.create_task(checks.findings())
    await wait_until(lambda: begun, what="the start of the check")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    ended.set()
    assert [each.seen for each in await checks.findings()] == ["it answered"]
    assert len(begun) == 1


@pytest.mark.parametrize(
    ("buckets", "share", "expected"),
    [
        ({}, 0.5, 0),
        ({0.001: 10}, 0.5, 0.0005),
        ({0.01: 10, 0.1: 10}, 0.75, 0.075),
        ({0.01: 10, float("inf"): 10}, 0.99, 300),
    ],
)
def test_a_quantile_lies_in_its_bucket_where_values_are_spread_evenly(buckets, share, expected):
    assert quantile(buckets, share) == pytest.approx(expected)


@pytest.mark.parametrize("deadline_ms", [BROWSER_AFTER_MS, DEFAULT_DEADLINE_MS])
def test_a_quantile_of_calls_that_ended_at_a_default_deadline_is_that_deadline(deadline_ms):
    deadline_s = deadline_ms / 1000
    bucket = min(bound for bound in SECONDS if bound >= deadline_s + 0.05)
    assert quantile({bucket: 10}, 0.99) == pytest.approx(deadline_s, rel=0.05)
