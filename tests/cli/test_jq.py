"""`--jq`: any command that prints JSON prints what a jq program makes of it."""

import json

import grpc
import pytest
from support.clients import CALL, CASE, Refusal, call_message, callback_message
from support.terminal import run_on_terminal

from callback.v1 import callbacks_service_pb2 as messages

Code = grpc.StatusCode


@pytest.fixture(autouse=True)
def listed(server):
    server.answers["GetCallback"] = messages.GetCallbackResponse(callback=callback_message())
    server.answers["ListCallbacks"] = messages.ListCallbacksResponse(
        callbacks=[callback_message(), callback_message(owner="shop")]
    )
    server.answers["GetCall"] = messages.GetCallResponse(call=call_message(request_body=b"a\x1b[2Jb"))


@pytest.mark.parametrize(
    ("program", "printed"),
    [
        (".[].owner", "local\nshop\n"),
        ("map(.callCount) | add", "6\n"),
        ('map({owner, paid: (.labels.order == "5")})[1]', '{"owner": "shop", "paid": true}\n'),
        ('.[] | select(.owner == "nobody")', ""),
    ],
)
async def test_it_prints_text_without_quotes_and_other_results_as_json_lines(callback, program, printed):
    ran = await callback("list", "--jq", program)
    assert (ran.code, ran.output, ran.errors) == (0, printed, "")


async def test_a_program_gets_every_byte_and_a_terminal_no_commands(server, callback):
    assert (await callback("call", CALL, "--jq", ".requestBody")).output == "a\x1b[2Jb\n"
    shown = await run_on_terminal("call", CALL, "--jq", ".requestBody", CALLBACK_TARGET=server.address)
    assert shown.code == 0
    assert "\x1b[2J" not in shown.screen


async def test_errors_of_the_server_are_json(server, callback):
    server.answers["GetCallback"] = Refusal(Code.NOT_FOUND, "CALLBACK_NOT_FOUND")
    ran = await callback("get", CASE, "--jq", ".status")
    assert (ran.code, ran.output) == (3, "")
    assert json.loads(ran.errors)["error"]["reason"] == "CALLBACK_NOT_FOUND"


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--jq", ".["], 2, "'.[' is not a jq program: syntax error"),
        (["--jq", ".a"], 1, "Error: --jq: Cannot index array"),
    ],
)
async def test_a_program_that_cannot_be_used_is_one_error(callback, arguments, code, told):
    ran = await callback("list", *arguments)
    assert (ran.code, ran.output) == (code, "")
    assert told in ran.errors
    assert "Traceback" not in ran.errors
