"""Operators learn which setting's limit refuses requests: from a metric, and once from the log."""

import pytest
import structlog
from prometheus_client import REGISTRY
from support.handlers import GatedHandler
from support.services import refusal, running_services
from support.wait import wait_until

from callback_server.limits import log as limits_log

LIMITS = {
    "max_in_flight_calls": "TOO_MANY_CALLS",
    "max_body_bytes_in_flight": "TOO_MANY_CALLS",
    "max_body_bytes_in_flight_per_owner": "TOO_MANY_REQUESTS",
    "max_calls_per_minute_per_owner": "TOO_MANY_REQUESTS",
    "max_calls_per_minute_per_case": "TOO_MANY_REQUESTS",
}


@pytest.mark.parametrize("limit", LIMITS)
async def test_a_refusal_is_counted_by_the_limit_and_the_log_has_one_line_of_it_now_and_then(store_of, limits, limit):
    def refused():
        labels = {"method": "StreamInvocations", "reason": LIMITS[limit], "limit": limit}
        return REGISTRY.get_sample_value("callback_refused_total", labels) or 0

    handler, before = GatedHandler(), refused()
    async with running_services(store_of(), handlers={"act": handler}, **{limit: 1}) as services:
        made = await services.generate("act", allow_multiple_calls=True)
        running = services.call(made, body=b"x")
        await wait_until(lambda: handler.started == 1)
        with structlog.testing.capture_logs() as log:
            for log_again_s in (0, 0, 3600, 3600):
                limits(limits_log, LOG_AGAIN_S=log_again_s)
                said = await refusal(services.call(made, body=b"x"))
                assert (said.reason, said.retry_after_s > 0) == (LIMITS[limit], True)
        handler.gate.set()
        await running
    assert refused() == before + 4
    assert [entry["limit"] for entry in log if entry["event"] == "limit_exceeded"] == [limit] * 2
