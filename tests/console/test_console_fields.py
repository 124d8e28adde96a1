"""Every field of the contract has a place on its page, and every attribute of a response in its forms, by reflection.

A page has a place for a field if it shows two values of the field differently.
"""

import re

import httpx
import pytest
from google.protobuf.descriptor import FieldDescriptor
from support.clients import CALL, CASE, CREATED, call_message, callback_message, scripted_server, timestamp
from support.console import running_console

from callback import GeneratedCallback, Response
from callback.json_form import MASK
from callback.v1 import audit_service_pb2 as audit
from callback.v1 import callback_handler_service_pb2 as handler
from callback.v1 import callback_pb2 as resources
from callback.v1 import callbacks_service_pb2 as messages
from callback.v1 import operations_service_pb2 as operations
from callback_console.fields import facts
from callback_shared.fields import short_name

DEAD = resources.Delivery(status=resources.DELIVERY_STATUS_DEAD, failure=1, attempts=1)
MINUTE = operations.MinuteStatistics(
    start_time=timestamp(CREATED), duration={"seconds": 60}, outcomes=[{"call_status": 2, "count": 3}]
)
STAGE = operations.StageDuration(stage="claim", count=1)


def statistics(**changes):
    values = {"minutes": [MINUTE], "owners": [{"owner": "orders"}], "work": {}, "stages": [STAGE]}
    return operations.GetStatisticsResponse(**values | changes)


def of_callback(callback):
    return f"/callbacks/{CASE}", {"GetCallback": messages.GetCallbackResponse(callback=callback)}


def of_call(call):
    return f"/calls/{CALL}", {"GetCall": messages.GetCallResponse(call=call)}


def of_statistics(**changes):
    return "/overview", {"GetStatistics": statistics(**changes)}


PAGES = {
    "callback": (callback_message(), of_callback),
    "its response": (callback_message().response, lambda it: of_callback(callback_message(response=it))),
    "its prompt": (resources.Prompt(title="Pay?"), lambda it: of_callback(callback_message(prompt=it))),
    "call": (call_message(), of_call),
    "response of a call": (call_message().response, lambda it: of_call(call_message(response=it))),
    "delivery": (DEAD, lambda it: of_call(call_message(delivery=it))),
    "activity": (
        operations.Activity(callback_activity="ship", kind=operations.ACTIVITY_KIND_WORKERS, worker_count=1),
        lambda it: ("/overview", {"ListActivities": operations.ListActivitiesResponse(activities=[it])}),
    ),
    "paused activity": (
        operations.PausedActivity(callback_activity="ship", pause_time=timestamp(CREATED)),
        lambda it: ("/dead", {"ListPausedActivities": operations.ListPausedActivitiesResponse(paused_activities=[it])}),
    ),
    "audit entry": (
        audit.AuditEntry(time=timestamp(CREATED), action=audit.AUDIT_ACTION_CALLBACK_CLOSED),
        lambda it: ("/audit", {"ListAuditEntries": audit.ListAuditEntriesResponse(entries=[it])}),
    ),
    "finding": (
        operations.Finding(check="store", level=operations.FINDING_LEVEL_WARNING),
        lambda it: ("/overview/findings", {"ListFindings": operations.ListFindingsResponse(findings=[it])}),
    ),
    "passed finding": (
        operations.Finding(check="store", level=operations.FINDING_LEVEL_OK),
        lambda it: ("/overview/findings", {"ListFindings": operations.ListFindingsResponse(findings=[it])}),
    ),
    "statistics": (statistics(), lambda it: ("/overview", {"GetStatistics": it})),
    "minute": (MINUTE, lambda it: of_statistics(minutes=[it])),
    "work": (operations.WorkStatistics(), lambda it: of_statistics(work=it)),
    "owner": (operations.OwnerStatistics(owner="orders"), lambda it: of_statistics(owners=[it])),
    "stage": (STAGE, lambda it: of_statistics(stages=[it])),
}
"""A message that a page shows, and the page with what the server answers, by the name of what it is."""
WITH = {
    ("callback", "close_time"): {"close_reason": resources.CLOSE_REASON_EXPIRED},
    ("delivery", "paused"): {"status": resources.DELIVERY_STATUS_PENDING},
}
"""What a message needs for the page to show a field."""
SAMPLES = {
    ("MinuteStatistics", "stages"): [operations.StageDuration(stage="claim", p95={"seconds": 7})],
    ("ResponseHeaders", "headers"): [{"name": "x-a", "value": "sample"}],
    ("Call", "delivery"): DEAD,
}
"""Values that the page needs to be like this."""
ANSWERS = {
    "GetCallback": messages.GetCallbackResponse(callback=callback_message()),
    "ListCallbacks": messages.ListCallbacksResponse(),
    "ListOwnerCalls": messages.ListOwnerCallsResponse(),
    "ListPausedActivities": operations.ListPausedActivitiesResponse(),
    "ListActivities": operations.ListActivitiesResponse(),
    "GetStatistics": statistics(),
    "ListCalls": messages.ListCallsResponse(),
}


def sample(field, before=None, depth=0):
    """A value of a field, other than the one before."""
    if (field.containing_type.name, field.name) in SAMPLES:
        return SAMPLES[field.containing_type.name, field.name]
    if field.enum_type is not None:
        value = next(each.number for each in reversed(field.enum_type.values) if each.number != before)
    elif field.message_type is None:
        text = b"sample" if field.type == field.TYPE_BYTES else "sample"
        value = {field.CPPTYPE_STRING: text, field.CPPTYPE_BOOL: True}.get(field.cpp_type, 7)
    elif field.message_type.GetOptions().map_entry:
        return {"name": "sample"}
    elif field.message_type.name in ("Timestamp", "Duration"):
        value = {"seconds": 3_000_000_000 if field.message_type.name == "Timestamp" else 77}
    else:
        value = {each.name: sample(each, depth=depth + 1) for each in field.message_type.fields if depth < 2}
    return [value] if field.is_repeated else value


def with_fields(message, **values):
    """A copy of a message in which fields have other values."""
    copy = type(message)()
    copy.CopyFrom(message)
    for name in values:
        copy.ClearField(name)
    copy.MergeFrom(type(message)(**values))
    return copy


@pytest.fixture(scope="module")
async def scripted():
    """A console in front of a server that answers as it is told, and a browser of it."""
    async with scripted_server() as server, running_console(server.address) as console:
        server.answers |= ANSWERS
        url = f"http://{console.address}"
        async with httpx.AsyncClient(base_url=url, headers={"Origin": url}, follow_redirects=True) as http:
            assert (await http.get("/callbacks")).status_code == 200
            yield server, http


async def page(scripted, path, answers):
    server, http = scripted
    server.answers |= ANSWERS | answers
    shown = await http.get(path)
    assert shown.status_code == 200, shown.text
    return re.search("<main.*</main>", shown.text, re.DOTALL)[0]


@pytest.mark.parametrize(
    ("what", "name"), [(what, each.name) for what, (it, _) in PAGES.items() for each in it.DESCRIPTOR.fields]
)
async def test_every_field_has_a_place_on_its_page(scripted, what, name):
    message, page_of = PAGES[what]
    others, field = WITH.get((what, name), {}), message.DESCRIPTOR.fields_by_name[name]
    before = with_fields(message, **others)
    after = with_fields(before, **{name: sample(field, getattr(before, name))})
    shown = await page(scripted, *page_of(before))
    assert shown == await page(scripted, *page_of(before))
    assert shown != await page(scripted, *page_of(after))


RESPONSE = {
    short_name(field): (field, "x-a: sample" if field.message_type else str(sample(field)))
    for field in resources.Response.DESCRIPTOR.fields
} | {"body": (resources.Response.DESCRIPTOR.fields_by_name["response_body"], "sample"),
     "type": (resources.Response.DESCRIPTOR.fields_by_name["response_type"], "PAGE")}  # fmt: skip
"""Attributes of a response, each with what a person gives."""
HELD = {
    "GetCall": messages.GetCallResponse(
        call=call_message(status=resources.CALL_STATUS_RUNNING, response=None, end_time=None)
    ),
    "AnswerCall": messages.AnswerCallResponse(callback=callback_message(), call=call_message()),
}


def holding(**changes):
    callback = callback_message(answer_mode=resources.ANSWER_MODE_HOLD, hold_time={"seconds": 60}, **changes)
    return {"GetCallback": messages.GetCallbackResponse(callback=callback)}


@pytest.mark.parametrize(
    ("path", "rpc", "prefix", "answer"),
    [
        (f"/callbacks/{CASE}", "SetResponse", "set", messages.SetResponseResponse(callback=callback_message())),
        (f"/callbacks/{CASE}", "ResolveCallback", "resolve", messages.ResolveCallbackResponse()),
        (f"/calls/{CALL}", "AnswerCall", "answer", HELD["AnswerCall"]),
    ],
)
async def test_every_form_takes_every_attribute_of_a_response(scripted, path, rpc, prefix, answer):
    server, http = scripted
    server.requests.clear()
    shown = await page(scripted, path, HELD | holding() | {rpc: answer})
    action = re.search(rf'action="([^"]+)">(?:(?!</form>).)*id="{prefix}-type"', shown, re.DOTALL)[1]
    for name in RESPONSE:
        assert f'id="{prefix}-{name}" name="{name}"' in shown
    await http.post(action, data={name: given for name, (_, given) in RESPONSE.items()} | {"verdict": "accept"})
    (sent,) = [each for each in server.requests if each.DESCRIPTOR.name == f"{rpc}Request"]
    assert {each.name for each, _ in sent.response.ListFields()} == {field.name for field, _ in RESPONSE.values()}
    assert sent.response.response_headers.headers[0].value == "sample"


@pytest.mark.parametrize(
    "switch",
    [each.name for each in messages.AnswerCallRequest.DESCRIPTOR.fields if each.type == FieldDescriptor.TYPE_BOOL],
)
async def test_the_form_of_an_answer_takes_all_that_a_decision_can_say(scripted, switch):
    server, http = scripted
    server.requests.clear()
    case = holding(allow_multiple_calls=switch == "close")
    assert f'name="{switch}"' in await page(scripted, f"/calls/{CALL}", HELD | case)
    await http.post(f"/calls/{CALL}/answer", data={"verdict": "accept", switch: "on"})
    (sent,) = [each for each in server.requests if isinstance(each, messages.AnswerCallRequest)]
    assert (getattr(sent, switch), sent.verdict) == (True, handler.VERDICT_ACCEPTED)


async def test_the_form_of_an_answer_has_the_choices_of_its_callback(scripted):
    server, http = scripted
    server.requests.clear()
    case = holding(
        prompt={"title": "Pay?", "choices": [{"value": "pay", "label": "Pay it"}, {"value": "wait", "label": "Wait"}]},
        response=resources.Response(response_type=resources.RESPONSE_TYPE_RESPONSE, response_body=b"{}"),
    )
    shown = await page(scripted, f"/calls/{CALL}", HELD | case)
    buttons = re.findall(r'<button[^>]* name="choice" value="(\w+)">([^<]+)', shown)
    assert buttons == [("pay", "Choose: Pay it"), ("wait", "Choose: Wait")]
    await http.post(f"/calls/{CALL}/answer", data={"choice": "wait"})
    (sent,) = [each for each in server.requests if isinstance(each, messages.AnswerCallRequest)]
    assert (sent.verdict, sent.response.response_body) == (handler.VERDICT_ACCEPTED, b"wait")
    assert sent.response.response_headers.headers[0].value == "text/plain; charset=utf-8"


async def test_an_answer_that_contradicts_itself_is_refused(scripted):
    server, http = scripted
    server.answers |= ANSWERS | HELD | holding()
    answer = await http.post(f"/calls/{CALL}/answer", data={"keep_open": "on", "close": "on"})
    assert answer.status_code == 400


def test_a_secret_field_is_masked_and_so_are_credentials_in_a_response():
    made = GeneratedCallback(url="https://a.example/cb/x", state="x", case_id="c")
    assert {each.text: each.value for each in facts(made)} == {
        "generate_callback_url_response.url": MASK,
        "generate_callback_url_response.state": MASK,
        "generate_callback_url_response.case_id": "c",
    }
    response = Response("see https://a.example/?token=verysecret", headers={"set-cookie": "a=verysecret"})
    assert "verysecret" not in str(facts(response))
    assert "verysecret" in str(facts(response, reveal_secrets=True))


def failed(failure=None, status=resources.CALL_STATUS_FAILED, **fields):
    """Return a call that failed."""
    return call_message(status=status, failure=failure, response=None, **fields)


def uncalled(**fields):
    """Return a callback without a call."""
    return callback_message(call_count=0, **fields)


HELD_CASE = callback_message(answer_mode=resources.ANSWER_MODE_HOLD)
EXPIRED = {"status": resources.CALLBACK_STATUS_CLOSED, "close_reason": resources.CLOSE_REASON_EXPIRED}
PAUSED = resources.Delivery(status=resources.DELIVERY_STATUS_PENDING, paused=True)
REJECTED = resources.Delivery(status=resources.DELIVERY_STATUS_DEAD)


@pytest.mark.parametrize(
    ("call", "callback", "sentences"),
    [
        (failed(1), None, ["The handler returned an error. The log of its process has the reason", "got a 502."]),
        (failed(2), None, ["The connection to the handler broke after it had got the call", "The caller got a 503."]),
        (failed(3), None, ["The handler did not decide before its deadline. The caller got a 504."]),
        (failed(4, failure_detail="redirect_url"), None,
         ["The response that the handler decided on cannot be sent. The caller got a 502.", "redirect_url"]),
        (failed(5, resources.CALL_STATUS_NOT_STARTED), None,
         ["No handler was there: no worker serves the activity", "so the callback is open again"]),
        (failed(3, fallback_sent=True), None,
         ["There was no decision before the answer deadline, so the caller got the fallback."]),
        (failed(), HELD_CASE, ["No person or service answered within the hold time of the callback."]),
        (call_message(status=resources.CALL_STATUS_REJECTED), None, ["The handler rejected the data of the request."]),
        (call_message(delivery=REJECTED), None,
         ["Its delivery to the handler has failed for good.", "The handler rejected the data of the request."]),
        (call_message(delivery=PAUSED), None, ["Its delivery waits, because the activity is paused."]),
        (None, uncalled(**EXPIRED), ["It expired before any call came. A caller gets a 410"]),
        (None, uncalled(verification_profile="partner"),
         ["A request that does not pass the verification profile gets a 401", "partner"]),
    ],
)  # fmt: skip
async def test_the_page_of_a_callback_says_why_its_call_or_a_request_failed(scripted, call, callback, sentences):
    path, answers = of_callback(callback or callback_message())
    answers["ListCalls"] = messages.ListCallsResponse(calls=[call] if call else [])
    text = " ".join(re.sub("<[^>]*>", " ", await page(scripted, path, answers)).split())
    assert [each for each in sentences if each not in text] == []
