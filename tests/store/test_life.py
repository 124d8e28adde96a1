"""The life of a case: the scripts agree with the model after every step, and with each row of the specification."""

import hashlib

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from soak.counts import count
from store.machine.life_machine import machine_on
from store.test_keeping import Cases
from support.store import KINDS

from callback_server.domain import life
from callback_server.domain.call import CallStatus, Outcome
from callback_server.domain.case import CallMode, CaseEffect, CaseStatus, CloseReason
from callback_server.domain.life import LIFE, OF_SUCCESS, CallEnd
from callback_server.store import keys
from callback_server.store.connection.client import connect
from callback_server.store.queries.read import read_case
from callback_server.store.recording import Recording
from callback_server.store.scripts import Script
from callback_server.store.transitions import claim_call, finish_call, sweep_partition
from callback_server.store.transitions.finish_call import finish_call as finish
from callback_server.store.transitions.sweep_partition import sweep_partition as sweep

SPECIFICATION = {
    "SINGLE": "CONSUMED OPEN CONSUMED FAILED FAILED INTERRUPTED OPEN",
    "RETRYABLE": "CONSUMED OPEN CONSUMED OPEN OPEN OPEN OPEN",
    "MULTIPLE": "OPEN OPEN CONSUMED OPEN OPEN OPEN OPEN",
}
"""What a case is after its call SUCCEEDED, kept it open, closed it, was REJECTED, FAILED, INTERRUPTED, or NOT_STARTED.

Written down from the specification by hand, so that a wrong row of the table is noticed.
"""
ROWS = [
    (CallMode(mode), end, expected)
    for mode, row in SPECIFICATION.items()
    for end, expected in zip(CallEnd, row.split(), strict=True)
]


@pytest.mark.parametrize("kind", KINDS)
def test_the_scripts_and_the_model_agree_after_every_step(store_of, kind):
    counts = settings(max_examples=count(10, 2500), stateful_step_count=count(30, 50))
    with machine_on(store_of(kind)) as machine:
        run_state_machine_as_test(machine, settings=counts)


@pytest.fixture
async def cases(store_of):
    client = connect(store_of("valkey").url)
    yield Cases(client)
    await client.aclose()


async def case_after(cases, mode, end):
    """Return the state of a case after its call ended with a status: the close reason if CLOSED, else the status."""
    case = await cases.new(mode=mode)
    grant = await cases.claim(case)
    if end is CallEnd.INTERRUPTED:
        partition = keys.partition_of(case.id)
        await cases.client.zadd(keys.key(partition, "leases"), {grant.call_id: 1}, xx=True)
        await sweep(cases.scripts, partition, recording=Recording())
    else:
        status = CallStatus.SUCCEEDED if end in OF_SUCCESS else CallStatus(end)
        outcome = Outcome(status, keep_open=end is CallEnd.KEPT_OPEN, close=end is CallEnd.CLOSED)
        await finish(cases.scripts, call_id=grant.call_id, outcome=outcome, recording=Recording())
    stored = await read_case(cases.scripts, case.id)
    return stored.close_reason or stored.status


@pytest.mark.parametrize(("mode", "end", "expected"), ROWS)
async def test_the_end_of_a_call_does_to_its_case_what_the_specification_says(cases, mode, end, expected):
    assert await case_after(cases, mode, end) == expected


@pytest.mark.parametrize(("mode", "end", "expected"), ROWS)
async def test_a_row_of_the_life_table_that_is_changed_changes_what_the_scripts_do(
    cases, monkeypatch, mode, end, expected
):
    reopened = CaseEffect(CaseStatus.OPEN)
    changed = CaseEffect(CaseStatus.CLOSED, CloseReason.EXPIRED) if LIFE[mode][end] in (None, reopened) else reopened
    monkeypatch.setattr(life, "LIFE", {**LIFE, mode: {**LIFE[mode], end: changed}})
    for script in (claim_call.SCRIPT, finish_call.SCRIPT, sweep_partition.SCRIPT):
        loaded = Script(script.name)
        assert loaded.source != script.source
        monkeypatch.setattr(script, "source", loaded.source)
        monkeypatch.setattr(script, "sha", hashlib.sha1(loaded.source.encode()).hexdigest())
    assert await case_after(cases, mode, end) == (changed.close_reason or changed.status) != expected
