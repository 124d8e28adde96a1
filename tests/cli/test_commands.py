"""Each command sends its request, prints the result, and ends with the right exit code."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from support.clients import (
    CALL,
    CASE,
    CREATED,
    STATE,
    Refusal,
    call_message,
    callback_message,
    run_callback,
    timestamp,
)
from support.terminal import run_on_terminal

from callback.v1 import callback_handler_service_pb2 as handler
from callback.v1 import callback_pb2 as resources
from callback.v1 import callbacks_service_pb2 as messages

Code = grpc.StatusCode
URL = f"http://127.0.0.1:8080/cb/{STATE}"

CALLBACK_JSON = {
    "callbackCaseId": CASE,
    "owner": "local",
    "status": "OPEN",
    "callbackActivity": "order-paid",
    "callbackActivityCase": "1:142:432",
    "stateQueryParameter": "",
    "retryableAfterError": False,
    "allowMultipleCalls": False,
    "alternativeDomain": "",
    "response": {"responseType": "REDIRECT", "responseRedirectUrl": "/page/thankyou"},
    "labels": {"order": "5"},
    "createTime": "2026-11-25T09:30:15.250Z",
    "callCount": 3,
    "verificationProfile": "",
    "getGuard": "OFF",
    "answerMode": "HANDLER",
    "ordered": False,
    "resolved": False,
    "repeatWindow": "0s",
    "noRepeat": False,
    "remindAfter": [],
    "notify": [],
    "notifications": [],
}
CALL_JSON = {
    "callId": CALL,
    "callbackCaseId": CASE,
    "reason": "CALL",
    "status": "SUCCEEDED",
    "failureDetail": "",
    "attempt": 1,
    "requestMethod": "post",
    "requestHeaders": {"content-type": "application/json", "x-trace": ["a", "b"]},
    "requestQuery": {"id": "5", "status": "ok"},
    "requestQueryString": "id=5&status=ok",
    "requestBody": '{"paid": true}',
    "requestBodySize": 14,
    "clientAddress": "192.0.2.7",
    "verificationProfile": "",
    "verificationFailure": "",
    "messageId": "",
    "callbackChoice": "",
    "response": {"responseType": "RESPONSE", "responseBody": "ok", "responseCode": 200},
    "keepOpen": False,
    "close": False,
    "erased": False,
    "startTime": "2026-11-25T09:30:15.250Z",
    "endTime": "2026-11-25T09:30:15.262Z",
    "fallbackSent": False,
    "callerGone": False,
    "repeatCount": 0,
    "answeredBy": "",
}


@pytest.fixture
def generated(server):
    server.answers["GenerateCallbackUrl"] = messages.GenerateCallbackUrlResponse(
        callback_url=URL, callback_state=STATE, callback_case_id=CASE
    )


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
    )
    assert ran.json == {"callbackUrl": URL, "callbackState": STATE, "callbackCaseId": CASE}
    expected = messages.GenerateCallbackUrlRequest(
        callback_activity="order-paid",
        callback_activity_case="1:142:432",
        state_query_parameter="state",
        retryable_after_error=True,
        allow_multiple_calls=True,
        alternative_domain="https://pay.example",
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


async def test_generate_shows_the_expiry_and_prints_warnings_on_standard_error(server, callback, generated):
    made = server.answers["GenerateCallbackUrl"]
    made.expire_time.FromJsonString("2026-12-01T10:00:00Z")
    made.warnings.add(reason=messages.WARNING_REASON_ACTIVITY_NOT_SERVED, text="no worker serves it")
    ran = await callback("generate", "--activity", "late", "--type", "response")
    assert (ran.code, ran.errors) == (0, "Warning: no worker serves it\n")
    assert "expires  2026-12-01" in ran.output
    ran = await callback("generate", "--activity", "late", "--type", "response", "--json")
    assert ran.json["expireTime"] == "2026-12-01T10:00:00.000Z"
    assert ran.json["warnings"] == [{"reason": "ACTIVITY_NOT_SERVED", "text": "no worker serves it"}]


async def test_activities_lists_who_serves_what_and_what_waits(server, callback):
    server.answers["ListActivities"] = messages.ListActivitiesResponse(
        activities=[
            messages.Activity(callback_activity="late", kind=messages.ACTIVITY_KIND_WORKERS, open_callback_count=2),
            messages.Activity(
                callback_activity="paid", kind=messages.ACTIVITY_KIND_WORKERS, worker_count=3, delivery_count=7,
                paused=True,
            ),
            messages.Activity(
                callback_activity="person", kind=messages.ACTIVITY_KIND_WORKERS, notification_worker_count=1
            ),
            messages.Activity(callback_activity="pushed", kind=messages.ACTIVITY_KIND_PUSH),
            messages.Activity(callback_activity="record", kind=messages.ACTIVITY_KIND_BUILT_IN),
        ]
    )  # fmt: skip
    ran = await callback("activities", "--owner", "orders")
    assert [line.split() for line in ran.output.splitlines()] == [
        ["ACTIVITY", "SERVED", "BY", "OPEN", "DELIVERIES"],
        ["late", "nothing", "2", "0"],
        ["paid", "3", "workers", "0", "7", "(paused)"],
        ["person", "1", "worker", "(notifications)", "0", "0"],
        ["pushed", "a", "target", "0", "0"],
        ["record", "the", "server", "0", "0"],
    ]
    assert server.requests == [messages.ListActivitiesRequest(owner="orders")]
    ran = await callback("activities", "--json")
    assert ran.json[1] == {
        "callbackActivity": "paid", "kind": "WORKERS", "workerCount": 3, "paused": True, "deliveryCount": 7,
        "openCallbackCount": 0, "notificationWorkerCount": 0,
    }  # fmt: skip


async def test_statistics_shows_the_calls_of_the_last_hour_and_what_waits(server, callback):
    stage = {"stage": "claim", "count": 3, "median": timedelta(milliseconds=1.5), "p95": timedelta(seconds=2)}
    failed = {"call_status": resources.CALL_STATUS_FAILED, "call_failure": resources.CALL_FAILURE_HANDLER_LOST}
    succeeded = {"call_status": resources.CALL_STATUS_SUCCEEDED, "count": 1}
    first = {"start_time": CREATED, "duration": timedelta(minutes=1), "outcomes": [{**failed, "count": 1}, succeeded]}
    server.answers["GetStatistics"] = messages.GetStatisticsResponse(
        minutes=[first, {"outcomes": [succeeded], "refusals": [{"reason": "STATE_UNKNOWN", "count": 1_234}]}],
        stages=[stage],
        owners=[{"owner": "orders\x1b", "open_callback_count": 5}],
        work={"delivery_count": 7, "delivery_delay": timedelta(seconds=90)},
    )
    ran = await callback("statistics")
    assert [line.split() for line in ran.output.splitlines() if line] == [
        ["CALLS", "OF", "THE", "LAST", "HOUR", "FAILURE", "COUNT"],
        ["succeeded", "2"],
        ["failed", "handler", "lost", "1"],
        ["REFUSED", "REQUESTS", "COUNT"],
        ["STATE_UNKNOWN", "1,234"],
        ["STAGE", "COUNT", "MEDIAN", "95", "%", "99", "%"],
        ["claim", "3", "2", "ms", "2.0", "s", "0", "ms"],
        ["OWNER", "OPEN", "CALLBACKS", "WAITING", "CALLS", "DEAD", "CALLS"],
        ["orders\\x1b", "5", "0", "0"],
        ["Deliveries", "that", "wait", "or", "run:", "7;", "the", "longest", "overdue", "one", "by", "90.0", "s"],
    ]
    ran = await callback("statistics", "--json")
    assert ran.json["minutes"][0] == {
        "startTime": "2026-11-25T09:30:15.250Z",
        "durationMs": 60_000,
        "outcomes": [
            {"callStatus": "FAILED", "callFailure": "HANDLER_LOST", "count": 1},
            {"callStatus": "SUCCEEDED", "count": 1},
        ],
        "refusals": {},
        "stages": [],
    }
    assert ran.json["stages"] == [{"stage": "claim", "count": 3, "medianMs": 1.5, "p95Ms": 2000, "p99Ms": 0}]
    assert (ran.json["work"]["deliveryCount"], ran.json["work"]["deliveryDelayMs"]) == (7, 90_000)


async def test_callbacks_are_listed_by_their_newest_call_and_age(server, callback):
    server.answers["ListCallbacks"] = messages.ListCallbacksResponse()
    ran = await callback("list", "--last-call", "not_started", "--since", "1h")
    assert ran.code == 0
    [request] = server.requests
    assert request.last_call_status == resources.CALL_STATUS_NOT_STARTED
    assert abs(request.created_after.ToDatetime(UTC) + timedelta(hours=1) - datetime.now(UTC)) < timedelta(minutes=5)


async def test_a_fallback_can_be_a_redirect(server, callback, generated):
    arguments = ["generate", "--activity", "form", "--type", "response", "--answer-deadline", "5s"]
    assert (await callback(*arguments, "--fallback-redirect-url", "/page/wait")).code == 0
    [request] = server.requests
    assert request.fallback == resources.Response(
        response_type=resources.RESPONSE_TYPE_REDIRECT, response_redirect_url="/page/wait"
    )
    assert request.answer_mode == resources.ANSWER_MODE_UNSPECIFIED


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
        *("response_body", "response_code", "response_headers", "response_redirect_url"),
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


DELIVERY = resources.Delivery(
    status=resources.DELIVERY_STATUS_PENDING,
    attempts=3,
    next_attempt_time=timestamp(CREATED),
    failure=resources.CALL_FAILURE_HANDLER_ERROR,
    failure_detail="the handler failed",
)
DELIVERY_JSON = {
    "status": "PENDING",
    "attempts": 3,
    "nextAttemptTime": "2026-11-25T09:30:15.250Z",
    "failure": "HANDLER_ERROR",
    "failureDetail": "the handler failed",
    "paused": False,
}


NOTIFICATION = resources.Call(
    call_id=f"{CASE}-0000000000000001",
    callback_case_id=CASE,
    reason=resources.CALL_REASON_REMINDER,
    start_time=timestamp(CREATED),
    delivery=DELIVERY,
)
NOTIFICATION_JSON = {
    "callId": NOTIFICATION.call_id,
    "callbackCaseId": CASE,
    "reason": "REMINDER",
    "startTime": "2026-11-25T09:30:15.250Z",
    "delivery": DELIVERY_JSON,
}


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
    assert "reminders      after 3600 s\n" in ran.output
    assert f"  {NOTIFICATION.call_id}  2026-11-25 09:30:15 UTC  reminder: pending, 3 attempts" in ran.output


async def test_call_shows_a_notification_without_a_request(server, callback):
    server.answers["GetCall"] = messages.GetCallResponse(call=NOTIFICATION)
    server.answers["GetCallback"] = messages.GetCallbackResponse(callback=callback_message())
    assert (await callback("call", NOTIFICATION.call_id, "--json")).json == NOTIFICATION_JSON
    ran = await callback("call", NOTIFICATION.call_id)
    assert ran.output.startswith(f"Notification {NOTIFICATION.call_id}\n")
    assert "Request" not in ran.output


async def test_replay_prints_the_call_with_its_delivery(server, callback):
    server.answers["ReplayCall"] = messages.ReplayCallResponse(call=call_message(delivery=DELIVERY))
    server.answers["GetCallback"] = messages.GetCallbackResponse(callback=callback_message())
    assert (await callback("replay", CALL, "--json")).json == CALL_JSON | {"delivery": DELIVERY_JSON}
    assert server.requests[0] == messages.ReplayCallRequest(call_id=CALL)
    ran = await callback("replay", CALL)
    assert "delivery  pending, 3 attempts, next at 2026-11-25 09:30:15 UTC: handler error - the handler failed" in (
        " ".join(ran.output.split()).replace("delivery ", "delivery  ")
    )


@pytest.mark.parametrize(("command", "method"), [("pause", "PauseActivity"), ("resume", "ResumeActivity")])
async def test_an_activity_is_paused_and_resumed(server, callback, command, method):
    paused = messages.ListPausedActivitiesResponse(
        paused_activities=[messages.PausedActivity(callback_activity="order-paid")]
    )
    server.answers["ListPausedActivities"] = paused
    server.answers[method] = getattr(messages, f"{method}Response")()
    assert (await callback(command, "order-paid")).output == f"order-paid is {command}d.\n"
    ran = await callback(command, "order-paid", "--json")
    assert ran.json == {"callbackActivity": "order-paid", "paused": command == "pause"}
    asked = [each for each in server.requests if not isinstance(each, messages.ListPausedActivitiesRequest)]
    assert asked == [getattr(messages, f"{method}Request")(callback_activity="order-paid")] * 2


async def test_resuming_an_activity_that_is_not_paused_says_so(server, callback):
    server.answers["ListPausedActivities"] = messages.ListPausedActivitiesResponse()
    server.answers["ResumeActivity"] = messages.ResumeActivityResponse()
    assert (await callback("resume", "order-piad")).output == "order-piad was not paused.\n"


async def test_paused_activities_are_listed(server, callback):
    server.answers["ListPausedActivities"] = messages.ListPausedActivitiesResponse()
    assert (await callback("paused")).output == "No activity is paused.\n"
    assert (await callback("paused", "--json")).json == []
    why = {"principal": "alice", "reason": "down\x1b", "pause_time": timestamp(CREATED)}
    server.answers["ListPausedActivities"] = messages.ListPausedActivitiesResponse(
        paused_activities=[
            messages.PausedActivity(callback_activity="a", **why),
            messages.PausedActivity(callback_activity="b\x1b"),
        ]
    )
    shown = [line.split() for line in (await callback("paused")).output.splitlines()]
    assert shown == [
        ["ACTIVITY", "PAUSED", "BY", "REASON"],
        ["a", "2026-11-25", "09:30:15", "UTC", "alice", "down\\x1b"],
        ["b\\x1b"],
    ]
    ran = await callback("paused", "--json")
    assert ran.json == [
        {"callbackActivity": "a", "paused": True, "principal": "alice", "reason": "down\x1b",
         "pauseTime": "2026-11-25T09:30:15.250Z"},
        {"callbackActivity": "b\x1b", "paused": True, "principal": "", "reason": ""},
    ]  # fmt: skip


async def test_an_activity_is_paused_with_a_reason(server, callback):
    server.answers["PauseActivity"] = messages.PauseActivityResponse()
    assert (await callback("pause", "order-paid", "--reason", "down")).code == 0
    assert server.requests == [messages.PauseActivityRequest(callback_activity="order-paid", reason="down")]


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


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["list", "--waiting"], messages.CALL_FILTER_WAITING),
        (["calls", "--dead"], messages.CALL_FILTER_DEAD),
    ],
)
async def test_waiting_and_dead_calls_are_listed_across_cases(server, callback, arguments, asked):
    other = "1" * 32
    secret = call_message(
        callback_case_id=other,
        request_query=[resources.QueryParameter(name="shop", value=STATE)],
        request_query_string=f"shop={STATE}",
        delivery=DELIVERY,
    )
    server.answers["ListOwnerCalls"] = messages.ListOwnerCallsResponse(calls=[call_message(), secret])

    async def case(request):
        parameter = "shop" if request.callback_case_id == other else ""
        return messages.GetCallbackResponse(callback=callback_message(state_query_parameter=parameter))

    server.answers["GetCallback"] = case
    ran = await callback(*arguments, "--owner", "orders", "--json", "--mask-secrets")
    assert [each["callbackCaseId"] for each in ran.json] == [CASE, other]
    assert ran.json[1]["delivery"] == DELIVERY_JSON
    assert STATE not in ran.output  # by the parameter of its own case
    assert (server.requests[0].filter, server.requests[0].owner) == (asked, "orders")
    ran = await callback(*arguments)
    assert ran.output.count(CALL) == ran.output.count("order-paid") == 2
    assert "DELIVERY" in ran.output


async def test_waiting_calls_are_listed_up_to_the_limit(server, callback):
    server.answers["GetCallback"] = messages.GetCallbackResponse(callback=callback_message())
    server.answers["ListOwnerCalls"] = messages.ListOwnerCallsResponse(calls=[call_message()] * 3)
    ran = await callback("list", "--waiting", "--limit", "2")
    assert (ran.code, ran.output.count(CALL)) == (0, 2)
    assert ran.errors == "There are more. Use a higher --limit to list them.\n"


async def test_a_beginning_of_several_ids_is_refused_and_one_of_none_is_not_found(server, callback):
    ids = [CASE[:8] + "0" * 24, CASE[:8] + "1" * 24]
    server.answers["ListCallbacks"] = messages.ListCallbacksResponse(
        callbacks=[callback_message(callback_case_id=each) for each in ids]
    )
    ran = await callback("get", CASE[:8])
    assert (ran.code, ran.output) == (2, "")
    assert f"{CASE[:8]} is not unique: {', '.join(ids)}" in ran.errors
    ran = await callback("get", "abcdef")
    assert (ran.code, ran.errors) == (3, "Error: none of the newest 10,000 begins with abcdef\n")


async def test_a_short_beginning_is_refused_where_more_callbacks_exist_than_a_search_looks_at(server, callback):
    listed = [callback_message(callback_case_id=CASE)]
    listed += [callback_message(callback_case_id=f"{number:032x}") for number in range(10_000)]
    server.answers["ListCallbacks"] = messages.ListCallbacksResponse(callbacks=listed)
    server.answers["CloseCallback"] = messages.CloseCallbackResponse(callback=callback_message())
    ran = await callback("close", CASE[:8])
    assert ran.code == 2
    assert "use at least 12 digits of the id" in ran.errors
    assert not [each for each in server.requests if isinstance(each, messages.CloseCallbackRequest)]
    assert (await callback("close", CASE[:12])).code == 0


async def test_a_call_is_found_by_the_beginnings_of_its_parts(server, callback):
    server.answers["ListCallbacks"] = messages.ListCallbacksResponse(callbacks=[callback_message()])
    server.answers["GetCallback"] = messages.GetCallbackResponse(callback=callback_message())
    server.answers["ListCalls"] = messages.ListCallsResponse(
        calls=[call_message(), call_message(call_id=f"{CASE}-{'f' * 16}")]
    )
    server.answers["GetCall"] = messages.GetCallResponse(call=call_message())
    for given in (f"{CASE[:8]}-0123", f"{CASE}-0123", f"{CASE[:8]}-{CALL[33:]}"):
        assert (await callback("call", given)).code == 0
        assert [each.call_id for each in server.requests if hasattr(each, "call_id")][-1] == CALL, given


async def test_calls_are_searched_across_callbacks_by_outcome_reason_and_time(server, callback):
    def failed(number, **changes):
        return call_message(
            call_id=f"{CASE}-{number:016}", status=resources.CALL_STATUS_FAILED,
            failure=resources.CALL_FAILURE_HANDLER_LOST, **changes,
        )  # fmt: skip

    now = datetime.now(UTC)
    new, old = timestamp(now - timedelta(minutes=5)), timestamp(now - timedelta(hours=3))
    server.answers["ListCallbacks"] = messages.ListCallbacksResponse(callbacks=[callback_message()])
    server.answers["GetCallback"] = messages.GetCallbackResponse(callback=callback_message())
    server.answers["ListCalls"] = messages.ListCallsResponse(
        calls=[call_message(start_time=new), failed(1, start_time=old), failed(2, start_time=new)]
    )

    async def numbers(*arguments):
        return [each["callId"][-1] for each in (await callback("calls", *arguments, "--json")).json]

    assert await numbers("--label", "customer=acme", "--failed") == ["2", "1"]
    assert server.requests[0].labels == {"customer": "acme"}
    assert await numbers("--failed", "--since", "1h") == ["2"]
    assert await numbers("--reason", "handler_lost") == ["2", "1"]
    assert await numbers("--reason", "handler_error") == []
    assert await numbers(CASE, "--status", "succeeded") == ["f"]
    ran = await callback("calls", "--failed", "--limit", "1", "--format", "{callId} {failure}")
    assert ran.output == f"{CASE}-{2:016} HANDLER_LOST\n"
    assert ran.errors == "There are more. Use a higher --limit to list them.\n"
    assert [
        each["callbackCaseId"] for each in (await callback("list", "--reason", "handler_lost", "--json")).json
    ] == []
    server.answers["ListCalls"].calls.insert(0, failed(3))
    ran = await callback("list", "--failed", "--reason", "handler_lost")
    assert f"{CASE}  open    " in ran.output
    assert "  failed  order-paid" in ran.output


@pytest.mark.parametrize("dropped_at", ["ListCalls", "GetCallback"])
async def test_a_callback_that_is_dropped_while_calls_are_searched_is_left_out(server, callback, dropped_at):
    other = "ab" * 16
    answers = {
        "ListCalls": lambda case: messages.ListCallsResponse(
            calls=[
                call_message(call_id=f"{case}-{'1' * 16}", callback_case_id=case, status=resources.CALL_STATUS_FAILED)
            ]
        ),
        "GetCallback": lambda case: messages.GetCallbackResponse(callback=callback_message(callback_case_id=case)),
    }

    def answer(name):
        async def one(request):
            if name == dropped_at and request.callback_case_id == other:
                return Refusal(Code.NOT_FOUND, "CALLBACK_NOT_FOUND")
            return answers[name](request.callback_case_id)

        return one

    server.answers |= {name: answer(name) for name in answers}
    server.answers["ListCallbacks"] = messages.ListCallbacksResponse(
        callbacks=[callback_message(callback_case_id=case) for case in (other, CASE)]
    )
    found = (await callback("calls", "--failed", "--json")).json
    assert [each["callId"] for each in found] == [f"{CASE}-{'1' * 16}"]
    ran = await callback("list")
    assert (ran.code, ran.output.count("order-paid")) == (0, 2)


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


async def test_list_filters_by_labels_and_owner(server, callback):
    server.answers["ListCallbacks"] = messages.ListCallbacksResponse()
    ran = await callback(
        "list", "--label", "order=5", "--label", "a=b=c", "--owner", "orders", "--limit", "5", "--json"
    )
    assert ran.json == []
    assert server.requests == [
        messages.ListCallbacksRequest(page_size=6, labels={"order": "5", "a": "b=c"}, owner="orders")
    ]


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


async def test_a_closed_case_has_its_reason_and_times(server, callback):
    server.answers["GetCallback"] = messages.GetCallbackResponse(
        callback=callback_message(
            status=resources.CALLBACK_STATUS_CLOSED,
            close_reason=resources.CLOSE_REASON_CONSUMED,
            close_time=timestamp(CREATED + timedelta(seconds=1)),
            expire_time=timestamp(CREATED + timedelta(days=1)),
        )
    )
    assert (await callback("get", CASE, "--json")).json == CALLBACK_JSON | {
        "status": "CLOSED",
        "closeReason": "CONSUMED",
        "closeTime": "2026-11-25T09:30:16.250Z",
        "expireTime": "2026-11-26T09:30:15.250Z",
    }


async def test_list_prints_all_pages_up_to_the_limit_and_reports_more(server, callback):
    def pages():
        return [
            messages.ListCallbacksResponse(callbacks=[callback_message()] * 2, next_page_token="a"),
            messages.ListCallbacksResponse(callbacks=[callback_message()]),
        ]

    server.answers["ListCallbacks"] = pages()
    ran = await callback("list", "--status", "OPEN", "--activity", "order-paid", "--json")
    assert ran.json == [CALLBACK_JSON] * 3
    assert server.requests[0] == messages.ListCallbacksRequest(
        page_size=1000, status=resources.CALLBACK_STATUS_OPEN, callback_activity="order-paid"
    )

    server.answers["ListCallbacks"] = pages()
    ran = await callback("list", "--limit", "2", "--json")
    assert json.loads(ran.output) == [CALLBACK_JSON] * 2
    assert (ran.code, ran.errors) == (0, "There are more. Use a higher --limit to list them.\n")

    for limit, more in ((2, True), (3, False)):
        server.answers["ListCallbacks"] = pages()
        ran = await callback("list", "--limit", str(limit))
        assert (ran.code, bool(ran.errors)) == (0, more)
        assert ran.output.count(CASE) == limit


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [["list"], ["list", "--json"], ["--help"]])
async def test_output_that_cannot_be_written_is_reported_on_one_line(server, arguments, unbuffered):
    server.answers["ListCallbacks"] = messages.ListCallbacksResponse(callbacks=[callback_message()])
    with open("/dev/full", "wb") as full:  # noqa: ASYNC230, PTH123  # a device, not a file
        program = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "callback_cli", *arguments,
            stdout=full, stderr=PIPE,
            env=os.environ | {"CALLBACK_TARGET": server.address, "PYTHONUNBUFFERED": unbuffered},
        )  # fmt: skip
    _, errors = await asyncio.wait_for(program.communicate(), 120)
    assert program.returncode == 1
    assert errors == b"Error: cannot write the output: No space left on device\n"


@pytest.mark.parametrize("arguments", [["list"], ["list", "--json"], ["--help"]])
async def test_closed_output_is_reported_on_one_line(server, arguments):
    server.answers["ListCallbacks"] = messages.ListCallbacksResponse(callbacks=[callback_message()])
    program = await asyncio.create_subprocess_exec(
        "sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "callback_cli", *arguments,
        stderr=PIPE, env=os.environ | {"CALLBACK_TARGET": server.address},
    )  # fmt: skip
    _, errors = await asyncio.wait_for(program.communicate(), 120)
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
    _, errors = await asyncio.wait_for(program.communicate(), 120)
    assert (program.returncode, errors) == (1, b"")


async def test_no_line_of_grpc_itself_reaches_the_terminal(callback, monkeypatch):
    monkeypatch.delenv("GRPC_VERBOSITY", raising=False)
    ran = await callback("list", "--target", "ipv4:nowhere:1")
    assert ran.code == 1
    assert ran.errors.count("\n") == 1
    assert ran.errors.startswith("Error: ipv4:nowhere")


async def test_a_body_that_is_not_utf_8_is_sent_unchanged(server, callback, generated):
    ran = await callback("generate", "--activity", "record", "--type", "response", "--body", b"\xff")
    assert ran.code == 0
    assert server.requests.pop().response.response_body == b"\xff"


async def test_empty_lists_print_an_empty_array_or_a_sentence(server, callback):
    server.answers["ListCallbacks"] = messages.ListCallbacksResponse()
    server.answers["ListCalls"] = messages.ListCallsResponse()
    assert (await callback("list", "--json")).json == []
    assert (await callback("list")).output == "No callbacks.\n"
    assert (await callback("calls", CASE, "--json")).json == []
    assert (await callback("calls", CASE)).output == "No calls.\n"


async def test_calls_prints_an_array_without_the_bodies_that_a_list_leaves_out(server, callback):
    call = call_message()
    call.ClearField("request_body")
    call.response.response_body = b""  # the message exists, because the server keeps the field
    server.answers["GetCallback"] = messages.GetCallbackResponse(callback=callback_message())
    server.answers["ListCalls"] = [
        messages.ListCallsResponse(calls=[call], next_page_token="a"),
        messages.ListCallsResponse(calls=[call]),
    ]
    listed = {name: value for name, value in CALL_JSON.items() if name != "requestBody"}
    listed["response"] = {"responseType": "RESPONSE", "responseCode": 200}
    assert (await callback("calls", CASE, "--json")).json == [listed] * 2


async def test_call_prints_all_of_a_call(server, callback):
    server.answers["GetCall"] = messages.GetCallResponse(call=call_message())
    server.answers["GetCallback"] = messages.GetCallbackResponse(callback=callback_message())
    assert (await callback("call", CALL, "--json")).json == CALL_JSON
    assert server.requests[0] == messages.GetCallRequest(call_id=CALL)
    ran = await callback("call", CALL)
    assert ran.code == 0
    for part in (
        f"Call {CALL}\n",
        "POST ?id=5&status=ok\n",
        "x-trace: b\n",
        '\n  {"paid": true}\n',
        "\n  200\n",
        "  ok\n",
    ):
        assert part in ran.output


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
    server.answers |= {
        "GetCallback": messages.GetCallbackResponse(callback=case),
        "SetResponse": messages.SetResponseResponse(callback=case),
        "CloseCallback": messages.CloseCallbackResponse(callback=case),
        "ResolveCallback": messages.ResolveCallbackResponse(callback=case),
        "ExtendCallback": messages.ExtendCallbackResponse(callback=case),
        "ListCallbacks": messages.ListCallbacksResponse(callbacks=[case]),
        "GetCall": messages.GetCallResponse(call=call),
        "AnswerCall": messages.AnswerCallResponse(callback=case, call=call),
        "ReplayCall": messages.ReplayCallResponse(call=call),
        "ListCalls": messages.ListCallsResponse(calls=[call]),
        "ListOwnerCalls": messages.ListOwnerCallsResponse(calls=[call]),
    }
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


async def test_a_reader_that_goes_away_causes_no_traceback(server):
    server.answers["ListCallbacks"] = messages.ListCallbacksResponse(callbacks=[callback_message()] * 900)
    program = await asyncio.create_subprocess_shell(
        f"{sys.executable} -m callback_cli list --target {server.address} | head -1",
        stdout=PIPE,
        stderr=PIPE,
    )
    output, errors = await program.communicate()
    assert output.startswith(b"CASE")
    assert errors == b""
