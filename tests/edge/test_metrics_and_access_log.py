"""Metrics and the access log, and what neither of them contains."""

import asyncio

import pytest
from pydantic import ValidationError
from support.edge import (
    EdgeProcess,
    answering,
    answering_after,
    http_request,
    new_state,
    plain,
    refusing,
    send_raw,
)
from support.wait import wait_until

from callback_edge.settings import EdgeSettings


async def ask(edge, path, method="GET", body=b"", headers=()):
    return await send_raw(await edge.port(), http_request(path, method, headers, body))


def requests(method, family, status):
    return ("callback_edge_requests_total", ("family", family), ("method", method), ("status", status))


def problem(code):
    return ("callback_edge_problems_total", ("code", code))


async def test_requests_are_counted_by_kind_and_problems_by_code(plane):
    async with EdgeProcess(plane.target) as edge:
        plane.script = answering(plain(b"12345", 201))
        await ask(edge, f"/cb/{new_state()}", "POST", b"123")
        await ask(edge, f"/cb/{new_state()}", "POST", b"1234")
        await ask(edge, f"/cbq/state?state={new_state()}")
        plane.script = refusing("CALLBACK_CLOSED")
        await ask(edge, f"/cb/{new_state()}")
        await ask(edge, "/nowhere", "BREW")
        await ask(edge, f"/cb/{new_state()}", "PUT", b"x" * (1024 * 1024 + 1))
        await send_raw(await edge.port(), b"no HTTP\r\n\r\n")

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


async def test_open_requests_and_connections_are_gauges_that_return_to_zero(plane):
    gate = asyncio.Event()
    plane.script = answering_after(gate)
    async with EdgeProcess(plane.target) as edge:
        calls = [await asyncio.open_connection("127.0.0.1", await edge.port()) for _ in range(3)]
        for _, writer in calls:
            writer.write(http_request(f"/cb/{new_state()}", close=False))
        await plane.until(lambda: plane.started == 3)
        found = await edge.metrics()
        assert found[("callback_edge_requests_in_flight",)] == found[("callback_edge_connections",)] == 3

        calls[0][1].transport.abort()
        await wait_until(lambda: in_flight(edge, 2))
        assert (await edge.metrics())[problem("caller_gone")] == 1
        gate.set()
        await wait_until(lambda: in_flight(edge, 0))
        calls[1][1].write(http_request(f"/cb/{new_state()}", close=False))  # a second one on its connection
        await plane.until(lambda: plane.ended == 4)
        await wait_until(lambda: in_flight(edge, 0))
        for _, writer in calls:
            writer.close()
        await wait_until(lambda: no_connection(edge))
        found = await edge.metrics()
        assert found[requests("GET", "cb", "2xx")] == 3
        assert found[requests("GET", "cb", "4xx")] == 1


async def test_a_client_that_only_ends_its_side_is_counted_with_its_answer(plane):
    patient = "from callback_edge.http import connection; connection._HANG_UP_DELAY_S = 60"
    async with EdgeProcess(plane.target, first=patient) as edge:
        await ask(edge, f"/cb/{new_state()}")  # from here on the server is known to be ready
        reader, writer = await asyncio.open_connection("127.0.0.1", await edge.port())
        writer.write(http_request(f"/cb/{new_state()}", close=False))
        writer.write_eof()
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()
        await wait_until(lambda: no_connection(edge))
        found = await edge.metrics()
        assert found[requests("GET", "cb", "2xx")] == 2
        assert problem("caller_gone") not in found


async def in_flight(edge, count):
    return (await edge.metrics())[("callback_edge_requests_in_flight",)] == count


async def no_connection(edge):
    return (await edge.metrics())[("callback_edge_connections",)] == 0


async def test_whether_a_server_is_ready_is_a_metric(plane):
    async with EdgeProcess(plane.target) as edge:
        await wait_until(lambda: server_up(edge, 1))
        await plane.serving(False)
        try:
            await wait_until(lambda: server_up(edge, 0))
        finally:
            await plane.serving(True)
        await wait_until(lambda: server_up(edge, 1))


async def server_up(edge, value):
    return (await edge.metrics())[("callback_edge_server_up",)] == value


async def test_each_request_is_one_line_of_the_access_log_without_its_address(plane):
    state = new_state()
    async with EdgeProcess(plane.target, access_log_sample=1) as edge:
        plane.script = answering(plain(b"12345", call_id="the-call"))
        await ask(edge, f"/cb/{state}?paid=yes-it-is", "POST", b"123")
        plane.script = refusing("HANDLER_FAILED")
        await ask(edge, f"/cbq/order?order={state}")
        await send_raw(await edge.port(), f"GET /cb/{state} HTTP/1.1\nHost: a\n\n".encode())
        edge.process.terminate()
        await edge.end()
        first, second, third = edge.events("request_ended")
        common = {"timestamp", "level", "process", "pid", "event", "duration_ms"}
        assert {name: value for name, value in first.items() if name not in common} == {
            "method": "POST", "family": "cb", "status": 200, "code": "", "request_bytes": 3, "response_bytes": 5,
            "call_id": "the-call", "client": "127.0.0.1", "scheme": "http",
        }  # fmt: skip
        assert 0 < first["duration_ms"] < 60_000
        assert (second["family"], second["status"], second["code"]) == ("cbq", 502, "handler_failed")
        assert second["call_id"] == "the-call"
        assert (third["method"], third["family"], third["code"]) == ("other", "other", "bad_request")
        assert not [line for line in edge.lines if state in line or "yes-it-is" in line or "order" in line]


async def test_a_sampled_access_log_has_every_5xx(plane):
    async with EdgeProcess(plane.target, access_log_sample=1e-9) as edge:
        for script in (answering(plain(b"ok")), refusing("STATE_UNKNOWN"), refusing("INTERNAL")):
            plane.script = script
            await ask(edge, f"/cb/{new_state()}")
        edge.process.terminate()
        await edge.end()
        assert [entry["status"] for entry in edge.events("request_ended")] == [500]


async def test_without_an_access_log_each_failed_call_has_a_line(plane):
    async with EdgeProcess(plane.target) as edge:
        await ask(edge, f"/cb/{new_state()}")
        plane.script = refusing("HANDLER_FAILED")
        await ask(edge, f"/cb/{new_state()}")
        plane.script = answering(plain(b"", 999, call_id="another-call"))
        await ask(edge, f"/cb/{new_state()}")
        edge.process.terminate()
        await edge.end()
        assert edge.events("request_ended") == []
        assert [(entry["code"], entry["call_id"]) for entry in edge.events("call_refused")] == [
            ("handler_failed", "the-call"),
            ("response_invalid", "another-call"),
        ]


@pytest.mark.parametrize("sample", [-0.1, 1.1])
def test_an_access_log_sample_is_from_0_to_1(sample):
    with pytest.raises(ValidationError, match="access_log_sample"):
        EdgeSettings(access_log_sample=sample)
