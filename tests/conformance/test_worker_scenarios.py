"""The scenarios of workers: the Python package passes each, and each catches a planted fault."""

import asyncio
import re
import sys
from pathlib import Path

from support.conformance import failures, is_long
from support.faulty_worker import FaultyWorker
from support.tree import ROOT

from callback_conform.main import run_scenarios
from callback_conform.program import launch_command
from callback_conform.scenarios import load

SCENARIOS = {scenario.name: scenario for scenario in load("worker")}
WORKER = ROOT / "clients/conformance/python/worker.py"
FAULTS = {
    "a call is offered, accepted, confirmed and answered": ("no token", "token"),
    "a handler does not start before Confirm": ("starts before Confirm", "C3|no line started c1"),
    "a handler rejects": ("a rejection is an error", "outcome is error"),
    "a handler that fails makes an error, and the stream goes on": ("an error ends the stream", "S1"),
    "a call that is withdrawn in the batch of its offer does not start": ("no withdrawals", "no result"),
    "a call that is withdrawn after Accept does not start": ("an error for a withdrawn call", "C3"),
    "a call that is withdrawn after Confirm is cancelled, and its slot is free after its Result": (
        "a confirmed call is not withdrawn",
        "cancelled c1",
    ),
    "a withdrawal after the Result has no effect": ("two results", "C1"),
    "messages about unknown calls have no effect": ("no unknown calls", "ended the stream"),
    "several calls in one batch are handled as if each had come alone": ("the first of a batch", "no accept"),
    "a batch of offer, confirmation of another call and withdrawal of a third takes effect in order": (
        "a withdrawal ends its batch",
        "no result",
    ),
    "messages and fields that are unknown are ignored": ("no unknown messages", "ended the stream"),
    "a call of another activity is declined": ("every activity", "no result"),
    "a notification is handled by the function for notifications": ("a notification is a call", "notified n1"),
    "a slow call delays no other": ("one slot", "no accept"),
    "a deadline that lies in the past by the worker's clock changes nothing": (
        "the deadline is a time",
        "outcome is",
    ),
    "a call that outlasts its timeout by the worker's clock is cancelled by the server alone": (
        "the timeout is its own",
        "outcome is error",
    ),
    "values of headers hold every byte from 0x80 to 0xFF": ("ASCII alone", "headers"),
    "a call as large as the messages of the worker is handled": ("promises too much", "ended the stream"),
    "an answer that is too large fails its call alone": ("sends what is too large", "ended the stream|no result"),
    "an answer of 5 MiB is sent": ("4 MiB for answers", "outcome is error"),
    "the worker connects again after its stream is lost, and cancels the handlers of that stream": (
        "handlers go on",
        "cancelled c1",
    ),
    "the server drains: the worker connects again, and both streams have calls": (
        "Drain ends the stream",
        "no accept",
    ),
    "the server ends the stream without an error: the worker connects again": ("OK is final", "no stream|has ended"),
    "a worker without a Welcome ends the stream and connects again": ("waits for Welcome", "no end of the stream"),
    "a connection that hangs is noticed by pings, which are not too frequent": ("no pings", "no stream"),
    "a token that is replaced in its file comes with the next stream": ("the token of the start", "token"),
    "a refusal of the token after the first Welcome is not final": ("each refusal is final", "attempts"),
    **{
        f"the refusal {reason} before the first Welcome is final": ("no refusal is final", "no end of the program")
        for reason in ("UNAUTHENTICATED", "ACTIVITY_NOT_ALLOWED", "INVALID_REQUEST")
    },
    "a server that is not ready is tried again, with growing pauses and jitter": ("no pause", "pause"),
    "a worker that stops finishes the calls that it has accepted, declines others, and exits": (
        "takes more",
        "no result",
    ),
    "a worker that stops without calls exits once the server has ended the stream": ("stops at once", "drain"),
    "a worker connects with TLS": ("no TLS", "no stream"),
}
"""By scenario: the fault that it catches, and a pattern of what it says then."""


def test_each_scenario_has_a_planted_fault():
    assert FAULTS.keys() == SCENARIOS.keys()


async def test_each_scenario_catches_a_planted_fault():
    """All at the same time, because most wait for what a faulty worker does not do."""

    async def problem(scenario, fault):
        pace = 0.2 if is_long(scenario) else 1
        (result,) = await run_scenarios("worker", [scenario], FaultyWorker.launch(fault), patience_s=10, pace=pace)
        return result.problem or "passed"

    problems = await asyncio.gather(*(problem(SCENARIOS[name], fault) for name, (fault, _) in FAULTS.items()))
    said = zip(FAULTS.items(), problems, strict=True)
    assert [(name, fault, text) for (name, (fault, says)), text in said if not re.search(says, text)] == []


async def test_the_worker_with_planted_faults_passes_without_one():
    assert await failures(FaultyWorker.launch(""), [each for each in SCENARIOS.values() if not is_long(each)]) == []


async def test_the_worker_of_the_python_package_passes_every_scenario(tmp_path):
    launch = launch_command([sys.executable, str(WORKER)], Path(tmp_path, "errors"))
    assert await failures(launch, [*SCENARIOS.values()]) == []
