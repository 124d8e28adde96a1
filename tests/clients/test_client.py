"""Requests and results of both clients: plain values in both directions."""

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta

import grpc
import pytest
from support.clients import (
    CALL,
    CASE,
    CREATED,
    DELIVERY,
    STATE,
    Refusal,
    call_message,
    callback_message,
    scripted_server,
    timestamp,
)
from support.wait import wait_until

from callback import (
    Accept,
    Activity,
    ActivityKind,
    AnswerMode,
    CallbackClient,
    CallbackError,
    CallbackStatus,
    CallbackWarning,
    CallFailure,
    CallFilter,
    CallStatus,
    CloseReason,
    Delivery,
    DeliveryStatus,
    Finding,
    FindingLevel,
    Findings,
    GetGuard,
    Headers,
    InvalidRequestError,
    OutcomeCount,
    OwnerStatistics,
    PausedActivity,
    Prompt,
    Query,
    Redirect,
    RefusalCount,
    Reject,
    Response,
    ResponseType,
    StageDuration,
    UnavailableError,
    WarningReason,
    WorkStatistics,
)
from callback._converters import response_to_proto
from callback.v1 import callback_handler_service_pb2 as handler
from callback.v1 import callback_pb2 as resources
from callback.v1 import callbacks_service_pb2 as messages
from callback.v1 import operations_service_pb2 as operations


async def test_generate_sends_every_argument_and_returns_the_url_its_state_and_the_case(server, client):
    server.answers["GenerateCallbackUrl"] = messages.GenerateCallbackUrlResponse(
        callback_url=f"https://pay.example/cbq/state?state={STATE}", callback_state=STATE, callback_case_id=CASE
    )
    generated = await client.generate_callback_url(
        "order-paid",
        Response("thank you", code=201, headers={"x-a": ["1", "2"]}, redirect_url="/later"),
        activity_case="1:142:432",
        state_query_parameter="state",
        retryable_after_error=True,
        allow_multiple_calls=True,
        alternative_domain="https://pay.example",
        request_id="order 5",
        time_to_live=timedelta(hours=1, milliseconds=500),
        labels={"order": "5"},
        verification_profile="github",
        get_guard=GetGuard.DETECT,
        answer_mode=AnswerMode.ACK,
        answer_deadline=timedelta(milliseconds=2500),
        hold_time=timedelta(hours=1),
        prompt=Prompt("Go on?", "Sure?", {"yes": "Yes"}),
        closed_response=Redirect("/done"),
        fallback=Response(b"later", code=202),
        ordered=True,
        repeat_window=timedelta(minutes=5),
        no_repeat=True,
    )
    assert (generated.url, generated.state, generated.case_id) == (
        f"https://pay.example/cbq/state?state={STATE}",
        STATE,
        CASE,
    )
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
            response_body=b"thank you",
            response_code=201,
            response_headers=resources.ResponseHeaders(
                headers=[
                    resources.ResponseHeader(name="x-a", value="1"),
                    resources.ResponseHeader(name="x-a", value="2"),
                ]
            ),
        ),
        request_id="order 5",
        labels={"order": "5"},
        verification_profile="github",
        get_guard=resources.GET_GUARD_DETECT,
        answer_mode=resources.ANSWER_MODE_ACK,
        fallback=resources.Response(
            response_type=resources.RESPONSE_TYPE_RESPONSE, response_body=b"later", response_code=202
        ),
        ordered=True,
        no_repeat=True,
    )
    expected.repeat_window.FromSeconds(300)
    expected.answer_deadline.FromMilliseconds(2500)
    expected.hold_time.FromSeconds(3600)
    expected.closed_response.CopyFrom(
        resources.Response(response_type=resources.RESPONSE_TYPE_REDIRECT, response_redirect_url="/done")
    )
    expected.prompt.CopyFrom(
        resources.Prompt(title="Go on?", text="Sure?", choices=[resources.PromptChoice(value="yes", label="Yes")])
    )
    expected.time_to_live.FromMilliseconds(3_600_500)
    assert server.requests == [expected]


async def test_generate_leaves_unset_what_is_not_given(server, client):
    server.answers["GenerateCallbackUrl"] = messages.GenerateCallbackUrlResponse()
    await client.generate_callback_url("record", Redirect("https://shop.example/thanks"))
    assert server.requests == [
        messages.GenerateCallbackUrlRequest(
            callback_activity="record",
            response=resources.Response(
                response_type=resources.RESPONSE_TYPE_REDIRECT, response_redirect_url="https://shop.example/thanks"
            ),
        )
    ]


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (
            lambda client: client.generate_callback_url("record", "hi"),
            "response must be a Response, not str",
        ),
        (lambda client: client.generate_callback_url("record", None), "response must be a Response, not NoneType"),
        (lambda client: client.generate_callback_url(5, Response()), "activity must be text, not int"),
        (
            lambda client: client.generate_callback_url("a", Response(), labels={"a": 5}),
            r"labels\['a'\] must be text, not int",
        ),
        (
            lambda client: client.generate_callback_url("a", Response(), labels={5: "a"}),
            "each name in labels must be text, not int",
        ),
        (lambda client: client.set_response(CASE, "hi"), "response must be a Response, not str"),
        (lambda client: client.set_response(5, Response()), "case_id must be text, not int"),
        (lambda client: client.get_callback(5), "case_id must be text, not int"),
        (lambda client: client.close_callback(5), "case_id must be text, not int"),
        (lambda client: client.erase_calls(5), "case_id must be text, not int"),
        (lambda client: client.list_calls_page(5), "case_id must be text, not int"),
        (lambda client: client.get_call(5), "call_id must be text, not int"),
        (lambda client: client.list_callbacks_page(owner=5), "owner must be text, not int"),
        (lambda client: client.list_callbacks_page(status="OPEN"), "status must be a CallbackStatus, not str"),
        (
            lambda client: client.generate_callback_url("a", Response(), get_guard="confirm"),
            "get_guard must be a GetGuard, not str",
        ),
        (
            lambda client: client.generate_callback_url("a", Response(), answer_mode="ack"),
            "answer_mode must be an AnswerMode, not str",
        ),
        (lambda client: client.list_owner_calls_page("DEAD"), "filter must be a CallFilter, not str"),
        (lambda client: client.list_owner_calls_page(CallFilter.DEAD, owner=5), "owner must be text, not int"),
        (lambda client: client.answer_call(5), "call_id must be text, not int"),
        (lambda client: client.replay_call(5), "call_id must be text, not int"),
        (lambda client: client.pause_activity(5), "activity must be text, not int"),
        (lambda client: client.resume_activity(5), "activity must be text, not int"),
        (lambda client: client.watch_calls(activity=5), "activity must be text, not int"),
        (lambda client: client.watch_calls(labels={"a": 5}), r"labels\['a'\] must be text, not int"),
    ],
)
async def test_an_argument_of_the_wrong_type_raises_an_error_that_names_it(server, client, ask, says):
    with pytest.raises(TypeError, match=says):
        await ask(client)
    assert server.requests == []


async def test_unknown_cannot_be_sent(client):
    with pytest.raises(ValueError, match="status cannot be UNKNOWN"):
        await client.list_callbacks_page(status=CallbackStatus.UNKNOWN)
    with pytest.raises(ValueError, match="get_guard cannot be UNKNOWN"):
        await client.generate_callback_url("a", Response(), get_guard=GetGuard.UNKNOWN)
    with pytest.raises(ValueError, match="answer_mode cannot be UNKNOWN"):
        await client.generate_callback_url("a", Response(), answer_mode=AnswerMode.UNKNOWN)


async def test_a_body_larger_than_a_message_is_refused_as_too_large(client):
    large = Response(bytes(17 << 20))
    for ask in (
        client.generate_callback_url("record", large),
        client.set_response(CASE, large),
        client.answer_call(f"{CASE}-{'0' * 16}", Reject(large)),
    ):
        with pytest.raises(InvalidRequestError) as raised:
            await ask
        assert (raised.value.code, raised.value.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
        [violation] = raised.value.violations
        assert (violation.field, violation.rule) == ("response.response_body", "bytes.max_len")


async def test_a_repr_does_not_contain_the_generated_url(server, client):
    server.answers["GenerateCallbackUrl"] = messages.GenerateCallbackUrlResponse(
        callback_url=f"http://127.0.0.1:8080/cb/{STATE}", callback_state=STATE, callback_case_id=CASE
    )
    generated = await client.generate_callback_url("record", Response(b""))
    assert STATE not in repr(generated)
    assert CASE in repr(generated)


async def test_a_case_has_aware_times_enum_members_and_none_for_unset_fields(server, client):
    server.answers["GetCallback"] = messages.GetCallbackResponse(callback=callback_message())
    callback = await client.get_callback(CASE)
    assert server.requests == [messages.GetCallbackRequest(callback_case_id=CASE)]
    assert callback.case_id == CASE
    assert callback.status is CallbackStatus.OPEN
    assert callback.close_reason is None
    assert (callback.activity, callback.activity_case, callback.owner) == ("order-paid", "1:142:432", "local")
    assert callback.response == Redirect("/page/thankyou")
    assert callback.response.type is ResponseType.REDIRECT
    assert callback.response.body is None
    assert callback.labels == {"order": "5"}
    assert callback.create_time == CREATED
    assert callback.create_time.tzinfo is UTC
    assert (callback.expire_time, callback.close_time, callback.call_count) == (None, None, 3)
    assert (callback.verification_profile, callback.get_guard) == ("", GetGuard.OFF)


async def test_a_case_has_its_verification_profile(server, client):
    server.answers["GetCallback"] = messages.GetCallbackResponse(
        callback=callback_message(verification_profile="github", get_guard=resources.GET_GUARD_DETECT)
    )
    callback = await client.get_callback(CASE)
    assert (callback.verification_profile, callback.get_guard) == ("github", GetGuard.DETECT)


async def test_a_case_has_its_prompt_and_a_call_its_choice(server, client):
    prompt = resources.Prompt(title="Go on?", choices=[resources.PromptChoice(value="yes", label="Yes")])
    server.answers["GetCallback"] = messages.GetCallbackResponse(callback=callback_message(prompt=prompt))
    server.answers["GetCall"] = messages.GetCallResponse(call=call_message(callback_choice="yes"))
    assert (await client.get_callback(CASE)).prompt == Prompt("Go on?", choices={"yes": "Yes"})
    assert (await client.get_call(CALL)).choice == "yes"


async def test_a_case_has_its_window_and_a_call_its_repeats(server, client):
    server.answers["GetCallback"] = [
        messages.GetCallbackResponse(callback=callback_message()),
        messages.GetCallbackResponse(callback=callback_message(repeat_window=timedelta(minutes=2), no_repeat=True)),
    ]
    server.answers["GetCall"] = messages.GetCallResponse(call=call_message(repeat_count=3))
    plain, windowed = [await client.get_callback(CASE) for _ in range(2)]
    assert (plain.repeat_window, plain.no_repeat) == (timedelta(0), False)
    assert (windowed.repeat_window, windowed.no_repeat) == (timedelta(minutes=2), True)
    assert (await client.get_call(CALL)).repeat_count == 3


async def test_a_case_has_its_answer_mode(server, client):
    server.answers["GetCallback"] = [
        messages.GetCallbackResponse(callback=callback_message()),
        messages.GetCallbackResponse(
            callback=callback_message(
                answer_mode=resources.ANSWER_MODE_HOLD,
                answer_deadline=timedelta(seconds=2.5),
                fallback=resources.Response(response_type=resources.RESPONSE_TYPE_RESPONSE, response_code=202),
                ordered=True,
                hold_time=timedelta(days=2),
            )
        ),
    ]
    plain, held = await client.get_callback(CASE), await client.get_callback(CASE)
    assert (plain.answer_mode, plain.answer_deadline, plain.fallback, plain.ordered, plain.hold_time) == (
        AnswerMode.HANDLER, None, None, False, None,
    )  # fmt: skip
    assert (held.answer_mode, held.answer_deadline, held.fallback, held.ordered, held.hold_time) == (
        AnswerMode.HOLD, timedelta(seconds=2.5), Response(code=202), True, timedelta(days=2),
    )  # fmt: skip


async def test_a_call_has_its_delivery(server, client):
    accepted = resources.Delivery(
        status=resources.DELIVERY_STATUS_DELIVERED,
        attempts=4,
        response=resources.Response(response_type=resources.RESPONSE_TYPE_RESPONSE, response_code=201),
    )
    server.answers["GetCall"] = [
        messages.GetCallResponse(call=call_message()),
        messages.GetCallResponse(call=call_message(delivery=DELIVERY, fallback_sent=True, caller_gone=True)),
        messages.GetCallResponse(call=call_message(delivery=accepted)),
    ]
    plain, pending, delivered = [await client.get_call(CALL) for _ in range(3)]
    assert (plain.delivery, plain.fallback_sent, plain.caller_gone) == (None, False, False)
    assert (pending.fallback_sent, pending.caller_gone) == (True, True)
    assert pending.delivery == Delivery(
        status=DeliveryStatus.PENDING,
        attempts=3,
        next_attempt_time=CREATED,
        failure=CallFailure.HANDLER_ERROR,
        failure_detail="the handler failed",
    )
    assert delivered.delivery == Delivery(status=DeliveryStatus.DELIVERED, attempts=4, response=Response(code=201))


@pytest.mark.parametrize(
    ("answer", "fields"),
    [
        ((), {"verdict": handler.VERDICT_ACCEPTED}),
        ((Redirect("/x"),), {"verdict": handler.VERDICT_ACCEPTED, "response": response_to_proto(Redirect("/x"))}),
        (
            (Accept(Response("ok"), keep_open=True),),
            {"verdict": handler.VERDICT_ACCEPTED, "response": response_to_proto(Response("ok")), "keep_open": True},
        ),
        ((Accept(close=True),), {"verdict": handler.VERDICT_ACCEPTED, "close": True}),
        ((Reject(),), {"verdict": handler.VERDICT_REJECTED}),
        ((Reject("no"),), {"verdict": handler.VERDICT_REJECTED, "response": response_to_proto(Response("no"))}),
    ],
    ids=["nothing", "a redirect", "kept open", "closed", "a rejection", "a rejection with a response"],
)
async def test_answer_call_takes_the_decisions_of_a_handler(server, client, answer, fields):
    server.answers["AnswerCall"] = messages.AnswerCallResponse(callback=callback_message(), call=call_message())
    call = await client.answer_call(CALL, *answer)
    assert (call.call_id, call.status) == (CALL, CallStatus.SUCCEEDED)
    assert server.requests == [messages.AnswerCallRequest(call_id=CALL, **fields)]


@pytest.mark.parametrize(
    ("answer", "fields"),
    [
        ((), {"verdict": handler.VERDICT_ACCEPTED}),
        ((Redirect("/x"),), {"verdict": handler.VERDICT_ACCEPTED, "response": response_to_proto(Redirect("/x"))}),
        ((Reject("no"),), {"verdict": handler.VERDICT_REJECTED, "response": response_to_proto(Response("no"))}),
    ],
    ids=["nothing", "a redirect", "a rejection"],
)
async def test_resolve_callback_takes_the_decisions_of_a_handler(server, client, answer, fields):
    server.answers["ResolveCallback"] = messages.ResolveCallbackResponse(callback=callback_message(resolved=True))
    assert (await client.resolve_callback(CASE, *answer)).resolved
    assert server.requests == [messages.ResolveCallbackRequest(callback_case_id=CASE, **fields)]


async def test_an_invalid_answer_is_not_sent(server, client):
    with pytest.raises(TypeError, match="not str"):
        await client.answer_call(CALL, "ok")
    with pytest.raises(TypeError, match="not str"):
        await client.resolve_callback(CASE, "ok")
    with pytest.raises(ValueError, match="cannot keep it open"):
        await client.resolve_callback(CASE, Accept(keep_open=True))
    with pytest.raises(ValueError, match="or close it: use close_callback"):
        await client.resolve_callback(CASE, Accept(close=True))
    assert server.requests == []


async def test_a_new_callback_has_its_expiry_and_its_warnings_which_the_client_logs(server, client, caplog):
    made = messages.GenerateCallbackUrlResponse(callback_url="https://x", callback_state="s", callback_case_id=CASE)
    made.warnings.add(reason=messages.WARNING_REASON_ACTIVITY_NOT_SERVED, text="no worker serves it")
    made.warnings.add(reason=99, text="something new")
    made.expire_time.FromDatetime(CREATED)
    server.answers["GenerateCallbackUrl"] = made
    generated = await client.generate_callback_url("late", Response())
    assert generated.expire_time == CREATED
    assert generated.warnings == (
        CallbackWarning(reason=WarningReason.ACTIVITY_NOT_SERVED, text="no worker serves it"),
        CallbackWarning(reason=WarningReason.UNKNOWN, text="something new"),
    )
    assert f"callback_warning case_id={CASE} text=no worker serves it" in caplog.text


async def test_activities_are_listed_page_by_page(server, client):
    server.answers["ListActivities"] = [
        operations.ListActivitiesResponse(
            activities=[
                operations.Activity(callback_activity="a", kind=operations.ACTIVITY_KIND_WORKERS, worker_count=1)
            ],
            next_page_token="a",
        ),
        operations.ListActivitiesResponse(
            activities=[
                operations.Activity(callback_activity="b", kind=operations.ACTIVITY_KIND_WORKERS, open_callback_count=2)
            ]
        ),
    ]
    a, b = [each async for each in client.list_activities(owner="orders", page_size=1)]
    assert a == Activity(activity="a", kind=ActivityKind.WORKERS, worker_count=1)
    assert (b.is_served, b.open_callback_count) == (False, 2)
    assert [(each.owner, each.page_token) for each in server.requests] == [("orders", ""), ("orders", "a")]


async def test_statistics_and_findings_are_converted(server, client):
    stage = {"stage": "claim", "count": 2, "median": timedelta(milliseconds=1), "p95": timedelta(milliseconds=2)}
    outcomes = [
        {"call_status": resources.CALL_STATUS_FAILED, "call_failure": resources.CALL_FAILURE_HANDLER_LOST, "count": 1},
        {"call_status": resources.CALL_STATUS_SUCCEEDED, "count": 2},
    ]
    server.answers["GetStatistics"] = operations.GetStatisticsResponse(
        minutes=[
            {
                "start_time": CREATED, "duration": timedelta(minutes=1), "outcomes": outcomes,
                "refusals": [{"reason": "STATE_UNKNOWN", "count": 3}], "stages": [stage],
            }
        ],
        stages=[stage],
        owners=[{"owner": "orders", "open_callback_count": 1, "waiting_call_count": 2, "dead_call_count": 3}],
        work={"open_callback_count": 1, "delivery_count": 4, "delivery_delay": timedelta(seconds=5)},
    )  # fmt: skip
    found = await client.get_statistics()
    [minute] = found.minutes
    assert (minute.start_time, minute.duration, minute.call_count) == (CREATED, timedelta(minutes=1), 3)
    assert minute.outcomes == (
        OutcomeCount(status=CallStatus.FAILED, failure=CallFailure.HANDLER_LOST, count=1),
        OutcomeCount(status=CallStatus.SUCCEEDED, failure=None, count=2),
    )
    assert minute.refusals == (RefusalCount(reason="STATE_UNKNOWN", count=3),)
    assert found.stages == minute.stages == (StageDuration(**stage, p99=timedelta(0)),)
    assert found.owners == (
        OwnerStatistics(owner="orders", open_callback_count=1, waiting_call_count=2, dead_call_count=3),
    )
    assert found.work == WorkStatistics(open_callback_count=1, delivery_count=4, delivery_delay=timedelta(seconds=5))
    assert minute.work is None
    server.answers["ListFindings"] = operations.ListFindingsResponse(
        findings=[
            {"check": "store memory", "level": operations.FINDING_LEVEL_WARNING, "seen": "full", "advice": "more"}
        ],
        check_time=CREATED,
    )
    warning = Finding(check="store memory", level=FindingLevel.WARNING, seen="full", advice="more")
    assert await client.list_findings() == Findings(findings=(warning,), check_time=CREATED)


async def test_cases_are_filtered_by_their_newest_call_and_time(server, client):
    later = CREATED + timedelta(hours=1)
    server.answers["ListCallbacks"] = messages.ListCallbacksResponse(next_page_token="a", searched_to=CREATED)
    page = await client.list_callbacks_page(
        last_call_status=CallStatus.NOT_STARTED, created_after=CREATED, created_before=later
    )
    assert page.searched_to == CREATED
    assert server.requests == [
        messages.ListCallbacksRequest(
            last_call_status=resources.CALL_STATUS_NOT_STARTED, created_after=CREATED, created_before=later
        )
    ]
    with pytest.raises(ValueError, match="created_after needs a time zone"):
        await client.list_callbacks_page(created_after=later.replace(tzinfo=None))


async def test_a_call_is_replayed_and_an_activity_paused_and_resumed(server, client):
    server.answers["ReplayCall"] = messages.ReplayCallResponse(call=call_message(delivery=DELIVERY))
    server.answers["PauseActivity"] = operations.PauseActivityResponse()
    server.answers["ResumeActivity"] = operations.ResumeActivityResponse()
    server.answers["ListPausedActivities"] = operations.ListPausedActivitiesResponse(
        paused_activities=[
            operations.PausedActivity(
                callback_activity="a", principal="alice", reason="down", pause_time=timestamp(CREATED)
            ),
            operations.PausedActivity(callback_activity="b"),
        ]
    )
    assert (await client.replay_call(CALL)).delivery.status is DeliveryStatus.PENDING
    assert await client.pause_activity("order-paid", reason="down") is None
    assert await client.resume_activity("order-paid") is None
    assert await client.list_paused_activities() == (
        PausedActivity(activity="a", principal="alice", reason="down", pause_time=CREATED),
        PausedActivity(activity="b"),
    )
    assert server.requests == [
        messages.ReplayCallRequest(call_id=CALL),
        operations.PauseActivityRequest(callback_activity="order-paid", reason="down"),
        operations.ResumeActivityRequest(callback_activity="order-paid"),
        operations.ListPausedActivitiesRequest(),
    ]


async def test_waiting_and_dead_calls_are_listed_across_cases(server, client):
    server.answers["ListOwnerCalls"] = [
        messages.ListOwnerCallsResponse(calls=[call_message(attempt=2)], next_page_token="a"),
        messages.ListOwnerCallsResponse(calls=[call_message(attempt=1)]),
        messages.ListOwnerCallsResponse(),
    ]
    assert [call.attempt async for call in client.list_owner_calls(CallFilter.WAITING, owner="orders")] == [2, 1]
    await client.list_owner_calls_page(CallFilter.DEAD)
    waiting = {"filter": messages.CALL_FILTER_WAITING, "owner": "orders"}
    assert server.requests == [
        messages.ListOwnerCallsRequest(**waiting),
        messages.ListOwnerCallsRequest(**waiting, page_token="a"),
        messages.ListOwnerCallsRequest(filter=messages.CALL_FILTER_DEAD),
    ]


async def test_a_call_has_its_verification(server, client):
    server.answers["GetCall"] = messages.GetCallResponse(
        call=call_message(verification_profile="github", message_id="72d3162e", verification_failure="too late")
    )
    call = await client.get_call(CALL)
    assert (call.verification_profile, call.message_id) == ("github", "72d3162e")
    assert call.verification_failure == "too late"


async def test_a_closed_case_has_its_reason_and_time(server, client):
    server.answers["CloseCallback"] = messages.CloseCallbackResponse(
        callback=callback_message(
            status=resources.CALLBACK_STATUS_CLOSED,
            close_reason=resources.CLOSE_REASON_CLOSED_BY_OWNER,
            close_time=timestamp(CREATED),
            expire_time=timestamp(CREATED + timedelta(days=1)),
        )
    )
    callback = await client.close_callback(CASE)
    assert server.requests == [messages.CloseCallbackRequest(callback_case_id=CASE)]
    assert (callback.status, callback.close_reason) == (CallbackStatus.CLOSED, CloseReason.CLOSED_BY_OWNER)
    assert (callback.close_time, callback.expire_time) == (CREATED, CREATED + timedelta(days=1))


async def test_enum_values_of_a_newer_server_become_unknown(server, client):
    server.answers["GetCallback"] = messages.GetCallbackResponse(
        callback=callback_message(status=99, close_reason=99, answer_mode=99)
    )
    server.answers["GetCall"] = messages.GetCallResponse(
        call=call_message(status=99, failure=99, delivery=resources.Delivery(status=99))
    )
    callback, call = await client.get_callback(CASE), await client.get_call(CALL)
    assert (callback.status, callback.close_reason) == (CallbackStatus.UNKNOWN, CloseReason.UNKNOWN)
    assert (call.status, call.failure) == (CallStatus.UNKNOWN, CallFailure.UNKNOWN)
    assert (callback.answer_mode, call.delivery.status) == (AnswerMode.UNKNOWN, DeliveryStatus.UNKNOWN)


@pytest.mark.parametrize(
    ("response", "reset", "paths"),
    [
        (Response(b"x"), (), ["response_type", "response_body"]),
        (Redirect("/x"), (), ["response_type", "response_redirect_url"]),
        (Response(type=None, code=503), (), ["response_code"]),
        (Response(type=None, headers={}), (), ["response_headers"]),
        (Response(type=None, body=b""), (), ["response_body"]),
        (Response(type=None), ["headers", "redirect_url"], ["response_redirect_url", "response_headers"]),
    ],
)
async def test_set_response_masks_given_and_reset_attributes(server, client, response, reset, paths):
    server.answers["SetResponse"] = messages.SetResponseResponse(callback=callback_message())
    callback = await client.set_response(CASE, response, reset=reset)
    assert callback.case_id == CASE
    [request] = server.requests
    assert request.callback_case_id == CASE
    assert list(request.update_mask.paths) == paths
    assert request.response.HasField("response_headers") == (response.headers is not None)


@pytest.mark.parametrize("reset", [["type"], ["colour"], ["body"]])
async def test_set_response_refuses_to_reset_set_or_unknown_attributes(server, client, reset):
    with pytest.raises(ValueError, match=reset[0]):
        await client.set_response(CASE, Response(b"x"), reset=reset)
    assert server.requests == []


async def test_a_call_arrives_with_exact_bytes_and_every_pair(server, client):
    server.answers["GetCall"] = messages.GetCallResponse(
        call=call_message(
            request_body=b"\x00\xff\r\n",
            request_body_size=4,
            request_query=[
                resources.QueryParameter(name="id", value="5"),
                resources.QueryParameter(name="id", value="6"),
            ],
            keep_open=True,
            close=True,
        )
    )
    call = await client.get_call(CALL)
    assert server.requests == [messages.GetCallRequest(call_id=CALL)]
    assert (call.call_id, call.case_id, call.attempt, call.method) == (CALL, CASE, 1, "post")
    assert (call.body, call.body_size) == (b"\x00\xff\r\n", 4)
    assert call.headers == Headers([("content-type", "application/json"), ("x-trace", "a"), ("x-trace", "b")])
    assert call.query == Query([("id", "5"), ("id", "6")])
    assert (call.query_string, call.client_address) == ("id=5&status=ok", "192.0.2.7")
    assert (call.status, call.failure, call.keep_open, call.close) == (CallStatus.SUCCEEDED, None, True, True)
    assert call.response == Response(b"ok", code=200)
    assert (call.start_time, call.end_time) == (CREATED, CREATED + timedelta(milliseconds=12))


async def test_a_running_call_has_no_response_and_no_end(server, client):
    message = call_message(status=resources.CALL_STATUS_RUNNING)
    message.ClearField("response")
    message.ClearField("end_time")
    server.answers["GetCall"] = messages.GetCallResponse(call=message)
    call = await client.get_call(CALL)
    assert (call.status, call.response, call.end_time) == (CallStatus.RUNNING, None, None)


async def test_listing_cases_reads_all_pages_including_short_and_empty_ones(server, client):
    pages = [(["1" * 32, "2" * 32], "a"), ([], "b"), (["3" * 32], "")]
    server.answers["ListCallbacks"] = [
        messages.ListCallbacksResponse(
            callbacks=[callback_message(callback_case_id=case) for case in cases], next_page_token=token
        )
        for cases, token in pages
    ]
    found = [
        callback.case_id
        async for callback in client.list_callbacks(status=CallbackStatus.OPEN, activity="order-paid", page_size=2)
    ]
    assert found == ["1" * 32, "2" * 32, "3" * 32]
    assert [request.page_token for request in server.requests] == ["", "a", "b"]
    for request in server.requests:
        assert request.status == resources.CALLBACK_STATUS_OPEN
        assert (request.callback_activity, request.page_size) == ("order-paid", 2)


async def test_cases_are_filtered_by_labels_and_owner(server, client):
    server.answers["ListCallbacks"] = [
        messages.ListCallbacksResponse(next_page_token="a"),
        messages.ListCallbacksResponse(callbacks=[callback_message()]),
        messages.ListCallbacksResponse(),
    ]
    wanted = {"labels": {"order": "5", "shop": "1"}, "owner": "orders"}
    assert [each.case_id async for each in client.list_callbacks(**wanted)] == [CASE]
    await client.list_callbacks_page(**wanted)
    assert server.requests == [
        messages.ListCallbacksRequest(**wanted),
        messages.ListCallbacksRequest(**wanted, page_token="a"),
        messages.ListCallbacksRequest(**wanted),
    ]


async def test_erase_calls_returns_how_many_calls_had_content(server, client):
    server.answers["EraseCalls"] = messages.EraseCallsResponse(erased_call_count=3)
    assert await client.erase_calls(CASE) == 3
    assert server.requests == [messages.EraseCallsRequest(callback_case_id=CASE)]


@pytest.mark.parametrize("erased", [True, False])
async def test_a_call_has_its_erased_flag(server, client, erased):
    server.answers["GetCall"] = messages.GetCallResponse(call=call_message(erased=erased))
    assert (await client.get_call(CALL)).erased is erased


async def test_a_page_is_requested_only_when_needed(server, client):
    server.answers["ListCallbacks"] = messages.ListCallbacksResponse(
        callbacks=[callback_message(), callback_message()], next_page_token="more"
    )
    async for _ in client.list_callbacks():
        break
    assert len(server.requests) == 1


async def test_a_single_page_can_be_requested(server, client):
    server.answers["ListCallbacks"] = messages.ListCallbacksResponse(
        callbacks=[callback_message()], next_page_token="more"
    )
    page = await client.list_callbacks_page(page_size=1, page_token="here")
    assert ([callback.case_id for callback in page.items], page.next_page_token) == ([CASE], "more")
    assert server.requests == [messages.ListCallbacksRequest(page_size=1, page_token="here")]


async def test_listing_calls_reads_all_pages(server, client):
    server.answers["ListCalls"] = [
        messages.ListCallsResponse(calls=[call_message(attempt=2)], next_page_token="a"),
        messages.ListCallsResponse(calls=[call_message(attempt=1)]),
    ]
    assert [call.attempt async for call in client.list_calls(CASE, page_size=1)] == [2, 1]
    assert server.requests == [
        messages.ListCallsRequest(callback_case_id=CASE, page_size=1),
        messages.ListCallsRequest(callback_case_id=CASE, page_size=1, page_token="a"),
    ]


async def test_every_request_has_a_deadline_from_the_default_the_client_or_the_method(server, client_type):
    server.answers["GetCallback"] = messages.GetCallbackResponse(callback=callback_message())
    async with client_type(server.address) as client:
        await client.get_callback(CASE)
        await client.get_callback(CASE, timeout=100)
    async with client_type(server.address, timeout=50) as client:
        await client.get_callback(CASE)
    default, own, clients = server.deadlines
    assert 5 < default < 11
    assert 95 < own < 101
    assert 45 < clients < 51


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
async def test_an_invalid_timeout_is_refused(client, client_type, timeout):
    with pytest.raises(ValueError, match="positive"):
        client_type(timeout=timeout)
    with pytest.raises(ValueError, match="positive"):
        await client.get_callback(CASE, timeout=timeout)


async def test_one_synchronous_client_serves_many_threads(server):
    all_asked = asyncio.Barrier(8)

    async def answer(request):
        await all_asked.wait()
        return messages.GetCallbackResponse(callback=callback_message(callback_case_id=request.callback_case_id))

    server.answers["GetCallback"] = answer
    cases = [f"{number:032x}" for number in range(8)]
    with CallbackClient(server.address) as client, ThreadPoolExecutor(8) as threads:
        loop = asyncio.get_running_loop()
        found = await asyncio.gather(*(loop.run_in_executor(threads, client.get_callback, case) for case in cases))
        await asyncio.to_thread(client.close)
    assert [each.case_id for each in found] == cases


def test_a_client_can_be_created_without_a_running_loop(client_type):
    client_type("127.0.0.1:1")


async def test_a_closed_client_raises_an_error_that_says_so(server, client_type):
    client = client_type(server.address)
    server.answers["GetCallback"] = messages.GetCallbackResponse(callback=callback_message())
    await client.get_callback(CASE)
    await client.close()
    await client.close()
    with pytest.raises(CallbackError, match="CallbackClient is closed") as raised:
        await client.get_callback(CASE)
    assert raised.value.code is grpc.StatusCode.CANCELLED


async def test_closing_the_client_ends_a_waiting_request(server, client_type):
    asked = asyncio.Event()

    async def never(_request):
        asked.set()
        await asyncio.Event().wait()

    server.answers["GetCallback"] = never
    client = client_type(server.address)
    call = asyncio.create_task(client.get_callback(CASE))
    await asked.wait()
    await client.close()
    with pytest.raises(CallbackError) as raised:
        await call
    assert raised.value.code is grpc.StatusCode.CANCELLED


async def test_closing_the_client_ends_a_request_between_attempts(server, client_type):
    server.answers["GetCallback"] = Refusal(grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE", retry_after=2.0)
    client = client_type(server.address)
    call = asyncio.create_task(client.get_callback(CASE))
    await wait_until(lambda: server.requests, what="a request")
    await client.close()
    with pytest.raises(CallbackError) as raised:
        await call
    assert raised.value.code is grpc.StatusCode.CANCELLED
    assert len(server.requests) == 1


async def test_a_client_reconnects_after_a_server_restart(unused_port, client_type):
    address = f"127.0.0.1:{unused_port}"
    async with client_type(address, retry=False) as client:
        for _ in range(2):
            async with scripted_server(address) as server:
                server.answers["GetCallback"] = messages.GetCallbackResponse(callback=callback_message())

                async def answered():
                    with contextlib.suppress(UnavailableError):
                        return await client.get_callback(CASE)

                await wait_until(answered, what="an answer")
            with pytest.raises(UnavailableError):
                await client.get_callback(CASE)
