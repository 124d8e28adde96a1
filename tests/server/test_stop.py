"""Stop of a server: it is not ready first, takes no new calls, and answers running calls within a time limit."""

import asyncio
import contextlib
import os
import signal
import time

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from soak.counts import count
from support.edge_calls import EdgeCalls
from support.handler import handler_service
from support.store import StoreProcess, free_port
from support.system import Process, System
from support.wait import DEADLINE_S, wait_until

from callback import AsyncCallbackClient, CallbackStatus, CallStatus, Response
from callback.v1 import edge_service_pb2
from callback_edge.upstream.status import details_of
from callback_process.tasks import TaskSet

OTHER = os.environ.get("CALLBACK_OTHER_PYTHON")


@pytest.fixture(
    params=[
        pytest.param(None, id="this-python"),
        pytest.param(
            [OTHER], id="other-python", marks=pytest.mark.skipif(not OTHER, reason="no CALLBACK_OTHER_PYTHON")
        ),
    ]
)
def interpreter(request):
    """Return the command of the interpreter that runs server and edge, if it is another one."""
    return request.param


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with StoreProcess(tmp_path_factory.mktemp("store")) as process:
        yield process


@pytest.fixture
async def handler():
    async with handler_service("work", deadline_s=60) as service:
        service.script = service.wait_at_the_gate
        yield service
        service.gate.set()


@pytest.fixture
async def system(tmp_path, store, handler, interpreter):
    """Return a function that runs a system whose server has the given grace period."""
    made = []

    async def make(grace_s, drain_s=0):
        settings = {"CALLBACK_GRACE_S": str(grace_s), "CALLBACK_DRAIN_S": str(drain_s)}
        system = System(tmp_path, store, config=handler.config, server=settings)
        made.append(system)
        for process in (system.server, system.edge):
            process.interpreter = interpreter
            await asyncio.to_thread(process.start)
        system.http = await stack.enter_async_context(httpx.AsyncClient(base_url=system.url, timeout=DEADLINE_S))
        system.client = await stack.enter_async_context(AsyncCallbackClient(system.grpc, retry=False))
        return system

    async with contextlib.AsyncExitStack() as stack:
        yield make
        for system in made:
            system.edge.kill()
            system.server.kill()


async def exit_of(process):
    """Wait until a process has ended, and return its exit code."""
    return await asyncio.to_thread(process.process.wait, DEADLINE_S)


async def is_refused(system):
    """Return whether the edge has no server that accepts calls."""
    return (await system.http.get(f"http://{system.edge.facts['admin']}/readyz")).status_code == 503


async def calls_of(system, case):
    """Return the calls of a case."""
    return (await system.client.list_calls_page(case.case_id)).items


async def begin_call(system, handler):
    """Start a call that waits at the handler's gate, and return the call and its case."""
    case = await system.client.generate_callback_url("work", Response("done"))
    calling = asyncio.create_task(system.http.post(case.url))
    await handler.until_started(len(handler.calls) + 1)
    return case, calling


async def test_running_calls_are_answered_and_new_ones_refused(system, handler):
    system = await system(grace_s=60)
    unused = await system.client.generate_callback_url("work", Response("done"))
    _, calling = await begin_call(system, handler)
    system.server.signal(signal.SIGTERM)
    # The server still runs what arrives between the start of its stop and the moment when edges know of it.
    await wait_until(lambda: is_refused(system), what="the edge's refusal of calls")

    answer = await system.http.post(unused.url)
    assert answer.status_code == 503
    assert "retry-after" in answer.headers
    assert len(handler.calls) == 1
    assert system.server.process.poll() is None

    handler.gate.set()
    answer = await calling
    assert (answer.status_code, answer.text) == (200, "done")
    assert await exit_of(system.server) == 0

    await system.start_server()
    assert (await system.http.post(unused.url)).status_code == 200  # the refused call left its case unchanged


async def test_a_call_that_reaches_a_stopping_server_nevertheless_is_refused_with_a_time_to_try_again(system, handler):
    system = await system(grace_s=60)
    case = await system.client.generate_callback_url("record", Response("done"), allow_multiple_calls=True)
    request = edge_service_pb2.InvokeRequest(state=case.state, request_method="post")
    async with grpc.aio.insecure_channel(system.grpc) as channel:
        stream = EdgeCalls(channel).StreamInvocations()
        assert (await stream.read()).readiness == edge_service_pb2.READINESS_READY
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=""))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        _, calling = await begin_call(system, handler)
        system.server.signal(signal.SIGTERM)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()
        assert (await stream.read()).readiness == edge_service_pb2.READINESS_NOT_READY

        async def refusal():
            invocation = edge_service_pb2.Invocation(number=1, request=request)
            await stream.write(edge_service_pb2.StreamInvocationsRequest(invocations=[invocation]))
            (result,) = (await stream.read()).results
            return result.status if result.HasField("status") else None

        details = details_of(await wait_until(refusal, what="a refusal"))
        assert (details.reason, details.retry_after_s) == ("SERVER_STOPPING", 1)
        await stream.done_writing()
    handler.gate.set()
    assert (await calling).status_code == 200
    assert await exit_of(system.server) == 0


async def test_a_draining_server_sends_edges_away_and_still_serves(system, handler):
    system = await system(grace_s=20, drain_s=60)
    handler.gate.set()
    admin = f"http://{system.server.facts['admin']}"
    assert (await system.http.get(f"{admin}/readyz")).status_code == 200
    async with grpc.aio.insecure_channel(system.grpc) as channel:
        health, edge = health_pb2_grpc.HealthStub(channel), EdgeCalls(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(service="callback.v1.EdgeService"))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        stream = edge.StreamInvocations()
        assert (await stream.read()).readiness == edge_service_pb2.READINESS_READY
        system.server.signal(signal.SIGTERM)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert (await stream.read()).readiness == edge_service_pb2.READINESS_NOT_READY
        whole = await health.Check(health_pb2.HealthCheckRequest(service=""))
        assert whole.status == health_pb2.HealthCheckResponse.SERVING
        answer = await system.http.get(f"{admin}/readyz")
        assert (answer.status_code, answer.text) == (503, "stopping\n")

        case = await system.client.generate_callback_url("work", Response("done"))
        request = edge_service_pb2.InvokeRequest(state=case.state, request_method="get")
        assert (await edge.Invoke(request)).response.response_body == b"done"
        watch.cancel()
        stream.cancel()


async def test_after_it_has_drained_it_ends(system):
    system = await system(grace_s=20, drain_s=0.2)
    system.server.signal(signal.SIGTERM)
    assert await exit_of(system.server) == 0


async def test_a_call_whose_caller_has_gone_is_waited_for(system, handler):
    system = await system(grace_s=20)
    case, calling = await begin_call(system, handler)
    calling.cancel()
    system.edge.kill()
    system.server.signal(signal.SIGTERM)
    await wait_until(lambda: system.server.events("stopping"), what="the stop")
    handler.gate.set()
    assert await exit_of(system.server) == 0
    await asyncio.to_thread(system.server.start)
    (call,) = (await system.client.list_calls_page(case.case_id)).items
    assert call.status is CallStatus.SUCCEEDED


async def test_a_stuck_handler_holds_it_no_longer_than_the_grace_and_two_seconds(system, handler):
    grace_s = 1
    system = await system(grace_s=grace_s)
    _, calling = await begin_call(system, handler)
    began = time.monotonic()
    system.server.signal(signal.SIGTERM)
    await exit_of(system.server)
    took = time.monotonic() - began
    assert (
        grace_s <= took < grace_s + count(DEADLINE_S, 2)
    )  # the promised margin is 2 s, on a machine without other load
    assert (await calling).status_code == 503


@pytest.mark.parametrize("grace_s", [0, 2])
async def test_a_call_that_no_handler_has_at_the_end_of_the_grace_is_not_started_and_its_case_is_open(
    system, handler, grace_s
):
    system = await system(grace_s=grace_s)
    # Without a grace, it has 0.3 s to record the end of the call, which a busy machine can exceed.
    for _ in range(1 if grace_s else 5):
        _, running = await begin_call(system, handler)
        case = await system.client.generate_callback_url("nobody", Response("done"))
        waiting = asyncio.create_task(system.http.post(case.url))
        await wait_until(lambda case=case: calls_of(system, case), what="the call")
        system.server.signal(signal.SIGTERM)
        answer = await waiting
        started = await running
        await exit_of(system.server)
        await system.start_server()
        assert (started.status_code, "retry-after" in started.headers) == (503, False)
        assert answer.status_code == 503
        if "not certain" not in answer.text:
            break
    assert "not certain" not in answer.text
    assert "retry-after" in answer.headers
    (call,) = await calls_of(system, case)
    assert (call.status, call.caller_gone) == (CallStatus.NOT_STARTED, False)
    assert (await system.client.get_callback(case.case_id)).status is CallbackStatus.OPEN


async def test_it_stops_well_at_any_moment_after_its_start(tmp_path, store, interpreter):
    for n in range(count(1, 60)):
        server = Process(
            "callback_server", tmp_path / f"{n}.log", interpreter=interpreter, CALLBACK_STORE_URL=store.url,
            CALLBACK_GRACE_S="5", CALLBACK_GRPC_BIND=f"127.0.0.1:{free_port()}", CALLBACK_ADMIN_BIND="127.0.0.1:0",
        )  # fmt: skip
        try:
            await asyncio.to_thread(server.start)  # the sweeper is in its first round
            server.signal(signal.SIGTERM)
            assert await exit_of(server) == 0
            assert server.events("stopped")[0]["clean"]
        finally:
            server.kill()


async def test_work_in_the_background_is_ended_even_if_a_cancellation_is_lost():
    """redis-py lost a cancellation that coincided with a reply of the store; the stop then hung until the hard exit."""
    ended = asyncio.Event()

    async def stubborn():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    async with asyncio.timeout(DEADLINE_S), TaskSet() as tasks:
        tasks.start(stubborn())
        await asyncio.sleep(0)
    assert ended.is_set()
