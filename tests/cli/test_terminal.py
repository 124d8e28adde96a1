"""Output with and without a terminal: colours, untruncated values, confirmation, completion."""

import functools
import os
import re
import shlex
import subprocess
import sys

import pytest
from click.testing import CliRunner
from support.clients import CALL, CASE, STATE, answers_with, call_message, callback_message, run_callback
from support.terminal import run_on_terminal
from support.tools import require
from support.wait import DEADLINE_S

from callback.v1 import audit_service_pb2 as auditing
from callback.v1 import callbacks_service_pb2 as messages
from callback.v1 import operations_service_pb2 as operations
from callback_cli.main import COMMANDS, cli

URL = f"http://127.0.0.1:8080/cb/{STATE}"
ACTIVITY = "an-activity-with-a-name-that-is-longer-than-a-terminal-is-wide/" * 3
HEADER = "x-long: " + "v" * 200
COMMANDS_WITH_VALUES = {
    "generate": (["--activity", "record", "--type", "response"], [URL, STATE, CASE]),
    "list": ([], [CASE[:8], ACTIVITY]),
    "get": ([CASE], [CASE, ACTIVITY]),
    "set-response": ([CASE, "--code", "200"], [CASE, ACTIVITY]),
    "close": ([CASE], [CASE, ACTIVITY]),
    "erase": ([CASE, "--yes"], ["Erased the recorded content of 7 calls."]),
    "calls": ([CASE], [f"{CASE[:8]}-{CALL[33:41]}"]),
    "call": ([CALL], [CALL, CASE, HEADER]),
    "trace": ([CALL], [CALL, CASE, ACTIVITY]),
    "replay": ([CALL], [CALL, CASE, HEADER]),
    "answer": ([CALL, "--code", "200"], [CALL, CASE, HEADER]),
    "resolve": ([CASE, "--code", "200"], [CASE, ACTIVITY]),
    "extend": ([CASE, "--ttl", "7d"], [CASE, ACTIVITY]),
    "activities": ([], [ACTIVITY]),
    "pause": ([ACTIVITY], [ACTIVITY]),
    "resume": ([ACTIVITY], [ACTIVITY]),
    "paused": ([], [ACTIVITY]),
    "statistics": ([], [ACTIVITY]),
    "findings": ([], [ACTIVITY]),
    "audit": ([], [ACTIVITY]),
    "wait": ([CASE, "--after", "0"], [CALL, CASE, HEADER]),
}
"""Each command that uses a server and ends: its arguments, and texts that must be on one line of its output."""


@pytest.fixture
def answering(server):
    """Run a server that answers every request; `terminal` and `pipe` run a command against it."""
    case = callback_message(callback_activity=ACTIVITY, call_count=1)
    call = call_message()
    call.request_headers.add(name="x-long", value="v" * 200)
    server.answers |= answers_with(case, call) | {
        "GenerateCallbackUrl": messages.GenerateCallbackUrlResponse(
            callback_url=URL, callback_state=STATE, callback_case_id=CASE
        ),
        "PauseActivity": operations.PauseActivityResponse(),
        "ResumeActivity": operations.ResumeActivityResponse(),
        "ListPausedActivities": operations.ListPausedActivitiesResponse(
            paused_activities=[operations.PausedActivity(callback_activity=ACTIVITY)]
        ),
        "ListActivities": operations.ListActivitiesResponse(
            activities=[operations.Activity(callback_activity=ACTIVITY)]
        ),
        "GetStatistics": operations.GetStatisticsResponse(owners=[operations.OwnerStatistics(owner=ACTIVITY)]),
        "ListFindings": operations.ListFindingsResponse(
            findings=[operations.Finding(check="store memory", level=operations.FINDING_LEVEL_OK, seen=ACTIVITY)]
        ),
        "ListAuditEntries": auditing.ListAuditEntriesResponse(
            entries=[auditing.AuditEntry(actor="alice", callback_activity=ACTIVITY)]
        ),
        "EraseCalls": messages.EraseCallsResponse(erased_call_count=7),
    }
    server.terminal = functools.partial(run_on_terminal, CALLBACK_TARGET=server.address)
    server.pipe = functools.partial(run_callback, CALLBACK_TARGET=server.address)
    return server


@pytest.mark.parametrize("command", COMMANDS_WITH_VALUES)
async def test_no_value_is_truncated_or_wrapped(answering, command):
    arguments, values = COMMANDS_WITH_VALUES[command]
    shown = await answering.terminal(command, *arguments, columns=30, NO_COLOR="1", TERM="dumb")
    piped = await answering.pipe(command, *arguments, COLUMNS="30")
    assert (shown.code, piped.code) == (0, 0)
    for output in (shown.screen, piped.output):
        for value in values:
            assert any(value in line for line in output.splitlines()), output


def test_every_command_that_prints_values_is_tested():
    connected = {each.name for each in COMMANDS if any(option.name == "target" for option in each.params)}
    assert connected == {*COMMANDS_WITH_VALUES, "generate-many", "watch", "listen", "prove"}


@pytest.mark.parametrize("command", ["list", "call"])
async def test_colours_need_a_terminal_that_supports_them(answering, command):
    arguments, _ = COMMANDS_WITH_VALUES[command]
    green = "\x1b[32m"
    assert green in (await answering.terminal(command, *arguments)).screen
    assert green in (await answering.terminal(command, *arguments, NO_COLOR="")).screen
    assert green not in (await answering.terminal(command, *arguments, NO_COLOR="1")).screen
    assert "\x1b" not in (await answering.terminal(command, *arguments, TERM="dumb")).screen
    assert "\x1b" not in (await answering.terminal(command, *arguments, "--json")).screen
    assert "\x1b" not in (await answering.pipe(command, *arguments, TERM="xterm-256color")).output


@pytest.mark.parametrize(("typed", "code", "erased"), [(b"y\n", 0, 1), (b"n\n", 1, 0), (b"\n", 1, 0), (b"\x04", 1, 0)])
async def test_erase_asks_for_confirmation(answering, typed, code, erased):
    shown = await answering.terminal("erase", CASE, typed=typed)
    assert shown.code == code
    assert f"Erase the recorded content of the calls of {CASE}? [y/N]" in shown.screen
    assert len(answering.requests) == erased
    assert ("Erased the recorded content of 7 calls." in shown.screen) is bool(erased)


async def test_wait_prints_what_it_waits_for_on_a_terminal(answering):
    shown = await answering.terminal("wait", CASE, "--after", "0", NO_COLOR="1", TERM="dumb")
    assert shown.code == 0
    assert shown.screen.startswith(f"Waiting for call 1 of {CASE}.\nCall {CALL}\n")


@pytest.mark.parametrize("command", [None, *(each.name for each in COMMANDS)])
def test_examples_in_help_can_be_copied_on_a_narrow_terminal(command):
    arguments = [command, "--help"] if command else ["--help"]
    narrow, wide = (CliRunner().invoke(cli, arguments, terminal_width=columns) for columns in (40, 200))
    examples = [line for line in wide.stdout.splitlines() if "callback " in line and re.match(r" {4,6}\S", line)]
    assert examples
    assert [line for line in examples if line not in narrow.stdout.splitlines()] == []


@pytest.fixture(scope="module")
def bash(tmp_path_factory):
    """Run a bash script with `callback` on its path, and return its output."""
    programs = tmp_path_factory.mktemp("bin")
    (programs / "callback").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m callback_cli "$@"\n')
    (programs / "callback").chmod(0o755)

    def run(script):
        environment = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"}
        bash = [require("bash"), "-c", script]
        ran = subprocess.run(bash, capture_output=True, text=True, env=environment, timeout=DEADLINE_S, check=False)
        assert (ran.returncode, ran.stderr) == (0, "")
        return ran.stdout

    return run


@pytest.mark.parametrize(
    ("words", "offers"),
    [
        (["callback", ""], [command.name for command in COMMANDS]),
        (["callback", "li"], ["list", "listen"]),
        (["callback", "list", "--status", ""], ["open", "in_progress", "closed"]),
        (["callback", "generate", "--type", "red"], ["redirect"]),
        (["callback", "token", "orders", "--role", ""], ["owner", "edge", "admin", "worker"]),
        (["callback", "set-response", CASE, "--reset", "heade"], ["header"]),
        (["callback", "get", CASE, "--to"], ["--token-file"]),
        (["callback", "completion", ""], ["bash", "zsh", "fish"]),
    ],
)
def test_bash_completes_commands_options_and_values(bash, words, offers):
    output = bash(f"""
        source <(callback completion bash)
        complete -p callback > /dev/null || exit
        COMP_WORDS=({" ".join(map(shlex.quote, words))})
        COMP_CWORD={len(words) - 1}
        _callback_completion callback
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """)
    assert output.split() == offers


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_own_script(bash, shell):
    script = bash(f"callback completion {shell}")
    assert f"_CALLBACK_COMPLETE={shell}_complete" in script
