"""The scenarios of handler servers: the Python package passes each, and each catches a planted fault."""

import asyncio
import re

from support.conformance import failures, launch_forked, run
from support.faulty_handlers import FaultyHandlers
from support.tree import ROOT

from callback_conform.scenarios import load

SCENARIOS = {scenario.name: scenario for scenario in load("handlers")}
README = (ROOT / "clients/conformance/README.md").read_text()
FAULTS = {
    "a call is handled, and its decision is the answer": ("another code", "code is 200"),
    "a handler rejects": ("no rejections", "verdict"),
    "a handler that fails ends its call with an error, and the next one is handled": (
        "a failure is an answer",
        "no error",
    ),
    "a call of an activity without a handler is UNIMPLEMENTED": ("any activity", "no error UNIMPLEMENTED"),
    "a notification is handled by the function for notifications": ("a notification is a call", "no line"),
    "a notification of an activity without a function for them is UNIMPLEMENTED": ("any notification", "no error"),
    "a slow call delays no other": ("one at a time", "no answer"),
    "a handler is cancelled at the deadline of its call": ("no cancellation", "no line"),
    "a deadline that lies in the past by the clock of the program changes nothing": (
        "deadline by its clock",
        "DEADLINE_EXCEEDED",
    ),
    "fields that are unknown are ignored": ("no unknown fields", "INVALID_ARGUMENT"),
    "values of headers come in order, with bytes beyond ASCII": ("ASCII alone", "headers"),
    "a call with a body of 5 MiB is handled, and an answer of 5 MiB is sent": ("small messages", "RESOURCE_EXHAUSTED"),
    "the report that an answer cannot be sent disturbs nothing": ("a report is an error", "the report ended"),
    "a program that stops finishes the calls that it handles, and exits": ("stops at once", "the call ended with"),
}
"""By scenario: the fault that it catches, and a pattern of what it says then."""


def test_each_scenario_of_handlers_has_a_planted_fault_and_shows_a_rule_of_the_page():
    assert FAULTS.keys() == SCENARIOS.keys()
    rules = re.findall(r"^\| (H\d+) \|", README, re.MULTILINE)
    assert {rule for each in SCENARIOS.values() for rule in each.rules} == {*rules}
    assert len(rules) == len({*rules})


async def test_each_scenario_of_handlers_catches_a_planted_fault():
    async def problem(scenario, fault):
        (result,) = await run("handlers", [scenario], FaultyHandlers.launch(fault), patience_s=8)
        return result.problem or "passed"

    problems = await asyncio.gather(*(problem(SCENARIOS[name], fault) for name, (fault, _) in FAULTS.items()))
    said = zip(FAULTS.items(), problems, strict=True)
    assert [(name, fault, text) for (name, (fault, says)), text in said if not re.search(says, text)] == []


async def test_the_handler_server_with_planted_faults_passes_without_one():
    assert await failures(FaultyHandlers.launch(""), [*SCENARIOS.values()], "handlers") == []


async def test_the_handler_server_of_the_python_package_passes_every_scenario(tmp_path):
    program = ROOT / "clients/conformance/python/worker.py"
    launch = launch_forked(program, tmp_path / "errors")
    assert await failures(launch, [*SCENARIOS.values()], "handlers") == []
