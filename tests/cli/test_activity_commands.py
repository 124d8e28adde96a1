"""Commands about activities: who serves them, what waits, pauses, and the statistics."""

from datetime import timedelta

import pytest
from support.clients import CREATED, timestamp

from callback.v1 import callback_pb2 as resources
from callback.v1 import operations_service_pb2 as operations


async def test_activities_lists_who_serves_what_and_what_waits(server, callback):
    server.answers["ListActivities"] = operations.ListActivitiesResponse(
        activities=[
            operations.Activity(callback_activity="late", kind=operations.ACTIVITY_KIND_WORKERS, open_callback_count=2),
            operations.Activity(
                callback_activity="paid", kind=operations.ACTIVITY_KIND_WORKERS, worker_count=3, delivery_count=7,
                paused=True,
            ),
            operations.Activity(
                callback_activity="person", kind=operations.ACTIVITY_KIND_WORKERS, notification_worker_count=1
            ),
            operations.Activity(callback_activity="pushed", kind=operations.ACTIVITY_KIND_PUSH),
            operations.Activity(callback_activity="record", kind=operations.ACTIVITY_KIND_BUILT_IN),
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
    assert server.requests == [operations.ListActivitiesRequest(owner="orders")]
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
    server.answers["GetStatistics"] = operations.GetStatisticsResponse(
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
        ["STAGE", "COUNT", "MEDIAN", "P95", "P99"],
        ["claim", "3", "1.5ms", "2s", "-"],
        ["OWNER", "OPEN", "CALLBACK", "COUNT", "WAITING", "CALL", "COUNT", "DEAD", "CALL", "COUNT"],
        ["orders\\x1b", "5", "-", "-"],
        ["delivery", "count", "7"],
        ["delivery", "delay", "1m30s"],
    ]
    ran = await callback("statistics", "--json")
    assert ran.json["minutes"][0] == {
        "startTime": "2026-11-25T09:30:15.250Z",
        "duration": "60s",
        "outcomes": [
            {"callStatus": "FAILED", "callFailure": "HANDLER_LOST", "count": 1},
            {"callStatus": "SUCCEEDED", "count": 1},
        ],
        "refusals": [],
        "stages": [],
    }
    assert ran.json["stages"] == [{"stage": "claim", "count": 3, "median": "0.001500s", "p95": "2s", "p99": "0s"}]
    assert (ran.json["work"]["deliveryCount"], ran.json["work"]["deliveryDelay"]) == (7, "90s")


@pytest.mark.parametrize(("command", "method"), [("pause", "PauseActivity"), ("resume", "ResumeActivity")])
async def test_an_activity_is_paused_and_resumed(server, callback, command, method):
    paused = operations.ListPausedActivitiesResponse(
        paused_activities=[operations.PausedActivity(callback_activity="order-paid")]
    )
    server.answers["ListPausedActivities"] = paused
    server.answers[method] = getattr(operations, f"{method}Response")()
    assert (await callback(command, "order-paid")).output == f"order-paid is {command}d.\n"
    ran = await callback(command, "order-paid", "--json")
    assert ran.json == {"callbackActivity": "order-paid", "paused": command == "pause"}
    asked = [each for each in server.requests if not isinstance(each, operations.ListPausedActivitiesRequest)]
    assert asked == [getattr(operations, f"{method}Request")(callback_activity="order-paid")] * 2


async def test_resuming_an_activity_that_is_not_paused_says_so(server, callback):
    server.answers["ListPausedActivities"] = operations.ListPausedActivitiesResponse()
    server.answers["ResumeActivity"] = operations.ResumeActivityResponse()
    assert (await callback("resume", "order-piad")).output == "order-piad was not paused.\n"


async def test_paused_activities_are_listed(server, callback):
    server.answers["ListPausedActivities"] = operations.ListPausedActivitiesResponse()
    assert (await callback("paused")).output == "None.\n"
    assert (await callback("paused", "--json")).json == []
    why = {"principal": "alice", "reason": "down\x1b", "pause_time": timestamp(CREATED)}
    server.answers["ListPausedActivities"] = operations.ListPausedActivitiesResponse(
        paused_activities=[
            operations.PausedActivity(callback_activity="a", **why),
            operations.PausedActivity(callback_activity="b\x1b"),
        ]
    )
    shown = [line.split() for line in (await callback("paused")).output.splitlines()]
    assert shown == [
        ["ACTIVITY", "PRINCIPAL", "REASON", "PAUSE", "TIME"],
        ["a", "alice", "down\\x1b", "2026-11-25", "09:30:15", "UTC"],
        ["b\\x1b", "-", "-", "-"],
    ]
    ran = await callback("paused", "--json")
    assert ran.json == [
        {"callbackActivity": "a", "principal": "alice", "reason": "down\x1b",
         "pauseTime": "2026-11-25T09:30:15.250Z"},
        {"callbackActivity": "b\x1b", "principal": "", "reason": ""},
    ]  # fmt: skip


async def test_an_activity_is_paused_with_a_reason(server, callback):
    server.answers["PauseActivity"] = operations.PauseActivityResponse()
    assert (await callback("pause", "order-paid", "--reason", "down")).code == 0
    assert server.requests == [operations.PauseActivityRequest(callback_activity="order-paid", reason="down")]


async def test_activities_adds_the_open_callbacks_of_all_owners_for_an_administrator(server, callback):
    owners = [
        {"owner": "gone", "open_callback_count": 1},
        {"owner": "orders", "open_callback_count": 2},
        {"owner": "x"},
    ]
    server.answers["GetStatistics"] = operations.GetStatisticsResponse(owners=owners)

    async def activities(request):
        names = ["paid", "late"] if request.owner == "orders" else ["paid"]
        return operations.ListActivitiesResponse(
            activities=[operations.Activity(callback_activity=name, open_callback_count=2) for name in names]
        )

    server.answers["ListActivities"] = activities
    ran = await callback("activities", "--json")
    assert {each["callbackActivity"]: each["openCallbackCount"] for each in ran.json} == {"late": 2, "paid": 4}
    asked = [each.owner for each in server.requests if isinstance(each, operations.ListActivitiesRequest)]
    assert asked == ["gone", "orders"]


async def test_findings_shows_what_a_server_finds_and_fails_if_there_is_a_problem(server, callback):
    fine = operations.Finding(check="store write", level=operations.FINDING_LEVEL_OK, seen="a write took 1 ms")
    found = operations.ListFindingsResponse(findings=[fine], check_time=CREATED)
    server.answers["ListFindings"] = found
    ran = await callback("findings")
    assert (ran.code, ran.output) == (0, "ok       store write: a write took 1 ms\n")
    found.findings.add(
        check="store memory\x1b", level=operations.FINDING_LEVEL_PROBLEM, seen="it evicts", advice="set noeviction"
    )
    ran = await callback("findings")
    assert (ran.code, ran.output.splitlines()[1]) == (
        1, "problem  store memory\\x1b: it evicts; set noeviction"
    )  # fmt: skip
    ran = await callback("findings", "--json", "--jq", ".findings[].level")
    assert (ran.code, ran.output.split()) == (1, ["OK", "PROBLEM"])
