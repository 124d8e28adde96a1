"""Peers that send or read as slowly as they can hold up nobody, and take only so much memory."""

import asyncio
import contextlib
import os
import statistics
import time

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from soak.counts import count
from support.edge import resident_bytes
from support.system import running_system
from support.tools import require
from support.wait import wait_until

from callback import Response

pytestmark = pytest.mark.timeout(180)

ANSWER = os.urandom(512 * 1024)
ATTACKS = {
    # A head that never ends: a field each second.
    "-H": (1, ["-i", "1"]),
    # A body that never ends: a few bytes each second, of the 512 KiB that were announced.
    "-B": (4, ["-i", "1", "-s", str(512 * 1024)]),
    # Answers that are hardly taken: 5 bytes a second, through a small window. The system's buffers hold one or two.
    "-X": (count(4, 40), ["-n", "1", "-z", "5", "-w", "256", "-y", "512", "-k", "4"]),
}
"""In how many seconds all connect, and how they go on. A head has 5 s to come; that many large answers take time."""
OWN = 64 * 1024
"""What a connection may cost besides what is sent on it, in bytes."""


async def connections(http, system):
    """How many connections the edge has open."""
    families = text_string_to_metric_families((await http.get(f"http://{system.edge.facts['admin']}/metrics")).text)
    (family,) = (each for each in families if each.name == "callback_edge_connections")
    return family.samples[0].value


async def honest(url, took):
    """Calls without end, each on a connection of its own; `took` gets how long each took."""
    async with httpx.AsyncClient(limits=httpx.Limits(max_keepalive_connections=0), timeout=30) as http:
        while True:
            began = time.monotonic()
            answer = await http.get(url)
            assert (answer.status_code, answer.content) == (200, b"served")
            took.append(time.monotonic() - began)
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("attack", ATTACKS)
async def test_honest_requests_are_served_throughout_and_memory_is_bounded(tmp_path, store, attack):
    program, many, lasting_s = require("slowhttptest"), count(200, 1000), count(8, 60)
    connect_s, options = ATTACKS[attack]
    # What a store makes of so many large answers is another matter.
    server = {"CALLBACK_RECORD_BODIES": "false"}
    async with running_system(tmp_path, store, server=server) as system, httpx.AsyncClient() as admin:
        large = await system.client.generate_callback_url("record", Response(ANSWER), allow_multiple_calls=True)
        small = await system.client.generate_callback_url("record", Response("served"), allow_multiple_calls=True)
        pid = system.edge.process.pid
        before, took, seen, most = resident_bytes(pid), [], 0, 0
        caller = asyncio.create_task(honest(small.url, took))
        await wait_until(lambda: len(took) >= 10 or caller.done())
        attacker = await asyncio.create_subprocess_exec(
            program, attack, *options, "-u", large.url, "-c", str(many), "-r", str(many // connect_s),
            "-l", str(lasting_s), "-p", "15", "-v", "1",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said = asyncio.create_task(attacker.stdout.read())
        try:
            async with asyncio.timeout(lasting_s + 60):
                while not said.done():
                    seen, most = max(seen, await connections(admin, system)), max(most, resident_bytes(pid))
                    await asyncio.wait([said, caller], timeout=0.2, return_when=asyncio.FIRST_COMPLETED)
                    assert not caller.done(), caller.exception()
        finally:
            with contextlib.suppress(ProcessLookupError):
                attacker.kill()
            await attacker.wait()
            caller.cancel()
            await asyncio.gather(caller, said, return_exceptions=True)
        print(
            f"\nslowhttptest {attack}: {seen:.0f} connections at most of {many}; {len(took)} honest requests served, "
            f"median {statistics.median(took) * 1000:.0f} ms, slowest {max(took) * 1000:.0f} ms; the edge grew from "
            f"{before >> 20} to {most >> 20} MiB"
        )
        assert b"service available:   NO" not in said.result()
        assert seen > many / 2
        assert len(took) > lasting_s / 2  # a shared machine may be slow; idle, it is some 30 a second
        sent = len(ANSWER) if attack == "-X" else 0
        assert most - before < many * (sent + OWN) + 32 * 1024 * 1024
        await wait_until(lambda: is_alone(admin, system), deadline_s=60, what="the end of all connections")


async def is_alone(admin, system):
    return await connections(admin, system) == 0
