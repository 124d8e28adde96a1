"""The servicer of `OperationsService`: operators see what is served and what waits, and pause deliveries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from callback.v1 import operations_service_pb2 as pb2
from callback.v1 import operations_service_pb2_grpc as pb2_grpc
from callback_process.findings import Finding
from callback_process.logs import get_logger
from callback_server.access.audit_log import AuditLog
from callback_server.access.authenticator import Authenticator
from callback_server.access.roles import Principal, Role
from callback_server.calls.call_statistics import Stage, Statistics, read_call_statistics
from callback_server.contract.conversion import to_message
from callback_server.domain.audit import AuditAction, Change
from callback_server.errors import InvalidRequestError, Violation
from callback_server.handlers.served import ServedActivities
from callback_server.handlers.workers.worker import notification_route
from callback_server.operations.self_check import SelfCheck
from callback_server.rpc.method import rpc
from callback_server.rpc.paging import ListQueue, page_size, page_token, read_page_token
from callback_server.rpc.visible_cases import require_visible_owner
from callback_server.store.queries.count_work import Work, count_work
from callback_server.store.queries.list_activities import list_activities
from callback_server.store.queries.read_pauses import read_pauses
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.change_pauses import MAX_PAUSED, PauseResult, change_pauses

log = get_logger()

MAX_ACTIVITIES_PER_PAGE: Final = 100


@dataclass(eq=False, slots=True)
class OperationsServicer(pb2_grpc.OperationsServiceServicer):
    """Pauses activities, and shows what is served, what was done, and what waits."""

    scripts: Scripts
    authenticator: Authenticator
    owners: Callable[[], Awaitable[Sequence[str]]]
    """Returns the owners whose cases are counted."""
    audit: AuditLog
    served: ServedActivities
    self_check: SelfCheck
    lists: ListQueue

    @rpc(Role.ADMIN)
    async def PauseActivity(self, request: pb2.PauseActivityRequest, caller: Principal) -> pb2.PauseActivityResponse:
        """Pause the deliveries of an activity."""
        activity = request.callback_activity
        reason = request.reason
        paused = await self.audit.record(
            Change(AuditAction.ACTIVITY_PAUSED, caller.name, activity=activity, reason=reason),
            partial(change_pauses, self.scripts, activity, is_paused=True, principal=caller.name, reason=reason),
            is_recorded=lambda result: result is PauseResult.OK,
        )
        if paused is PauseResult.FULL:
            problem = f"cannot be paused: {MAX_PAUSED} activities are paused already; resume some of them first"
            raise InvalidRequestError([Violation("callback_activity", "too_many", problem)])
        log.info("activity_paused", activity=activity, principal=caller.name, reason=request.reason)
        return pb2.PauseActivityResponse()

    @rpc(Role.ADMIN)
    async def ResumeActivity(self, request: pb2.ResumeActivityRequest, caller: Principal) -> pb2.ResumeActivityResponse:
        """Resume the deliveries of an activity."""
        activity = request.callback_activity
        await self.audit.record(
            Change(AuditAction.ACTIVITY_RESUMED, caller.name, activity=activity),
            partial(change_pauses, self.scripts, activity, is_paused=False),
            is_recorded=lambda result: result is PauseResult.OK,
        )
        log.info("activity_resumed", activity=activity, principal=caller.name)
        return pb2.ResumeActivityResponse()

    @rpc(Role.ADMIN)
    async def ListPausedActivities(
        self, request: pb2.ListPausedActivitiesRequest, caller: Principal
    ) -> pb2.ListPausedActivitiesResponse:
        """Return the paused activities."""
        paused = await read_pauses(self.scripts)
        return pb2.ListPausedActivitiesResponse(
            paused_activities=[
                to_message(pb2.PausedActivity, pause, activity=activity) for activity, pause in paused.pauses.items()
            ]
        )

    @rpc(Role.OWNER, or_answers=True)
    async def ListActivities(self, request: pb2.ListActivitiesRequest, caller: Principal) -> pb2.ListActivitiesResponse:
        """Return a page of activities."""
        owner = request.owner or caller.name
        require_visible_owner(caller, owner)
        async with self.lists.turn(caller):
            workers = await self.served.worker_counts()
            loads, more = await list_activities(
                self.scripts,
                owner=owner,
                served=workers.activities | self.served.without_workers,
                only=caller.limit,
                of_deliveries=caller.is_admin,
                after=read_page_token(str, request.page_token, request) or "",
                limit=page_size(request.page_size, MAX_ACTIVITIES_PER_PAGE),
            )
            paused = (await read_pauses(self.scripts)).names
        return pb2.ListActivitiesResponse(
            activities=[
                to_message(
                    pb2.Activity,
                    load,
                    kind=self.served.kind(load.activity),
                    worker_count=workers[load.activity],
                    notification_worker_count=workers[notification_route(load.activity)],
                    paused=load.activity in paused,
                )
                for load in loads
            ],
            next_page_token=page_token(request, more),
        )

    @rpc(Role.ADMIN)
    async def GetStatistics(self, request: pb2.GetStatisticsRequest, caller: Principal) -> pb2.GetStatisticsResponse:
        """Return what the servers have done, and what waits."""
        async with self.lists.turn(caller):
            minutes, stages = await read_call_statistics(self.scripts)
            work = await count_work(self.scripts, await self.owners())
        return _statistics_to(minutes, stages, work)

    @rpc(Role.ADMIN)
    async def ListFindings(self, request: pb2.ListFindingsRequest, _caller: Principal) -> pb2.ListFindingsResponse:
        """Check this server."""
        findings = await self.self_check.findings()
        return _findings_to(findings, self.self_check.check_time_s)


def _statistics_to(minutes: Iterable[Statistics], stages: Iterable[Stage], work: Work) -> pb2.GetStatisticsResponse:
    """Convert what the servers have done, and what waits."""
    return to_message(
        pb2.GetStatisticsResponse,
        minutes=map(_minute_to, minutes),
        stages=stages,
        owners=[to_message(pb2.OwnerStatistics, each, owner=owner) for owner, each in sorted(work.owners.items())],
        work=_work_to(work),
    )


def _findings_to(findings: Iterable[Finding], check_time_s: float) -> pb2.ListFindingsResponse:
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
