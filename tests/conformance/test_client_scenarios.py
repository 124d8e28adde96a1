"""The scenarios of clients: the Python package passes each, and each catches a planted fault."""

import asyncio
import json
import re

from support.conformance import failures, launch_forked, run
from support.faulty_client import FaultyClient
from support.tree import ROOT

from callback_conform.scenarios import load

SCENARIOS = {scenario.name: scenario for scenario in load("client")}
DRIVER = ROOT / "clients/conformance/python/client.py"
RULES = json.loads((ROOT / "clients/conformance/callback_conform/client.json").read_text())["rules"]
TIME_FACTOR = 0.35
"""For the faulty client, whose pings come sooner than those of a client that others use."""
NOT_RETRIED = ("ROLE_MISSING", "UNAUTHENTICATED", "TOO_MANY_OPEN_CALLBACKS", "REQUEST_ID_REUSED",
               "INTERNAL without a reason", "A_REASON_OF_TOMORROW")  # fmt: skip
FAULTS = {
    "a request is sent with its fields and token, and its answer is returned": ("no token", "token"),
    "the fields of an answer that are unknown are ignored": ("no unknown fields", "no case_id"),
    "STORE_UNAVAILABLE is retried with the same request": ("no retries", "no request"),
    "SERVER_STOPPING is retried with the same request": ("a new id", "differs"),
    "a request that a stopping server cancels is sent again": ("no retries", "no request"),
    "a request whose connection breaks is sent again with the same request_id": ("a new id", "differs"),
    "a pause that the server asks for is kept": ("no pause", "it came"),
    "two requests have different request ids": ("one id", "earlier request"),
    "a request_id of the program is sent as it is": ("ignores the id", "request_id"),
    **{f"{name} is not retried, and its reason is an error": ("retries everything", "no result")
       for name in NOT_RETRIED},
    "each wrong field is named": ("one violation", "violations"),
    "CALLBACK_NOT_FOUND is an error with its facts": ("no facts", "facts"),
    "a reason of another domain is not one of Callback": ("any domain", "reason"),
    "a server that does not answer is given up at the deadline": ("no deadline", "deadline"),
    "retries end at the deadline": ("retries without end", "no result"),
    "a token that is replaced in its file comes with the next request": ("the token of the start", "token"),
    "a watch that is lost goes on after its last event, without gap or double": ("from the start", "resume_token"),
    "a watch whose connection breaks goes on after its last event": ("positions of events alone", "resume_token"),
    "a watch that the server ends without an error goes on": ("OK is the end", "no request"),
    "a watch that was too slow goes on": ("too slow is an error", "no request"),
    "a watch whose position is lost ends with an error": ("begins anew", "no result"),
    "a watch stopped within a batch has the position after its last event": ("after the batch", "resume_token"),
    "an event of a type that the client does not know is an event": ("known types alone", "no result"),
    "a client connects with TLS": ("no TLS", "no request"),
    "a request without a timeout has ten seconds": ("a minute", "deadline"),
    "a client that starts before its server sends its request once there is one": ("no retries", "no request"),
    "a connection that hangs is noticed by pings, and its request is sent again": ("no pings", "no request"),
    "a server is found by its name": ("IP addresses alone", "no request"),
    "the first server of a list that can be reached gets the requests": ("one server", "no request"),
    "a wait for a call requests nothing while nothing happens": ("polls", "sent GetCallback"),
    "a wait for a call goes on while the server is away": ("a lost watch is the end", "no request"),
    "a wait for a call ends when the program says": ("waits without end", "no result"),
    "a wait for a call of a closed callback ends with an error": ("waits for a closed one", "no result"),
    "choices keep their order": ("sorted choices", "item 0 of choices"),
    "text that is no Unicode is refused": ("other text", "no result"),
    "a closed client sends nothing more": ("never closed", "no result"),
    "a client connects with TLS to an IP address": ("one name", "no request"),
    "a file with authorities that is cut off ends the program at its start": ("any authorities", "no end"),
}  # fmt: skip
"""By scenario: the fault that it catches, and a pattern of what it says then."""


def test_each_scenario_of_a_client_has_a_planted_fault_and_each_rule_of_the_table_a_scenario():
    assert FAULTS.keys() == SCENARIOS.keys()
    assert {rule for each in SCENARIOS.values() for rule in each.rules} == RULES.keys()


async def test_each_scenario_of_a_client_catches_a_planted_fault():
    """All at the same time, because most wait for what a faulty client does not do."""

    async def problem(scenario, fault):
        settings = {"patience_s": 8, "time_factor": TIME_FACTOR}
        (result,) = await run("client", [scenario], FaultyClient.launch(fault), **settings)
        return result.problem or "passed"

    problems = await asyncio.gather(*(problem(SCENARIOS[name], fault) for name, (fault, _) in FAULTS.items()))
    said = zip(FAULTS.items(), problems, strict=True)
    assert [(name, fault, text) for (name, (fault, says)), text in said if not re.search(says, text)] == []


async def test_the_client_with_planted_faults_passes_without_one():
    assert await failures(FaultyClient.launch(""), [*SCENARIOS.values()], "client") == []


async def test_the_client_of_the_python_package_passes_every_scenario(tmp_path):
    launch = launch_forked(DRIVER, tmp_path / "errors")
    assert await failures(launch, [*SCENARIOS.values()], "client") == []
