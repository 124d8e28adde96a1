"""The process: readiness, health, a port in use, and a stop within its grace period."""

import asyncio
import contextlib
import signal
import socket
import time

import pytest
from soak.counts import count
from support.edge import (
    DEADLINE_S,
    EdgeProcess,
    answer_to,
    answering,
    answering_after,
    ask,
    chunk,
    failed_start,
    http_request,
    new_state,
    one_answer,
    parse_answers,
    plain,
    raw_request,
    refusing,
)
from support.tree import ROOT
from support.wait import wait_until

FOR_EVER = 1000


async def test_the_edge_listens_on_ipv6(plane):
    async with EdgeProcess(plane.target, bind="[::1]:0") as edge:
        reader, writer = await asyncio.open_connection("::1", edge.port)
        writer.write(http_request())
        assert (await one_answer(reader)).status == 200
        assert plane.requests[0].client_address == "::1"
        writer.close()


async def test_health_has_its_own_port(plane):
    async with EdgeProcess(plane.target) as edge:
        await edge.until_readiness(200)
        answer = await edge.admin("/healthz")
        assert (answer.status_code, answer.text) == (200, "ok\n")
        for path in ("/healthz", "/readyz", "/metrics"):
            assert (await ask(edge, path)).status == 404
        assert (await edge.admin(f"/cb/{new_state()}")).status_code == 404


async def test_the_edge_is_ready_only_while_a_server_is_ready(plane):
    async with EdgeProcess(plane.target) as edge:
        await edge.until_readiness(200)
        assert await edge.metric("server_up") == 1
        await plane.serving(False)
        try:
            assert await edge.until_readiness(503) == "no connection to a server that accepts calls\n"
            assert (await edge.admin("/healthz")).status_code == 200
            assert await edge.metric("server_up") == 0
        finally:
            await plane.serving(True)
        await edge.until_readiness(200)
        assert await edge.metric("server_up") == 1


async def test_without_a_server_the_edge_is_healthy_but_not_ready_and_says_why():
    async with EdgeProcess() as edge:
        assert (await edge.admin("/healthz")).status_code == 200
        assert (await edge.admin("/readyz")).status_code == 503
        assert "Connection refused" in (await edge.until_logged("server_unreachable"))["grpc_details"]


@pytest.mark.parametrize("which", ["bind", "admin_bind"])
async def test_a_port_in_use_is_reported_in_one_plain_line(which):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        line = f"callback edge: cannot listen on {address}: Address already in use\n"
        assert await failed_start(**{which: address}) == (1, [line])


async def test_wrong_settings_are_reported_plainly():
    code, (bind, limit) = await failed_start(bind="nowhere", body_limit_bytes=-1)
    assert code == 2
    assert "CALLBACK_EDGE_BIND" in bind
    assert "CALLBACK_EDGE_BODY_LIMIT_BYTES" in limit


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_an_idle_process_stops_at_once(plane, loop, number):
    async with EdgeProcess(plane.target, loop=loop, grace_s=FOR_EVER) as edge:
        # An idle connection, half a head, and a silent connection do not delay the stop.
        idle, half, silent = await edge.kept(), await edge.connect(), await edge.connect()
        half[1].write(b"GET / HTTP/1.1\r\n")
        edge.process.send_signal(number)
        assert await edge.end() == 0
        assert await edge.rest(*idle) == b""
        for each in (half, silent):
            (answer,) = parse_answers(await edge.rest(*each))
            assert (answer.status, answer["connection"]) == (408, "close")


async def test_a_stop_waits_for_running_calls_and_accepts_no_more(plane, loop):
    gate, gate_of_the_gone = asyncio.Event(), asyncio.Event()

    async def script(request, context):
        return await answering_after(gate_of_the_gone if request.request_query_string else gate, plain(b"done"))(
            request, context
        )

    plane.script = script
    async with EdgeProcess(plane.target, loop=loop) as edge:
        kept, gone = await edge.connect(), await edge.connect()
        kept[1].write(http_request(close=False))
        gone[1].write(http_request(f"/cb/{new_state()}?gone"))
        await plane.until(lambda: plane.started == 2)
        gone[1].close()  # the edge still waits for its call

        edge.process.terminate()
        await edge.until_logged("stopping")
        await wait_until(edge.refuses_connections)
        assert await edge.until_readiness(503) == "stopping\n"
        assert (await edge.admin("/healthz")).status_code == 200
        assert edge.process.poll() is None

        gate.set()
        (answer,) = parse_answers(await edge.rest(*kept))
        assert (answer.status, answer.body, answer["connection"]) == (200, b"done", "close")
        answer.assert_fixed_headers()
        for _ in range(20):  # it still runs, for the call whose caller is gone
            assert (await edge.admin("/healthz")).status_code == 200
        gate_of_the_gone.set()
        assert await edge.end() == 0
        assert (plane.ended, plane.cancelled) == (2, 0)


async def test_a_stop_ends_two_seconds_after_its_grace_period_in_any_case(plane, loop):
    grace = 1
    gate = asyncio.Event()

    async def script(request, _context):
        if request.request_query_string != "large":
            await gate.wait()
        return plain(b"x" * (1 << 20))

    plane.script = script
    # The promised margin is 2 s, on a machine that is not overloaded.
    first = f"from callback_edge import main; main.HARD_EXIT_S = {count(FOR_EVER, 1.8)}"
    if loop == "asyncio":
        first = f"import sys; sys.path.append({str(ROOT / 'tests')!r}); import support.without_uvloop; {first}"
    async with EdgeProcess(plane.target, first=first, grace_s=grace) as edge:
        stuck, uploading = await edge.connect(), await edge.connect()
        stuck[1].write(http_request())
        uploading[1].write(raw_request("Content-Length: 10", body=b"123"))
        with socket.socket() as lazy:
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            lazy.connect(("127.0.0.1", edge.port))
            lazy.sendall(http_request(f"/cb/{new_state()}?large", close=False) * 20)
            await plane.until(lambda: plane.started >= 2)
            began = time.monotonic()
            edge.process.terminate()
            (answer,) = parse_answers(await stuck[0].read())
            assert (answer.problem, answer.all("retry-after")) == ((503, "outcome_unknown"), [])
            assert await edge.end() == 0
            took = time.monotonic() - began
        assert grace <= took < grace + count(FOR_EVER, 2)
        gate.set()
        for _, writer in (stuck, uploading):
            writer.close()


async def test_a_stop_that_blocks_the_event_loop_is_cut(plane):
    stuck = "import time; from callback_edge.upstream.client import ServerClient"
    stuck += "; ServerClient.wait_idle = lambda *_: time.sleep(10**6)"
    async with EdgeProcess(plane.target, first=stuck, grace_s=0.5) as edge:
        began = time.monotonic()
        assert await edge.stop() == 1
        assert time.monotonic() - began < count(FOR_EVER, 2.5)


async def test_a_state_reaches_no_log_when_calls_fail(plane):
    async def crash(_request, _context):
        raise RuntimeError("crashed on " + state)

    state = new_state()
    async with EdgeProcess(plane.target, log_level="DEBUG") as edge:
        for script in (answering(plain(b"ok")), answering(plain(b"", 999)), refusing("INTERNAL"), crash):
            plane.script = script
            for path in (f"/cb/{state}", f"/cbq/state?state={state}", f"/nowhere/{state}", f"/cb/{state.upper()}"):
                await ask(edge, path)
        await answer_to(edge, f"GET /cb/{state} HTTP/1.1\nHost: {state}\n\n".encode())
        await edge.stop()
        log = "".join(edge.lines)
        assert "crashed on" in log
        assert state not in log.lower()
        assert not [line for line in edge.lines if not line.startswith("{")]


async def test_bodies_of_a_flood_are_not_kept(plane):
    """50 MiB in chunks on each of four connections leave no trace in the process's size."""
    async with EdgeProcess(plane.target) as edge:
        await ask(edge)
        before = edge.resident_bytes()
        peak = 0
        part = chunk(b"x" * (1 << 16))

        async def flood(path):
            nonlocal peak
            _, writer = await edge.connect()
            writer.write(raw_request("Transfer-Encoding: chunked", path=path))
            with contextlib.suppress(ConnectionError):
                for _ in range(count(200, 800)):
                    writer.write(part * 4)
                    await writer.drain()
                    peak = max(peak, edge.resident_bytes())
            writer.close()

        async with asyncio.timeout(DEADLINE_S * 2):
            await asyncio.gather(*(flood(path) for path in (None, "/cb/x", "/nowhere", "/cbq/state")))
        assert peak - before < 24 * 1024 * 1024
        assert plane.started == 1
