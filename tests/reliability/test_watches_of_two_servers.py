"""Two server processes on one store: a watch gets the events of both, and resumes on the one that still runs."""

import asyncio
import contextlib
from types import SimpleNamespace

import grpc
import pytest
from support.edge_calls import EdgeCalls
from support.services import owner_stubs, refusal, response
from support.system import Process, own_store
from support.watching import told, watch

from callback.v1 import callbacks_service_pb2 as pb2
from callback.v1 import edge_service_pb2 as edge_pb2

CALLS = 20


@contextlib.asynccontextmanager
async def server(directory, store, name):
    """Run a server process, and yield it with stubs."""
    process = Process(
        "callback_server", directory / f"{name}.log", CALLBACK_GRPC_BIND="127.0.0.1:0",
        CALLBACK_ADMIN_BIND="127.0.0.1:0", CALLBACK_STORE_URL=store.url, CALLBACK_DRAIN_S="0",
    )  # fmt: skip
    try:
        await process.start()
        async with grpc.aio.insecure_channel(process.facts["grpc"]) as channel:
            yield SimpleNamespace(
                process=process,
                **owner_stubs(channel),
                edge=EdgeCalls(channel),
            )
    finally:
        await asyncio.to_thread(process.kill)


@pytest.fixture
def store(tmp_path):
    process = own_store(tmp_path).start()
    yield process
    process.stop()


async def much(*services):
    """Create a case and send calls to it through each of these servers. Return the events that a watch should get."""
    made = await services[0].callbacks.GenerateCallbackUrl(
        pb2.GenerateCallbackUrlRequest(callback_activity="record", allow_multiple_calls=True, response=response())
    )
    request = edge_pb2.InvokeRequest(state=made.callback_state, request_method="post")
    called = await asyncio.gather(*(services[at % len(services)].edge.Invoke(request) for at in range(CALLS)))
    return ["", *sorted(each.call_id for each in called)]


def seen(events):
    assert [told(event)[0] for event in events] == ["CASE_CREATED", *["CALL_ENDED"] * CALLS]
    return sorted(event.call_id for event in events)


async def test_a_watch_goes_on_where_it_stopped_when_its_server_is_killed_or_ends(tmp_path, store):
    async with server(tmp_path, store, "one") as one:
        async with server(tmp_path, store, "two") as two, watch(two.callbacks) as watching:
            made = await much(one, two)
            assert seen(await watching.events(1 + CALLS)) == made
            two.process.kill()
            with pytest.raises(grpc.aio.AioRpcError) as lost:
                await watching.end_of()
            assert lost.value.code() is grpc.StatusCode.UNAVAILABLE
        missed = await much(one)
        async with watch(one.callbacks, resume_token=watching.token) as watching:
            assert seen(await watching.events(1 + CALLS)) == missed
            ending = asyncio.create_task(asyncio.to_thread(one.process.stop))
            error = await refusal(watching.end_of())
            assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVER_STOPPING")
            assert await ending == 0
    async with server(tmp_path, store, "three") as three:
        missed = await much(three)
        store.kill()
        store.start()
        async with watch(three.callbacks, resume_token=watching.token) as watching:
            assert seen(await watching.events(1 + CALLS)) == missed
