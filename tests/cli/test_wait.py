"""`callback wait` prints the next call of a case, and its exit code tells how the wait ended."""

import asyncio
import json
import os
import re
import signal
import sys
import time
from asyncio.subprocess import PIPE

import grpc
import pytest
from click.testing import CliRunner
from support.clients import CASE, Refusal, call_message, callback_message
from support.wait import DEADLINE_S, wait_until

from callback.connection import _backoff
from callback.v1 import callback_pb2 as resources
from callback.v1 import callbacks_service_pb2 as messages
from callback_cli.main import cli

CLOSED = {"status": resources.CALLBACK_STATUS_CLOSED, "close_reason": resources.CLOSE_REASON_EXPIRED}


@pytest.fixture
def case(server):
    """Script a case with three calls; `case(4)` adds a fourth, `case(3, **changes)` changes the case."""
    state = {"count": 3, "changes": {}}

    def make(count, **changes):
        state.update(count=count, changes=changes)
        server.tell()

    async def get(_request):
        return messages.GetCallbackResponse(callback=callback_message(call_count=state["count"], **state["changes"]))

    async def calls(_request):
        return messages.ListCallsResponse(
            calls=[call_message(call_id=f"{CASE}-{n:016x}", attempt=n) for n in range(state["count"], 0, -1)]
        )

    async def call(request):
        number = int(request.call_id.rpartition("-")[2], 16)
        return messages.GetCallResponse(call=call_message(call_id=request.call_id, attempt=number))

    server.answers |= {"GetCallback": get, "ListCalls": calls, "GetCall": call}
    return make


@pytest.fixture
async def waiting(server):
    """Start `callback wait CASE …`, and return the program once it waits."""
    programs = []

    async def start(*arguments):
        program = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "callback_cli", "wait", CASE, *arguments,
            stdin=PIPE, stdout=PIPE, stderr=PIPE, env=os.environ | {"CALLBACK_TARGET": server.address},
        )  # fmt: skip
        programs.append(program)
        await wait_until(lambda: len(server.requests) >= 4, what="two looks at the case beside its watch")
        return program

    yield start
    for program in programs:
        if program.returncode is None:
            program.kill()
            await program.wait()


async def test_wait_prints_the_next_call_like_call_does(server, callback, case, waiting):
    for form in ([], ["--json"]):
        server.requests.clear()
        case(3)
        program = await waiting(*form)
        case(4)
        output, errors = await asyncio.wait_for(program.communicate(), DEADLINE_S)
        assert (program.returncode, errors) == (0, b"")
        shown = await callback("call", f"{CASE}-{4:016x}", *form)
        assert output.decode() == shown.output


@pytest.mark.parametrize(("after", "number"), [("0", 1), ("1", 2), ("2", 3)])
async def test_after_counts_earlier_calls(callback, case, after, number):
    assert (await callback("wait", CASE, "--after", after, "--json")).json["attempt"] == number


async def test_wait_exits_with_124_after_its_timeout(callback, case):
    ran = await callback("wait", CASE, "--timeout", "1s")
    assert (ran.code, ran.output) == (124, "")
    assert ran.errors == f"Error: no call 4 of {CASE} within 1 s (TIMED_OUT)\n"
    ran = await callback("wait", CASE, "--after", "7", "--timeout", "1s", "--json")
    assert (ran.code, ran.output) == (124, "")
    assert json.loads(ran.errors)["error"]["reason"] == "TIMED_OUT"


async def test_wait_exits_with_4_if_the_case_closes(server, callback, case, waiting):
    program = await waiting()
    case(3, **CLOSED)
    output, errors = await asyncio.wait_for(program.communicate(), DEADLINE_S)
    assert (program.returncode, output) == (4, b"")
    assert b"(CALLBACK_CLOSED, close_reason EXPIRED)" in errors
    ran = await callback("wait", CASE, "--json")
    assert (ran.code, ran.output) == (4, "")
    assert json.loads(ran.errors)["error"]["facts"] == {"close_reason": "EXPIRED"}
    assert (await callback("wait", CASE, "--after", "2", "--json")).json["attempt"] == 3


async def test_an_interrupted_wait_prints_nothing(case, waiting):
    program = await waiting()
    program.send_signal(signal.SIGINT)
    output, errors = await asyncio.wait_for(program.communicate(), DEADLINE_S)
    # Killed by the signal itself: a shell reports 130 and ends its own loop.
    assert (program.returncode, output, errors) == (-signal.SIGINT, b"", b"")


async def test_wait_continues_after_a_short_outage_of_the_server(server, case, waiting):
    program = await waiting()
    get = server.answers["GetCallback"]
    server.requests.clear()
    server.answers["GetCallback"] = grpc.StatusCode.UNAVAILABLE
    server.tell()
    await wait_until(lambda: len(server.requests) >= 2, what="a request that is sent again")
    case(4)
    server.answers["GetCallback"] = get
    output, _ = await asyncio.wait_for(program.communicate(), DEADLINE_S)
    assert program.returncode == 0
    assert f"Call {CASE}-{4:016x}".encode() in output


@pytest.mark.parametrize(
    ("arguments", "outage_s", "code"),
    [
        (["wait", CASE, "--after", "2", "--timeout", "15m"], 800, 0),
        (["wait", CASE, "--after", "2", "--timeout", "15m"], 1000, 124),
        (["wait", CASE, "--after", "2"], 300 * 86_400, 0),
        (["watch"], 300 * 86_400, 1),  # as the watch ends after it
    ],
)
async def test_an_outage_is_survived_up_to_the_timeout_of_the_command(server, case, limits, arguments, outage_s, code):
    passed_s = 0
    limits(_backoff, CLOCK=lambda: time.monotonic() + passed_s)

    async def outage(_request):
        nonlocal passed_s
        passed_s += outage_s
        return grpc.StatusCode.UNAVAILABLE

    case(3)
    begun = messages.WatchCallsResponse(resume_token="a")
    lost = Refusal(grpc.StatusCode.OUT_OF_RANGE, "WATCH_POSITION_LOST", "events are no longer kept")
    server.answers["WatchCalls"] = [[begun], outage, lost]
    get = server.answers["GetCallback"]
    server.answers["GetCallback"] = [get, outage, get, get]  # the first one is that of the command, which sends it once
    environment = {"CALLBACK_TARGET": server.address}
    ran = await asyncio.to_thread(CliRunner().invoke, cli, arguments, env=environment)
    assert ran.exit_code == code, ran.output


@pytest.mark.parametrize("options", [[], ["--json"]])
async def test_an_unreachable_server_is_reported_at_once_without_a_timeout(callback, unused_port, options):
    ran = await callback("wait", CASE, *options, "--target", f"127.0.0.1:{unused_port}")
    assert ran.code == 69
    assert "callback up" in ran.errors or "UNAVAILABLE" in ran.errors


@pytest.mark.parametrize("given", [CASE, CASE[:8]], ids=["id", "beginning of an id"])
async def test_a_server_that_is_away_at_the_start_is_waited_for_up_to_the_timeout(server, callback, case, given):
    away = Refusal(grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE", "no store")
    get = server.answers["GetCallback"]
    found = messages.ListCallbacksResponse(callbacks=[callback_message()])
    server.answers |= {"GetCallback": [away, away, get, get, get], "ListCallbacks": [away, away, found, found]}
    ran = await callback("wait", given, "--after", "2", "--timeout", "60s")
    assert (ran.code, ran.output.splitlines()[0].split()[:2]) == (0, ["Call", f"{CASE}-{3:016x}"])
    lines = ran.errors.splitlines()
    assert len(lines) == (1 if given == CASE else 2)
    said = r"Warning: waiting for the server, for up to [56]\d s: .*no store.*"
    assert [each for each in lines if not re.fullmatch(said, each)] == []


async def test_a_server_that_stays_away_ends_the_wait_with_its_timeout(callback, unused_port):
    ran = await callback("wait", CASE, "--timeout", "1s", "--json", "--target", f"127.0.0.1:{unused_port}")
    warning, error = ran.errors.split("\n", 1)
    assert "waiting for the server" in json.loads(warning)["warning"]
    assert (ran.code, json.loads(error)["error"]["reason"]) == (124, "TIMED_OUT")
