"""`callback watch` prints each event on a line, resumes after a lost connection, and reports lost events."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE

import grpc
import pytest
from support.clients import CALL, CASE, CREATED, Refusal, timestamp
from support.wait import DEADLINE_S

from callback.v1 import callback_pb2 as resources
from callback.v1 import callbacks_service_pb2 as messages

LOST = Refusal(grpc.StatusCode.OUT_OF_RANGE, "WATCH_POSITION_LOST", "events are no longer kept")


def event(kind, **values):
    return messages.CallEvent(
        type=messages.CallEventType.Value(f"CALL_EVENT_TYPE_{kind}"),
        callback_case_id=CASE, callback_activity="order-paid", owner="local", time=timestamp(CREATED),
        **{"case_status": resources.CALLBACK_STATUS_OPEN} | values,
    )  # fmt: skip


CREATION = event("CASE_CREATED")
END = event(
    "CALL_ENDED", call_id=CALL, call_status=resources.CALL_STATUS_SUCCEEDED,
    case_status=resources.CALLBACK_STATUS_CLOSED, close_reason=resources.CLOSE_REASON_CONSUMED,
)  # fmt: skip
DEAD = event(
    "DELIVERY_CHANGED", call_id=CALL, call_status=resources.CALL_STATUS_SUCCEEDED,
    delivery_status=resources.DELIVERY_STATUS_DEAD,
)  # fmt: skip


def message(token, *events):
    """Return a message with events whose tokens are this one and a number."""
    for number, each in enumerate(events):
        each.resume_token = f"{token}{number}"
    return messages.WatchCallsResponse(events=events, resume_token=token)


@pytest.fixture
def told(server):
    """Script three events over two connections, then a refusal."""
    server.answers["WatchCalls"] = [
        [message("a")], [message("a"), message("b", CREATION)], [message("b"), message("c", END, DEAD)], LOST,
    ]  # fmt: skip


async def test_each_event_is_a_line(callback, told):
    ran = await callback("watch", COLUMNS="30")
    assert ran.output.splitlines() == [
        f"2026-11-25 09:30:15 UTC  case created      {CASE:<49}  order-paid: open",
        f"2026-11-25 09:30:15 UTC  call ended        {CALL}  order-paid: succeeded; case closed, consumed",
        f"2026-11-25 09:30:15 UTC  delivery changed  {CALL}  order-paid: dead; case open",
    ]


async def test_json_prints_each_event_as_an_object_with_its_resume_token(callback, told):
    ran = await callback("watch", "--json")
    shown = [json.loads(line) for line in ran.output.splitlines()]
    first = {
        "type": "CASE_CREATED", "callbackCaseId": CASE, "callbackActivity": "order-paid", "owner": "local",
        "time": "2026-11-25T09:30:15.250Z", "caseStatus": "OPEN", "resumeToken": "b0", "callId": "",
    }  # fmt: skip
    assert shown[0] == first
    assert [each["resumeToken"] for each in shown] == ["b0", "b", "c0", "c1"]
    assert (shown[2]["callId"], shown[2]["callStatus"], shown[2]["closeReason"]) == (CALL, "SUCCEEDED", "CONSUMED")
    assert shown[3]["deliveryStatus"] == "DEAD"


async def test_json_prints_a_resume_token_alone_if_no_event_matched(server, callback):
    server.answers["WatchCalls"] = [
        [message("a")], [message("a"), message("b"), message("b"), message("c", CREATION), message("d")], LOST,
    ]  # fmt: skip
    shown = [json.loads(line) for line in (await callback("watch", "--json")).output.splitlines()]
    assert [each["resumeToken"] for each in shown] == ["b", "c0", "d"]
    assert shown[0] == {"resumeToken": "b"}
    server.answers["WatchCalls"] = [[message("a")], [message("a"), message("b")], LOST]
    assert (await callback("watch")).output == ""


async def test_a_watch_that_cannot_resume_is_reported_with_advice(server, callback, told):
    ran = await callback("watch")
    assert ran.code == 1
    assert ran.errors.splitlines() == [
        "Error: events are no longer kept (WATCH_POSITION_LOST)",
        "List the current state with `callback list`, then watch without --resume-token.",
    ]
    assert [request.resume_token for request in server.requests] == ["", "a", "b0", "c1"]


async def test_watch_sends_its_filters(server, callback):
    server.answers["WatchCalls"] = LOST
    await callback("watch", "--activity", "order-paid", "--label", "order=5", "--case", CASE, "--resume-token", "here")
    assert server.requests == [
        messages.WatchCallsRequest(
            callback_activity="order-paid", labels={"order": "5"}, callback_case_id=CASE, resume_token="here"
        )
    ]


async def test_an_unreachable_server_is_reported_at_once(server, callback, unused_port):
    ran = await callback("watch", "--target", f"127.0.0.1:{unused_port}")
    assert ran.code == 69
    assert f"cannot reach 127.0.0.1:{unused_port}" in ran.errors
    assert "`callback up`" in ran.errors
    server.answers["WatchCalls"] = grpc.StatusCode.UNAVAILABLE
    assert (await callback("watch")).code == 69
    assert len(server.requests) == 1  # it does not try again


async def test_an_unknown_case_is_reported_at_once(server, callback):
    server.answers["WatchCalls"] = Refusal(grpc.StatusCode.NOT_FOUND, "CALLBACK_NOT_FOUND", "no such callback")
    ran = await callback("watch", "--case", CASE)
    assert ran.code == 3
    assert ran.errors.splitlines() == [
        "Error: no such callback (CALLBACK_NOT_FOUND)",
        "`callback list` lists your callbacks.",
    ]


async def test_watch_reconnects_after_a_lost_connection(server, callback):
    server.answers["WatchCalls"] = [
        [message("a")],
        grpc.StatusCode.UNAVAILABLE,
        [message("a"), message("b", END)],
        LOST,
    ]
    ran = await callback("watch", "--json")
    assert json.loads(ran.output)["resumeToken"] == "b0"
    assert [request.resume_token for request in server.requests] == ["", "a", "a", "b0"]


async def test_a_line_is_written_at_once_and_ctrl_c_stops_the_watch(server):
    server.answers["WatchCalls"] = [[message("a")], [message("a", CREATION)], *([[]] * 1000)]
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "callback_cli", "watch",
        stdout=PIPE, stderr=PIPE, env=os.environ | {"CALLBACK_TARGET": server.address},
    )  # fmt: skip
    try:
        assert CASE.encode() in await asyncio.wait_for(program.stdout.readline(), DEADLINE_S)
        program.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(program.communicate(), DEADLINE_S) == (b"", b"")
        assert program.returncode == -signal.SIGINT
    finally:
        if program.returncode is None:
            program.kill()
