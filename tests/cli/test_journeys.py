"""End to end through the command line: store, server, edge, handler, and a caller over HTTP."""

import asyncio
import functools
import json
import re

import pytest
from support.clients import run_callback
from support.system import running_system
from support.wait import wait_until

from callback import Accept, Handlers, Redirect, Reject, Response


def make_handlers(trxid_is_needed):
    handlers = Handlers()

    @handlers.activity("order-paid")
    async def order_paid(call):
        if call.replayed and not trxid_is_needed.is_set():
            return None
        if "trxid" not in call.query:
            raise Reject(Response("trxid is missing", code=400))
        if call.query.get("status") == "open":
            return Accept(keep_open=True)
        return Redirect(f"/page/{call.query['trxid']}/{call.activity_case}/{call.labels['order']}")

    @handlers.activity("broken")
    async def broken(_call):
        raise ValueError("hunter2")

    return handlers


@pytest.fixture(scope="module")
async def system(store_of, tmp_path_factory):
    """Run the whole system. `callback` is the command line; while `trxid_is_needed`, the handler rejects replays."""
    trxid_is_needed = asyncio.Event()
    trxid_is_needed.set()
    async with make_handlers(trxid_is_needed).listen("127.0.0.1:0") as handlers:
        config = "".join(f'[activities.{name}]\ntarget = "{handlers.address}"\n' for name in ("order-paid", "broken"))
        async with running_system(tmp_path_factory.mktemp("journeys"), store_of("valkey"), config=config) as system:
            system.callback = functools.partial(run_callback, CALLBACK_TARGET=system.grpc)
            system.trxid_is_needed = trxid_is_needed
            yield system


async def generate(system, *arguments, kind="response"):
    """Return the id of a new case, and its path."""
    generated = (await system.callback("generate", "--type", kind, "--json", *arguments)).json
    return generated["callbackCaseId"], generated["callbackUrl"].removeprefix(system.url)


async def test_a_recorded_webhook_is_read_byte_for_byte_and_its_case_closed(system):
    case, path = await generate(
        system,
        *("--activity", "record", "--body", "thank you", "--code", "202", "--header", "x-seen=yes"),
    )
    assert (await system.callback("get", case, "--json")).json["status"] == "OPEN"

    body = bytes(range(256))
    answer = await system.http.post(
        path, params=[("id", "5"), ("id", "6")], content=body, headers={"cookie": "sid=hunter2"}
    )
    assert (answer.status_code, answer.content, answer.headers["x-seen"]) == (202, b"thank you", "yes")

    shown = (await system.callback("get", case, "--json")).json
    assert (shown["status"], shown["closeReason"], shown["callCount"]) == ("CLOSED", "CONSUMED", 1)
    [listed] = (await system.callback("calls", case, "--json")).json
    assert (listed["status"], listed["requestBodySize"]) == ("SUCCEEDED", 256)
    assert "requestBodyBase64" not in listed
    call = (await system.callback("call", listed["callId"], "--json", "--mask-secrets")).json
    assert call["requestQuery"] == {"id": ["5", "6"]}
    assert call["requestHeaders"]["cookie"] == "***"
    assert call["response"]["responseBody"] == "thank you"
    recorded = await system.client.get_call(listed["callId"])
    assert recorded.body == body
    assert recorded.headers["cookie"] == "sid=hunter2"

    assert (await system.http.post(path)).status_code == 410
    ran = await system.callback("set-response", case, "--code", "200")
    assert ran.code == 4
    assert "CALLBACK_CLOSED, close_reason CONSUMED" in ran.errors


async def test_a_handler_rejects_waits_and_redirects(system):
    case, path = await generate(
        system,
        *("--activity", "order-paid", "--redirect-url", "/page/wait", "--activity-case", "1:142:432"),
        *("--label", "order=5", "--param", "state", "--retryable"),
        kind="redirect",
    )
    answer = await system.http.get(path)
    assert (answer.status_code, answer.text) == (400, "trxid is missing")
    answer = await system.http.get(f"{path}&trxid=7&status=open")
    assert (answer.status_code, answer.headers["location"]) == (302, "https://platform.example/page/wait")
    answer = await system.http.get(f"{path}&trxid=7")
    assert (answer.status_code, answer.headers["location"]) == (302, "https://platform.example/page/7/1:142:432/5")

    calls = (await system.callback("calls", case, "--json", "--mask-secrets")).json
    assert [(call["attempt"], call["status"], call["keepOpen"]) for call in calls] == [
        (3, "SUCCEEDED", False),
        (2, "SUCCEEDED", True),
        (1, "REJECTED", False),
    ]
    assert all(call["requestQuery"]["state"] == "***" for call in calls)
    for form in ([], ["--json", "--mask-secrets"]):
        ran = await system.callback("call", calls[0]["callId"], *form)
        assert path.rpartition("=")[2] not in ran.output


async def shown(system, *arguments, until):
    """Return the JSON output of a command, as soon as it is there."""

    async def look():
        said = (await system.callback(*arguments, "--json")).json
        return said if until(said) else None

    return await wait_until(look, what=f"`callback {' '.join(arguments)}`")


async def test_a_held_call_is_listed_and_answered(system):
    case, path = await generate(system, "--activity", "form", "--body", "welcome")
    calling = asyncio.create_task(system.http.post(path, content=b"name=Ada"))
    waiting = await shown(system, "list", "--waiting", until=bool)
    [call] = [each["callId"] for each in waiting if each["callbackCaseId"] == case]
    assert (await system.callback("answer", call, "--code", "201", "--json")).json["status"] == "SUCCEEDED"
    reply = await calling
    assert (reply.status_code, reply.text) == (201, "welcome")
    ran = await system.callback("answer", call, "--reject")
    assert ran.code == 1
    assert "CALL_ANSWERED, status SUCCEEDED" in ran.errors
    assert (await system.callback("answer", call, "--code", "201")).code == 0


async def test_calls_that_cannot_be_answered_replayed_or_awaited_are_reported_with_advice(system):
    case, path = await generate(system, "--activity", "record")
    await system.http.post(path)
    [call] = (await system.callback("calls", case, "--json")).json
    ran = await system.callback("answer", call["callId"])
    assert ran.errors.splitlines() == [
        "Error: the call has ended, and it was not a held call (CALL_NOT_HELD)",
        "Only calls with --answer-mode hold or --activity form can be answered. `callback list --waiting` lists them.",
    ]
    case, path = await generate(system, "--activity", "broken")
    await system.http.post(path)
    [call] = (await system.callback("calls", case, "--json")).json
    await system.callback("erase", case, "--yes")
    ran = await system.callback("replay", call["callId"])
    assert ran.errors.splitlines()[0] == (
        "Error: the call cannot be replayed: its recorded data was erased (CALL_NOT_REPLAYABLE)"
    )

    async def refused(*arguments):
        ran = await system.callback("generate", "--activity", "order-paid", "--type", "response", *arguments)
        assert ran.code == 1
        return ran.errors.splitlines()[1:]

    assert await refused("--fallback-code", "202") == [
        "  --answer-deadline (answer_deadline): is missing: fallback needs the time at which it is sent"
    ]
    [told] = await refused("--fallback-code", "202", "--answer-deadline", "250s")
    assert re.fullmatch(
        r"  --answer-deadline \(answer_deadline\): must be at most [0-9.]+ s, the deadline of the activity: "
        r"deadline_s in \[activities\.order-paid\] of the server's configuration",
        told,
    )


async def test_a_dead_call_is_listed_replayed_and_delivered(system):
    case, path = await generate(system, "--activity", "order-paid", "--answer-mode", "ack", "--body", "thank you")
    assert (await system.http.post(path)).text == "thank you"
    [dead] = [each for each in await shown(system, "calls", "--dead", until=has(case)) if has(case)([each])]
    assert dead["delivery"]["attempts"] == 1
    assert (await system.callback("pause", "order-paid")).output == "order-paid is paused.\n"
    assert "order-paid" in (await system.callback("paused")).output
    system.trxid_is_needed.clear()
    assert (await system.callback("replay", dead["callId"], "--json")).json["delivery"]["status"] == "PENDING"
    assert (await system.callback("resume", "order-paid")).output == "order-paid is resumed.\n"
    delivered = await shown(
        system, "call", dead["callId"], until=lambda call: call["delivery"]["status"] == "DELIVERED"
    )
    assert delivered["delivery"]["attempts"] == 2
    assert delivered["status"] == "SUCCEEDED"
    system.trxid_is_needed.set()


def has(*cases):
    """Return a condition: whether calls of all these callbacks are in a list."""
    return lambda calls: {*cases} <= {each["callbackCaseId"] for each in calls}


async def test_all_dead_calls_of_an_activity_are_replayed_after_a_preview_and_none_twice(system):
    cases = []
    for _ in range(3):
        case, path = await generate(system, "--activity", "order-paid", "--answer-mode", "ack")
        assert (await system.http.post(path)).status_code == 200
        cases.append(case)
    dead = await shown(system, "calls", "--dead", "--activity", "order-paid", until=has(*cases))
    ran = await system.callback("replay", "--activity", "order-paid", "--dry-run")
    assert ran.output == (
        f"{len(dead)} calls would be replayed.\n  {len(dead)}x The handler rejected the data of the request.\n"
    )
    command = ("replay", "--activity", "order-paid")
    none = await system.callback(*command, "--since", "1ms", "--dry-run", "--json")
    assert none.json == {"callCount": 0, "reasons": []}
    assert (await system.callback("calls", "--dead", "--activity", "order-paid", "--json")).json == dead
    system.trxid_is_needed.clear()
    ran = await system.callback(*command, "--since", "1h")
    assert (ran.code, ran.output) == (0, f"Replayed {len(dead)} calls.\n")
    assert f"{len(dead)} of {len(dead)} replayed" in ran.errors
    for call in dead:
        await shown(system, "call", call["callId"], until=lambda call: call["delivery"]["status"] == "DELIVERED")
    system.trxid_is_needed.set()
    again = await system.callback(*command, "--json")
    assert json.loads(again.output) == {"replayedCallCount": 0, "refusedCallCount": 0}


async def test_pausing_an_activity_without_deliveries_is_refused_with_advice(system):
    ran = await system.callback("pause", "record")
    assert ran.code == 1
    assert ran.errors.splitlines()[1:] == [
        "  ACTIVITY or --activity (callback_activity): must be an activity with a handler: calls of record and form "
        "are never delivered, so there is nothing to pause; close their callbacks to end them"
    ]


async def test_a_refused_request_names_its_options_and_stores_nothing(system):
    before = len((await system.callback("list", "--json")).json)
    ran = await system.callback(
        *("generate", "--activity", "nobody", "--type", "redirect", "--redirect-url", "ftp://x", "--param", "1"),
        *("--code", "300", "--header", "Location=/x", "--domain", "http://x", "--ttl", "0s", "--label", "ö=1"),
    )
    assert ran.code == 1
    for option in ("--redirect-url", "--param", "--code", "--header", "--domain", "--ttl", "--label"):
        assert f"  {option} (" in ran.errors
    ran = await system.callback(
        *("generate", "--activity", "form", "--type", "response", "--answer-mode", "ack", "--answer-deadline", "10ms"),
        *("--fallback-code", "300"),
    )
    assert ran.code == 1
    for option in ("--answer-mode", "--answer-deadline", "--fallback-code"):
        assert f"  {option} (" in ran.errors
    assert len((await system.callback("list", "--json")).json) == before
