"""Checker: finds each broken promise in a history.

It decides by the steps alone: by what clients were told, what handlers did, and what is recorded at the end. A request
without a response may have had any effect that the promises allow.
"""

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from callback_prove.history import (
    NO_ANSWER,
    Answered,
    AnyStep,
    Generated,
    Ran,
    Recorded,
    RecordedCall,
    Requested,
    Restarted,
    Watched,
    WatchLost,
    WatchStarted,
    of_type,
)
from callback_prove.modes import MODES, Mode

SUCCESSES = {200, 202}
"""Codes of the responses that the cases and handlers of a proof give."""
CODES = {NO_ANSWER, *SUCCESSES, 408, 422, 502, 503, 504}
"""Codes that callers may get: 408 from an edge that was suspended while it read the request."""
RIVAL_CODES = {409, 410}
"""Codes that callers may get besides where different requests were sent to a single-use case. A repeat gets neither: it
waits with the earlier request or gets its answer."""
CLOCK_S = 0.002
"""How much later than its answer a call may have ended by the clock of the store, in seconds: clocks are read apart."""


class Promise(StrEnum):
    """A promise. The value is a sentence for reports and for docs/guarantees.md."""

    URL_KEPT = "A URL that was returned is stored"
    SUCCESS_KEPT = (
        "A call that got a 2xx is recorded as a success, with its body; one that was told to wait is recorded"
    )
    ANSWER_KEPT = "An answer to a held call that was confirmed is recorded, and the caller gets no other"
    WRITTEN_FIRST = "A call is stored as a success before its caller gets the answer"
    REPEATED = "The same request again gets the same answer, and a request that differs in one thing does not get it"
    ONE_SUCCESS = "A single-use callback succeeds at most once, and is closed by that"
    ONE_RUN = "A handler runs at most once for each call, and for a callback that is not retryable"
    ONE_AT_A_TIME = "Calls of one single-use callback do not run at the same time, each until its deadline"
    CLAIM_FIRST = "A call is stored before its handler starts"
    DELIVERED = "An acknowledged call is delivered, or listed as dead after its last attempt"
    NOTHING_DONE = "A 503 with Retry-After means that nothing was done"
    ENDS = "Each call ends, at the latest with its lease"
    CODE = "A caller gets only the documented codes"
    AVAILABLE = "No call fails while processes are restarted one after the other, except while the store fails over"
    WATCHED = "A watch gets each event once, or is told that it lost some"


@dataclass(frozen=True)
class Violation:
    """A broken promise."""

    promise: Promise
    case_id: str
    what: str
    """What the history shows."""


@dataclass
class _Case:
    """What a history has about one case."""

    mode: Mode
    name: str
    requests: list[Requested] = field(default_factory=list)
    answered: set[str] = field(default_factory=set)
    runs: list[Ran] = field(default_factory=list)
    events: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Number of events by type and call."""
    recorded: Recorded | None = None

    @property
    def good(self) -> set[str]:
        """The texts of the successful responses."""
        return {request.text for request in self.successes}

    @property
    def successes(self) -> list[Requested]:
        """The successful responses."""
        return [each for each in self.requests if each.code in SUCCESSES and not each.is_told_to_wait]

    @property
    def has_rivals(self) -> bool:
        """Whether different requests were sent."""
        return len({(request.body, request.query) for request in self.requests}) > 1


def check(steps: Iterable[AnyStep], *, max_attempts: int) -> list[Violation]:
    """Return the broken promises of a history.

    Args:
        steps: The history, in any order.
        max_attempts: Number of attempts after which a delivery is dead.
    """
    steps = [*steps]
    cases, is_watch_complete = _by_case(steps)
    found = [*_failed_in_restarts(steps)]
    for case_id, case in cases.items():
        if case.recorded is None:
            continue  # the proof ended before it was read
        found += [Violation(promise, case_id, what) for promise, what in _broken(case, case.recorded, max_attempts)]
        if is_watch_complete:
            found += [Violation(Promise.WATCHED, case_id, what) for what in _missed(case, case.recorded)]
    return found


def checked(steps: Iterable[AnyStep]) -> dict[Promise, int]:
    """Return with how many URLs, responses, answers, callbacks, runs, calls or events a history shows each promise."""
    steps = [*steps]
    cases, is_watch_complete = _by_case(steps)
    read = [(case, case.recorded) for case in cases.values() if case.recorded is not None]
    requests = [request for case, _ in read for request in case.requests]
    calls = sum(len(recorded.calls) for _, recorded in read)
    runs = sum(len(case.runs) for case, _ in read)
    has_restarts = any(isinstance(step, Restarted) for step in steps)
    return {
        Promise.URL_KEPT: len(read),
        Promise.SUCCESS_KEPT: sum(request.code in SUCCESSES for request in requests),
        Promise.ANSWER_KEPT: sum(len(case.answered) for case, _ in read),
        Promise.WRITTEN_FIRST: sum(len([*_with_end(case, recorded)]) for case, recorded in read),
        Promise.REPEATED: sum(max(len(case.requests) - 1, 0) for case, _ in read if case.successes),
        Promise.ONE_SUCCESS: sum(case.mode.is_single_use for case, _ in read),
        Promise.ONE_RUN: sum(len(case.runs) for case, _ in read if case.mode.runs_once),
        Promise.ONE_AT_A_TIME: sum(
            len(case.runs) for case, _ in read if case.mode.is_single_use and case.mode.runs_once
        ),
        Promise.CLAIM_FIRST: runs,
        Promise.DELIVERED: sum(len(recorded.calls) for case, recorded in read if case.name == "ack"),
        Promise.NOTHING_DONE: sum(
            bool(case.requests) and all(request.is_untouched for request in case.requests) for case, _ in read
        ),
        Promise.ENDS: calls,
        Promise.CODE: len(requests),
        Promise.AVAILABLE: len([*of_type(steps, Requested), *of_type(steps, Generated)]) if has_restarts else 0,
        Promise.WATCHED: sum(len(_expected_events(*each)) for each in read) if is_watch_complete else 0,
    }


def is_failure(request: Requested) -> bool:
    """Return whether a call failed. A handler that rejects it or fails decides so, and so does an earlier request."""
    return request.code not in {*SUCCESSES, *RIVAL_CODES, 422, 502}


@dataclass(frozen=True)
class Failure:
    """A call that failed, or a handler's run that was broken off, and the restart during which it was."""

    case_id: str
    """Empty: a client got no URL."""
    what: str
    """Class of the error."""
    restart: Restarted | None
    """None: nothing was restarted then."""


def failures(steps: Iterable[AnyStep]) -> Iterator[Failure]:
    """Yield the failures of a history since the first restart. What a machine cannot serve before it says nothing."""
    steps = [*steps]
    restarts = [step for step in steps if isinstance(step, Restarted)]
    first = min((each.began for each in restarts), default=math.inf)
    for step in steps:
        match step:
            case Requested(ended=at) | Generated(at=at) | Ran(ended=at) if at < first:
                pass
            case Requested() if is_failure(step):
                what = f"a caller got {step.code or 'no response'}: {step.reason}".removesuffix(": ")
                yield Failure(step.case_id, what, restart_during(restarts, step.began, step.ended))
            case Generated(case_id=""):
                what = f"a client got no URL: {step.reason}".removesuffix(": ")
                yield Failure("", what, restart_during(restarts, step.began, step.at))
            case Ran(outcome="killed" | "cancelled"):
                what = f"a handler was {step.outcome}"
                yield Failure(step.case_id, what, restart_during(restarts, step.began, step.ended))


def restart_during(restarts: Iterable[Restarted], began: float, ended: float) -> Restarted | None:
    """Return the restart during which something was, first one during which calls may fail. None: there was none."""
    during = [each for each in restarts if began <= each.ended and ended >= each.began]
    return max(during, key=lambda each: each.may_fail, default=None)


def _failed_in_restarts(steps: Sequence[AnyStep]) -> Iterator[Violation]:
    """Yield the failures outside of the times when calls may fail."""
    for failure in failures(steps):
        if failure.restart is None or not failure.restart.may_fail:
            yield Violation(Promise.AVAILABLE, failure.case_id, failure.what)


def missed_events(steps: Iterable[AnyStep]) -> int:
    """Return the number of events that a watch has not received yet, or received twice."""
    cases, is_watch_complete = _by_case(steps)
    if not is_watch_complete:
        return 0
    return sum(len([*_missed(case, case.recorded)]) for case in cases.values() if case.recorded is not None)


def _by_case(steps: Iterable[AnyStep]) -> tuple[dict[str, _Case], bool]:
    """Group steps by case. Return the cases, and whether a watch should have every event of them."""
    cases = dict[str, _Case]()
    others = defaultdict[str, list[AnyStep]](list)
    starts = losses = 0
    for step in steps:
        match step:
            case Generated(mode=mode, case_id=case_id) if case_id:
                cases[case_id] = _Case(MODES[mode], mode)
            case Requested() | Answered() | Ran() | Watched() | Recorded():
                others[step.case_id].append(step)
            case WatchStarted():
                starts += 1
            case WatchLost():
                losses += 1
    for case_id, case in cases.items():
        for step in others[case_id]:
            match step:
                case Requested():
                    case.requests.append(step)
                case Answered():
                    case.answered.add(step.call_id)
                case Ran():
                    case.runs.append(step)
                case Watched():
                    case.events[step.type, step.call_id] += 1
                case Recorded():
                    case.recorded = step
        case.runs.sort(key=lambda run: run.began)
    return cases, starts > 0 and losses == 0


def _broken(case: _Case, recorded: Recorded, max_attempts: int) -> Iterator[tuple[Promise, str]]:
    if not recorded.status:
        yield Promise.URL_KEPT, "the case is unknown"
        return
    calls = {call.call_id: call for call in recorded.calls}
    succeeded = {call_id for call_id, call in calls.items() if call.status == "SUCCEEDED"}
    yield from _lost(case, recorded, succeeded)
    yield from _mistaken(case)
    for request, call in _with_end(case, recorded):
        if call.ended > request.ended + CLOCK_S:
            late_ms = 1000 * (call.ended - request.ended)
            yield Promise.WRITTEN_FIRST, f"{call.call_id} was stored as a success {late_ms:.0f} ms after its answer"
    if case.mode.is_single_use and len(succeeded) > 1:
        yield Promise.ONE_SUCCESS, f"{len(succeeded)} calls succeeded"
    if case.mode.is_single_use and len(case.good) > 1:
        yield Promise.ONE_SUCCESS, f"callers got {len(case.good)} different successes"
    yield from _runs(case, calls)
    if recorded.status == "IN_PROGRESS" or any(call.status == "RUNNING" for call in calls.values()):
        yield Promise.ENDS, "a call runs although nothing works on it"
    if case.name == "ack":
        yield from _deliveries(case, calls.values(), max_attempts)
    if case.requests and all(request.is_untouched for request in case.requests):
        if case.runs:
            yield Promise.NOTHING_DONE, "a handler ran"
        if any(call.status != "NOT_STARTED" for call in calls.values()):
            yield Promise.NOTHING_DONE, f"calls are recorded: {', '.join(call.status for call in calls.values())}"
    allowed = CODES | RIVAL_CODES if case.mode.is_single_use and case.has_rivals else CODES
    if odd := {request.code for request in case.requests} - allowed:
        yield Promise.CODE, f"a caller got {', '.join(map(str, sorted(odd)))}"


def _lost(case: _Case, recorded: Recorded, succeeded: set[str]) -> Iterator[tuple[Promise, str]]:
    """Yield what clients were told and is not recorded."""
    is_consumed = recorded.close_reason == "CONSUMED"
    if case.mode.ends_at_claim:  # their answers do not name the call
        if case.good and not succeeded:
            yield Promise.SUCCESS_KEPT, "a caller got a success, and no call is recorded as one"
    elif unrecorded := case.good - succeeded:
        yield (
            Promise.SUCCESS_KEPT,
            f"a caller got the success of {', '.join(sorted(unrecorded))}, which is not recorded",
        )
    if not recorded.calls and any(request.is_told_to_wait for request in case.requests):
        yield Promise.SUCCESS_KEPT, "a caller was told to wait, and no call is recorded"
    if case.mode.is_single_use and bool(succeeded) != is_consumed:
        yield Promise.ONE_SUCCESS, f"{len(succeeded)} calls succeeded, and the case is {recorded.status}"
    sent = {request.body for request in case.requests}
    if any(call.body not in sent for call in recorded.calls if call.call_id in succeeded):
        yield Promise.SUCCESS_KEPT, "the recorded body is not one that was sent"
    if case.name == "held" and not case.answered <= succeeded:
        yield Promise.ANSWER_KEPT, f"the answer to {', '.join(sorted(case.answered - succeeded))} is not recorded"


def _mistaken(case: _Case) -> Iterator[tuple[Promise, str]]:
    """Yield the repeats that were taken for another request, and the other requests that were taken for a repeat."""
    of_answer, of_request = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)
    for request in case.successes:
        sent = f"{request.body}?{request.query}"
        of_answer[request.text].add(sent)
        of_request[sent].add(request.text)
    for answer, sents in of_answer.items():
        if len(sents) > 1:
            yield Promise.REPEATED, f"different requests ({', '.join(sorted(sents))}) got the answer {answer}"
    for sent, answers in of_request.items():
        if len(answers) > 1:
            yield Promise.REPEATED, f"the request {sent} got the answers {', '.join(sorted(answers))}"


def _with_end(case: _Case, recorded: Recorded) -> Iterator[tuple[Requested, RecordedCall]]:
    """Yield each successful response with its call, if that is recorded with the time of its end."""
    calls = {call.call_id: call for call in recorded.calls if call.status == "SUCCEEDED" and call.ended}
    for request in case.successes:
        if case.mode.ends_at_claim and len(calls) == 1:  # the answer does not name the call
            yield from ((request, call) for call in calls.values())
        elif call := calls.get(request.text):
            yield request, call


def _runs(case: _Case, calls: dict[str, RecordedCall]) -> Iterator[tuple[Promise, str]]:
    runs_of = Counter(run.call_id for run in case.runs)
    if unrecorded := runs_of.keys() - calls.keys():
        yield Promise.CLAIM_FIRST, f"a handler ran for {', '.join(sorted(unrecorded))}, which is not recorded"
    if case.mode.runs_once and runs_of and max(runs_of.values()) > 1:
        yield Promise.ONE_RUN, f"a handler ran {max(runs_of.values())} times for one call"
    if case.name in ("single", "held", "record") and runs_of.total() > (case.name == "single"):
        yield Promise.ONE_RUN, f"a handler ran {runs_of.total()} times"
    if case.mode.is_single_use and case.mode.runs_once:
        # A worker that is stopped for longer than the deadline may also begin a run behind it.
        for first, second in itertools.pairwise(run for run in case.runs if run.began <= run.ended):
            if first.ended > second.began:
                yield Promise.ONE_AT_A_TIME, f"{first.call_id} and {second.call_id} ran at the same time"


def _deliveries(case: _Case, calls: Iterable[RecordedCall], max_attempts: int) -> Iterator[tuple[Promise, str]]:
    for call in calls:
        runs = [run for run in case.runs if run.call_id == call.call_id]
        attempts = [run.attempt for run in runs]
        if len(set(attempts)) < len(attempts):  # a suspended worker can begin an attempt after the next one
            yield Promise.DELIVERED, f"attempts of {call.call_id} have the numbers {attempts}"
        if max(attempts, default=0) > call.attempts:
            yield Promise.DELIVERED, f"{call.call_id} had attempt {max(attempts)}, and {call.attempts} are recorded"
        outcomes = {run.outcome for run in runs}
        match call.delivery:
            case "DELIVERED" if "done" not in outcomes:
                yield Promise.DELIVERED, f"{call.call_id} is delivered, and no handler succeeded"
            case "DEAD" if "rejected" not in outcomes and call.attempts < max_attempts:
                yield Promise.DELIVERED, f"{call.call_id} is dead after {call.attempts} attempts"
            case "DELIVERED" | "DEAD":
                pass
            case status:
                yield Promise.DELIVERED, f"the delivery of {call.call_id} is {status or 'missing'}"


def _missed(case: _Case, recorded: Recorded) -> Iterator[str]:
    """Yield what a watch that follows from before the first case did not get, or got twice."""
    for event in sorted(_expected_events(case, recorded)):
        if case.events[event] != 1:
            yield f"{' '.join(event).strip()} was received {case.events[event]} times"


def _expected_events(case: _Case, recorded: Recorded) -> set[tuple[str, str]]:
    """Return the events, by type and call, that a watch gets which follows from before the first case."""
    if not recorded.status:
        return set()
    expected = {("CASE_CREATED", "")}
    for call in recorded.calls:
        if call.status != "RUNNING":
            expected.add(("CALL_ENDED", call.call_id))
        if not case.mode.ends_at_claim:
            expected.add(("CALL_STARTED", call.call_id))
    return expected
