"""An unreachable, lost or silent server: the callers' answers, and that no call is sent twice."""

import asyncio
import json
import socket
import subprocess
import sys

import grpc
import pytest
from support.edge import (
    Refused,
    ScriptedEdgeService,
    answering,
    answering_after,
    ask,
    control_plane,
    new_state,
    plain,
    running_edge,
)
from support.store import free_port
from support.tree import ROOT
from support.wait import DEADLINE_S, wait_until, wait_until_sync

from callback_edge.upstream import client
from callback_edge.upstream.stream import InvocationStream


def told(answer):
    answer.assert_fixed_headers()
    return answer.status, json.loads(answer.body)["code"], answer.all("retry-after")


PLANE = """
import asyncio
from support.edge import control_plane
async def main():
    async with control_plane() as plane:
        print(plane.port, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""
READY = grpc.ChannelConnectivity.READY
UNREACHABLE = (503, "server_unreachable", ["5"])
UNKNOWN = (503, "outcome_unknown", [])


async def test_without_a_listening_server_nothing_is_sent_and_the_caller_may_try_again():
    async with running_edge(f"127.0.0.1:{free_port()}", ready=False) as edge:
        assert told(await ask(edge, f"/cb/{new_state()}")) == UNREACHABLE
        assert edge.upstream.why_not_ready()


async def test_a_peer_that_accepts_connections_but_does_not_use_grpc_is_unreachable():
    with socket.create_server(("127.0.0.1", 0)) as mute:
        async with running_edge(f"127.0.0.1:{mute.getsockname()[1]}", ready=False) as edge:
            assert told(await ask(edge, f"/cb/{new_state()}")) == UNREACHABLE


async def test_the_edge_reconnects_to_a_restarted_server():
    port = free_port()
    async with running_edge(f"127.0.0.1:{port}", ready=False) as edge:
        assert told(await ask(edge, f"/cb/{new_state()}")) == UNREACHABLE
        plane = ScriptedEdgeService()
        for _ in range(2):
            await plane.start(port)
            await wait_until(lambda: not edge.upstream.why_not_ready())
            assert (await ask(edge, f"/cb/{new_state()}")).status == 200
            await plane.stop()
            await wait_until(edge.upstream.why_not_ready)
            assert told(await ask(edge, f"/cb/{new_state()}")) == UNREACHABLE


async def test_a_call_waits_a_moment_for_a_starting_server(monkeypatch):
    monkeypatch.setattr(client, "_STREAM_WAIT_S", DEADLINE_S)  # on a busy machine it can take longer than the 1 s
    port = free_port()
    plane = ScriptedEdgeService()
    async with running_edge(f"127.0.0.1:{port}", ready=False) as edge:
        call = asyncio.create_task(ask(edge, f"/cb/{new_state()}"))
        await plane.start(port)
        assert (await call).status == 200
        await plane.stop()


async def test_a_connection_lost_after_the_call_was_sent_makes_its_outcome_unknown_without_a_retry():
    async with control_plane() as plane, running_edge(plane.target) as edge:

        async def script(_request, _context):
            await asyncio.Event().wait()

        plane.script = script
        call = asyncio.create_task(ask(edge, f"/cb/{new_state()}"))
        await plane.until(lambda: plane.started)
        await plane.stop()
        assert told(await call) == UNKNOWN

        plane.script = answering(plain(b"ok"))
        await plane.start(plane.port)
        await wait_until(lambda: not edge.upstream.why_not_ready())
        assert (await ask(edge, f"/cb/{new_state()}")).status == 200
        assert plane.started == 2  # the lost call was not sent again


async def test_a_server_that_dies_before_the_call_is_written_makes_its_outcome_unknown(monkeypatch):
    send = InvocationStream.send
    with subprocess.Popen([sys.executable, "-c", PLANE], cwd=ROOT / "tests", stdout=subprocess.PIPE) as plane:
        async with running_edge(f"127.0.0.1:{int(plane.stdout.readline())}") as edge:

            def send_to_the_dead(stream, calls):
                plane.kill()
                # Meanwhile the loop is busy and does not notice.
                channel = edge.upstream._channel._channel
                wait_until_sync(lambda: channel.get_state() is not READY, what="the end of the connection")
                send(stream, calls)

            monkeypatch.setattr(InvocationStream, "send", send_to_the_dead)
            assert told(await ask(edge, f"/cb/{new_state()}")) == UNKNOWN


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.ABORTED]
)
async def test_a_failure_that_grpc_could_retry_is_not_retried(plane, edge, code):
    async def script(_request, _context):
        raise Refused(code)

    plane.script = script
    answer = await ask(edge, f"/cb/{new_state()}")
    assert answer.status in (500, 503)
    assert answer.all("retry-after") == []
    assert plane.started == 1


async def test_the_edge_waits_for_a_silent_server_until_the_timeout(plane):
    async with running_edge(plane.target, invoke_timeout_s=0.2) as edge:

        async def script(_request, _context):
            await asyncio.Event().wait()

        plane.script = script
        assert told(await ask(edge, f"/cb/{new_state()}")) == UNKNOWN


async def test_a_malformed_result_is_an_internal_error_that_reveals_nothing(edge, plane):
    async def script(_request, _context):
        return None

    plane.script = script
    assert told(await ask(edge, f"/cb/{new_state()}")) == (500, "internal", [])


async def test_the_largest_request_and_answer_fit_in_a_message(plane):
    async with running_edge(plane.target) as edge:
        body = bytes(range(256)) * 4096
        plane.script = answering(plain(body, headers=[("x", "\u00e9" * 8000)]))
        head = [(f"X-{i}", "\u00e9" * 1500) for i in range(10)]
        answer = await ask(edge, f"/cb/{new_state()}?{'a&' * 400}", "POST", head, body)
        assert answer.body == body


async def test_give_up_answers_the_waiting_callers_and_does_not_cancel_the_calls(plane):
    gate = asyncio.Event()
    plane.script = answering_after(gate, plain(b"late"))
    async with running_edge(plane.target) as edge:
        callers = [asyncio.create_task(ask(edge, f"/cb/{new_state()}")) for _ in range(5)]
        await plane.until(lambda: plane.started == 5)
        edge.upstream.give_up()
        edge.upstream.give_up()
        assert [told(answer) for answer in await asyncio.gather(*callers)] == [UNKNOWN] * 5
        gate.set()
        await edge.upstream.wait_idle(timeout_s=10)
        await plane.until(lambda: plane.ended == 5)
        assert plane.cancelled == 0
