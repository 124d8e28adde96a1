"""A stop loses no request: on kept connections, on the way, or running."""

import asyncio
import signal
import socket

import httpx
import pytest
from support.edge import (
    DEADLINE_S,
    EdgeProcess,
    answer_to,
    http_request,
    new_state,
    parse_answers,
    running_edge,
)
from support.wait import wait_until

from callback_edge.edge import Edge
from callback_process.http import connection

FOR_EVER = 1000


async def test_a_draining_edge_is_not_ready_and_serves_each_connection_once_more(plane, loop):
    async with EdgeProcess(plane.target, loop=loop, drain_s=FOR_EVER) as edge:
        await edge.until_readiness(200)
        kept = await edge.kept()
        edge.process.terminate()
        assert (await edge.until_logged("stopping"))["drain_s"] == FOR_EVER
        assert await edge.until_readiness(503) == "stopping\n"
        assert (await edge.admin("/healthz")).status_code == 200
        assert (await edge.admin("/metrics")).status_code == 200
        # A new connection and a kept one: both serve one request more.
        for path, status in ((None, 200), ("/nowhere", 404)):
            answer = await answer_to(edge, http_request(path, close=False))
            assert (answer.status, answer["connection"]) == (status, "close")
        kept[1].write(http_request(close=False))
        (answer,) = parse_answers(await edge.rest(*kept))
        assert (answer.status, answer["connection"]) == (200, "close")
        assert await edge.stop() == 128 + signal.SIGTERM


async def test_a_proxy_that_follows_readiness_and_keeps_connections_loses_no_request(plane, loop):
    async with EdgeProcess(plane.target, loop=loop, drain_s=FOR_EVER) as edge:
        url = f"http://127.0.0.1:{edge.port}"
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
        await edge.until_readiness(503)
        gone_elsewhere.set()
        await asyncio.gather(*callers)
        assert set(answers) == {200}
    assert len(answers) == plane.started == plane.ended


@pytest.mark.parametrize("stop_of", [lambda edge: edge.listener.stop(DEADLINE_S), Edge.stop], ids=["listener", "edge"])
async def test_a_connection_that_was_not_accepted_before_the_stop_is_answered(plane, stop_of):
    async with running_edge(plane.target, grace_s=DEADLINE_S) as edge:
        waiting = []
        for _ in range(50):  # all at once, while the loop cannot accept
            peer = socket.create_connection(("127.0.0.1", edge.port))
            peer.sendall(http_request(close=False))
            waiting.append(peer)
        stop = asyncio.create_task(stop_of(edge))
        for peer in waiting:
            reader, writer = await asyncio.open_connection(sock=peer)
            (answer,) = parse_answers(await reader.read())
            assert (answer.status, answer["connection"]) == (200, "close")
            writer.close()
        await stop


@pytest.fixture
def patient(limits):
    """Let a first request come late in the stop, as it can on a busy machine."""
    limits(connection, FIRST_REQUEST_S=DEADLINE_S)


async def test_a_first_request_that_arrives_during_the_stop_is_answered(plane, patient):
    async with running_edge(plane.target, grace_s=DEADLINE_S) as edge:
        late, idle = await edge.connect(), await edge.kept()
        stop = asyncio.create_task(edge.stop())
        assert await edge.rest(*idle) == b""  # an idle connection closes at once
        late[1].write(http_request())
        assert parse_answers(await edge.rest(*late))[0].status == 200
        await stop


async def test_a_call_that_is_made_during_the_stop_has_its_caller_released_too(plane, patient):
    async with running_edge(plane.target, grace_s=DEADLINE_S) as edge:
        late = await edge.connect()
        stop = asyncio.create_task(edge.stop())
        await wait_until(lambda: plane.released)
        assert not any(plane.released)
        late[1].write(http_request())
        assert parse_answers(await edge.rest(*late))[0].status == 200
        assert sum(plane.released) == 1  # the other streams have none
        await stop
