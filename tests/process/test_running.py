"""What `callback doctor` finds out about the process that runs, at its admin port."""

import asyncio
import socket

from callback_process import running
from callback_process.admin import AdminServer
from callback_process.findings import Level
from callback_process.listener import address_of, listen
from callback_process.version import VERSION


async def is_ready():
    return ""


async def found(address):
    return [(each.level, each.seen) async for each in running.check_running("process", str(address))]


async def test_the_version_and_the_descriptors_of_the_process_that_runs_are_told(limits):
    listening = listen("127.0.0.1:0")
    address = address_of(listening)
    with AdminServer(listening, is_ready):
        [(level, seen)] = await found(address)
        assert (level, seen.startswith(f"it runs version {VERSION} and uses ")) == (Level.OK, True)
        limits(running, DESCRIPTORS_SHARE=0)
        assert [level for level, _ in await found(address)] == [Level.WARNING]
        limits(running, DESCRIPTORS_SHARE=1, VERSION="0.0.9")
        [(level, seen)] = await found(address)
        assert (level, seen.endswith("; version 0.0.9 is installed")) == (Level.WARNING, True)
    assert await found(address) == [(Level.OK, f"none answers at http://{address}/metrics")]
    assert await found("127.0.0.1:0") == []


async def test_a_process_that_does_not_answer_is_a_problem(limits):
    limits(running, TIMEOUT_S=0.1)
    with socket.create_server(("127.0.0.1", 0)) as hangs:
        [(level, seen)] = await found(f"127.0.0.1:{hangs.getsockname()[1]}")
    assert (level, seen.endswith("does not answer in 0.1 s")) == (Level.PROBLEM, True)


async def test_another_program_at_the_port_is_told():
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as other:
        url = f"127.0.0.1:{other.sockets[0].getsockname()[1]}"
        assert await found(url) == [(Level.OK, f"what answers at http://{url}/metrics is not this release of Callback")]
