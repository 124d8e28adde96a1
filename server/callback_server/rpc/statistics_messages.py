"""Conversion of statistics and findings to messages of the contract."""

from __future__ import annotations

from collections.abc import Iterable

from callback.v1 import operations_service_pb2 as pb2
from callback_process.findings import Finding
from callback_server.calls.call_statistics import Stage, Statistics
from callback_server.contract.conversion import to_message
from callback_server.store.queries.count_work import Work


def statistics_to(minutes: Iterable[Statistics], stages: Iterable[Stage], work: Work) -> pb2.GetStatisticsResponse:
    """Convert what the servers have done, and what waits."""
    return to_message(
        pb2.GetStatisticsResponse,
        minutes=map(_minute_to, minutes),
        stages=stages,
        owners=[to_message(pb2.OwnerStatistics, each, owner=owner) for owner, each in sorted(work.owners.items())],
        work=_work_to(work),
    )


def findings_to(findings: Iterable[Finding], check_time_s: float) -> pb2.ListFindingsResponse:
    """Convert findings."""
    return to_message(
        pb2.ListFindingsResponse,
        findings=[to_message(pb2.Finding, each, level=each.level.name) for each in findings],
        check_time_s=check_time_s,
    )


def _minute_to(statistics: Statistics) -> pb2.MinuteStatistics:
    """Convert a minute. Another release may have stored statuses and failures that are not known here."""
    return to_message(
        pb2.MinuteStatistics,
        statistics,
        outcomes=[
            to_message(pb2.OutcomeCount, call_status=status, call_failure=failure, count=count)
            for (status, failure), count in sorted(statistics.calls.items())
        ],
        refusals=sorted(statistics.refusals.items()),
        work=None if statistics.work is None else _work_to(statistics.work),
    )


def _work_to(work: Work) -> pb2.WorkStatistics:
    return to_message(pb2.WorkStatistics, work, work.total)
