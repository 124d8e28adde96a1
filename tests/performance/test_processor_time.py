"""Processor time of Callback's processes per call, relative to the baselines of `tests/bench`, measured alternately.

Unlike rates, processor time is stable on a machine that has other work. The limits are wide: they detect unintended
increases in the cost of a call. To measure the speed, run `python3 tasks.py bench calls`.
"""

import asyncio
import contextlib
import itertools
import statistics

import grpc
import pytest
from bench.kit import programs
from bench.kit.connection import Connection, get
from bench.kit.in_flight import ECHO, GENERATE
from google.rpc.http_pb2 import HttpRequest
from soak.counts import SOAK
from support.store import StoreProcess

from callback.v1.callbacks_service_pb2_grpc import CallbacksServiceStub

pytestmark = pytest.mark.skipif(not SOAK, reason="a measurement: only in a soak")

ROUNDS = 5
EACH = 400
"""Number of calls in a measurement."""
AT_ONCE = 32
MOST_OF_CHAIN = 0.9
"""Limit for a recorded call, as a multiple of the processor time of the hand-written chain."""
MOST_OF_ECHO = 6
"""Limit for a `GenerateCallbackUrl`, as a multiple of the processor time of a bare gRPC echo."""


@pytest.fixture(scope="module")
async def ours(tmp_path_factory):
    directory = tmp_path_factory.mktemp("ours")
    with StoreProcess(directory / "store") as store:
        async with programs.running_deployment(directory / "ours", store) as deployment:
            yield deployment


async def keep_on(once_of):
    """Run each of the `AT_ONCE` functions repeatedly and concurrently, `EACH` times in total."""
    left = iter(range(EACH))

    async def repeat(once):
        for _ in left:
            await once()

    async with asyncio.TaskGroup() as group:
        for once in once_of:
            group.create_task(repeat(once))
    return {"requests": EACH}


async def shares(baseline, ours):
    """Return Callback's processor time divided by the baseline's, one ratio per round.

    Each side is given as its processes and its functions.
    """
    found = []
    for _ in range(ROUNDS + 1):  # the first round is the warm-up
        used = [
            sum((await programs.charged(processes, keep_on(functions)))["processor_us"].values())
            for processes, functions in (baseline, ours)
        ]
        found.append(used[1] / used[0])
        print(f"baseline {used[0]:.0f} us, ours {used[1]:.0f} us")
    return found[1:]


@contextlib.asynccontextmanager
async def callers(subject):
    """Return functions that each call the subject over a connection of their own."""
    connections = [await Connection.to(subject.port) for _ in range(AT_ONCE)]
    requests = itertools.cycle([get(path) for path in subject.paths])

    def caller(connection):
        async def once():
            assert await connection.ask(next(requests)) == 200

        return once

    yield [caller(connection) for connection in connections]
    for connection in connections:
        connection.close()


async def test_a_recorded_call_costs_little_more_than_the_chain_that_one_writes_by_hand(tmp_path, ours):
    record = programs.Subject("record", ours.ports[0], await ours.paths("record", 64), ours.processes)
    async with programs.chain(tmp_path) as chain, callers(chain) as to_chain, callers(record) as to_record:
        found = await shares((chain.processes, to_chain), (record.processes, to_record))
    assert statistics.median(found) < MOST_OF_CHAIN, found


async def test_a_url_costs_a_bounded_number_of_bare_grpc_calls(tmp_path, ours):
    metadata = (("authorization", f"Bearer {ours.tokens['service']}"),)
    async with (
        programs.listening("baselines/echo.py", directory=tmp_path) as (echo, port),
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as to_echo,
        grpc.aio.insecure_channel(ours.grpc[0]) as to_ours,
    ):
        call = to_echo.unary_unary("/echo.Echo/Echo", HttpRequest.SerializeToString, HttpRequest.FromString)
        generate = CallbacksServiceStub(to_ours).GenerateCallbackUrl
        found = await shares(
            ({"echo": echo.process.pid}, [lambda: call(ECHO)] * AT_ONCE),
            (ours.processes, [lambda: generate(GENERATE, metadata=metadata)] * AT_ONCE),
        )
    assert statistics.median(found) < MOST_OF_ECHO, found
