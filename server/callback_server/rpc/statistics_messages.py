"""Conversion of statistics and findings to messages of the contract."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from google.protobuf.duration_pb2 import Duration

from callback.v1 import callback_pb2, operations_service_pb2
from callback_process.findings import Finding, Level
from callback_server.call_statistics import Stage, Statistics
from callback_server.contract.converters import timestamp
from callback_server.store.queries.count_work import Work

_LEVEL: Final = {member: operations_service_pb2.FindingLevel.Value(f"FINDING_LEVEL_{member.name}") for member in Level}

_CALL_STATUS: Final = {name.removeprefix("CALL_STATUS_"): number for name, number in callback_pb2.CallStatus.items()}
_CALL_FAILURE: Final = {name.removeprefix("CALL_FAILURE_"): number for name, number in callback_pb2.CallFailure.items()}
"""By the names in the statistics, which another release may have stored."""


def statistics_to(
    minutes: Iterable[Statistics], stages: Iterable[Stage], work: Work
) -> operations_service_pb2.GetStatisticsResponse:
    """Convert what the servers have done, and what waits."""
    return operations_service_pb2.GetStatisticsResponse(
        minutes=map(_minute_to, minutes),
        stages=map(_stage_to, stages),
        owners=[
            operations_service_pb2.OwnerStatistics(
                owner=owner,
                open_callback_count=each.open_cases,
                waiting_call_count=each.waiting_calls,
                dead_call_count=each.dead_calls,
            )
            for owner, each in sorted(work.owners.items())
        ],
        work=_work_to(work),
    )


def findings_to(findings: Iterable[Finding], check_time_s: float) -> operations_service_pb2.ListFindingsResponse:
    """Convert findings."""
    return operations_service_pb2.ListFindingsResponse(
        findings=[
            operations_service_pb2.Finding(
                check=each.check, level=_LEVEL[each.level], seen=each.seen, advice=each.advice
            )
            for each in findings
        ],
        check_time=timestamp(round(check_time_s * 1000)),
    )


def _minute_to(statistics: Statistics) -> operations_service_pb2.MinuteStatistics:
    return operations_service_pb2.MinuteStatistics(
        start_time=timestamp(statistics.start_s * 1000),
        duration=_duration(statistics.seconds),
        outcomes=[
            operations_service_pb2.OutcomeCount(
                call_status=_CALL_STATUS.get(status, callback_pb2.CALL_STATUS_UNSPECIFIED),
                call_failure=_CALL_FAILURE.get(failure, callback_pb2.CALL_FAILURE_UNSPECIFIED),
                count=count,
            )
            for (status, failure), count in sorted(statistics.calls.items())
        ],
        refusals=[
            operations_service_pb2.RefusalCount(reason=reason, count=count)
            for reason, count in sorted(statistics.refusals.items())
        ],
        stages=map(_stage_to, statistics.stages),
        work=None if statistics.work is None else _work_to(statistics.work),
    )


def _work_to(work: Work) -> operations_service_pb2.WorkStatistics:
    total = work.total
    return operations_service_pb2.WorkStatistics(
        open_callback_count=total.open_cases,
        waiting_call_count=total.waiting_calls,
        dead_call_count=total.dead_calls,
        delivery_count=work.deliveries,
        delivery_delay=_duration(work.delay_ms / 1000),
    )


def _stage_to(stage: Stage) -> operations_service_pb2.StageDuration:
    median, p95, p99 = map(_duration, stage.quantiles_s)
    return operations_service_pb2.StageDuration(stage=stage.name, count=stage.count, median=median, p95=p95, p99=p99)


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration
