"""A stop loses no request: on kept connections, on the way, or running."""

import asyncio
import signal
import socket

import httpx
import pytest
from support.edge import (
    DEADLINE_S,
    EdgeProcess,
    answering_after,
    http_request,
    new_state,
    parse_answers,
    plain,
    running_edge,
    send_raw,
)
from support.wait import wait_until

from callback_edge.edge import Edge
from callback_edge.http import connection

FOR_EVER = 1000


@pytest.fixture(params=["uvloop", "asyncio"])
def loop(request):
    return request.param


async def one_answer(reader):
    async with asyncio.timeout(DEADLINE_S):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        (answer,) = parse_answers(head + await reader.readexactly(length))
    return answer


async def test_a_draining_edge_is_not_ready_and_serves_each_connection_once_more(plane, loop):
    async with EdgeProcess(plane.target, loop=loop, drain_s=FOR_EVER) as edge:
        port = await edge.port()
        await wait_until(lambda: readiness(edge, 200))
        kept = await asyncio.open_connection("127.0.0.1", port)
        kept[1].write(http_request(f"/cb/{new_state()}", close=False))
        assert (await one_answer(kept[0])).all("connection") == []

        edge.process.terminate()
        assert (await edge.until_logged("stopping"))["drain_s"] == FOR_EVER
        assert await readiness(edge, 503) == "stopping\n"
        assert (await edge.admin("/healthz")).status_code == 200
        assert (await edge.admin("/metrics")).status_code == 200
        # A new connection and a kept one: both serve one request more.
        (answer,) = parse_answers(await send_raw(port, http_request(f"/cb/{new_state()}", close=False)))
        assert (answer.status, answer["connection"]) == (200, "close")
        (answer,) = parse_answers(await send_raw(port, http_request("/nowhere", close=False)))
        assert (answer.status, answer["connection"]) == (404, "close")
        kept[1].write(http_request(f"/cb/{new_state()}", close=False))
        (answer,) = parse_answers(await kept[0].read())
        assert (answer.status, answer["connection"]) == (200, "close")
        kept[1].close()

        edge.process.terminate()
        assert await edge.end() == 128 + signal.SIGTERM


async def readiness(edge, status):
    answer = await edge.admin("/readyz")
    return answer.text if answer.status_code == status else ""


async def test_a_call_from_before_the_drain_has_the_whole_grace_period(plane, loop):
    gate = asyncio.Event()
    plane.script = answering_after(gate, plain(b"done"))
    async with EdgeProcess(plane.target, loop=loop, drain_s=0.1) as edge:
        call = asyncio.create_task(send_raw(await edge.port(), http_request(f"/cb/{new_state()}")))
        await plane.until(lambda: plane.started)
        edge.process.terminate()
        await wait_until(lambda: nobody_listens(edge))
        gate.set()
        assert parse_answers(await call)[0].body == b"done"
        assert await edge.end() == 0


async def nobody_listens(edge):
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", await edge.port())
    except OSError:
        return True
    writer.close()
    return False


async def test_a_proxy_that_follows_readiness_and_keeps_connections_loses_no_request(plane, loop):
    async with EdgeProcess(plane.target, loop=loop, drain_s=10) as edge:
        url = f"http://127.0.0.1:{await edge.port()}"
        gone_elsewhere = asyncio.Event()
        answers = []

        async def caller():
            # Each has a pool of one connection, as a proxy's worker, and follows `Connection: close`.
            async with httpx.AsyncClient(base_url=url, timeout=DEADLINE_S, trust_env=False) as client:
                while not gone_elsewhere.is_set():
                    answers.append((await client.post(f"/cb/{new_state()}", content=b"x")).status_code)

        callers = [asyncio.create_task(caller()) for _ in range(8)]
        await wait_until(lambda: len(answers) > 50)
        edge.process.terminate()
        await wait_until(lambda: readiness(edge, 503))
        gone_elsewhere.set()
        await asyncio.gather(*callers)
        assert set(answers) == {200}
        assert await edge.end() == 0
    assert len(answers) == plane.started == plane.ended


@pytest.mark.parametrize("stop_of", [lambda edge: edge.listener.stop(DEADLINE_S), Edge.stop], ids=["listener", "edge"])
async def test_a_connection_that_was_not_accepted_before_the_stop_is_answered(plane, stop_of):
    async with running_edge(plane.target, grace_s=DEADLINE_S) as edge:
        waiting = []
        for _ in range(50):  # all at once, while the loop cannot accept
            peer = socket.create_connection(("127.0.0.1", edge.port))
            peer.sendall(http_request(f"/cb/{new_state()}", close=False))
            waiting.append(peer)
        stop = asyncio.create_task(stop_of(edge))
        for peer in waiting:
            reader, writer = await asyncio.open_connection(sock=peer)
            (answer,) = parse_answers(await reader.read())
            assert (answer.status, answer["connection"]) == (200, "close")
            writer.close()
        await stop


async def test_a_first_request_that_arrives_during_the_stop_is_answered(plane, monkeypatch):
    monkeypatch.setattr(connection, "_FIRST_REQUEST_S", DEADLINE_S)
    async with running_edge(plane.target, grace_s=DEADLINE_S) as edge:
        reader, writer = await edge.connect()
        idle = await edge.connect()
        idle[1].write(http_request(f"/cb/{new_state()}", close=False))
        await one_answer(idle[0])
        stop = asyncio.create_task(edge.stop())
        assert await idle[0].read() == b""  # an idle connection closes at once
        writer.write(http_request(f"/cb/{new_state()}"))
        assert parse_answers(await edge.rest(reader, writer))[0].status == 200
        await stop
        idle[1].close()


async def test_a_call_that_is_made_during_the_stop_has_its_caller_released_too(plane, monkeypatch):
    monkeypatch.setattr(connection, "_FIRST_REQUEST_S", DEADLINE_S)
    async with running_edge(plane.target, grace_s=DEADLINE_S) as edge:
        reader, writer = await edge.connect()
        stop = asyncio.create_task(edge.stop())
        await wait_until(lambda: plane.released)
        assert not any(plane.released)
        writer.write(http_request(f"/cb/{new_state()}"))
        assert parse_answers(await edge.rest(reader, writer))[0].status == 200
        assert sum(plane.released) == 1  # the other streams have none
        await stop


async def test_a_connection_without_a_request_does_not_delay_the_stop(plane):
    async with running_edge(plane.target, grace_s=FOR_EVER) as edge:
        silent, half = await edge.connect(), await edge.connect()
        half[1].write(b"GET /cb/")
        async with asyncio.timeout(DEADLINE_S):
            await edge.stop()
        for reader, writer in (silent, half):
            (answer,) = parse_answers(await edge.rest(reader, writer))
            assert (answer.status, answer["connection"]) == (408, "close")
