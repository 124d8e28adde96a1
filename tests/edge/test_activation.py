"""A socket that systemd passes continues to listen while the edge restarts."""

import asyncio
import os
import socket

import pytest
from soak.counts import count
from support.edge import EdgeProcess, failed_start, http_request, parse_answers, send_raw
from support.wait import wait_until


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


async def test_the_edge_serves_on_a_passed_socket_whatever_bind_is_and_a_restart_refuses_no_connection(
    plane, listening
):
    """Connect all the time while one edge stops, none runs, and another starts."""
    port = listening.getsockname()[1]
    answers = []
    enough = asyncio.Event()

    async def caller():
        while not enough.is_set():
            raw = await send_raw(port, http_request())
            answers.extend(answer.status for answer in parse_answers(raw))
            assert raw

    callers = [asyncio.create_task(caller()) for _ in range(4)]
    for _ in range(count(1, 5)):
        async with EdgeProcess(plane.target, passed=listening, bind="127.0.0.1:1") as edge:
            assert edge.port == port
            had = len(answers)
            await wait_until(lambda before=had: len(answers) > before + 50)
            assert await edge.stop() == 0
    async with EdgeProcess(plane.target, passed=listening):
        enough.set()
        await asyncio.gather(*callers)
    assert set(answers) == {200}
    assert len(answers) == plane.started == plane.ended


async def test_a_socket_for_another_process_is_not_used(plane, listening, monkeypatch):
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "1")
    async with EdgeProcess(plane.target, passed=listening) as edge:
        assert edge.port != listening.getsockname()[1]


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
async def test_a_socket_of_another_kind_is_refused_with_one_plain_line(kind):
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("127.0.0.1", 0))
        said = "the passed file (LISTEN_FDS) is not a listening TCP socket: use ListenStream=PORT"
        assert await failed_start(passed=other) == (1, [f"callback edge: {said}\n"])


async def test_several_sockets_are_refused_with_one_plain_line(listening, monkeypatch):
    monkeypatch.setenv("LISTEN_FDS", "2")
    said = "2 sockets were passed (LISTEN_FDS), but the edge accepts one: keep one ListenStream="
    assert await failed_start(passed=listening) == (1, [f"callback edge: {said}\n"])
