"""Transition log: one event per transition, with ids that connect the events, even if a request is sent again."""

import asyncio
import contextlib
from types import SimpleNamespace

import pytest
from google.protobuf.duration_pb2 import Duration
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from support.handlers import accept, answering, reject, stub_handler
from support.leases import end_leases, expire_cases
from support.proxy import StoreProxy, each_once
from support.services import refusal, running_services
from support.wait import wait_until

from callback_process.tasks import TaskSet
from callback_server.calls.sweeper import Sweeper
from callback_server.settings import ActivitySettings
from callback_server.store.recording import Recording

TELLING = {
    "case_created", "response_set", "case_closed", "calls_erased", "call_started", "call_ended", "lease_ended",
    "case_expired", "retention_applied",
}  # fmt: skip


@pytest.fixture
def told():
    """Return a function that returns the events since its last use, without their level."""
    with capture_logs() as entries:

        def since():
            events = [{name: value for name, value in entry.items() if name != "log_level"} for entry in entries]
            entries.clear()
            return [event for event in events if event["event"] in TELLING]

        yield since


@pytest.fixture
async def pushing(store_of):
    """Run services whose activity `push` has a handler with scripts: `gated`, `accepts`, `rejects`."""
    store, gate = store_of(), asyncio.Event()

    async def gated(_request, _context):
        await gate.wait()
        return accept()

    async with (
        stub_handler() as stub,
        running_services(store, activities={"push": ActivitySettings(target=stub.target)}) as services,
    ):
        yield SimpleNamespace(
            store=store, services=services, stub=stub, gate=gate, gated=stub.play(gated),
            accepts=stub.play(answering(accept())), rejects=stub.play(answering(reject())),
        )  # fmt: skip


async def call(services, made):
    return (await services.call(made, method="get")).call_id


@contextlib.asynccontextmanager
async def sweeping(services, retention_ms=3_600_000):
    """Run a sweeper, as a server does."""
    due = {"deliveries_due": print, "notifications_due": print}
    sweeper = Sweeper(services.control_plane.scripts, Recording(), retention_ms=retention_ms, **due)
    async with TaskSet() as tasks:
        tasks.start(sweeper.run_sweeps())
        tasks.start(sweeper.run_retention())
        yield


async def test_the_life_of_a_recorded_callback(services, told):
    made = await services.generate()
    case_id = made.callback_case_id
    await services.set_response(made, response_code=201)
    call_id = await call(services, made)
    await services.erase(made)
    assert told() == [
        {"event": "case_created", "case_id": case_id, "owner": "local", "activity": "record"},
        {"event": "response_set", "case_id": case_id, "attributes": ["response_code"], "principal": "local"},
        {
            "event": "call_ended", "call_id": call_id, "case_id": case_id, "activity": "record", "status": "SUCCEEDED",
            "case_status": "CLOSED", "close_reason": "CONSUMED",
        },
        {"event": "calls_erased", "case_id": case_id, "calls": 1, "principal": "local"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "script", "made_of_it"),
    [
        ({}, "accepts", {"case_status": "CLOSED", "close_reason": "CONSUMED"}),
        ({}, "rejects", {"case_status": "CLOSED", "close_reason": "FAILED"}),
        ({"retryable_after_error": True}, "rejects", {"case_status": "OPEN"}),
        ({"allow_multiple_calls": True}, "rejects", {}),
    ],
)
async def test_the_event_of_a_calls_end_has_its_effect_on_the_case(pushing, told, fields, script, made_of_it):
    made = await pushing.services.generate("push", callback_activity_case=getattr(pushing, script), **fields)
    told()
    call_id = await call(pushing.services, made)
    ids = {"call_id": call_id, "case_id": made.callback_case_id, "activity": "push"}
    status = "SUCCEEDED" if script == "accepts" else "REJECTED"
    assert told() == [
        {"event": "call_started", **ids, "call_number": 1},
        {"event": "call_ended", **ids, "status": status, **made_of_it},
    ]


async def test_a_call_that_ends_after_its_case_was_closed_made_nothing_of_it(pushing, told):
    made = await pushing.services.generate("push", callback_activity_case=pushing.gated)
    calling = asyncio.create_task(call(pushing.services, made))
    await wait_until(lambda: pushing.stub.requests(pushing.gated), what="the handler's start")
    await pushing.services.close(made)
    pushing.gate.set()
    await calling
    _, _, closed, ended = told()
    assert closed == {
        "event": "case_closed", "case_id": made.callback_case_id, "close_reason": "CLOSED_BY_OWNER",
        "principal": "local",
    }  # fmt: skip
    assert ended["event"] == "call_ended"
    assert "case_status" not in ended


async def test_a_repeated_request_logs_no_second_event(services, told):
    made = await services.generate(request_id="once")
    assert await services.generate(request_id="once") == made
    for _ in range(2):
        await services.close(made)
    assert [event["event"] for event in told()] == ["case_created", "case_closed"]


@pytest.mark.parametrize("by", ["sweep", "claim", "close", "set"])
async def test_an_ended_lease_is_logged_once_by_the_transition_that_applies_it(pushing, told, by):
    services, before = pushing.services, REGISTRY.get_sample_value("callback_leases_ended_total")
    made = await services.generate("push", callback_activity_case=pushing.gated, retryable_after_error=by == "set")
    calling = asyncio.create_task(refusal(call(services, made)))
    await wait_until(lambda: pushing.stub.requests(pushing.gated), what="the handler's start")
    (asked,) = pushing.stub.requests(pushing.gated)
    assert await end_leases(pushing.store) == 1
    events = told()
    if by == "claim":
        assert (await refusal(call(services, made))).reason == "OUTCOME_UNKNOWN"
    elif by == "close":
        await services.close(made)
    elif by == "set":
        await services.set_response(made, response_code=201)
    async with sweeping(services):
        await wait_until(lambda: events.extend(told()) or "lease_ended" in str(events), what="the event")
        pushing.gate.set()
        assert (await calling).reason == "OUTCOME_UNKNOWN"
        await services.generate()  # and any event that may still follow
    ended = [event for event in events + told() if event["event"] in ("lease_ended", "call_ended", "case_closed")]
    assert ended == [
        {
            "event": "lease_ended", "call_id": asked.call_id, "case_id": made.callback_case_id, "activity": "push",
            **({"case_status": "OPEN"} if by == "set" else {"case_status": "CLOSED", "close_reason": "INTERRUPTED"}),
        }
    ]  # fmt: skip
    assert REGISTRY.get_sample_value("callback_leases_ended_total") == before + 1


@pytest.mark.parametrize("by", ["sweep", "claim", "close"])
async def test_an_expired_callback_is_logged_once_by_the_transition_that_applies_it(store_of, told, by):
    store, before = store_of(), REGISTRY.get_sample_value("callback_cases_expired_total")
    async with running_services(store) as services:
        made = await services.generate(time_to_live=Duration(seconds=3600))
        assert await expire_cases(store) == 1
        told()
        if by == "claim":
            assert (await refusal(call(services, made))).metadata == {"close_reason": "EXPIRED"}
        elif by == "close":
            await services.close(made)
        events = told()
        async with sweeping(services):
            await wait_until(lambda: events.extend(told()) or events, what="the event")
            await services.close(made)
    events += told()
    assert events == [{"event": "case_expired", "case_id": made.callback_case_id, "activity": "record"}]
    assert REGISTRY.get_sample_value("callback_cases_expired_total") == before + 1


async def test_a_lost_reply_loses_no_event_of_the_request(store_of, told):
    scripts = ("create_cases", "set_response", "claim_call", "close_case", "erase_calls")
    async with StoreProxy(store_of(), each_once(*scripts)) as proxy, running_services(proxy) as services:
        for fields in ({}, {"request_id": "once"}):
            made = await services.generate(allow_multiple_calls=True, **fields)
            await services.set_response(made, response_code=201)
            await call(services, made)
            await services.close(made)
            await services.erase(made)
            events = told()
            assert [event["event"] for event in events] == [
                "case_created", "response_set", "call_ended", "case_closed", "calls_erased"
            ]  # fmt: skip
            assert events[-1]["calls"] == 1
    # More than twice if the store did not know the script yet, because that reply was lost as well.
    assert all(proxy.lost[script] >= 2 for script in scripts)


async def test_an_end_with_a_lost_reply_still_logs_its_effect_on_the_case(store_of, told):
    async with (
        stub_handler() as stub,
        StoreProxy(store_of(), each_once("claim_call", "finish_call")) as proxy,
        running_services(proxy, activities={"push": ActivitySettings(target=stub.target)}) as services,
    ):
        script = stub.play(answering(accept()))
        await call(services, await services.generate("push", callback_activity_case=script))
    (ended,) = [event for event in told() if event["event"] == "call_ended"]
    assert (ended["case_status"], ended["close_reason"]) == ("CLOSED", "CONSUMED")
    assert proxy.lost["finish_call"]


async def test_a_round_of_retention_logs_one_event(services, told):
    for made in [await services.generate(repeat_window={"seconds": 0}) for _ in range(20)]:
        await call(services, made)
    told()
    events = []
    async with sweeping(services, retention_ms=-60_000):
        await wait_until(lambda: events.extend(told()) or events, what="the event")
    assert events == [{"event": "retention_applied", "calls": 20, "cases": 20}]
