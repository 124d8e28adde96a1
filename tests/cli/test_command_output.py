"""Output of commands: every byte for programs, masked for people, and what happens if it cannot be written."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE

import pytest
from soak.counts import combinations
from support.clients import CALL, CASE, STATE, answers_with, call_message, callback_message
from support.terminal import run_on_terminal
from support.wait import DEADLINE_S

from callback.v1 import callback_pb2 as resources
from callback.v1 import callbacks_service_pb2 as messages


@pytest.mark.parametrize(
    ("arguments", "unbuffered"), combinations([["list"], ["list", "--json"], ["--help"]], ["", "1"])
)
async def test_output_that_cannot_be_written_is_reported_on_one_line(server, arguments, unbuffered):
    server.answers["ListCallbacks"] = messages.ListCallbacksResponse(callbacks=[callback_message()])
    with open("/dev/full", "wb") as full:  # noqa: ASYNC230, PTH123  # a device, not a file
        program = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "callback_cli", *arguments,
            stdout=full, stderr=PIPE,
            env=os.environ | {"CALLBACK_TARGET": server.address, "PYTHONUNBUFFERED": unbuffered},
        )  # fmt: skip
    _, errors = await asyncio.wait_for(program.communicate(), DEADLINE_S)
    assert program.returncode == 1
    assert errors == b"Error: cannot write the output: No space left on device\n"


@pytest.mark.parametrize("arguments", [["list"], ["list", "--json"], ["--help"]])
async def test_closed_output_is_reported_on_one_line(server, arguments):
    server.answers["ListCallbacks"] = messages.ListCallbacksResponse(callbacks=[callback_message()])
    program = await asyncio.create_subprocess_exec(
        "sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "callback_cli", *arguments,
        stderr=PIPE, env=os.environ | {"CALLBACK_TARGET": server.address},
    )  # fmt: skip
    _, errors = await asyncio.wait_for(program.communicate(), DEADLINE_S)
    assert program.returncode == 1
    assert errors == b"Error: cannot write the output: standard output is closed\n"


@pytest.mark.parametrize("arguments", [["list"], ["list", "--json"]])
async def test_a_reader_that_has_gone_is_not_reported(server, arguments):
    server.answers["ListCallbacks"] = messages.ListCallbacksResponse(callbacks=[callback_message()])
    reading, writing = os.pipe()
    os.close(reading)
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "callback_cli", *arguments,
        stdout=writing, stderr=PIPE, env=os.environ | {"CALLBACK_TARGET": server.address},
    )  # fmt: skip
    os.close(writing)
    _, errors = await asyncio.wait_for(program.communicate(), DEADLINE_S)
    assert (program.returncode, errors) == (1, b"")


async def test_no_line_of_grpc_itself_reaches_the_terminal(callback, monkeypatch):
    monkeypatch.delenv("GRPC_VERBOSITY", raising=False)
    ran = await callback("list", "--target", "ipv4:nowhere:1")
    assert ran.code == 1
    assert ran.errors.count("\n") == 1
    assert ran.errors.startswith("Error: ipv4:nowhere")


SECRET_RESPONSE = resources.Response(
    response_type=resources.RESPONSE_TYPE_RESPONSE,
    response_headers={"headers": [{"name": "set-cookie", "value": "hunter2"}]},
    response_body=b"see https://a.example/?token=hunter2",
)

SHOWING_SECRETS = {
    "calls": [CASE],
    "call": [CALL],
    "replay": [CALL],
    "answer": [CALL, "--code", "200"],
    "get": [CASE],
    "set-response": [CASE, "--code", "200"],
    "close": [CASE],
    "resolve": [CASE, "--code", "200"],
    "extend": [CASE, "--ttl", "7d"],
    "list": [],
    "list --waiting": ["--waiting"],
    "wait": [CASE, "--after", "0"],
}
"""Each command that prints a recorded request or a response, and its arguments."""
BODILESS = ("calls", "list")


@pytest.fixture
def secrets(server):
    """Run a server whose every callback and call contains `hunter2`."""
    case = callback_message(state_query_parameter="state", response=SECRET_RESPONSE, call_count=1)
    call = call_message(
        request_headers=[resources.Header(name="cookie", value="hunter2")],
        request_query=[resources.QueryParameter(name="state", value=STATE)],
        request_query_string=f"state={STATE}&token=hunter2",
        request_body=b"see https://a.example/?token=hunter2",
        response=SECRET_RESPONSE,
    )
    server.answers |= answers_with(case, call)
    return server


@pytest.mark.parametrize("command", SHOWING_SECRETS)
async def test_json_for_a_program_has_every_byte_and_text_is_masked(secrets, callback, command):
    arguments = [command.split()[0], *SHOWING_SECRETS[command]]
    text = await callback(*arguments)
    assert (text.code, "hunter2" in text.output, STATE in text.output) == (0, False, False)
    whole = await callback(*arguments, "--json")
    assert (whole.code, "hunter2" in whole.output, "***" in whole.output) == (0, True, False)
    masked = await callback(*arguments, "--json", "--mask-secrets")
    assert (masked.code, "hunter2" in masked.output, STATE in masked.output) == (0, False, False)
    assert "***" in masked.output
    if command.split()[0] not in BODILESS:
        assert "hunter2" in (await callback(*arguments, "--show-secrets")).output


@pytest.mark.parametrize("command", ["call", "get", "list --waiting"])
async def test_json_is_masked_on_a_terminal(secrets, command):
    arguments = [command.split()[0], *SHOWING_SECRETS[command], "--json"]
    masked = await run_on_terminal(*arguments, CALLBACK_TARGET=secrets.address)
    assert (masked.code, "hunter2" in masked.screen, STATE in masked.screen) == (0, False, False)
    assert "***" in masked.screen
    shown = await run_on_terminal(*arguments, "--show-secrets", CALLBACK_TARGET=secrets.address)
    assert (shown.code, "hunter2" in shown.screen) == (0, True)


async def test_the_body_in_json_is_the_body_that_was_sent(server, callback):
    body = f"a=1&state={STATE}&token=hunter2&b=\u00e9".encode()
    server.answers["GetCallback"] = messages.GetCallbackResponse(
        callback=callback_message(state_query_parameter="state")
    )
    server.answers["GetCall"] = messages.GetCallResponse(
        call=call_message(
            request_headers=[resources.Header(name="content-type", value="application/x-www-form-urlencoded")],
            request_body=body,
        )
    )
    assert (await callback("call", CALL, "--json")).json["requestBody"].encode() == body


async def test_a_reader_that_goes_away_causes_no_traceback(server):
    server.answers["ListCallbacks"] = messages.ListCallbacksResponse(callbacks=[callback_message()] * 900)
    program = await asyncio.create_subprocess_shell(
        f"{sys.executable} -m callback_cli list --target {server.address} | head -1", stdout=PIPE, stderr=PIPE
    )
    output, errors = await program.communicate()
    assert output.startswith(b"CASE")
    assert errors == b""
