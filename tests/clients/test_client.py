"""Requests and results of both clients: plain values in both directions."""

import asyncio
import contextlib
import inspect
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta

import grpc
import pytest
from google.protobuf.message_factory import GetMessageClass
from support.clients import (
    CALL,
    CASE,
    CREATED,
    RPCS,
    STATE,
    Refusal,
    answers_with,
    call_message,
    callback_message,
    scripted_server,
)
from support.wait import wait_until

import callback
from callback import (
    Accept,
    AnswerMode,
    AsyncCallbackClient,
    AuditHead,
    CallbackClient,
    CallbackError,
    CallbackStatus,
    CallbackWarning,
    CallFailure,
    CallFilter,
    CallStatus,
    CloseReason,
    DeliveryStatus,
    GetGuard,
    InvalidRequestError,
    NewCallback,
    Prompt,
    Redirect,
    Reject,
    Response,
    ResponseType,
    UnavailableError,
    WarningReason,
)
from callback.v1 import callback_pb2 as resources
from callback.v1 import callbacks_service_pb2 as messages
from callback_shared.fields import short_name

SAMPLES = {
    "Timestamp": CREATED,
    "Duration": timedelta(hours=1),
    "Response": Response("x"),
    "Prompt": Prompt("Go on?"),
    "LabelsEntry": {"order": "5"},
    "GenerateCallbackUrlRequest": NewCallback(activity="record", response=Response("x")),
    "AuditHead": AuditHead(chain=1, sequence=2, digest="abc", time=CREATED),
}
"""A value of each message that is a field of a request."""


def sample(field):
    """Return a value of a field of a request, as a program gives it."""
    if field.message_type is not None:
        value = SAMPLES[field.message_type.name]
    elif field.enum_type is not None:
        value = next(iter(getattr(callback, field.enum_type.name)))
    else:
        value = {field.TYPE_STRING: "sample", field.TYPE_BYTES: b"sample", field.TYPE_BOOL: True}.get(field.type, 7)
    return [value] if field.is_repeated and not isinstance(value, dict) else value


@pytest.mark.parametrize("rpc", [each for each in RPCS if each.name != "WatchCalls"], ids=lambda rpc: rpc.name)
async def test_each_argument_is_in_the_request(server, client, rpc):
    name = re.sub("(?<=[a-z])(?=[A-Z])", "_", rpc.name).lower()
    server.answers = {rpc.name: GetMessageClass(rpc.output_type)()} | answers_with(callback_message(), call_message())
    server.answers["GenerateCallbackUrls"] = messages.GenerateCallbackUrlsResponse(results=[{"generated": {}}])
    for method in (name, f"{name}_page"):
        if not hasattr(AsyncCallbackClient, method):
            continue
        taken = inspect.signature(getattr(AsyncCallbackClient, method)).parameters
        given = {short_name(each): each for each in rpc.input_type.fields if short_name(each) in taken}
        asked = getattr(client, method)(**{argument: sample(field) for argument, field in given.items()})
        if inspect.isasyncgen(asked):
            assert len([each async for each in asked]) <= 1
        else:
            await asked
        sent = {field.name for field, _ in server.requests[-1].ListFields()}
        assert {field.name for field in given.values()} <= sent


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


async def test_a_batch_has_the_fields_of_each_request_and_a_result_for_each(server, client):
    made = messages.GenerateCallbackUrlResponse(callback_url="https://pay.example/cb/x", callback_case_id=CASE)
    problem = Refusal(
        grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST", violations=[("response.response_code", "is odd", "odd")]
    ).status
    server.answers["GenerateCallbackUrls"] = messages.GenerateCallbackUrlsResponse(
        results=[{"generated": made}, {"problem": problem}]
    )
    options = {"answer_mode": AnswerMode.ACK, "time_to_live": timedelta(days=1), "labels": {"order": "5"}}
    requests = [
        NewCallback(activity="paid", response=Redirect("https://shop.example"), request_id="5", **options),
        NewCallback(activity="record", response=Response(code=301)),
    ]
    first, second = await client.generate_callback_urls(requests)
    assert (first.url, first.case_id) == ("https://pay.example/cb/x", CASE)
    assert isinstance(second, InvalidRequestError)
    assert [each.field for each in second.violations] == ["response.response_code"]
    server.answers["GenerateCallbackUrl"] = made
    await client.generate_callback_url("paid", Redirect("https://shop.example"), request_id="5", **options)
    batch, alone = server.requests
    assert batch.requests[0] == alone
    assert batch.requests[1].response.response_code == 301


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda it: it.generate_callback_urls(["hi"]), "a request must be a NewCallback, not str"),
        (
            lambda it: it.generate_callback_urls([NewCallback(activity=5, response=Response())]),
            "an attribute of a request has the wrong type",
        ),
        (lambda it: it.generate_callback_url("record", "hi"), "response must be a Response, not str"),
        (lambda it: it.generate_callback_url("record", None), "response must be a Response, not NoneType"),
        (lambda it: it.generate_callback_url(5, Response()), "activity must be text, not int"),
        (lambda it: it.generate_callback_url("a", Response(), labels={"a": 5}), r"labels\['a'\] must be text, not int"),
        (
            lambda it: it.generate_callback_url("a", Response(), labels={5: "a"}),
            "name in labels must be text, not int",
        ),
        (lambda it: it.list_callbacks_page(labels="order=5"), "labels must be a dictionary of texts, not str"),
        (
            lambda it: it.generate_callback_url("a", Response(), remind_after=timedelta(days=1)),
            "remind_after must be a list, not timedelta",
        ),
        (lambda it: it.set_response(CASE, "hi"), "response must be a Response, not str"),
        (
            lambda it: it.generate_callback_url("a", Response(), allowed_origins="https://shop.example"),
            "allowed_origins must be a list, not text",
        ),
        (lambda it: it.set_response(5, Response()), "case_id must be text, not int"),
        (lambda it: it.get_callback(5), "case_id must be text, not int"),
        (lambda it: it.close_callback(5), "case_id must be text, not int"),
        (lambda it: it.erase_calls(5), "case_id must be text, not int"),
        (lambda it: it.list_calls_page(5), "case_id must be text, not int"),
        (lambda it: it.get_call(5), "call_id must be text, not int"),
        (lambda it: it.list_callbacks_page(owner=5), "owner must be text, not int"),
        (lambda it: it.list_callbacks_page(status="OPEN"), "status must be a CallbackStatus, not str"),
        (
            lambda it: it.generate_callback_url("a", Response(), get_guard="confirm"),
            "get_guard must be a GetGuard, not str",
        ),
        (
            lambda it: it.generate_callback_url("a", Response(), answer_mode="ack"),
            "answer_mode must be an AnswerMode, not str",
        ),
        (lambda it: it.list_owner_calls_page("DEAD"), "filter must be a CallFilter, not str"),
        (lambda it: it.list_owner_calls_page(CallFilter.DEAD, owner=5), "owner must be text, not int"),
        (lambda it: it.answer_call(5), "call_id must be text, not int"),
        (lambda it: it.replay_call(5), "call_id must be text, not int"),
        (lambda it: it.pause_activity(5), "activity must be text, not int"),
        (lambda it: it.resume_activity(5), "activity must be text, not int"),
        (lambda it: it.watch_calls(activity=5), "activity must be text, not int"),
        (lambda it: it.watch_calls(labels={"a": 5}), r"labels\['a'\] must be text, not int"),
    ],
)
async def test_an_argument_of_the_wrong_type_raises_an_error_that_names_it(server, client, ask, says):
    with pytest.raises(TypeError, match=says):
        await ask(client)
    assert server.requests == []


@pytest.mark.parametrize(
    ("ask", "name"),
    [
        (lambda it: it.generate_callback_url("\ud800", Response()), "activity"),
        (lambda it: it.generate_callback_url("a", Response("\udfff")), "body"),
        (lambda it: it.generate_callback_url("a", Response(), labels={"a": "\ud800"}), r"labels\['a'\]"),
    ],
)
async def test_text_that_is_no_unicode_raises_an_error_that_names_it(server, client, ask, name):
    with pytest.raises(ValueError, match=f"{name} must be Unicode text"):
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


async def test_a_page_says_how_far_it_has_searched_and_a_time_needs_a_zone(server, client):
    server.answers["ListCallbacks"] = messages.ListCallbacksResponse(next_page_token="a", searched_to=CREATED)
    assert (await client.list_callbacks_page()).searched_to == CREATED
    with pytest.raises(ValueError, match="created_after needs a time zone"):
        await client.list_callbacks_page(created_after=CREATED.replace(tzinfo=None))


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


async def test_every_request_has_a_deadline_from_the_default_the_client_or_the_method(server, client_type):
    server.answers["GetCallback"] = messages.GetCallbackResponse(callback=callback_message())
    async with client_type(server.address) as client:
        await client.get_callback(CASE)
        await client.get_callback(CASE, timeout=100)
    async with client_type(server.address, timeout=50) as client:
        await client.get_callback(CASE)
    default, own, clients = server.deadlines
    assert default < 11 < clients < 51 < own < 101


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
