"""Commands that list and search callbacks and calls, and ids of which only the beginning is given."""

import json
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from support.clients import (
    CALL,
    CALL_JSON,
    CALLBACK_JSON,
    CASE,
    DELIVERY,
    DELIVERY_JSON,
    STATE,
    Refusal,
    call_message,
    callback_message,
    timestamp,
)

from callback.v1 import callback_pb2 as resources
from callback.v1 import callbacks_service_pb2 as messages
from callback.v1 import operations_service_pb2 as operations

Code = grpc.StatusCode


async def test_callbacks_are_listed_by_their_newest_call_and_age(server, callback):
    server.answers["ListCallbacks"] = messages.ListCallbacksResponse()
    ran = await callback("list", "--last-call", "not_started", "--since", "1h")
    assert ran.code == 0
    [request] = server.requests
    assert request.last_call_status == resources.CALL_STATUS_NOT_STARTED
    assert abs(request.created_after.ToDatetime(UTC) + timedelta(hours=1) - datetime.now(UTC)) < timedelta(minutes=5)


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["list", "--waiting"], messages.CALL_FILTER_WAITING),
        (["calls", "--dead"], messages.CALL_FILTER_DEAD),
        (["calls", "--pending", "--activity", "order-paid"], messages.CALL_FILTER_PENDING),
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
    assert (ran.code, ran.errors) == (3, "Error: none that you can see begins with abcdef\n")


async def test_a_short_beginning_is_refused_where_more_callbacks_exist_than_a_search_looks_at(server, callback):
    listed = [callback_message(callback_case_id=CASE)]
    listed += [callback_message(callback_case_id=f"{number:032x}") for number in range(10_000)]
    server.answers["ListCallbacks"] = messages.ListCallbacksResponse(callbacks=listed)
    server.answers["CloseCallback"] = messages.CloseCallbackResponse(callback=callback_message())
    ran = await callback("close", CASE[:7])
    assert ran.code == 2
    assert "use at least 8 digits of the id" in ran.errors
    assert not [each for each in server.requests if isinstance(each, messages.CloseCallbackRequest)]
    assert (await callback("close", CASE[:8])).code == 0
    searched = [each.case_id_prefix for each in server.requests if isinstance(each, messages.ListCallbacksRequest)]
    assert searched[-1] == CASE[:8]


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
    ran = await callback("calls", "--failed", "--limit", "1", "--jq", '.[] | "\\(.callId) \\(.failure)"')
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
    listed = CALL_JSON | {"requestBody": "", "response": CALL_JSON["response"] | {"responseBody": ""}}
    assert (await callback("calls", CASE, "--json")).json == [listed] * 2


async def test_erase_with_a_label_erases_for_every_owner_and_goes_on_if_a_callback_is_dropped_meanwhile(
    server, callback
):
    server.answers["GetStatistics"] = operations.GetStatisticsResponse(owners=[{"owner": "gone"}, {"owner": "orders"}])

    async def found(request):
        assert dict(request.labels) == {"customer": "acme"}
        case_id = ("1" if request.owner == "gone" else "2") * 32
        return messages.ListCallbacksResponse(callbacks=[callback_message(callback_case_id=case_id)])

    async def erase(request):
        if request.callback_case_id.startswith("1"):
            return messages.EraseCallsResponse(erased_call_count=3)
        return Refusal(Code.NOT_FOUND, "CASE_NOT_FOUND")

    server.answers |= {"ListCallbacks": found, "EraseCalls": erase}
    ran = await callback("erase", "--label", "customer=acme", "--yes", "--json")
    assert ran.json == {"erasedCallCount": 3, "callbackCount": 2}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Give either CASE or --label."),
        ([CASE, "--label", "a=b"], "Give either CASE or --label."),
        ([CASE, "--owner", "orders"], "--owner requires --label."),
        (["--owner", "orders"], "Give either CASE or --label."),
    ],
)
async def test_erase_takes_a_callback_or_labels(callback, arguments, said):
    ran = await callback("erase", *arguments, "--yes")
    assert (ran.code, said in ran.errors) == (2, True)


@pytest.mark.parametrize("command", ["calls", "trace"])
async def test_what_failed_lately_is_found_also_behind_the_newest_callbacks(server, callback, command):
    newest = [callback_message(callback_case_id=f"{number:032x}", call_count=0) for number in range(10_000)]
    server.answers["ListCallbacks"] = [
        messages.ListCallbacksResponse(callbacks=newest[at : at + 1_000], next_page_token=str(at))
        for at in range(0, 10_000, 1_000)
    ]
    failed = call_message(status=resources.CALL_STATUS_FAILED, start_time=timestamp(datetime.now(UTC)))
    server.answers["ListOwnerCalls"] = messages.ListOwnerCallsResponse(calls=[failed, failed])
    server.answers["GetCallback"] = messages.GetCallbackResponse(callback=callback_message())
    server.answers["ListCalls"] = messages.ListCallsResponse(calls=[failed])
    server.answers["ListActivities"] = operations.ListActivitiesResponse()
    ran = await callback(command, "--activity", "order-paid", "--since", "1h", "--json")
    found = [each.get("callId") or each["newest"] for each in ran.json]
    assert CALL in found
    asked = next(each for each in server.requests if isinstance(each, messages.ListOwnerCallsRequest))
    assert (asked.filter, asked.callback_activity) == (messages.CALL_FILTER_ENDED, "order-paid")
    assert abs(asked.ended_after.ToDatetime(UTC) + timedelta(hours=1) - datetime.now(UTC)) < timedelta(minutes=5)
