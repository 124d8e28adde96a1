"""Operators learn which setting's limit refuses requests: from a metric, and once from the log."""

import asyncio

import pytest
import structlog
from prometheus_client import REGISTRY
from support.handlers import accept
from support.services import refusal, running_services
from support.wait import wait_until

from callback.v1 import edge_service_pb2 as edge
from callback_server.handlers.handler import Reply
from callback_server.rpc import method

LIMITS = {
    "max_in_flight_calls": "TOO_MANY_CALLS",
    "max_body_bytes_in_flight": "TOO_MANY_CALLS",
    "max_body_bytes_in_flight_per_owner": "TOO_MANY_REQUESTS",
    "max_calls_per_minute_per_owner": "TOO_MANY_REQUESTS",
    "max_calls_per_minute_per_case": "TOO_MANY_REQUESTS",
}


class Waiting:
    """A handler that accepts each call once the gate is open."""

    def __init__(self):
        self.gate = asyncio.Event()
        self.started = 0

    async def handle(self, _grant, _request, *, timeout_s):
        del timeout_s
        self.started += 1
        await self.gate.wait()
        return Reply(accept(), lambda _: None)


@pytest.mark.parametrize("limit", LIMITS)
async def test_a_refusal_is_counted_by_the_limit_and_the_log_has_one_line_of_it(store_of, monkeypatch, limit):
    def refused():
        labels = {"method": "StreamInvocations", "reason": LIMITS[limit], "limit": limit}
        return REGISTRY.get_sample_value("callback_refused_total", labels) or 0

    monkeypatch.setattr(method, "_logged_at", {})
    handler, before = Waiting(), refused()
    with structlog.testing.capture_logs() as log:
        await refuse_twice(store_of(), handler, limit)
    assert refused() == before + 2
    assert [entry["limit"] for entry in log if entry["event"] == "limit_exceeded"] == [limit]


async def refuse_twice(store, handler, limit):
    """Make two calls that a limit of 1 refuses, while another one runs."""
    async with running_services(store, handlers={"act": handler}, **{limit: 1}) as services:
        made = await services.generate("act", allow_multiple_calls=True)
        request = edge.InvokeRequest(state=made.callback_state, request_method="post", request_body=b"x")
        running = asyncio.ensure_future(services.edge.Invoke(request))
        await wait_until(lambda: handler.started == 1)
        for _ in range(2):
            assert (await refusal(services.edge.Invoke(request))).reason == LIMITS[limit]
        handler.gate.set()
        await running
