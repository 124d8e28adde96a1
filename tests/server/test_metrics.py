"""Metrics on the admin port: they agree with the events, and contain no case id and no owner."""

import asyncio
import re
import time

import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families
from support.handler import handler_service
from support.leases import end_leases
from support.system import own_store, running_system
from support.wait import wait_until
from support.workers import connected

from callback import AnswerMode, Handlers, Reject, Response, Worker
from callback_server import metrics as server_metrics
from callback_server.domain.call import CallFailure


class Metrics:
    """Samples of a process at one moment, by name and labels."""

    def __init__(self, text):
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self._values = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in self.families.values()
            for sample in family.samples
        }

    def __call__(self, name, **labels):
        return self._values.get((name, tuple(sorted(labels.items()))), 0)


async def metrics(system, process):
    answer = await system.http.get(f"http://{process.facts['admin']}/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return Metrics(answer.text)


@pytest.fixture
async def handler():
    async with handler_service("work", deadline_s=60) as service:
        yield service


@pytest.fixture(scope="module")
async def system(tmp_path_factory, shared_store):
    """Run a system for the tests that need no handler and leave its processes alone."""
    shared_store.flush()
    async with running_system(tmp_path_factory.mktemp("system"), shared_store) as running:
        yield running


UNREACHABLE = '[activities.nobody]\ntarget = "127.0.0.1:1"\nconnect_timeout_s = 0.1\n'


async def test_each_call_is_counted_once_by_its_outcome(store_of, tmp_path, handler):
    async def script(call):
        match call.activity_case:
            case "reject":
                raise Reject
            case "fail":
                raise ValueError
            case "nonsense":
                return Response(code=999)

    handler.script = script
    async with running_system(tmp_path, store_of(), config=f"{handler.config}\n{UNREACHABLE}") as system:

        async def call(activity, case=""):
            made = await system.client.generate_callback_url(activity, Response("ok"), activity_case=case)
            return await system.http.get(made.url)

        for activity, case in [("record", "")] * 3 + [("work", "")] * 2 + [
            ("work", "reject"), ("work", "fail"), ("work", "nonsense"), ("nobody", ""),
        ]:  # fmt: skip
            await call(activity, case)
        gone = await system.client.generate_callback_url("record", Response("ok"))
        for visit in range(3):
            await system.http.get(f"{gone.url}?visit={visit}")
        await system.http.get("/cb/00000000-0000-4000-8000-000000000000")

        now = await metrics(system, system.server)
        calls = {
            (sample.labels["activity"], sample.labels["outcome"], sample.labels["reason"]): sample.value
            for sample in now.families["callback_calls"].samples
            if sample.name == "callback_calls_total" and sample.value
        }
        assert calls == {
            ("record", "SUCCEEDED", ""): 4,
            ("work", "SUCCEEDED", ""): 2,
            ("work", "REJECTED", ""): 1,
            ("work", "FAILED", "HANDLER_ERROR"): 1,
            ("work", "FAILED", "INVALID_RESPONSE"): 1,
            ("nobody", "NOT_STARTED", "HANDLER_UNREACHABLE"): 1,
        }
        assert now("callback_refused_total", method="StreamInvocations", reason="CALLBACK_CLOSED", limit="") == 2
        assert now("callback_refused_total", method="StreamInvocations", reason="STATE_UNKNOWN", limit="") == 1
        assert now("callback_refused_total", method="StreamInvocations", reason="HANDLER_FAILED", limit="") == 1
        # 13 Invokes requested a claim; 6 calls were sent to a handler and have an end of their own.
        assert now("callback_call_stage_seconds_count", stage="claim") == 13
        assert now("callback_call_stage_seconds_count", stage="handler") == 6
        assert now("callback_call_stage_seconds_count", stage="finish") == 6
        assert now("callback_request_seconds_count", method="StreamInvocations") == 13
        assert now("callback_calls_in_flight") == 0
        assert now("callback_store_up") == 1

        levels = {(each["status"], each["level"], each.get("owner")) for each in system.server.events("call_ended")}
        assert levels == {
            ("SUCCEEDED", "info", None), ("REJECTED", "info", None), ("NOT_STARTED", "info", None),
            ("FAILED", "warning", "local"),
        }  # fmt: skip
        acknowledged = await system.client.generate_callback_url(
            "work", Response("ok"), activity_case="reject", answer_mode=AnswerMode.ACK
        )
        await system.http.get(acknowledged.url)
        [dead] = await wait_until(lambda: system.server.events("delivery_tried"))
        assert (dead["level"], dead["status"], dead["owner"], dead["activity"]) == ("warning", "DEAD", "local", "work")
        now = await metrics(system, system.server)
        assert now("callback_deliveries_total", activity="work", outcome="DEAD", reason="") == 1


async def test_a_look_up_is_timed_apart_from_calls(system):
    async def timed():
        server, edge = [await metrics(system, process) for process in (system.server, system.edge)]
        return [
            server("callback_request_seconds_count", method="StreamInvocations"),
            server("callback_look_up_seconds_count"),
            edge("callback_edge_invoke_seconds_count"),
            edge("callback_edge_look_up_seconds_count"),
        ]

    before = await timed()
    made = await system.client.generate_callback_url("record", Response("ok"))
    assert (await system.http.post(made.url, content=b"x" * 100_000)).status_code == 200
    assert await timed() == [count + 1 for count in before]


async def test_leases_that_end_and_errors_of_the_store_are_counted(tmp_path, handler):
    handler.script = handler.wait_at_the_gate
    store = own_store(tmp_path).start()
    try:
        async with running_system(tmp_path, store, config=handler.config) as system:
            made = await system.client.generate_callback_url("work", Response("ok"))
            calling = asyncio.create_task(system.http.get(made.url))
            await handler.until_started()
            system.server.kill()
            await calling
            await asyncio.to_thread(system.server.start)
            assert await end_leases(store) == 1

            async def lease_ended():
                return (await metrics(system, system.server))("callback_leases_ended_total") == 1

            await wait_until(lease_ended, what="the end of the lease")
            store.kill()

            async def down():
                now = await metrics(system, system.server)
                return now("callback_store_errors_total", outcome="refused") and not now("callback_store_up")

            await wait_until(down, what="a store that is down")
            assert (await system.http.get(f"http://{system.server.facts['admin']}/readyz")).status_code == 503
            assert (await system.http.get(f"http://{system.server.facts['admin']}/healthz")).status_code == 200
            store.start()

            async def up():
                return (await metrics(system, system.server))("callback_store_up")

            await wait_until(up, what="a store that is up")
            assert (await system.http.get(f"http://{system.server.facts['admin']}/readyz")).text == "ok\n"
    finally:
        handler.gate.set()
        store.stop()


async def test_a_process_logs_and_exports_its_version(system):
    for process in (system.server, system.edge):
        labels = {"version": process.facts["version"]}
        assert (await metrics(system, process))("callback_build_info", **labels) == 1


async def test_the_names_of_metrics_follow_the_conventions(system):
    made = await system.client.generate_callback_url("record", Response("ok"), labels={"order": "five"})
    await system.http.get(made.url)
    unserved = await system.client.generate_callback_url("unserved", Response("ok"))
    await system.http.get(unserved.url)
    for process in (system.server, system.edge):
        for name, family in (await metrics(system, process)).families.items():
            if not name.startswith("callback_"):
                continue  # metrics of the library itself, about Python and the process
            assert re.fullmatch("callback(_[a-z]+)+", name)
            assert family.documentation
            assert family.type in ("counter", "gauge", "histogram")
            if family.type == "histogram":
                assert name.endswith("_seconds")
            for sample in family.samples:
                told = {*sample.labels, *sample.labels.values()}
                assert told.isdisjoint({made.case_id, made.state, "local", "order", "five", "unserved"})
    # What is neither declared nor served by a worker is counted together.
    not_started = {"outcome": "NOT_STARTED", "reason": "HANDLER_UNREACHABLE"}
    assert (await metrics(system, system.server))("callback_calls_total", activity="(other)", **not_started) == 1
    handlers = Handlers()

    @handlers.activity("unserved")
    async def served(_call):
        return None

    async with connected(Worker(handlers, system.grpc)):
        assert (await system.http.get(unserved.url)).status_code == 200
    now = await metrics(system, system.server)
    assert now("callback_calls_total", activity="unserved", outcome="SUCCEEDED", reason="") == 1


def test_no_more_activities_have_series_of_their_own_than_are_allowed(limits):
    server_metrics.add_activities(["bounded-1"])
    limits(server_metrics, MAX_ACTIVITIES=0)
    server_metrics.add_activities(["bounded-2"])
    labels = [{"activity": f"bounded-{n}", "outcome": "SUCCEEDED", "reason": ""} for n in (1, 2)]
    assert [REGISTRY.get_sample_value("callback_calls_total", each) for each in labels] == [0, None]


async def test_series_for_alerts_start_at_0(system):
    server, edge = await metrics(system, system.server), await metrics(system, system.edge)

    def series(now, family, label):
        return {sample.labels[label] for sample in now.families[family].samples if sample.name == f"{family}_total"}

    assert series(server, "callback_store_errors", "outcome") == {"refused", "unknown"}
    assert series(server, "callback_reloads_failed", "file") == {
        "certificate", "handler_secrets", "handler_tls", "keyring", "principals", "profile",
    }  # fmt: skip
    assert series(edge, "callback_edge_reloads_failed", "file") == {"server_token", "server_tls"}
    assert series(server, "callback_deliveries", "outcome") == {"PENDING", "DELIVERED", "DEAD"}
    reasons = series(server, "callback_calls", "reason")
    assert reasons == {"", *CallFailure} - {CallFailure.NO_HANDLER}
    assert series(server, "callback_notifications", "reason") == {"REMINDER", "EXPIRY"}
    assert series(edge, "callback_edge_errors", "code") >= {"internal", "server_unreachable", "store_unavailable"}
    assert server("callback_retention_seconds") == 7 * 86_400
    assert server("callback_retention_applied_time_seconds") > time.time() - 600
