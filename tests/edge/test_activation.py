"""A socket that systemd passes continues to listen while the edge restarts."""

import asyncio
import os
import socket

import pytest
from support.edge import EdgeProcess, http_request, new_state, parse_answers, send_raw
from support.wait import wait_until


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


async def test_the_edge_serves_on_a_passed_socket_and_ignores_the_bind_setting(plane, listening):
    port = listening.getsockname()[1]
    async with EdgeProcess(plane.target, passed=listening, bind="127.0.0.1:1") as edge:
        assert await edge.port() == port
        assert parse_answers(await send_raw(port, http_request(f"/cb/{new_state()}")))[0].status == 200


async def test_a_restart_refuses_no_connection(plane, listening):
    """Connect all the time while one edge stops, none runs, and another starts."""
    port = listening.getsockname()[1]
    answers = []
    enough = asyncio.Event()

    async def caller():
        while not enough.is_set():
            raw = await send_raw(port, http_request(f"/cb/{new_state()}"))
            answers.extend(answer.status for answer in parse_answers(raw))
            assert raw

    callers = [asyncio.create_task(caller()) for _ in range(4)]
    for _ in range(2):
        async with EdgeProcess(plane.target, passed=listening) as edge:
            had = len(answers)
            await wait_until(lambda before=had: len(answers) > before + 50)
            edge.process.terminate()
            assert await edge.end() == 0
    async with EdgeProcess(plane.target, passed=listening):
        enough.set()
        await asyncio.gather(*callers)
    assert set(answers) == {200}
    assert len(answers) == plane.started == plane.ended


async def test_a_socket_for_another_process_is_not_used(plane, listening, monkeypatch):
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "1")
    async with EdgeProcess(plane.target, passed=listening) as edge:
        assert await edge.port() != listening.getsockname()[1]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (socket.SOCK_DGRAM, "the passed file (LISTEN_FDS) is not a listening TCP socket: use ListenStream=PORT"),
        (socket.SOCK_STREAM, "the passed file (LISTEN_FDS) is not a listening TCP socket: use ListenStream=PORT"),
    ],
)
async def test_a_socket_of_another_kind_is_refused_with_one_plain_line(plane, kind, said):
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("127.0.0.1", 0))
        edge = EdgeProcess(plane.target, passed=other)
        await edge.start()
        assert await edge.end() == 1
        assert edge.lines == [f"callback edge: {said}\n"]


async def test_several_sockets_are_refused_with_one_plain_line(plane, listening, monkeypatch):
    monkeypatch.setenv("LISTEN_FDS", "2")
    edge = EdgeProcess(plane.target, passed=listening)
    await edge.start()
    assert await edge.end() == 1
    assert edge.lines == [
        "callback edge: 2 sockets were passed (LISTEN_FDS), but the edge accepts one: keep one ListenStream=\n"
    ]
