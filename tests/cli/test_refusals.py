"""Refused and failed requests: exit codes, and errors that say what to do."""

import json

import grpc
import pytest
from support.clients import CASE, Refusal, run_callback

from callback.v1 import callbacks_service_pb2 as messages

Code = grpc.StatusCode


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (Refusal(Code.NOT_FOUND, "CALLBACK_NOT_FOUND"), 3),
        (Refusal(Code.INVALID_ARGUMENT, "INVALID_REQUEST"), 1),
        (Refusal(Code.UNAUTHENTICATED, "UNAUTHENTICATED"), 1),
        (Refusal(Code.PERMISSION_DENIED, "ROLE_MISSING"), 1),
        (Refusal(Code.FAILED_PRECONDITION, "CALLBACK_CLOSED"), 4),
        (Refusal(Code.UNAVAILABLE, "STORE_UNAVAILABLE"), 69),
        (Refusal(Code.INTERNAL, "INTERNAL"), 1),
        (Code.UNIMPLEMENTED, 1),
    ],
)
async def test_each_kind_of_error_has_its_exit_code(server, callback, refusal, code):
    server.answers["GetCallback"] = refusal
    ran = await callback("get", CASE)
    assert (ran.code, ran.output) == (code, "")
    assert ran.errors.startswith("Error: ")
    assert "Traceback" not in ran.errors


async def test_an_error_names_every_invalid_field_by_its_option(server, callback):
    server.answers["GenerateCallbackUrl"] = Refusal(
        Code.INVALID_ARGUMENT,
        "INVALID_REQUEST",
        "4 fields are wrong",
        violations=[
            ("response.response_code", "must be 200-299 or 400-599", "response_code"),
            ("labels['UP']", "is too long", "string.max_len"),
            ("callback_activity_case", "is too long", "string.max_len"),
            ("response.response_body", "is too large", "bytes.max_len"),
            ("colour", "is not ours", ""),
            ("fallback.response_code", "is missing", "required"),
            ("answer_deadline", "is too long", "duration.lte"),
        ],
    )
    arguments = ["generate", "--activity", "record", "--type", "response"]
    ran = await callback(*arguments)
    assert (ran.code, ran.output) == (1, "")
    assert ran.errors.splitlines() == [
        "Error: the request is not valid (INVALID_REQUEST)",
        "  --code (response.response_code): must be 200-299 or 400-599",
        "  --label (labels['UP']): is too long",
        "  --activity-case (callback_activity_case): is too long",
        "  --body or --body-file (response.response_body): is too large",
        "  colour: is not ours",
        "  --fallback-code (fallback.response_code): is missing",
        "  --answer-deadline (answer_deadline): is too long",
    ]
    ran = await callback(*arguments, "--json")
    assert (ran.code, ran.output) == (1, "")
    assert json.loads(ran.errors) == {
        "error": {
            "reason": "INVALID_REQUEST",
            "message": "4 fields are wrong",
            "facts": {},
            "fields": [
                {
                    "field": "response.response_code",
                    "description": "must be 200-299 or 400-599",
                    "rule": "response_code",
                },
                {"field": "labels['UP']", "description": "is too long", "rule": "string.max_len"},
                {"field": "callback_activity_case", "description": "is too long", "rule": "string.max_len"},
                {"field": "response.response_body", "description": "is too large", "rule": "bytes.max_len"},
                {"field": "colour", "description": "is not ours", "rule": ""},
                {"field": "fallback.response_code", "description": "is missing", "rule": "required"},
                {"field": "answer_deadline", "description": "is too long", "rule": "duration.lte"},
            ],
        }
    }


async def test_an_error_prints_its_facts_and_what_to_do(server, callback):
    server.answers["SetResponse"] = Refusal(
        Code.FAILED_PRECONDITION, "CALLBACK_CLOSED", "the case is closed", facts={"close_reason": "EXPIRED"}
    )
    ran = await callback("set-response", CASE, "--code", "200")
    assert ran.code == 4
    assert ran.errors.splitlines() == [
        "Error: the case is closed (CALLBACK_CLOSED, close_reason EXPIRED)",
        "A closed callback cannot be opened again. Generate a new one.",
    ]


async def test_an_unreachable_server_is_reported_with_advice(unused_port):
    target = f"127.0.0.1:{unused_port}"
    for arguments, environment in ((["--target", target], {}), ([], {"CALLBACK_TARGET": target})):
        ran = await run_callback("list", *arguments, **environment)
        assert (ran.code, ran.output) == (69, "")
        assert f"cannot reach {target}" in ran.errors
        assert "`callback up`" in ran.errors
    ran = await run_callback("list", "--json", "--target", target)
    assert json.loads(ran.errors)["error"]["reason"] == "UNAVAILABLE"


async def test_the_target_option_overrides_the_environment(server, callback, unused_port):
    server.answers["ListCallbacks"] = messages.ListCallbacksResponse()
    ran = await run_callback("list", "--json", "--target", server.address, CALLBACK_TARGET=f"127.0.0.1:{unused_port}")
    assert ran.json == []


async def test_the_web_proxy_is_not_used_for_the_server(server, callback, unused_port):
    server.answers["ListCallbacks"] = messages.ListCallbacksResponse()
    proxy = f"http://127.0.0.1:{unused_port}"
    ran = await callback("list", "--json", http_proxy=proxy, https_proxy=proxy, grpc_proxy=proxy, no_proxy="")
    assert ran.json == []
