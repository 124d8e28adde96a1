"""Metrics and the access log, and what neither of them contains."""

import pytest
from pydantic import ValidationError
from support.edge import EdgeProcess, answer_to, answering, ask, http_request, new_state, plain, refusing

from callback_edge.settings import EdgeSettings


def requests(method, family, status):
    return ("callback_edge_requests_total", ("family", family), ("method", method), ("status", status))


def problem(code):
    return ("callback_edge_problems_total", ("code", code))


async def test_requests_are_counted_by_kind_and_problems_by_code(plane):
    async with EdgeProcess(plane.target) as edge:
        plane.script = answering(plain(b"12345", 201))
        await ask(edge, method="POST", body=b"123")
        await ask(edge, method="POST", body=b"1234")
        await ask(edge, f"/cbq/state?state={new_state()}")
        plane.script = refusing("CALLBACK_CLOSED")
        await ask(edge)
        await ask(edge, "/nowhere", "BREW")
        await ask(edge, method="PUT", body=b"x" * (1024 * 1024 + 1))
        await answer_to(edge, b"no HTTP\r\n\r\n")

        found = await edge.metrics()
        assert {name: value for name, value in found.items() if name[0] == "callback_edge_requests_total"} == {
            requests("POST", "cb", "2xx"): 2,
            requests("GET", "cbq", "2xx"): 1,
            requests("GET", "cb", "4xx"): 1,
            requests("other", "other", "4xx"): 2,
            requests("PUT", "cb", "4xx"): 1,
        }
        assert {name: value for name, value in found.items() if name[0] == "callback_edge_problems_total"} == {
            problem("callback_closed"): 1,
            problem("not_found"): 1,
            problem("body_too_large"): 1,
            problem("bad_request"): 1,
        }
        assert found[("callback_edge_request_seconds_count",)] == 7
        assert found[("callback_edge_invoke_seconds_count",)] == plane.started == 4
        assert found[("callback_edge_invoke_seconds_sum",)] < found[("callback_edge_request_seconds_sum",)]
        assert found[("callback_edge_request_body_bytes_total",)] >= 7
        assert found[("callback_edge_response_body_bytes_total",)] > 15
        assert found[("callback_edge_requests_in_flight",)] == 0
        assert found[("callback_edge_server_up",)] == 1


async def test_only_errors_of_callback_itself_are_counted_as_errors(plane):
    """What any caller can cause, and what handlers do, is no failure of the service."""
    async with EdgeProcess(plane.target) as edge:
        plane.script = answering(plain(b"chosen", 500))
        await ask(edge)
        await ask(edge, headers=[("sec-purpose", "prefetch")])
        for reason in ("HANDLER_FAILED", "HANDLER_NOT_STARTED", "RESPONSE_INVALID", "CALLBACK_CLOSED"):
            plane.script = refusing(reason)
            await ask(edge)

        async def errors():
            found = await edge.metrics()
            return {name[1][1]: value for name, value in found.items() if name[0] == "callback_edge_errors_total"}

        assert set((await errors()).values()) == {0}
        plane.script = refusing("STORE_UNAVAILABLE")
        await ask(edge)
        assert {code for code, count in (await errors()).items() if count} == {"store_unavailable"}


async def test_open_requests_and_connections_are_gauges_that_return_to_zero(plane):
    gate = plane.hold()
    async with EdgeProcess(plane.target) as edge:
        calls = [await edge.connect() for _ in range(3)]
        for _, writer in calls:
            writer.write(http_request(close=False))
        await plane.until(lambda: plane.started == 3)
        found = await edge.metrics()
        assert found[("callback_edge_requests_in_flight",)] == found[("callback_edge_connections",)] == 3

        calls[0][1].transport.abort()
        await edge.until_metric("requests_in_flight", 2)
        assert (await edge.metrics())[problem("caller_gone")] == 1
        gate.set()
        await edge.until_metric("requests_in_flight", 0)
        calls[1][1].write(http_request(close=False))  # a second one on its connection
        await plane.until(lambda: plane.ended == 4)
        await edge.until_metric("requests_in_flight", 0)
        for _, writer in calls:
            writer.close()
        await edge.until_metric("connections", 0)
        found = await edge.metrics()
        assert found[requests("GET", "cb", "2xx")] == 3
        assert found[requests("GET", "cb", "4xx")] == 1


async def test_a_client_that_only_ends_its_side_is_counted_with_its_answer(plane):
    patient = "from callback_process.http import connection; connection.HANG_UP_DELAY_S = 60"
    async with EdgeProcess(plane.target, first=patient) as edge:
        await ask(edge)  # from here on the server is known to be ready
        reader, writer = await edge.connect()
        writer.write(http_request(close=False))
        writer.write_eof()
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()
        await edge.until_metric("connections", 0)
        found = await edge.metrics()
        assert found[requests("GET", "cb", "2xx")] == 2
        assert problem("caller_gone") not in found


async def test_each_request_is_one_line_of_the_access_log_without_its_address(plane):
    state = new_state()
    async with EdgeProcess(plane.target, access_log_sample=1, trusted_proxies="127.0.0.1") as edge:
        plane.script = answering(plain(b"12345", call_id="the-call"))
        forwarded = [("X-Forwarded-For", "198.51.100.7"), ("X-Forwarded-Proto", "https")]
        await ask(edge, f"/cb/{state}?paid=yes-it-is", "POST", forwarded, b"123")
        plane.script = refusing("HANDLER_FAILED")
        await ask(edge, f"/cbq/order?order={state}")
        await answer_to(edge, f"GET /cb/{state} HTTP/1.1\nHost: a\n\n".encode())
        await edge.stop()
        first, second, third = edge.events("request_ended")
        common = {"timestamp", "level", "process", "pid", "event", "duration_ms"}
        assert {name: value for name, value in first.items() if name not in common} == {
            "method": "POST", "family": "cb", "status": 200, "code": "", "request_bytes": 3, "response_bytes": 5,
            "call_id": "the-call", "client": "198.51.100.7", "scheme": "https",
        }  # fmt: skip
        assert 0 < first["duration_ms"] < 60_000
        assert (second["family"], second["status"], second["code"]) == ("cbq", 502, "handler_failed")
        assert (second["call_id"], second["client"], second["scheme"]) == ("the-call", "127.0.0.1", "http")
        assert (third["method"], third["family"], third["code"]) == ("other", "other", "bad_request")
        assert not [line for line in edge.lines if state in line or "yes-it-is" in line or "order" in line]
        assert edge.events("address_limits_off") == []


async def test_a_sampled_access_log_has_every_5xx(plane):
    async with EdgeProcess(plane.target, access_log_sample=1e-9) as edge:
        for script in (answering(plain(b"ok")), refusing("STATE_UNKNOWN"), refusing("INTERNAL")):
            plane.script = script
            await ask(edge)
        await edge.stop()
        assert [entry["status"] for entry in edge.events("request_ended")] == [500]


async def test_without_an_access_log_each_failed_call_has_a_line(plane):
    async with EdgeProcess(plane.target) as edge:
        await ask(edge)
        plane.script = refusing("HANDLER_FAILED")
        await ask(edge)
        plane.script = answering(plain(b"", 999, call_id="another-call"))
        await ask(edge)
        await edge.stop()
        assert edge.events("request_ended") == []
        assert [(entry["code"], entry["call_id"]) for entry in edge.events("call_failed")] == [
            ("handler_failed", "the-call"),
            ("response_invalid", "another-call"),
        ]


@pytest.mark.parametrize("sample", [-0.1, 1.1])
def test_an_access_log_sample_is_from_0_to_1(sample):
    with pytest.raises(ValidationError, match="access_log_sample"):
        EdgeSettings(access_log_sample=sample)
