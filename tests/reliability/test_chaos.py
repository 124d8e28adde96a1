"""Processes die at random, repeatedly, while calls arrive: the promises of each mode hold.

Two servers, two edges, four workers and their store run as separate processes. Every two seconds one of them is killed
and restarted: a random process other than the store, or alternately such a process and the store.
"""

import asyncio
import contextlib
import functools
import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx
import pytest
from soak.counts import count
from support.deployed import running_fleet
from support.diary_worker import DiaryWorker
from support.wait import DEADLINE_S as DEADLINE_OF_STARTS_S
from support.wait import wait_until

from callback import (
    AnswerMode,
    CallAnsweredError,
    CallbackStatus,
    CallFilter,
    CallStatus,
    CloseReason,
    DeliveryStatus,
    Response,
    UnavailableError,
)

EVERY_S = 2
KILLS = count(8, 150)
"""Each server, edge and worker once, if only these are killed."""
CALLERS = 3
"""How many callers of each mode there are, each with two requests at a time, one to each edge."""
TRIES = 4
"""How often a caller asks that got no answer."""
DEADLINE_S, LEASE_S = 3, 13
SLACK_S = 5
"""How long after the end of a lease it may be that it is seen to, while servers run: a sweep."""
AT_MOST_S = 2
"""How long a client waits for an answer: a server without a store asks for more patience than load should have."""
ATTEMPTS = 20
ACTIVITY = f"""
[activities.work]
deadline_s = {DEADLINE_S}
retry = {{ initial_s = 0.2, max_s = 2, max_attempts = {ATTEMPTS} }}
"""
LIMITS = httpx.Limits(max_keepalive_connections=100, keepalive_expiry=2)
MODES = {
    "single": {},
    "retryable": {"retryable_after_error": True},
    "held": {"answer_mode": AnswerMode.HOLD},
    "ack": {"answer_mode": AnswerMode.ACK},
}
AT_ONCE = 50
NOBODY = 0
"""In the place of a code: the edge died."""
CODES = {NOBODY, 200, 202, 422, 502, 503, 504}
"""Neither 409 nor 410: every request to a case is the same, so it waits with an earlier one or gets the same answer."""
OVER = {DeliveryStatus.DELIVERED, DeliveryStatus.DEAD}


@dataclass
class Victim:
    """A process that is killed and restarted at once."""

    kind: str
    kill: Callable
    start: Callable
    starting: asyncio.Task | None = None

    async def fall(self):
        """Kill the process once it runs, and start it again without waiting for it."""
        await self.up()
        await asyncio.to_thread(self.kill)
        self.starting = asyncio.create_task(self.start())

    async def up(self):
        """Wait until the process runs."""
        if self.starting:
            await self.starting


@dataclass
class Case:
    """A case, and the status codes and texts that its callers received."""

    mode: str
    case_id: str
    answers: list = field(default_factory=list)

    @property
    def good(self):
        """Return the texts of the successful answers: more than one text means more than one success."""
        return {text for code, text in self.answers if code in (200, 202)}


class Load:
    """Callers, and a task that answers held calls."""

    def __init__(self, client, edges):
        self._client = client
        self._edges = edges
        self.cases = []
        self.answered = set()
        """The ids of the held calls that were answered, as far as who answers has heard."""

    async def come(self, mode, stopping):
        """Create cases and make two concurrent calls to each, until `stopping` is set."""
        while not stopping.is_set():
            try:
                made = await self._client.generate_callback_url(
                    "work", Response("done", 202), **MODES[mode], timeout=AT_MOST_S
                )
            except UnavailableError:
                continue
            case = Case(mode, made.case_id)
            self.cases.append(case)
            path = urlsplit(made.url).path
            await asyncio.gather(*(self._call(case, edge, path) for edge in self._edges))

    async def _call(self, case, edge, path):
        for _ in range(TRIES):
            try:
                answer = await edge.post(path, content=b"body")
                code, text = answer.status_code, answer.text
            except httpx.TransportError:
                code, text = NOBODY, ""
            case.answers.append((code, text))
            if code in (200, 202):
                return
            await asyncio.sleep(random.uniform(0, 0.3))  # retry as callers do

    async def answer_held_for_ever(self):
        """Answer each held call with its id, until the task is cancelled."""
        while True:
            with contextlib.suppress(UnavailableError):
                page = await self._client.list_owner_calls_page(CallFilter.WAITING, timeout=AT_MOST_S)
                await asyncio.gather(*(self._answer(call.call_id) for call in page.items))
            await asyncio.sleep(0.1)

    async def _answer(self, call_id):
        with contextlib.suppress(UnavailableError, CallAnsweredError):  # CallAnsweredError: the answer came too late
            await self._client.answer_call(call_id, Response(call_id, 200), timeout=AT_MOST_S)
            self.answered.add(call_id)


def in_turn(rng, *groups):
    """Yield a member of each group in turn, without end. Members of a group come equally often, in random order."""

    def shuffled(group):
        while True:
            yield from rng.sample(group, len(group))

    yield from itertools.chain.from_iterable(zip(*map(shuffled, groups), strict=True))


async def recorded(client, cases):
    """Return what the store has of each case: the case and its calls."""
    found = {}
    for first in range(0, len(cases), AT_ONCE):
        some = cases[first : first + AT_ONCE]
        got = await asyncio.gather(
            *(client.get_callback(case.case_id) for case in some),
            *(client.list_calls_page(case.case_id) for case in some),
        )
        for case, callback, page in zip(some, got, got[len(some) :], strict=False):
            found[case.case_id] = callback, page.items
    return found


async def until_nothing_runs(client):
    """Wait until no case has a running call: the longest lease, and a sweep."""

    async def nothing_runs():
        return not (await client.list_callbacks_page(status=CallbackStatus.IN_PROGRESS)).items

    await wait_until(nothing_runs, deadline_s=LEASE_S + SLACK_S, what="the end of every lease")


async def until_delivered(client, cases):
    """Wait until every delivery has ended."""
    left = list(cases)

    async def all_over():
        nonlocal left
        kept = await recorded(client, left)
        left = [case for case in left if any(call.delivery.status not in OVER for call in kept[case.case_id][1])]
        return not left

    await wait_until(all_over, deadline_s=60, what="the end of every delivery")


def broken_promises(case, callback, calls, runs, answered):
    """Yield the broken promises of a case, in words. `runs` are the runs of its workers, in order."""
    succeeded = [call.call_id for call in calls if call.status is CallStatus.SUCCEEDED]
    if callback.status is CallbackStatus.IN_PROGRESS or any(call.status is CallStatus.RUNNING for call in calls):
        yield "it is stuck"
    took = max(((call.end_time - call.start_time).total_seconds() for call in calls if call.end_time), default=0)
    if took > LEASE_S + SLACK_S + DEADLINE_OF_STARTS_S:  # there may have been no server at that moment
        yield "it was stuck"
    if odd := {code for code, _ in case.answers} - CODES:
        yield f"its callers were told {odd}"
    if len(succeeded) > 1 or len(case.good) > 1:
        yield "it succeeded twice"
    if bool(succeeded) != (callback.close_reason is CloseReason.CONSUMED) or len(case.good) > len(succeeded):
        yield "a success was lost"
    if {run.call_id for run in runs} - {call.call_id for call in calls}:
        yield "what ran is not recorded"
    if any(first.ended > second.began for first, second in itertools.pairwise(runs)):
        yield "two ran at a time"
    match case.mode:
        case "single":
            if len(runs) > 1:
                yield "it ran twice"
        case "held":
            if runs:
                yield "a handler was asked"
            if not {call.call_id for call in calls} & answered <= set(succeeded):
                yield "an answer was lost"
            if not case.good <= set(succeeded):
                yield "its caller got another answer"
        case "ack":
            yield from broken_deliveries(calls, runs)


def broken_deliveries(calls, runs):
    """Yield the broken promises of a case with deliveries."""
    for call in calls:
        attempts = [run.attempt for run in runs if run.call_id == call.call_id]
        if any(first >= second for first, second in itertools.pairwise(attempts)):
            yield "an attempt was made twice"
        if max(attempts, default=0) > call.delivery.attempts:
            yield "an attempt was not counted"
        ends = {run.how for run in runs if run.call_id == call.call_id}
        match call.delivery.status:
            case DeliveryStatus.DELIVERED:
                if "done" not in ends:
                    yield "it was not delivered"
            case DeliveryStatus.DEAD:
                if "rejected" not in ends and call.delivery.attempts < ATTEMPTS:
                    yield "it was given up"
            case _:
                yield "it is neither delivered nor dead"


@pytest.mark.parametrize("with_store", [False, True], ids=["processes", "store and processes"])
async def test_the_guarantees_hold_while_any_process_is_killed_at_any_moment(tmp_path, store, with_store):
    workers, kills, stopping = [], Counter(), asyncio.Event()
    async with running_fleet(tmp_path, store, activities=ACTIVITY) as fleet, contextlib.AsyncExitStack() as stack:
        edges = []
        for address, _ in fleet.addresses:
            client = httpx.AsyncClient(base_url=f"http://{address}", timeout=60, limits=LIMITS)
            edges.append(await stack.enter_async_context(client))
        for n in range(4):
            workers.append(DiaryWorker(tmp_path, f"worker-{n}", fleet.grpc, str(fleet.worker_token_file)))
            workers[n].start()
            stack.callback(workers[n].kill)
        groups = [
            [
                *(Victim("server", each.kill, functools.partial(fleet.start, each)) for each in fleet.servers),
                *(Victim("edge", each.kill, functools.partial(fleet.start, each)) for each in fleet.edges),
                *(Victim("worker", each.kill, functools.partial(asyncio.to_thread, each.start)) for each in workers),
            ]
        ]
        if with_store:
            groups.append([Victim("store", store.kill, functools.partial(asyncio.to_thread, store.start))])

        load = Load(fleet.client, edges)
        async with asyncio.TaskGroup() as tasks:
            answering = tasks.create_task(load.answer_held_for_ever())
            callers = [tasks.create_task(load.come(mode, stopping)) for mode in MODES for _ in range(CALLERS)]
            for victim in itertools.islice(in_turn(random.Random(5), *groups), KILLS):
                await victim.fall()
                kills[victim.kind] += 1
                await asyncio.sleep(EVERY_S)  # not a wait for a condition: this sets the rate of kills
            for victim in itertools.chain(*groups):
                await victim.up()
            stopping.set()
            await asyncio.wait(callers)
            await until_nothing_runs(fleet.client)
            answering.cancel()
        await until_delivered(fleet.client, [case for case in load.cases if case.mode == "ack"])
        kept = await recorded(fleet.client, load.cases)

    runs = defaultdict(list)
    for run in sorted((run for worker in workers for run in worker.runs()), key=lambda run: run.began):
        runs[run.case_id].append(run)
    told(load.cases, kept, runs, kills)
    broken = {
        (case.mode, case.case_id): what
        for case in load.cases
        if (what := [*broken_promises(case, *kept[case.case_id], runs[case.case_id], load.answered)])
    }
    assert not broken
    for mode in MODES:
        cases = [case for case in load.cases if case.mode == mode]
        assert sum(map(bool, (case.good for case in cases))) > len(cases) / 3, mode


def told(cases, kept, runs, kills):
    """Print the counts of what happened."""
    print(f"\n{sum(kills.values())} kills: {dict(kills)}")
    for mode in MODES:
        those = [case for case in cases if case.mode == mode]
        answers = Counter(code for case in those for code, _ in case.answers)
        calls = [call for case in those for call in kept[case.case_id][1]]
        ends = Counter(run.how for case in those for run in runs[case.case_id])
        print(
            f"{mode}: {len(those)} cases; answers {dict(sorted(answers.items()))}; "
            f"calls {dict(Counter(str(call.status) for call in calls))}; runs {dict(ends)}"
        )
        if deliveries := [call.delivery for call in calls if call.delivery]:
            attempts = Counter(delivery.attempts for delivery in deliveries)
            print(
                f"deliveries {dict(Counter(str(delivery.status) for delivery in deliveries))}; "
                f"by attempts {dict(sorted(attempts.items()))}"
            )
    ended = [call for _, calls in kept.values() for call in calls if call.end_time]
    print(f"the longest call took {max(call.end_time - call.start_time for call in ended).total_seconds():.1f} s")
