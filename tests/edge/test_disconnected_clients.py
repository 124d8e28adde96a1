"""A client that hangs up changes nothing: the call runs to its end."""

import asyncio
import random
import socket
import struct

import pytest
from soak.counts import count
from support.edge import (
    EdgeProcess,
    answering,
    ask,
    http_request,
    plain,
    refusing,
    running_edge,
)
from support.wait import DEADLINE_S, wait_until

from callback_edge.upstream import channel
from callback_process.http import connection

_POST = b"POST /cb/6f1f0e3c-6f5e-4d6c-9d0e-1a4a54b9d8b1 HTTP/1.1\r\nHost: a\r\n"
PARTS_OF_REQUESTS = [
    b"",
    b"\r\n",
    b"POST /cb",
    _POST,
    _POST + b"Content-Length: 10\r\n\r\n",
    _POST + b"Content-Length: 10\r\n\r\npart",
    _POST + b"Content-Length: 1000000\r\n\r\npart",
    _POST + b"Expect: 100-continue\r\nContent-Length: 10\r\n\r\n",
    _POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    _POST + b"\r\n",
    _POST + b"Connection: close\r\n\r\n",
    b"no HTTP\r\n\r\n",
]


def close(sock):
    sock.close()


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def half_close(sock):
    sock.shutdown(socket.SHUT_WR)


def client_of(edge, sent):
    client = socket.create_connection(("127.0.0.1", edge.port))
    client.sendall(sent)
    return client


@pytest.fixture
def patient(limits):
    """Let a call whose caller has ended its side take longer than half a second, as it can on a busy machine."""
    limits(connection, HANG_UP_DELAY_S=DEADLINE_S)


@pytest.mark.parametrize("hang_up", [close, reset, half_close])
async def test_a_caller_that_hangs_up_does_not_cancel_its_call(plane, edge, hang_up):
    gate = plane.hold()
    client = client_of(edge, http_request(method="POST", body=b"body"))
    await plane.until(lambda: plane.started)
    hang_up(client)
    await edge.until_disconnected()  # the edge has noticed
    gate.set()
    await plane.until(lambda: plane.ended)
    assert (plane.started, plane.ended, plane.cancelled) == (1, 1, 0)
    client.close()


@pytest.mark.parametrize("size", [0, 10, 100_000])
async def test_a_client_that_leaves_right_after_its_request_has_made_a_call(plane, edge, size, patient):
    for _ in range(20):
        close(client_of(edge, http_request(method="POST", body=b"x" * size)))
    await plane.until(lambda: plane.ended == 20)
    assert [len(invoked.request_body) for invoked in plane.requests] == [size] * 20


async def test_a_client_that_hangs_up_at_any_moment_leaves_no_error_in_the_log(plane, loop):
    large = b"POST /elsewhere HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
    async with EdgeProcess(plane.target, loop=loop) as edge:
        for is_read in (True, False):
            clients = []
            for hang_up in (close, reset, half_close):
                for sent in (*PARTS_OF_REQUESTS, large, large + b"x" * 10_000):
                    client = client_of(edge, sent)
                    clients.append((client, hang_up))
                    if not is_read:
                        hang_up(client)
            if is_read:
                await edge.metrics()  # the edge has had turns of its event loop to read them
                for client, hang_up in clients:
                    hang_up(client)
            await edge.until_metric("connections", 0)
            for client, _ in clients:
                client.close()
        await edge.stop()
    assert [line for line in edge.lines if '"error"' in line or "Traceback" in line] == []


async def test_a_client_that_ends_its_side_with_its_request_gets_its_answer(plane, edge, patient):
    for _ in range(20):
        client = client_of(edge, http_request(method="POST", body=b"body", close=False))
        half_close(client)
        reader, writer = await asyncio.open_connection(sock=client)
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()


@pytest.mark.parametrize(
    "script", [answering(plain(b"ok", call_id="call-1")), refusing("HANDLER_FAILED", call_id="call-1")]
)
async def test_a_caller_that_is_gone_before_its_answer_is_reported_once(plane, edge, script):
    gate = asyncio.Event()

    async def slow(request, context):
        await gate.wait()
        return await script(request, context)

    plane.script = slow
    client = client_of(edge, http_request(method="POST", body=b"body"))
    await plane.until(lambda: plane.started)
    close(client)
    await edge.until_disconnected()
    assert plane.gone == []
    gate.set()
    await wait_until(lambda: plane.gone)
    assert plane.gone == ["call-1"]


@pytest.mark.parametrize("is_replaced", [False, True])
async def test_a_caller_that_hangs_up_is_reported_while_its_call_runs_also_on_a_stream_that_was_replaced(
    plane, limits, is_replaced
):
    if is_replaced:
        limits(channel, STREAM_LIFETIME_S=0.2)
    gate = plane.hold(plain(b"ok", call_id="call-1"))
    plane.knows_gone = True
    async with running_edge(plane.target) as edge:
        client = client_of(edge, http_request(method="POST", body=b"body"))
        await plane.until(lambda: plane.started)
        opened = plane.opened
        await wait_until(lambda: not is_replaced or plane.opened > opened + 2 * channel.STREAM_COUNT)
        close(client)
        await wait_until(lambda: plane.gone_numbers)
        assert not plane.ended
        gate.set()
        await plane.until(lambda: plane.ended)
        await edge.upstream.wait_idle(DEADLINE_S)
    assert (len(plane.gone_numbers), plane.gone) == (1, [])


async def test_a_caller_that_gets_its_answer_is_not_reported(plane, edge):
    plane.script = answering(plain(b"ok", call_id="call-1"))
    assert (await ask(edge)).body == b"ok"
    assert (plane.gone, plane.gone_numbers) == ([], [])


async def test_every_call_ends_when_callers_hang_up_at_random_moments(plane, edge):
    rng = random.Random(8)

    async def script(_request, _context):
        await asyncio.sleep(rng.uniform(0, 0.05))
        return plain(b"ok" * rng.choice([1000, 250_000]))

    plane.script = script

    async def caller():
        sock = socket.create_connection(("127.0.0.1", edge.port))
        sock.setblocking(False)
        requests = [http_request(method="POST", body=b"b" * 500, close=False) for _ in range(rng.randint(1, 3))]
        payload = b"".join(requests)
        cut = rng.choice([len(payload), len(payload), rng.randrange(len(payload))])
        await asyncio.get_running_loop().sock_sendall(sock, payload[:cut])
        await asyncio.sleep(rng.uniform(0, 0.05))
        rng.choice([close, reset])(sock)
        return cut // len(requests[0])

    total = count(100, 1000)
    whole = 0
    for _ in range(total // 50):
        whole += sum(await asyncio.gather(*(caller() for _ in range(50))))
    await edge.until_disconnected()  # and no connection remains
    await plane.until(lambda: plane.ended == plane.started)
    assert plane.cancelled == 0
    assert plane.started > whole / 5  # some left before the edge read their request
    assert {len(invoked.request_body) for invoked in plane.requests} == {500}
