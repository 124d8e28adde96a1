"""View *Overview*, for administrators: what the servers do, what waits, and what is wrong."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Final

from quart import Blueprint

from callback import (
    Activity,
    Finding,
    FindingLevel,
    MinuteStatistics,
    OutcomeCount,
    Statistics,
    WorkStatistics,
)
from callback_console.plots import Columns, Lines, columns, lines, sparkline
from callback_console.request_context import client, page
from callback_triage.activities import activities_together
from callback_triage.reasons import FAILURES

blueprint: Final = Blueprint("overview", __name__)

_ACTIVITIES: Final = 100
"""How many activities of an owner are on the page."""
_OWNERS: Final = 10
"""The activities of how many owners are on the page: of those with the most open callbacks."""
OUTCOMES: Final = ("SUCCEEDED", "REJECTED", "FAILED", "NOT_STARTED", "INTERRUPTED")
"""The outcomes in the order of the plot, from the bottom up."""
_STAGES: Final = ("claim", "verify", "handler", "finish")
"""The stages that have a text."""
_WORK: Final = tuple(each.name for each in fields(WorkStatistics))
_SEVERITIES: Final = (FindingLevel.PROBLEM, FindingLevel.WARNING, FindingLevel.UNKNOWN, FindingLevel.OK)


@dataclass(frozen=True, slots=True)
class Minute:
    """One minute of the plots."""

    statistics: MinuteStatistics
    outcomes: Counter[str]
    """Numbers of calls by outcome."""

    @property
    def per_second(self) -> float:
        """Calls a second. 0 of a minute that has just begun."""
        return self.of(self.outcomes.total())

    def of(self, count: int) -> float:
        """Return a number of calls of this minute as calls a second."""
        seconds = self.statistics.duration.total_seconds()
        return count / seconds if seconds else 0.0


@dataclass(frozen=True, slots=True)
class Overview:
    """The metrics of the page."""

    minutes: Sequence[Minute]
    now_per_second: float
    """Calls a second of the last one to two minutes."""
    outcomes: Sequence[tuple[str, str, int]]
    """Status, failure or an empty text, and the number of calls in the hour."""
    refusals: Sequence[tuple[str, int]]
    """Reasons, with the number of requests in the hour, most first."""
    call_count: int
    failed_count: int
    calls: Columns
    durations: Lines
    history: Mapping[str, str]
    """The line of each number of `WorkStatistics`, by its name."""


@blueprint.get("/overview")
async def show() -> str:
    """Show the metrics."""
    statistics = await client().get_statistics()
    owners = sorted(statistics.owners, key=lambda each: -each.open_callback_count)
    asked = [each.owner for each in owners if each.open_callback_count][:_OWNERS] or [""]
    pages = await asyncio.gather(
        *(client().list_activities_page(owner=owner, page_size=_ACTIVITIES) for owner in asked)
    )
    activities = served_activities([each.items for each in pages])
    return await page(
        "overview.html",
        statistics=statistics,
        it=overview(statistics),
        work=statistics.work,
        owners=owners,
        activities=activities,
        most_deliveries=max((each.delivery_count for each in activities), default=0),
        outcome_names=OUTCOMES,
        stage_names=_STAGES,
    )


@blueprint.get("/overview/findings")
async def show_findings() -> str:
    """Show what a server finds in a check of itself. That can take seconds, so the overview loads it by itself."""
    found = worst_first((await client().list_findings()).findings)
    return await page(
        "findings.html",
        findings=[each for each in found if each.level is not FindingLevel.OK],
        passed=[each for each in found if each.level is FindingLevel.OK],
    )


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings, the worst first, and those of the same level in their order."""
    return sorted(findings, key=lambda each: _SEVERITIES.index(each.level))


def overview(statistics: Statistics) -> Overview:
    """Return the metrics and plots of statistics."""
    minutes = [Minute(each, _by_outcome(each.outcomes)) for each in statistics.minutes]
    outcomes: Counter[tuple[str, str]] = Counter()
    refusals: Counter[str] = Counter()
    for each in statistics.minutes:
        for outcome in each.outcomes:
            outcomes[outcome.status.value, outcome.failure.value if outcome.failure else ""] += outcome.count
        refusals.update({refusal.reason: refusal.count for refusal in each.refusals})
    latest = minutes[-2:]
    seconds = sum(each.statistics.duration.total_seconds() for each in latest)
    return Overview(
        minutes=minutes,
        now_per_second=sum(each.outcomes.total() for each in latest) / seconds if seconds else 0.0,
        outcomes=[
            (status, failure, count)
            for (status, failure), count in sorted(outcomes.items(), key=lambda each: (_place(each[0][0]), -each[1]))
        ],
        refusals=refusals.most_common(),
        call_count=outcomes.total(),
        failed_count=sum(count for (status, _), count in outcomes.items() if status in FAILURES),
        history={
            name: sparkline([None if each.work is None else _number(each.work, name) for each in statistics.minutes])
            for name in _WORK
        },
        calls=columns([[(name, each.of(each.outcomes[name])) for name in OUTCOMES] for each in minutes]),
        durations=lines(
            [(stage.stage, [_p95(each.statistics, stage.stage) for each in minutes]) for stage in statistics.stages]
        ),
    )


def _by_outcome(counts: Sequence[OutcomeCount]) -> Counter[str]:
    found: Counter[str] = Counter()
    for each in counts:
        found[each.status.value] += each.count
    return found


def _number(work: WorkStatistics, name: str) -> float:
    value = getattr(work, name)
    return value.total_seconds() if isinstance(value, timedelta) else value


def _place(status: str) -> int:
    return OUTCOMES.index(status) if status in OUTCOMES else len(OUTCOMES)


def _p95(minute: MinuteStatistics, stage: str) -> timedelta | None:
    return next((each.p95 for each in minute.stages if each.stage == stage), None)


def served_activities(of_owners: Iterable[Sequence[Activity]]) -> list[Activity]:
    """Return the activities of several owners: what nothing serves first, then what most deliveries wait for."""
    return sorted(activities_together(of_owners), key=lambda each: (each.is_served, -each.delivery_count))
