"""The checker finds each broken promise in a history, and nothing in one that keeps them."""

import pytest
from support.tree import ROOT

from callback_prove.checker import Promise, check, checked
from callback_prove.history import (
    Answered,
    Generated,
    History,
    Injected,
    Ran,
    Recorded,
    RecordedCall,
    Requested,
    Restarted,
    Watched,
    WatchLost,
    WatchStarted,
    read,
)

CASE, CALL, OTHER = "case", "call", "other"


def generated(mode):
    return Generated(at=0, mode=mode, case_id=CASE)


def requested(code, text="", *, body="body", **more):
    return Requested(began=1, ended=2, case_id=CASE, body=body, code=code, text=text, **more)


def ran(call=CALL, *, attempt=1, began=1.0, ended=1.5, outcome="done"):
    return Ran(case_id=CASE, call_id=call, attempt=attempt, began=began, ended=ended, outcome=outcome)


def call_of(status="SUCCEEDED", call=CALL, *, body="body", **more):
    return RecordedCall(call_id=call, status=status, body=body, seconds=0.5, **more)


def recorded(*calls, status="CLOSED", reason="CONSUMED"):
    return Recorded(case_id=CASE, status=status, close_reason=reason, calls=calls)


def opened(*calls):
    return recorded(*calls, status="OPEN", reason="")


def watched(*events):
    return [WatchStarted(at=0), *(Watched(at=2, type=name, case_id=CASE, call_id=call) for name, call in events)]


def restarted(*, may_fail, began=0.5, ended=3.0):
    return Restarted(began=began, ended=ended, process="node-1", may_fail=may_fail)


ALL_EVENTS = (("CASE_CREATED", ""), ("CALL_STARTED", CALL), ("CALL_ENDED", CALL))
SOUND = [
    [generated("single"), requested(503), opened(), restarted(may_fail=True)],
    [generated("retryable"), requested(502), ran(outcome="failed"), opened(call_of("FAILED")),
     restarted(may_fail=False)],
    [Generated(at=4, began=2, mode="single", case_id=""), restarted(may_fail=True)],
    [generated("single"), requested(503), opened(), restarted(may_fail=False, began=2.5)],
    [generated("single"), requested(200, CALL), ran(), recorded(call_of()), *watched(*ALL_EVENTS)],
    [generated("single"), requested(0), ran(outcome="killed"), recorded(call_of("INTERRUPTED"), reason="INTERRUPTED")],
    [generated("single"), requested(0), opened()],
    [generated("single"), requested(503, is_untouched=True), opened(call_of("NOT_STARTED"))],
    [generated("retryable"), requested(502), requested(200, OTHER), ran(), ran(OTHER, began=2, ended=3),
     recorded(call_of("FAILED"), call_of(call=OTHER))],
    [generated("multiple"), requested(200, CALL), requested(200, OTHER, body="others"), ran(), ran(OTHER),
     opened(call_of(), call_of(call=OTHER, body="others"))],
    [generated("single"), requested(200, CALL), requested(409, body="others"), requested(410, query="x=1"), ran(),
     recorded(call_of(ended=2))],
    [generated("held"), requested(202, is_told_to_wait=True), requested(200, CALL),
     Answered(at=2, case_id=CASE, call_id=CALL), recorded(call_of())],
    [generated("ack"), requested(202, "done"), ran(outcome="killed"), ran(attempt=2, began=2, ended=3),
     recorded(call_of(delivery="DELIVERED", attempts=2))],
    [generated("ack"), requested(202, "done"), ran(attempt=2), ran(began=2, ended=3, outcome="cancelled"),
     recorded(call_of(delivery="DELIVERED", attempts=2))],
    [generated("ack"), requested(202, "done"), recorded(call_of(delivery="DEAD", attempts=3))],
    [generated("record"), requested(202, "done"), recorded(call_of())],
    # The worker of a call was stopped until its deadline, 1.5, had passed, and that of another one began behind it.
    [generated("retryable"), requested(0), requested(200, OTHER), ran(), ran("third", began=2.5, ended=1.5),
     ran(OTHER, began=2, ended=3), recorded(call_of("FAILED"), call_of("FAILED", "third"), call_of(call=OTHER))],
    [Generated(at=0, mode="single", case_id=""), Injected(at=0, fault="kill", process="server-1")],
    [generated("single"), opened(), *watched(), WatchLost(at=1, reason="too slow")],
]  # fmt: skip

BROKEN = [
    (Promise.AVAILABLE, [generated("single"), requested(503), opened(), restarted(may_fail=False)]),
    (Promise.AVAILABLE, [generated("single"), requested(503), opened(), restarted(may_fail=True, began=2.5),
     restarted(may_fail=False)]),
    (Promise.AVAILABLE, [Generated(at=4, began=3.5, mode="single", case_id=""), restarted(may_fail=True)]),
    (Promise.AVAILABLE, [generated("retryable"), requested(502), ran(outcome="cancelled"), opened(call_of("FAILED")),
     restarted(may_fail=False)]),
    (Promise.URL_KEPT, [generated("single"), Recorded(case_id=CASE, status="")]),
    (Promise.SUCCESS_KEPT, [generated("single"), requested(200, CALL), opened()]),
    (Promise.SUCCESS_KEPT, [generated("multiple"), requested(200, CALL), opened(call_of("INTERRUPTED"))]),
    (Promise.SUCCESS_KEPT, [generated("record"), requested(202, "done"), opened()]),
    (Promise.SUCCESS_KEPT, [generated("single"), requested(200, CALL), recorded(call_of(body="other"))]),
    (Promise.SUCCESS_KEPT, [generated("held"), requested(202, is_told_to_wait=True), opened()]),
    (Promise.ANSWER_KEPT, [generated("held"), Answered(at=1, case_id=CASE, call_id=CALL),
     recorded(call_of("FAILED"), reason="FAILED")]),
    (Promise.WRITTEN_FIRST, [generated("single"), requested(200, CALL), ran(), recorded(call_of(ended=2.01))]),
    (Promise.WRITTEN_FIRST, [generated("record"), requested(202, "done"), recorded(call_of(ended=2.01))]),
    (Promise.REPEATED, [generated("multiple"), requested(200, CALL), requested(200, OTHER),
     opened(call_of(), call_of(call=OTHER))]),
    (Promise.REPEATED, [generated("multiple"), requested(200, CALL), requested(200, CALL, query="x=1"),
     opened(call_of())]),
    (Promise.REPEATED, [generated("record"), requested(202, "done"), requested(202, "done", body="others"),
     recorded(call_of())]),
    (Promise.ONE_SUCCESS, [generated("retryable"), requested(200, CALL), requested(200, OTHER, body="others"),
     recorded(call_of(), call_of(call=OTHER, body="others"))]),
    (Promise.ONE_SUCCESS, [generated("single"), requested(0), opened(call_of())]),
    (Promise.ONE_SUCCESS, [generated("single"), requested(0), recorded()]),
    (Promise.ONE_RUN, [generated("single"), requested(200, CALL), ran(), ran(began=2, ended=3), recorded(call_of())]),
    (Promise.ONE_RUN, [generated("single"), requested(0), ran(), ran(OTHER, began=2, ended=3),
     recorded(call_of("FAILED"), call_of("FAILED", OTHER), reason="FAILED")]),
    (Promise.ONE_RUN, [generated("held"), requested(0), ran(), recorded(call_of("FAILED"), reason="FAILED")]),
    (Promise.ONE_AT_A_TIME, [generated("retryable"), requested(0), ran(), ran(OTHER, began=1.4, ended=2),
     opened(call_of("FAILED"), call_of("FAILED", OTHER))]),
    (Promise.CLAIM_FIRST, [generated("single"), requested(0), ran(), opened()]),
    (Promise.DELIVERED, [generated("ack"), requested(202, "done"), recorded(call_of(delivery="PENDING"))]),
    (Promise.DELIVERED, [generated("ack"), requested(202, "done"), recorded(call_of())]),
    (Promise.DELIVERED, [generated("ack"), requested(202, "done"), ran(outcome="failed"),
     recorded(call_of(delivery="DELIVERED", attempts=1))]),
    (Promise.DELIVERED, [generated("ack"), requested(202, "done"), recorded(call_of(delivery="DEAD", attempts=2))]),
    (Promise.DELIVERED, [generated("ack"), requested(202, "done"), ran(attempt=2),
     recorded(call_of(delivery="DELIVERED", attempts=1))]),
    (Promise.DELIVERED, [generated("ack"), requested(202, "done"), ran(outcome="failed"), ran(began=2, ended=3),
     recorded(call_of(delivery="DELIVERED", attempts=2))]),
    (Promise.NOTHING_DONE, [generated("single"), requested(503, is_untouched=True),
     recorded(call_of("FAILED"), reason="FAILED")]),
    (Promise.ENDS, [generated("single"), requested(0), recorded(call_of("RUNNING"), status="IN_PROGRESS", reason="")]),
    (Promise.ENDS, [generated("multiple"), requested(0), opened(call_of("RUNNING"))]),
    (Promise.CODE, [generated("single"), requested(410), opened()]),
    (Promise.CODE, [generated("multiple"), requested(409), requested(0, body="others"), opened()]),
    (Promise.WATCHED, [generated("single"), requested(0), recorded(call_of()), *watched(*ALL_EVENTS[:2])]),
    (Promise.WATCHED, [generated("single"), requested(0), opened(), *watched()]),
    (Promise.WATCHED, [generated("single"), requested(0), recorded(call_of()), *watched(*ALL_EVENTS, ALL_EVENTS[2])]),
]  # fmt: skip


def promises(steps):
    return {violation.promise for violation in check(steps, max_attempts=3)}


@pytest.mark.parametrize("steps", SOUND)
def test_a_history_that_keeps_every_promise_has_no_violation(steps):
    assert promises(steps) == set()


@pytest.mark.parametrize(("promise", "steps"), BROKEN)
def test_a_broken_promise_is_found_and_was_checked(promise, steps):
    assert promises(steps) == {promise}
    assert checked(steps)[promise] > 0


def test_only_what_a_history_has_counts_as_checked():
    requests = requested(200, CALL), requested(200, CALL)
    ended = recorded(call_of(ended=1.5))
    counts = checked([generated("single"), *requests, ran(), ended, *watched(*ALL_EVENTS)])
    assert counts == {
        **dict.fromkeys(Promise, 1),
        **dict.fromkeys((Promise.SUCCESS_KEPT, Promise.WRITTEN_FIRST, Promise.CODE), 2),
        Promise.ANSWER_KEPT: 0,
        Promise.DELIVERED: 0,
        Promise.NOTHING_DONE: 0,
        Promise.AVAILABLE: 0,
        Promise.WATCHED: 3,
    }
    assert set(checked([generated("single"), requested(200, CALL), ran()]).values()) == {0}


def test_each_promise_is_broken_in_a_history():
    assert {promise for promise, _ in BROKEN} == set(Promise)


def test_a_history_is_read_back_from_its_file(tmp_path):
    steps = [step for steps in SOUND for step in steps]
    with History(tmp_path / "history.ndjson") as history:
        for step in steps:
            history.add(step)
    assert [*read(history.path)] == history.steps == steps


def test_the_page_of_guarantees_has_a_row_for_each_promise():
    page = (ROOT / "docs" / "guarantees.md").read_text()
    assert [promise for promise in Promise if f"\n| {promise} |" not in page] == []


def test_each_row_of_what_is_out_of_step_names_a_test_that_exists_or_that_there_is_none():
    page = (ROOT / "docs" / "guarantees.md").read_text()
    section = page.partition("\n## When stores, servers and files are out of step\n")[2].partition("\n## ")[0]
    rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| ")][1:]
    assert {len(row) for row in rows} == {5}
    named = [row[-1].replace("`", "").removesuffix(" |").split(" in ") for row in rows]
    named = [each for each in named if each != ["none"]]
    sources = [(ROOT / (*file, "tests/store/test_epochs.py")[0]).read_text() for _test, *file in named]
    assert [test for (test, *_file), source in zip(named, sources, strict=True) if f"def {test}(" not in source] == []
