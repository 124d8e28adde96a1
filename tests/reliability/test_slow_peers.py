"""Peers that send or read very slowly delay no other peer, and use bounded memory."""

import asyncio
import contextlib
import os
import socket
import statistics
import time
from itertools import pairwise
from urllib.parse import urlsplit

import httpx
import pytest
from soak.counts import SOAK, count
from support.edge import EdgeProcess
from support.system import running_system
from support.tools import require
from support.wait import DEADLINE_S, wait_until

from callback import Response

ANSWER = os.urandom(128 * 1024)
ATTACKS = {
    # A head without an end: one field each second.
    "-H": (1, ["-i", "1"]),
    # A body without an end: a few bytes each second, of 512 KiB that were announced.
    "-B": (4, ["-i", "1", "-s", str(512 * 1024)]),
    # An answer that is read slowly: 5 bytes a second, through a small window.
    "-X": (count(4, 10), ["-n", "1", "-z", "5", "-w", "256", "-y", "512"]),
}
"""In how many seconds all connect, and how they go on. A head has 5 s to come."""
PATIENCE_S = 10 if SOAK else 60
"""How long an honest client waits. In a soak, nothing else runs."""
OWN = 64 * 1024
"""What a connection may cost besides what is sent on it, in bytes."""


async def connections(edge):
    """Return the number of open connections of an edge."""
    return (await edge.metrics())[("callback_edge_connections",)]


async def honest(url, served):
    """Make calls until cancelled, each on its own connection. Add the time and duration of each answer to `served`."""
    async with httpx.AsyncClient(limits=httpx.Limits(max_keepalive_connections=0), timeout=PATIENCE_S) as http:
        while True:
            began = time.monotonic()
            answer = await http.get(url)
            assert (answer.status_code, answer.content) == (200, b"served")
            served.append((time.monotonic(), time.monotonic() - began))
            await asyncio.sleep(0.05)


def longest_gap(began, served, ended):
    """Return the longest time without an answer."""
    return max(later - earlier for earlier, later in pairwise([began, *served, ended]))


@pytest.mark.parametrize("attack", ATTACKS)
async def test_honest_requests_are_served_throughout_and_memory_is_bounded(tmp_path, store, attack):
    program, many, lasting_s = require("slowhttptest"), count(200, 1000), count(5, 45)
    connect_s, options = ATTACKS[attack]
    listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
    # The answer must wait in the edge, and not in the buffers of the operating system, which hold more than a megabyte.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    origin = f"http://127.0.0.1:{listening.getsockname()[1]}"
    async with running_system(tmp_path, store) as system, EdgeProcess(system.grpc, passed=listening) as edge:
        listening.close()
        answers = [Response(ANSWER), Response("served")]
        made = [
            await system.client.generate_callback_url("record", each, allow_multiple_calls=True) for each in answers
        ]
        large, small = (origin + urlsplit(each.url).path for each in made)
        before, served, seen, most = edge.resident_bytes(), [], 0, 0
        caller = asyncio.create_task(honest(small, served))
        await wait_until(lambda: len(served) >= 10 or caller.done())
        attacker = await asyncio.create_subprocess_exec(
            program, attack, *options, "-u", large, "-c", str(many), "-r", str(many // connect_s),
            "-l", str(lasting_s), "-p", str(PATIENCE_S + 5), "-v", "1",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        began, said = time.monotonic(), asyncio.create_task(attacker.stdout.read())
        try:
            async with asyncio.timeout(lasting_s + DEADLINE_S):
                while not said.done():
                    seen, most = max(seen, await connections(edge)), max(most, edge.resident_bytes())
                    await asyncio.wait([said, caller], timeout=0.2, return_when=asyncio.FIRST_COMPLETED)
                    assert not caller.done(), caller.exception()
            gap = longest_gap(began, [when for when, _ in served if when > began], time.monotonic())
        finally:
            with contextlib.suppress(ProcessLookupError):
                attacker.kill()
            await attacker.wait()
            caller.cancel()
            await asyncio.gather(caller, said, return_exceptions=True)
        took = [each for _, each in served]
        print(
            f"\nslowhttptest {attack}: {seen:.0f} connections at most of {many}; {len(took)} honest requests served, "
            f"median {statistics.median(took) * 1000:.0f} ms, longest gap {gap * 1000:.0f} ms; the edge grew from "
            f"{before >> 20} to {most >> 20} MiB"
        )
        assert b"service available:   NO" not in said.result()
        assert seen > many / 2
        assert gap < PATIENCE_S
        assert any(when > began for when, _ in served)
        sent = len(ANSWER) if attack == "-X" else 0
        assert most - before < many * (sent + OWN) + 32 * 1024 * 1024
        await wait_until(lambda: is_alone(edge), what="the end of all connections")


async def is_alone(edge):
    return await connections(edge) == 0
