"""The process: readiness, health, a port in use, and a stop within its grace period."""

import asyncio
import json
import signal
import socket
import time

import pytest
from soak.counts import count
from support.edge import (
    DEADLINE_S,
    EdgeProcess,
    answering,
    answering_after,
    http_request,
    new_state,
    parse_answers,
    plain,
    refusing,
    send_raw,
)
from support.tree import ROOT
from support.wait import wait_until

LOOPS = ["uvloop", "asyncio"]


@pytest.fixture(params=LOOPS)
def loop(request):
    return request.param


async def refuses_connections(port):
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return True
    writer.close()
    return False


async def test_the_edge_announces_its_real_addresses_and_answers_there(plane, loop):
    async with EdgeProcess(plane.target, loop=loop) as edge:
        ready = await edge.until_logged("ready")
        assert ready["edge"].startswith("127.0.0.1:")
        assert ready["admin"].startswith("127.0.0.1:")
        (answer,) = parse_answers(await send_raw(await edge.port(), http_request(f"/cb/{new_state()}")))
        assert (answer.status, answer.body) == (200, b"ok")
        answer.assert_fixed_headers()


async def test_the_edge_listens_on_ipv6(plane):
    async with EdgeProcess(plane.target, bind="[::1]:0") as edge:
        ready = await edge.until_logged("ready")
        assert ready["edge"].startswith("[::1]:")
        reader, writer = await asyncio.open_connection("::1", await edge.port())
        writer.write(http_request(f"/cb/{new_state()}"))
        assert parse_answers(await reader.read())[0].status == 200
        assert plane.requests[0].client_address == "::1"
        writer.close()


async def test_health_has_its_own_port(plane):
    async with EdgeProcess(plane.target) as edge:
        await wait_until(lambda: readiness(edge, 200))
        answer = await edge.admin("/healthz")
        assert (answer.status_code, answer.text) == (200, "ok\n")
        for path in ("/healthz", "/readyz", "/metrics"):
            (public,) = parse_answers(await send_raw(await edge.port(), http_request(path)))
            assert public.status == 404
        assert (await edge.admin(f"/cb/{new_state()}")).status_code == 404


async def readiness(edge, status):
    answer = await edge.admin("/readyz")
    return answer.text if answer.status_code == status else ""


async def test_the_edge_is_ready_only_while_a_server_is_ready(plane):
    async with EdgeProcess(plane.target) as edge:
        await wait_until(lambda: readiness(edge, 200))
        await plane.serving(False)
        try:
            answer = await wait_until(lambda: readiness(edge, 503))
            assert answer == "no connection to a server that accepts calls\n"
            assert (await edge.admin("/healthz")).status_code == 200
        finally:
            await plane.serving(True)
        await wait_until(lambda: readiness(edge, 200))


async def test_without_a_server_the_edge_is_healthy_but_not_ready_and_says_why():
    async with EdgeProcess() as edge:
        assert (await edge.admin("/healthz")).status_code == 200
        assert (await edge.admin("/readyz")).status_code == 503
        assert "Connection refused" in (await edge.until_logged("server_unreachable"))["grpc_details"]


@pytest.mark.parametrize("which", ["bind", "admin_bind"])
async def test_a_port_in_use_is_reported_in_one_plain_line(plane, which):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        edge = EdgeProcess(plane.target, **{which: address})
        await edge.start()
        assert await edge.end() == 1
        assert edge.lines == [f"callback edge: cannot listen on {address}: Address already in use\n"]


async def test_wrong_settings_are_reported_plainly(plane):
    edge = EdgeProcess(plane.target, bind="nowhere", body_limit_bytes=-1)
    await edge.start()
    assert await edge.end() == 2
    assert len(edge.lines) == 2
    assert "CALLBACK_EDGE_BIND" in edge.lines[0]
    assert "CALLBACK_EDGE_BODY_LIMIT_BYTES" in edge.lines[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_an_idle_process_stops_at_once(plane, loop, number):
    async with EdgeProcess(plane.target, loop=loop) as edge:
        # An idle connection, half a head, and a silent connection do not delay the stop.
        idle, half, silent = [await asyncio.open_connection("127.0.0.1", await edge.port()) for _ in range(3)]
        idle[1].write(http_request(f"/cb/{new_state()}", close=False))
        await idle[0].readuntil(b"ok")
        half[1].write(b"GET / HTTP/1.1\r\n")
        began = time.monotonic()
        edge.process.send_signal(number)
        assert await edge.end() == 0
        assert time.monotonic() - began < 20  # of a grace of 25
        for _, writer in (idle, half, silent):
            writer.close()


async def test_a_stop_waits_for_running_calls_and_accepts_no_more(plane, loop):
    gate, gate_of_the_gone = asyncio.Event(), asyncio.Event()

    async def script(request, context):
        return await answering_after(gate_of_the_gone if request.request_query_string else gate, plain(b"done"))(
            request, context
        )

    plane.script = script
    async with EdgeProcess(plane.target, loop=loop) as edge:
        port = await edge.port()
        kept = await asyncio.open_connection("127.0.0.1", port)
        kept[1].write(http_request(f"/cb/{new_state()}", close=False))
        gone = await asyncio.open_connection("127.0.0.1", port)
        gone[1].write(http_request(f"/cb/{new_state()}?gone"))
        await plane.until(lambda: plane.started == 2)
        gone[1].close()  # the edge still waits for its call

        edge.process.terminate()
        await edge.until_logged("stopping")
        await wait_until(lambda: refuses_connections(port))
        answer = await edge.admin("/readyz")
        assert (answer.status_code, answer.text) == (503, "stopping\n")
        assert (await edge.admin("/healthz")).status_code == 200
        assert edge.process.poll() is None

        gate.set()
        (answer,) = parse_answers(await kept[0].read())
        assert (answer.status, answer.body, answer["connection"]) == (200, b"done", "close")
        answer.assert_fixed_headers()
        for _ in range(20):  # it still runs, for the call whose caller is gone
            assert (await edge.admin("/healthz")).status_code == 200
        gate_of_the_gone.set()
        assert await edge.end() == 0
        assert (plane.ended, plane.cancelled) == (2, 0)
        kept[1].close()


async def test_a_stop_ends_two_seconds_after_its_grace_period_in_any_case(plane, loop):
    grace = 1
    gate = asyncio.Event()

    async def script(request, _context):
        if request.request_query_string != "large":
            await gate.wait()
        return plain(b"x" * (1 << 20))

    plane.script = script
    # The promised margin is 2 s, on a machine that is not overloaded.
    first = f"from callback_edge import main; main._HARD_EXIT_S = {count(20, 1.8)}"
    if loop == "asyncio":
        first = f"import sys; sys.path.append({str(ROOT / 'tests')!r}); import support.without_uvloop; {first}"
    async with EdgeProcess(plane.target, first=first, grace_s=grace) as edge:
        port = await edge.port()
        stuck = await asyncio.open_connection("127.0.0.1", port)
        stuck[1].write(http_request(f"/cb/{new_state()}"))
        uploading = await asyncio.open_connection("127.0.0.1", port)
        uploading[1].write(b"POST /cb/x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n123")
        with socket.socket() as lazy:
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            lazy.connect(("127.0.0.1", port))
            lazy.sendall(http_request(f"/cb/{new_state()}?large", close=False) * 20)
            await plane.until(lambda: plane.started >= 2)
            began = time.monotonic()
            edge.process.terminate()
            (answer,) = parse_answers(await stuck[0].read())
            assert (answer.status, json.loads(answer.body)["code"]) == (503, "outcome_unknown")
            assert answer.all("retry-after") == []
            assert await edge.end() == 0
            took = time.monotonic() - began
        assert grace <= took < grace + count(50, 2)
        gate.set()
        for _, writer in (stuck, uploading):
            writer.close()


async def test_a_stop_that_blocks_the_event_loop_is_cut(plane):
    stuck = "import time; from callback_edge.upstream.client import ServerClient"
    stuck += "; ServerClient.wait_idle = lambda *_: time.sleep(60)"
    async with EdgeProcess(plane.target, first=stuck, grace_s=0.5) as edge:
        began = time.monotonic()
        edge.process.terminate()
        assert await edge.end() == 1
        assert time.monotonic() - began < count(20, 2.5)  # far from the 60 s for which it blocks


async def test_a_second_signal_ends_the_edge_at_once(plane):
    plane.script = answering_after(asyncio.Event())
    async with EdgeProcess(plane.target) as edge:
        call = asyncio.create_task(send_raw(await edge.port(), http_request(f"/cb/{new_state()}")))
        await plane.until(lambda: plane.started)
        edge.process.terminate()
        await edge.until_logged("stopping")
        edge.process.terminate()
        assert await edge.end() == 128 + signal.SIGTERM
        (heard,) = await asyncio.gather(call, return_exceptions=True)
        assert heard == b"" or isinstance(heard, ConnectionError)


async def test_a_state_reaches_no_log_when_calls_fail(plane):
    async def crash(_request, _context):
        raise RuntimeError("crashed on " + state)

    state = new_state()
    async with EdgeProcess(plane.target, log_level="DEBUG") as edge:
        port = await edge.port()
        for script in (
            answering(plain(b"ok")),
            answering(plain(b"", 999)),
            refusing("INTERNAL"),
            refusing("NEW"),
            crash,
        ):
            plane.script = script
            for path in (f"/cb/{state}", f"/cbq/state?state={state}", f"/nowhere/{state}", f"/cb/{state.upper()}"):
                await send_raw(port, http_request(path))
        await send_raw(port, f"GET /cb/{state} HTTP/1.1\nHost: {state}\n\n".encode())
        edge.process.terminate()
        await edge.end()
        log = "".join(edge.lines)
        assert "crashed on" in log
        assert state not in log.lower()
        assert not [line for line in edge.lines if not line.startswith("{")]


async def test_bodies_of_a_flood_are_not_kept(plane):
    """50 MiB in chunks on each of four connections leave no trace in the process's size."""
    async with EdgeProcess(plane.target) as edge:
        port = await edge.port()
        await send_raw(port, http_request(f"/cb/{new_state()}"))
        before = edge.resident_bytes()
        peak = 0
        chunk = b"%x\r\n%s\r\n" % (1 << 16, b"x" * (1 << 16))

        async def flood(path):
            nonlocal peak
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
            try:
                for _ in range(800):
                    writer.write(chunk)
                    await writer.drain()
                    peak = max(peak, edge.resident_bytes())
            except ConnectionError:
                pass
            writer.close()

        async with asyncio.timeout(DEADLINE_S * 2):
            await asyncio.gather(*(flood(path) for path in (f"/cb/{new_state()}", "/cb/x", "/nowhere", "/cbq/state")))
        assert peak - before < 24 * 1024 * 1024
        assert plane.started == 1
