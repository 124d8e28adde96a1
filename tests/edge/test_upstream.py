"""An unreachable, lost or silent server: the callers' answers, and that no call is sent twice."""

import asyncio
import socket
import subprocess
import sys
import time

import grpc
import pytest
from support.edge import Refused, ScriptedEdgeService, answering, ask, control_plane, new_state, plain, running_edge
from support.store import free_port
from support.tree import ROOT
from support.wait import DEADLINE_S, wait_until

from callback_edge.settings import EdgeSettings
from callback_edge.upstream import client
from callback_edge.upstream.client import ServerClient

PLANE = """
import asyncio
from support.edge import control_plane
async def main():
    async with control_plane() as plane:
        print(plane.port, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


def assert_unreachable(answer):
    """Check that nothing was sent, and that the caller may try again."""
    assert (answer.problem, answer["retry-after"]) == ((503, "server_unreachable"), "5")


def assert_unknown(answer):
    assert (answer.problem, answer.all("retry-after")) == ((503, "outcome_unknown"), [])


async def never(_request, _context):
    """Play a server that does not answer."""
    await asyncio.Event().wait()


async def test_a_peer_that_accepts_connections_but_does_not_use_grpc_is_unreachable():
    with socket.create_server(("127.0.0.1", 0)) as mute:
        async with running_edge(f"127.0.0.1:{mute.getsockname()[1]}", ready=False) as edge:
            assert_unreachable(await ask(edge))


async def test_the_edge_connects_to_a_server_that_starts_later_or_again():
    port = free_port()
    async with running_edge(f"127.0.0.1:{port}", ready=False) as edge:
        assert_unreachable(await ask(edge))
        assert edge.upstream.why_not_ready()
        plane = ScriptedEdgeService()
        for _ in range(2):
            await plane.start(port)
            await wait_until(lambda: not edge.upstream.why_not_ready())
            assert (await ask(edge)).status == 200
            await plane.stop()
            await wait_until(edge.upstream.why_not_ready)
            assert_unreachable(await ask(edge))


async def test_a_call_waits_a_moment_for_a_starting_server(limits):
    limits(client, STREAM_WAIT_S=DEADLINE_S)  # on a busy machine it can take longer than the 1 s
    port = free_port()
    plane = ScriptedEdgeService()
    async with running_edge(f"127.0.0.1:{port}", ready=False) as edge:
        call = asyncio.create_task(ask(edge))
        await plane.start(port)
        assert (await call).status == 200
        await plane.stop()


async def test_a_connection_lost_after_the_call_was_sent_makes_its_outcome_unknown_without_a_retry():
    async with control_plane() as plane, running_edge(plane.target) as edge:
        plane.script = never
        call = asyncio.create_task(ask(edge))
        await plane.until(lambda: plane.started)
        await plane.stop()
        assert_unknown(await call)

        plane.script = answering(plain(b"ok"))
        await plane.start(plane.port)
        await wait_until(lambda: not edge.upstream.why_not_ready())
        assert (await ask(edge)).status == 200
        assert plane.started == 2  # the lost call was not sent again


async def test_a_server_that_dies_before_the_call_is_written_makes_its_outcome_unknown():
    class BusyClient(ServerClient):
        """A client whose process is too busy to notice that the server dies."""

        async def invoke(self, message, body):
            plane.kill()
            time.sleep(0.2)  # noqa: ASYNC251  # gRPC notices meanwhile, and the event loop does not
            return await super().invoke(message, body)

    with subprocess.Popen([sys.executable, "-c", PLANE], cwd=ROOT / "tests", stdout=subprocess.PIPE) as plane:
        target = f"127.0.0.1:{int(plane.stdout.readline())}"
        async with running_edge(target, upstream=BusyClient(EdgeSettings(server_target=target))) as edge:
            assert_unknown(await ask(edge))


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.ABORTED]
)
async def test_a_failure_that_grpc_could_retry_is_not_retried(plane, edge, code):
    async def script(_request, _context):
        raise Refused(code)

    plane.script = script
    answer = await ask(edge)
    assert answer.status in (500, 503)
    assert answer.all("retry-after") == []
    assert plane.started == 1


async def test_the_edge_waits_for_a_silent_server_until_the_timeout(plane):
    async with running_edge(plane.target, invoke_timeout_s=0.2) as edge:
        plane.script = never
        assert_unknown(await ask(edge))


async def test_a_malformed_result_is_an_internal_error_that_reveals_nothing(edge, plane):
    async def script(_request, _context):
        return None

    plane.script = script
    answer = await ask(edge)
    assert (answer.problem, answer.all("retry-after")) == ((500, "internal"), [])


async def test_the_largest_request_and_answer_fit_in_a_message(plane):
    async with running_edge(plane.target) as edge:
        body = bytes(range(256)) * 4096
        plane.script = answering(plain(body, headers=[("x", "\u00e9" * 8000)]))
        head = [(f"X-{i}", "\u00e9" * 1500) for i in range(10)]
        answer = await ask(edge, f"/cb/{new_state()}?{'a&' * 400}", "POST", head, body)
        assert answer.body == body


async def test_give_up_answers_the_waiting_callers_reports_them_and_does_not_cancel_the_calls(plane):
    gate = plane.hold(plain(b"late"))
    async with running_edge(plane.target) as edge:
        callers = [asyncio.create_task(ask(edge)) for _ in range(5)]
        await plane.until(lambda: plane.started == 5)
        edge.upstream.give_up()
        edge.upstream.give_up()
        for answer in await asyncio.gather(*callers):
            assert_unknown(answer)
        await wait_until(lambda: len(plane.gone_numbers) == 5, what="the report of the callers")
        gate.set()
        await edge.upstream.wait_idle(timeout_s=10)
        await plane.until(lambda: plane.ended == 5)
        assert plane.cancelled == 0
