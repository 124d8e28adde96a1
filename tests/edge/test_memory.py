"""Bodies leave the memory with the end of their requests, and not when the garbage collector runs.

A refused call kept its body: the exception that refused it was in a reference cycle with the frames that it passed.
Refusals that wait for their turn kept what their clients had sent, also of clients that were gone.
"""

import socket
import tracemalloc

import pytest
from support.edge import (
    answering,
    chunk,
    http_request,
    plain,
    raw_request,
    refusal,
    refusing,
    running_edge,
    send_raw,
)
from support.garbage import BODY, large_garbage
from support.limits import limited
from support.wait import wait_until

from callback_process.http import turns

LIMIT = len(BODY)
PART = 64 * 1024
"""More than a connection needs without a body, and less than it takes from its socket at once."""


def post(path=None):
    return http_request(path, "POST", body=BODY)


@pytest.mark.parametrize(
    "reason", ["STATE_UNKNOWN", "CALLBACK_CLOSED", "VERIFICATION_FAILED", "CALL_IN_PROGRESS", "HANDLER_FAILED"]
)
async def test_a_refused_call_leaves_no_body_to_the_garbage_collector(plane, edge, reason):
    plane.script = refusing(reason)
    with large_garbage() as garbage:
        for _ in range(3):
            raw = await send_raw(edge.port, post())
            assert not raw.startswith(b"HTTP/1.1 2")
    assert garbage.holders == []


@pytest.mark.parametrize("reason", ["STATE_UNKNOWN", "CALLBACK_CLOSED"])
async def test_a_request_that_is_refused_without_its_body_leaves_none_to_the_garbage_collector(plane, edge, reason):
    plane.look_up = refusal(reason)
    with large_garbage() as garbage:
        for _ in range(3):
            assert (await send_raw(edge.port, post())).startswith(b"HTTP/1.1 4")
    assert garbage.holders == []


async def test_a_caller_that_hangs_up_within_a_large_answer_leaves_nothing_to_the_garbage_collector(plane):
    plane.script = answering(plain(BODY))
    async with running_edge(plane.target, send_buffer_bytes=4096) as edge:
        with large_garbage() as garbage:
            for _ in range(3):
                reader, writer = await edge.connect()
                writer.write(http_request())
                await reader.readuntil(b"\r\n\r\n")
                writer.transport.abort()
                await edge.until_disconnected()
        assert garbage.holders == []


async def test_a_call_without_a_server_leaves_no_body_to_the_garbage_collector(plane):
    async with running_edge() as edge:
        with large_garbage() as garbage:
            raw = await send_raw(edge.port, post())
            assert raw.startswith(b"HTTP/1.1 503 ")
        assert garbage.holders == []


async def test_a_caller_that_hangs_up_leaves_no_body_to_the_garbage_collector(plane, edge):
    gate = plane.hold()
    with large_garbage() as garbage:
        for started in (1, 2, 3):
            _, writer = await edge.connect()
            writer.write(post())
            await plane.until(lambda started=started: plane.started == started)
            writer.transport.abort()
        await edge.until_disconnected()
        gate.set()
        await plane.until(lambda: plane.ended == 3)
    assert garbage.holders == []


async def test_a_caller_that_hangs_up_within_its_body_leaves_nothing_to_the_garbage_collector(plane, edge):
    with large_garbage() as garbage:
        for _ in range(3):
            _, writer = await edge.connect()
            writer.write(post()[:-1])
            await writer.drain()
            await wait_until(lambda: edge.listener.connections)
            writer.close()
            await edge.until_disconnected()
    assert garbage.holders == []


async def test_a_body_that_is_too_large_or_too_late_leaves_nothing_to_the_garbage_collector(plane):
    async with running_edge(plane.target) as edge, running_edge(plane.target, body_timeout_s=0.2) as impatient:
        large = raw_request("Transfer-Encoding: chunked", body=chunk(BODY * 2))
        with large_garbage() as garbage:
            assert (await send_raw(edge.port, large)).startswith(b"HTTP/1.1 413 ")
            assert (await send_raw(impatient.port, post()[:-1])).startswith(b"HTTP/1.1 408 ")
        assert garbage.holders == []


async def test_a_refusal_that_waits_for_its_turn_needs_no_memory_for_what_its_client_sends(plane):
    async with running_edge(plane.target) as edge:
        clients = [socket.create_connection(("127.0.0.1", edge.port)) for _ in range(20)]
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            with limited(turns, STEPS_PER_TURN=0):  # no refusal has its turn, except those of the current one
                for client in clients:
                    client.setblocking(False)
                    client.send(post("/nowhere"))  # what the system takes; this process keeps none of it
                await wait_until(lambda: sum(map(len, edge.exchanges.turns.waiting.values())) >= len(clients) - 2)
                await wait_until(lambda: tracemalloc.get_traced_memory()[0] - before < len(clients) * PART)
        finally:
            tracemalloc.stop()
            for client in clients:
                client.close()
