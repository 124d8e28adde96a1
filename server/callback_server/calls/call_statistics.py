"""Statistics of calls: what all servers have done in each of the last 60 minutes.

1. Nothing is counted for them: they come from the metrics of the process, which every 5 seconds are compared with their
   values at the start of the minute. So they cost a call nothing.
2. Each replica stores the counts of its minute under its own name, in place of what it stored for that minute before.
   So they can be stored twice, the sum over the replicas is right at any time, and a server that restarts adds to what
   it has done before. A replica that did nothing stores nothing.
3. They show the servers that run, and what these know. As long as one of an earlier release has stored something in the
   last minutes, calls have copies of the body of their case's response, which that server can read, and no case is
   generated that needs a feature that it does not know (see domain/features.py).
4. A count is lost if the store cannot be reached at the end of its minute, or if the process ends before the next 5
   seconds are over.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client import Metric

from callback_process.durations import SECONDS
from callback_process.logs import get_logger
from callback_server import metrics
from callback_server.domain.call import CallStatus
from callback_server.errors import CallFailedError
from callback_server.store.failure_log import failures_logged
from callback_server.store.features import announcements, read_names_of_servers
from callback_server.store.queries.count_work import OwnerWork, Work, count_work
from callback_server.store.queries.read_statistics import GAUGE, read_statistics
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.write_statistics import write_statistics

log = get_logger()

WRITE_INTERVAL_S: Final = 5.0
"""Interval between two writes, in seconds. A minute is a multiple of it."""
CLOCK: Final[Callable[[], float]] = time.time
"""Returns the present time, in seconds since the epoch."""
MINUTES: Final = 60
"""How many minutes the statistics have."""
QUANTILES: Final = (0.5, 0.95, 0.99)
"""The quantiles of the durations of a stage, as in `Stage`."""
_GAUGES: Final = ("known", "open", "waiting", "dead", "deliveries", "delay_ms")
"""The gauges: whether the others are known, and the values of `Work`."""
READS_NAMED_BODIES: Final = f"{GAUGE}reads_named_bodies"
"""A count of each server that can read calls which name the body of their case's response. Those before cannot."""
_FAILED_CALLS: Final = frozenset(each.reason for each in CallFailedError.__subclasses__())
"""Reasons of refusals that are the ends of calls."""


@dataclass(frozen=True, slots=True)
class Stage:
    """How long a stage of calls took."""

    stage: str
    count: int
    median_s: float
    """An estimate of each of `QUANTILES`, in seconds."""
    p95_s: float
    p99_s: float


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the servers have done in a minute."""

    start_time_s: int
    """The start of the minute, in seconds since the epoch."""
    duration_s: float
    """The part of that minute that the counts are of, in seconds."""
    calls: Mapping[tuple[str, str], int]
    """The calls that ended, by status and failure (empty: none)."""
    refusals: Mapping[str, int]
    """The requests that became no calls, by reason."""
    stages: tuple[Stage, ...]
    """The stages of the calls."""
    work: Work | None
    """What waited in the store, of all owners together. None: no server has looked."""


class StatisticsRecorder:
    """Stores what this process does, and what waits in the store."""

    def __init__(
        self,
        scripts: Scripts,
        *,
        replica: str,
        owners: Callable[[], Awaitable[Sequence[str]]],
        count_unserved: Callable[[], Awaitable[int]],
    ) -> None:
        """Create a recorder.

        Args:
            scripts: The scripts on the store.
            replica: The id of this process.
            owners: Returns the owners whose cases are counted.
            count_unserved: Returns the number of activities with deliveries that wait, which nothing serves.
        """
        self._scripts = scripts
        self._count_unserved = count_unserved
        self._replica = replica
        self._owners = owners
        self._minute = minute_now()
        self._start = _totals()
        """The totals at the start of the minute."""
        self._gauges: Counter[str] | None = None
        """What waits in the store. None: that was not read in this minute."""
        self._stored: Counter[str] | None = None
        """What was stored for the minute."""

    async def run(self) -> None:
        """Store the counts every `WRITE_INTERVAL_S` until cancelled. One time is at the end of each minute."""
        while True:
            await asyncio.sleep(WRITE_INTERVAL_S - CLOCK() % WRITE_INTERVAL_S)
            with failures_logged("statistics_not_written"):  # nothing else writes them
                await self.write()

    async def write(self) -> None:
        """Store the counts of the minute, unless they are stored. Then look which servers run.

        Raises:
            StoreError: It is not known whether they were stored, or which servers run.
        """
        minute, now, totals = self._minute, minute_now(), _totals()
        known = Counter({READS_NAMED_BODIES: 1, **announcements()})
        counts = totals - self._start + (self._gauges or Counter()) + known
        is_stored = counts == self._stored
        if now != minute:  # what was done since the last write belongs to the minute before
            self._minute, self._start, self._gauges, self._stored = now, totals, None, None
        if not is_stored:
            await write_statistics(self._scripts, self._replica, minute=minute, counts=counts)
            if now == minute:
                self._stored = counts
        servers = await read_names_of_servers(self._scripts, now)
        self._scripts.names_bodies = all(READS_NAMED_BODIES in names for names in servers)
        if self._gauges is None:
            work = await count_work(self._scripts, await self._owners())
            metrics.UNSERVED_ACTIVITIES.set(await self._count_unserved())
            _show(work)
            self._gauges = _gauges(work)


async def read_call_statistics(scripts: Scripts) -> tuple[list[Statistics], tuple[Stage, ...]]:
    """Return what all servers have done in each of the last minutes, oldest first, and the stages in all of them.

    Raises:
        StoreError: The store did not answer.
    """
    last = minute_now()
    minutes = await read_statistics(scripts, first=last - MINUTES + 1, last=last)
    total: Counter[str] = Counter()
    for counts in minutes.values():
        total.update(counts)
    return [_statistics(minute, counts, is_last=minute == last) for minute, counts in minutes.items()], _stages(total)


def _statistics(minute: int, counts: Mapping[str, int], *, is_last: bool) -> Statistics:
    written_s = CLOCK() % 60 // WRITE_INTERVAL_S * WRITE_INTERVAL_S if is_last else 60.0
    return Statistics(
        start_time_s=minute * 60,
        duration_s=written_s,
        calls={(status, failure): count for (status, failure), count in _named("call", counts)},
        refusals={reason: count for (reason,), count in _named("refusal", counts)},
        stages=_stages(counts),
        work=_work(counts),
    )


def _gauges(work: Work) -> Counter[str]:
    total = work.total
    values = (
        1,
        total.open_callback_count,
        total.waiting_call_count,
        total.dead_call_count,
        work.delivery_count,
        work.delivery_delay_ms,
    )
    return Counter({f"{GAUGE}{name}": value for name, value in zip(_GAUGES, values, strict=True)})


def _show(work: Work) -> None:
    """Set the metrics of what waits in the store. Every server has the same values, at most a minute old."""
    total = work.total
    metrics.OPEN_CALLBACKS.set(total.open_callback_count)
    metrics.HELD_CALLS.set(total.waiting_call_count)
    metrics.OLDEST_HELD_CALL_SECONDS.set(work.held_ms / 1000)
    metrics.DEAD_CALLS.set(total.dead_call_count)
    metrics.WAITING_DELIVERIES.set(work.delivery_count)
    metrics.OLDEST_WAITING_DELIVERY_SECONDS.set(work.delivery_delay_ms / 1000)


def _work(counts: Mapping[str, int]) -> Work | None:
    is_known, open_cases, waiting, dead, deliveries, delay_ms = (counts.get(f"{GAUGE}{name}", 0) for name in _GAUGES)
    return Work(deliveries, delay_ms, {"": OwnerWork(open_cases, waiting, dead)}) if is_known else None


def minute_now() -> int:
    """Return the number of the present minute since the epoch."""
    return int(CLOCK() // 60)


def _totals() -> Counter[str]:
    """Return the values of the metrics, by the names of counts: their kind and their labels."""
    totals: Counter[str] = Counter()
    for labels, value in _samples(metrics.CALLS.collect(), "_total"):
        totals[f"call:{labels['outcome']}:{labels['reason']}"] += value
    for _labels, value in _samples(metrics.LEASES_ENDED.collect(), "_total"):
        totals[f"call:{CallStatus.INTERRUPTED}:"] += value
    for labels, value in _samples(metrics.REFUSED.collect(), "_total"):
        if labels["method"] == metrics.INVOKE_METHOD and labels["reason"] not in _FAILED_CALLS:
            totals[f"refusal:{labels['reason']}"] += value
    before: dict[str, int] = {}
    for labels, value in _samples(metrics.STAGE_SECONDS.collect(), "_bucket"):  # the buckets of a stage are cumulative
        stage = labels["stage"]
        totals[f"stage:{stage}:{labels['le']}"] += value - before.get(stage, 0)
        before[stage] = value
    return +totals


def _samples(collected: Iterable[Metric], suffix: str) -> Iterable[tuple[dict[str, str], int]]:
    for metric in collected:
        for sample in metric.samples:
            if sample.name.endswith(suffix):
                yield sample.labels, int(sample.value)


def _named(kind: str, counts: Mapping[str, int]) -> Iterable[tuple[list[str], int]]:
    for name, count in counts.items():
        first, *rest = name.split(":")
        if first == kind:
            yield rest, count


def _stages(counts: Mapping[str, int]) -> tuple[Stage, ...]:
    buckets: dict[str, dict[float, int]] = {}
    for (stage, bound), count in _named("stage", counts):
        buckets.setdefault(stage, {})[float(bound)] = count
    return tuple(
        Stage(stage, sum(found.values()), *(quantile(found, each) for each in QUANTILES))
        for stage, found in sorted(buckets.items(), key=lambda each: _order(each[0]))
    )


def _order(stage: str) -> int:
    return metrics.STAGES.index(stage) if stage in metrics.STAGES else len(metrics.STAGES)


def quantile(buckets: Mapping[float, int], share: float) -> float:
    """Estimate a quantile from the counts of buckets, by their upper bounds, as Prometheus does.

    Values are taken to lie evenly in their bucket. Of the last bucket, which has no bound, the estimate is its start.
    """
    rank, seen = share * sum(buckets.values()), 0
    bounds = (0.0, *SECONDS)
    for bound in sorted(buckets):
        count = buckets[bound]
        if seen + count >= rank:
            below = max((each for each in bounds if each < bound), default=0.0)
            return below if bound == float("inf") else below + (bound - below) * (rank - seen) / count
        seen += count
    return 0.0
