"""Each command sends its request, prints the result, and ends with the right exit code."""

from datetime import UTC, datetime, timedelta

import grpc
import pytest
from support.clients import (
    CALL,
    CALL_JSON,
    CALLBACK_JSON,
    CASE,
    CREATED,
    DELIVERY,
    DELIVERY_JSON,
    STATE,
    call_message,
    callback_message,
    timestamp,
)

from callback._converters import call_from_proto
from callback.v1 import callback_handler_service_pb2 as handler
from callback.v1 import callback_pb2 as resources
from callback.v1 import callbacks_service_pb2 as messages

Code = grpc.StatusCode

URL = f"http://127.0.0.1:8080/cb/{STATE}"


@pytest.fixture
def generated(server):
    server.answers["GenerateCallbackUrl"] = messages.GenerateCallbackUrlResponse(
        callback_url=URL, callback_state=STATE, callback_case_id=CASE
    )


FIELDS = (
    '[{"name": "amount", "label": "Amount", "kind": "NUMBER", "isRequired": true}, {"name": "note", "label": "Note"}]'
)


async def test_generate_reads_the_fields_of_a_prompt_from_a_file(server, callback, generated, tmp_path):
    (tmp_path / "fields.json").write_text(FIELDS)
    await callback(
        *("generate", "--activity", "record", "--type", "response", "--get-guard", "confirm"),
        *("--prompt-title", "Expenses", "--prompt-fields", tmp_path / "fields.json", "--json"),
    )
    assert [*server.requests[0].prompt.fields] == [
        resources.PromptField(name="amount", label="Amount", kind=resources.FIELD_KIND_NUMBER, is_required=True),
        resources.PromptField(name="note", label="Note", kind=resources.FIELD_KIND_TEXT),
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{}", "it is no list"),
        ('[{"name": "a", "kind": "FIGURE"}]', "kind"),
        ('[{"labl": "a"}]', "labl"),
        ("[", "line 1"),
    ],
)
async def test_generate_refuses_fields_that_the_contract_does_not_know(callback, tmp_path, content, said):
    (tmp_path / "fields.json").write_text(content)
    ran = await callback(
        *("generate", "--activity", "record", "--type", "response", "--get-guard", "confirm"),
        *("--prompt-title", "Expenses", "--prompt-fields", tmp_path / "fields.json"),
    )
    assert (ran.code, "--prompt-fields" in ran.errors, said in ran.errors) == (2, True, True)


async def test_generate_sends_every_option(server, callback, generated):
    ran = await callback(
        *("generate", "--activity", "order-paid", "--type", "response", "--redirect-url", "/later", "--body", "één"),
        *("--code", "201", "--header", "x-a=1", "--header", "X-A=2=3", "--param", "state", "--retryable", "--multiple"),
        *("--domain", "https://pay.example", "--activity-case", "1:142:432", "--request-id", "order 5"),
        *("--ttl", "1h30m", "--label", "order=5", "--label", "a=b=c"),
        *("--verification-profile", "github", "--get-guard", "detect", "--answer-mode", "ack", "--ordered"),
        *("--answer-deadline", "2s500ms", "--fallback-body", "later", "--fallback-code", "202"),
        *("--fallback-header", "x-b=3", "--hold-time", "2h", "--json"),
        *("--prompt-title", "Go on?", "--prompt-text", "Sure?", "--choice", "yes=Yes, I do", "--choice", "no=No"),
        *("--closed-redirect-url", "/done", "--repeat-window", "5m", "--no-repeat"),
        *("--remind-after", "3d", "--remind-after", "6d", "--notify", "reminder", "--notify", "expiry"),
        *("--allowed-origin", "https://shop.example", "--allowed-origin", "http://localhost:3000"),
        *("--frame-origin", "https://shop.example"),
    )
    assert ran.json == {"callbackUrl": URL, "callbackState": STATE, "callbackCaseId": CASE, "warnings": []}
    expected = messages.GenerateCallbackUrlRequest(
        callback_activity="order-paid",
        callback_activity_case="1:142:432",
        state_query_parameter="state",
        retryable_after_error=True,
        allow_multiple_calls=True,
        alternative_domain="https://pay.example",
        allowed_origins=["https://shop.example", "http://localhost:3000"],
        frame_origins=["https://shop.example"],
        response=resources.Response(
            response_type=resources.RESPONSE_TYPE_RESPONSE,
            response_redirect_url="/later",
            response_body="één".encode(),
            response_code=201,
            response_headers=resources.ResponseHeaders(
                headers=[
                    resources.ResponseHeader(name="x-a", value="1"),
                    resources.ResponseHeader(name="X-A", value="2=3"),
                ]
            ),
        ),
        request_id="order 5",
        labels={"order": "5", "a": "b=c"},
        verification_profile="github",
        get_guard=resources.GET_GUARD_DETECT,
        answer_mode=resources.ANSWER_MODE_ACK,
        ordered=True,
        no_repeat=True,
        fallback=resources.Response(
            response_type=resources.RESPONSE_TYPE_RESPONSE,
            response_body=b"later",
            response_code=202,
            response_headers=resources.ResponseHeaders(headers=[resources.ResponseHeader(name="x-b", value="3")]),
        ),
    )
    expected.answer_deadline.FromMilliseconds(2500)
    expected.hold_time.FromSeconds(7200)
    expected.repeat_window.FromSeconds(300)
    expected.closed_response.CopyFrom(
        resources.Response(response_type=resources.RESPONSE_TYPE_REDIRECT, response_redirect_url="/done")
    )
    expected.prompt.CopyFrom(resources.Prompt(title="Go on?", text="Sure?"))
    expected.prompt.choices.add(value="yes", label="Yes, I do")
    expected.prompt.choices.add(value="no", label="No")
    expected.time_to_live.FromSeconds(5400)
    expected.notify.extend([resources.CALL_REASON_REMINDER, resources.CALL_REASON_EXPIRY])
    for days in (3, 6):
        expected.remind_after.add().FromSeconds(days * 86_400)
    assert server.requests == [expected]


async def test_generate_leaves_other_fields_unset_and_prints_text(server, callback, generated):
    ran = await callback("generate", "--activity", "record", "--type", "redirect", "--redirect-url", "/page/thankyou")
    assert (ran.code, ran.errors) == (0, "")
    assert ran.output == f"  URL    {URL}\n  state  {STATE}\n  case   {CASE}\n"
    assert server.requests == [
        messages.GenerateCallbackUrlRequest(
            callback_activity="record",
            response=resources.Response(
                response_type=resources.RESPONSE_TYPE_REDIRECT, response_redirect_url="/page/thankyou"
            ),
        )
    ]


async def test_generate_for_a_key_without_a_url_shows_the_case_alone(server, callback):
    server.answers["GenerateCallbackUrl"] = messages.GenerateCallbackUrlResponse(callback_case_id=CASE)
    ran = await callback(
        *("generate", "--activity", "record", "--type", "response", "--endpoint", "psp", "--key", "tr_7", "--no-url")
    )
    (sent,) = server.requests
    assert (sent.endpoint, sent.correlation_key, sent.no_url) == ("psp", "tr_7", True)
    assert (ran.code, ran.errors, ran.output) == (0, "", f"  case  {CASE}\n")


async def test_a_callback_shows_its_endpoint_and_key_and_a_call_the_key_of_its_event(server, callback):
    case = callback_message()
    case.endpoint, case.correlation_key = "psp", "tr_7"
    server.answers["GetCallback"] = messages.GetCallbackResponse(callback=case)
    shown = (await callback("get", CASE)).output
    assert "psp" in shown
    assert "tr_7" in shown
    call = call_message()
    call.correlation_key = "tr_8"
    server.answers["GetCall"] = messages.GetCallResponse(call=call)
    assert "tr_8" in (await callback("call", CALL)).output


async def test_generate_shows_the_expiry_and_prints_warnings_on_standard_error(server, callback, generated):
    made = server.answers["GenerateCallbackUrl"]
    made.expire_time.FromJsonString("2026-12-01T10:00:00Z")
    made.warnings.add(reason=messages.WARNING_REASON_ACTIVITY_NOT_SERVED, text="no worker serves it")
    ran = await callback("generate", "--activity", "late", "--type", "response")
    assert (ran.code, ran.errors) == (0, "Warning: no worker serves it\n")
    assert "expires  2026-12-01" in ran.output
    ran = await callback("generate", "--activity", "late", "--type", "response", "--json")
    assert ran.json["expireTime"] == "2026-12-01T10:00:00Z"
    assert ran.json["warnings"] == [{"reason": "ACTIVITY_NOT_SERVED", "text": "no worker serves it"}]


async def test_a_body_is_read_from_a_file_or_standard_input_unchanged(server, callback, generated, tmp_path):
    body = bytes(range(256)) + b"\r\n"
    (tmp_path / "body").write_bytes(body)
    for source, stdin in ((tmp_path / "body", b""), ("-", body)):
        ran = await callback(
            "generate", "--activity", "record", "--type", "response", "--body-file", str(source), stdin=stdin
        )
        assert ran.code == 0, ran
        assert server.requests.pop().response.response_body == body


async def test_set_response_sends_only_given_attributes(server, callback):
    server.answers["SetResponse"] = messages.SetResponseResponse(callback=callback_message())
    ran = await callback("set-response", CASE, "--code", "503", "--body", "", "--json")
    assert ran.json == CALLBACK_JSON
    [request] = server.requests
    assert request.callback_case_id == CASE
    assert request.response == resources.Response(response_code=503, response_body=b"")
    assert list(request.update_mask.paths) == ["response_body", "response_code"]


async def test_set_response_can_reset_attributes(server, callback):
    server.answers["SetResponse"] = messages.SetResponseResponse(callback=callback_message())
    resets = [part for name in ("redirect-url", "header", "body") for part in ("--reset", name)]
    assert (await callback("set-response", CASE, "--code", "503", *resets, "--json")).json == CALLBACK_JSON
    [request] = server.requests
    assert request.response == resources.Response(response_code=503)
    assert sorted(request.update_mask.paths) == [
        *("response_body", "response_code", "response_headers", "response_redirect_url")
    ]


ACCEPTED, REJECTED = handler.VERDICT_ACCEPTED, handler.VERDICT_REJECTED


@pytest.mark.parametrize(
    ("arguments", "fields"),
    [
        ([], {"verdict": ACCEPTED}),
        (["--body", "hi"], {"verdict": ACCEPTED, "response": resources.Response(response_body=b"hi")}),
        (["--keep-open"], {"verdict": ACCEPTED, "keep_open": True}),
        (["--close"], {"verdict": ACCEPTED, "close": True}),
        (["--no-repeat"], {"verdict": ACCEPTED, "no_repeat": True}),
        (["--reject", "--no-repeat"], {"verdict": REJECTED, "no_repeat": True}),
        (["--reject"], {"verdict": REJECTED}),
        (["--reject", "--code", "400"], {"verdict": REJECTED, "response": resources.Response(response_code=400)}),
    ],
)
async def test_answer_answers_a_held_call(server, callback, arguments, fields):
    server.answers["AnswerCall"] = messages.AnswerCallResponse(callback=callback_message(), call=call_message())
    server.answers["GetCallback"] = messages.GetCallbackResponse(callback=callback_message())
    ran = await callback("answer", CALL, *arguments, "--json")
    assert ran.json == CALL_JSON
    assert server.requests[0] == messages.AnswerCallRequest(call_id=CALL, **fields)


@pytest.mark.parametrize(
    ("arguments", "fields"),
    [
        ([], {"verdict": ACCEPTED}),
        (["--body", "hi"], {"verdict": ACCEPTED, "response": resources.Response(response_body=b"hi")}),
        (["--reject", "--code", "400"], {"verdict": REJECTED, "response": resources.Response(response_code=400)}),
        (["--no-repeat"], {"verdict": ACCEPTED, "no_repeat": True}),
        (["--reject", "--no-repeat"], {"verdict": REJECTED, "no_repeat": True}),
    ],
)
async def test_resolve_gives_a_callback_its_answer(server, callback, arguments, fields):
    server.answers["ResolveCallback"] = messages.ResolveCallbackResponse(callback=callback_message(resolved=True))
    ran = await callback("resolve", CASE, *arguments, "--json")
    assert ran.json["resolved"] is True
    assert server.requests == [messages.ResolveCallbackRequest(callback_case_id=CASE, **fields)]


async def test_extend_sets_the_time_from_now(server, callback):
    server.answers["ExtendCallback"] = messages.ExtendCallbackResponse(callback=callback_message())
    before = datetime.now(UTC)
    assert (await callback("extend", CASE, "--ttl", "7d", "--json")).json == CALLBACK_JSON
    [request] = server.requests
    at = request.expire_time.ToDatetime(UTC) - timedelta(days=7)
    assert (request.callback_case_id, before <= at <= datetime.now(UTC)) == (CASE, True)


NOTIFICATION = resources.Call(
    call_id=f"{CASE}-0000000000000001",
    callback_case_id=CASE,
    reason=resources.CALL_REASON_REMINDER,
    start_time=timestamp(CREATED),
    delivery=DELIVERY,
)

NOTIFICATION_JSON = call_from_proto(NOTIFICATION).to_dict(reveal_secrets=True)


async def test_get_shows_the_notifications_of_a_callback(server, callback):
    case = callback_message(notify=[resources.CALL_REASON_REMINDER], notifications=[NOTIFICATION])
    case.remind_after.add().FromSeconds(3600)
    server.answers["GetCallback"] = messages.GetCallbackResponse(callback=case)
    seen = (await callback("get", CASE, "--json")).json
    assert (seen["remindAfter"], seen["notify"], seen["notifications"]) == (
        ["3600s"],
        ["REMINDER"],
        [NOTIFICATION_JSON],
    )
    ran = await callback("get", CASE)
    assert "remind after   1h\n" in ran.output
    assert f"  {NOTIFICATION.call_id}  2026-11-25 09:30:15 UTC  reminder: pending, 3 attempts" in ran.output


async def test_call_shows_a_notification_without_a_request(server, callback):
    server.answers["GetCall"] = messages.GetCallResponse(call=NOTIFICATION)
    server.answers["GetCallback"] = messages.GetCallbackResponse(callback=callback_message())
    assert (await callback("call", NOTIFICATION.call_id, "--json")).json == NOTIFICATION_JSON
    ran = await callback("call", NOTIFICATION.call_id)
    assert ran.output.startswith(f"Notification {NOTIFICATION.call_id}\n")
    assert "Request" not in ran.output
    assert "unknown" not in ran.output


async def test_replay_prints_the_call_with_its_delivery(server, callback):
    server.answers["ReplayCall"] = messages.ReplayCallResponse(call=call_message(delivery=DELIVERY))
    server.answers["GetCallback"] = messages.GetCallbackResponse(callback=callback_message())
    assert (await callback("replay", CALL, "--json")).json == CALL_JSON | {"delivery": DELIVERY_JSON}
    assert server.requests[0] == messages.ReplayCallRequest(call_id=CALL)
    ran = await callback("replay", CALL)
    assert "delivery  pending, 3 attempts, next at 2026-11-25 09:30:15 UTC: handler error - the handler failed" in (
        " ".join(ran.output.split()).replace("delivery ", "delivery  ")
    )


async def test_a_waiting_delivery_shows_what_it_waits_for(server, callback):
    server.answers["GetCallback"] = messages.GetCallbackResponse(callback=callback_message())
    for more, shown in (
        ({"next_attempt_time": timestamp(CREATED)}, "pending, 1 attempt, next at 2026-11-25 09:30:15 UTC"),
        ({"next_attempt_time": timestamp(CREATED), "paused": True}, "paused, 1 attempt"),
        ({}, "pending, 1 attempt, after an earlier call of its callback"),
        ({"paused": True}, "paused, 1 attempt, after an earlier call of its callback"),
    ):
        delivery = resources.Delivery(status=resources.DELIVERY_STATUS_PENDING, attempts=1, **more)
        server.answers["GetCall"] = messages.GetCallResponse(call=call_message(delivery=delivery))
        server.answers["ListCalls"] = messages.ListCallsResponse(calls=[call_message(delivery=delivery)])
        lines = [line.split(None, 1) for line in (await callback("call", CALL)).output.splitlines()]
        assert ["delivery", shown] in lines
        assert (await callback("calls", CASE)).output.rstrip().endswith(f"  {shown}")
        assert (await callback("call", CALL, "--json")).json["delivery"]["paused"] is delivery.paused


@pytest.mark.parametrize(("count", "words"), [(0, "0 calls"), (1, "1 call"), (7, "7 calls")])
async def test_erase_prints_how_many_calls_it_erased(server, callback, count, words):
    server.answers["EraseCalls"] = messages.EraseCallsResponse(erased_call_count=count)
    ran = await callback("erase", CASE, "--yes")
    assert (ran.code, ran.output) == (0, f"Erased the recorded content of {words}.\n")
    assert (await callback("erase", CASE, "--yes", "--json")).json == {"erasedCallCount": count}
    assert server.requests == [messages.EraseCallsRequest(callback_case_id=CASE)] * 2


async def test_erase_requires_yes_without_a_terminal(server, callback):
    ran = await callback("erase", CASE, stdin=b"y\n")
    assert (ran.code, ran.output, server.requests) == (2, "", [])
    assert "There is no terminal to ask for confirmation. Use --yes to erase." in ran.errors


@pytest.mark.parametrize(("command", "method"), [("get", "GetCallback"), ("close", "CloseCallback")])
async def test_get_and_close_print_the_case(server, callback, command, method):
    server.answers[method] = getattr(messages, f"{method}Response")(callback=callback_message())
    ran = await callback(command, CASE, "--json")
    assert ran.json == CALLBACK_JSON
    assert server.requests == [getattr(messages, f"{method}Request")(callback_case_id=CASE)]
    ran = await callback(command, CASE)
    assert ran.code == 0
    assert f"Callback {CASE}\n" in ran.output
    assert "redirect to /page/thankyou" in ran.output


async def test_a_body_that_is_not_utf_8_is_sent_unchanged(server, callback, generated):
    ran = await callback("generate", "--activity", "record", "--type", "response", "--body", b"\xff")
    assert ran.code == 0
    assert server.requests.pop().response.response_body == b"\xff"


async def test_call_prints_all_of_a_call(server, callback):
    server.answers["GetCall"] = messages.GetCallResponse(call=call_message())
    server.answers["GetCallback"] = messages.GetCallbackResponse(callback=callback_message())
    assert (await callback("call", CALL, "--json")).json == CALL_JSON
    assert server.requests[0] == messages.GetCallRequest(call_id=CALL)
    assert (await callback("call", CALL)).output.startswith(f"Call {CALL}\n")
