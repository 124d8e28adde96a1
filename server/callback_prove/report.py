"""Report of a proof, as text: what was done, what callers got, and which promises were broken."""

import itertools
import os
import platform
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from callback_launcher.programs import store_program
from callback_process.version import VERSION
from callback_prove.checker import SUCCESSES, Violation, checked, failures, restart_during
from callback_prove.history import (
    NO_ANSWER,
    Answered,
    AnyStep,
    Generated,
    Injected,
    Ran,
    Recorded,
    Requested,
    Restarted,
    Watched,
    of_type,
)

SHOWN: Final = 5
"""Number of violations of each promise that are shown; the history has all steps."""
FEW: Final = 100
"""A promise that was checked fewer times is named as such."""
CLASSES: Final = {
    NO_ANSWER: "no response",
    408: "408 the edge was suspended while it read the request",
    422: "422 rejected by the handler",
    502: "502 the handler failed",
    503: "503 unavailable, or the outcome is unknown",
    504: "504 the handler missed its deadline",
}


def progress(steps: Sequence[AnyStep]) -> str:
    """Return one line about a history so far."""
    requests = of_type(steps, Requested)
    good = sum(request.code in SUCCESSES for request in requests)
    return f"{len(requests)} requests, {good} successes, {len(of_type(steps, Injected))} faults"


def report(steps: Sequence[AnyStep], violations: Sequence[Violation], *, has_store: bool = True) -> str:
    """Return the report of a complete history. `has_store`: whether the store ran on this machine."""
    parts = _table(steps), _faults(steps), _restarts(steps), _errors(steps), _checked(steps), _broken(violations)
    return "\n".join([*_versions(has_store=has_store), *itertools.chain(*parts)])


def _versions(*, has_store: bool) -> Iterator[str]:
    store = ""
    if has_store:
        done = subprocess.run([store_program(), "--version"], capture_output=True, text=True, check=False)  # noqa: S603  # the store
        store = f", {' '.join(done.stdout.split()[:3])}"
    yield f"callback {VERSION}, Python {platform.python_version()}{store}"
    yield f"{platform.system()} {platform.release()} {platform.machine()}, {os.cpu_count()} processors"


def _table(steps: Sequence[AnyStep]) -> Iterator[str]:
    modes = {step.case_id: step.mode for step in of_type(steps, Generated) if step.case_id}
    rows = defaultdict[str, Counter[str]](Counter)
    for mode in modes.values():
        rows[mode]["cases"] += 1
    for request in of_type(steps, Requested):
        rows[modes[request.case_id]]["requests"] += 1
        rows[modes[request.case_id]]["successes"] += request.code in SUCCESSES and not request.is_told_to_wait
    for run in of_type(steps, Ran):
        if run.case_id in modes:
            rows[modes[run.case_id]]["runs"] += 1
    for recorded in of_type(steps, Recorded):
        rows[modes[recorded.case_id]]["calls"] += len(recorded.calls)
    columns = ("cases", "requests", "successes", "calls", "runs")
    yield f"{'mode':<10}" + "".join(f"{column:>11}" for column in columns)
    for mode, counts in rows.items():
        yield f"{mode:<10}" + "".join(f"{counts[column]:>11}" for column in columns)
    yield f"answers to held calls: {len(of_type(steps, Answered))}; events: {len(of_type(steps, Watched))}"


def _faults(steps: Sequence[AnyStep]) -> Iterator[str]:
    faults = Counter(
        f"{step.fault} {step.process.rpartition('-')[0] or step.process}" for step in of_type(steps, Injected)
    )
    yield f"faults: {faults.total()}" + "".join(f"; {name} {count}" for name, count in sorted(faults.items()))


def _restarts(steps: Sequence[AnyStep]) -> Iterator[str]:
    """Yield what was restarted, what was requested meanwhile, and each class of error."""
    restarts = of_type(steps, Restarted)
    if not restarts:
        return

    def kind(restart: Restarted | None) -> str:
        return "nothing" if restart is None else restart.process.rpartition("-")[0]

    requests = Counter(kind(restart_during(restarts, each.began, each.ended)) for each in of_type(steps, Requested))
    failed = [*failures(steps)]
    yield f"{'restarted':<10}" + "".join(f"{column:>11}" for column in ("times", "seconds", "requests", "failures"))
    for name in ("nothing", *dict.fromkeys(map(kind, restarts))):
        those = [each for each in restarts if kind(each) == name]
        seconds = f"{sum(each.ended - each.began for each in those):.1f}" if those else ""
        errors = Counter(each.what for each in failed if kind(each.restart) == name)
        columns = (len(those) or "", seconds, requests[name], errors.total())
        yield f"{name:<10}" + "".join(f"{column:>11}" for column in columns)
        yield from (f"  {what}: {count}" for what, count in errors.most_common())
    expected = sum(each.restart is not None and each.restart.may_fail for each in failed)
    yield f"failures: {len(failed)}, {expected} of them while the store failed over"


def _errors(steps: Sequence[AnyStep]) -> Iterator[str]:
    requests = of_type(steps, Requested)
    errors = Counter(request.code for request in requests if request.code not in SUCCESSES)
    for code, count in sorted(errors.items()):
        yield f"error: {CLASSES.get(code, code)}: {count}"
    refused = sum(not step.case_id for step in of_type(steps, Generated))
    yield f"error: no URL in time: {refused}"
    load_end = max((step.at for step in of_type(steps, Generated)), default=0.0)
    ends = sorted(request.ended for request in requests if request.code in SUCCESSES and request.ended <= load_end)
    longest = max((later - earlier for earlier, later in itertools.pairwise(ends)), default=0.0)
    yield f"longest time without a success: {longest:.1f} s"


def _checked(steps: Sequence[AnyStep]) -> Iterator[str]:
    """Yield what shows each promise: URLs, responses, answers, callbacks, runs, calls or events."""
    for promise, count in checked(steps).items():
        yield f"checked {count:>7} times{', too few' if count < FEW else ''}: {promise}"


def _broken(violations: Sequence[Violation]) -> Iterator[str]:
    yield f"violations: {len(violations)}"
    of_promise = defaultdict[str, list[Violation]](list)
    for violation in violations:
        of_promise[violation.promise].append(violation)
    for promise, those in of_promise.items():
        yield f"BROKEN {len(those)} times: {promise}"
        for violation in those[:SHOWN]:
            yield f"  case {violation.case_id}: {violation.what}"
