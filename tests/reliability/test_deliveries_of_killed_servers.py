"""A server is killed during and between attempts: each acknowledged call is delivered or dead."""

import asyncio
import contextlib
import time
from collections import defaultdict

import grpc
from support.handlers import accept, stub_handler
from support.leases import end_leases_of_deliveries
from support.services import response
from support.system import running_system
from support.wait import wait_until

from callback.v1 import callback_pb2 as pb
from callback.v1 import callbacks_service_pb2 as rpc
from callback.v1.callbacks_service_pb2_grpc import CallbacksServiceStub


@contextlib.asynccontextmanager
async def deliveries(directory, store, stub, retry):
    """Run a system whose activity `act` is served by a stub, with these retries."""
    config = f'[activities.act]\ntarget = "{stub.target}"\ndeadline_s = 200\nretry = {{ {retry} }}\n'
    async with (
        running_system(directory, store, config=config) as system,
        grpc.aio.insecure_channel(system.grpc) as channel,
    ):
        system.callbacks = CallbacksServiceStub(channel)
        yield system


async def restart(system):
    system.server.kill()
    await system.start_server()


async def acknowledged(system, name):
    """Make a call, check that it is acknowledged, and return its id."""
    made = await system.callbacks.GenerateCallbackUrl(
        rpc.GenerateCallbackUrlRequest(
            callback_activity="act", callback_activity_case=name, answer_mode=pb.ANSWER_MODE_ACK,
            response=response(response_code=202),
        )
    )  # fmt: skip
    assert (await system.http.post(made.callback_url, content=b"body")).status_code == 202
    asked = rpc.ListCallsRequest(callback_case_id=made.callback_case_id)
    (call,) = (await system.callbacks.ListCalls(asked, wait_for_ready=True)).calls
    return call.call_id


async def delivery(system, call_id):
    got = await system.callbacks.GetCall(rpc.GetCallRequest(call_id=call_id), wait_for_ready=True)
    return got.call.delivery


async def test_a_server_that_is_killed_in_an_attempt_and_between_two_loses_nothing(tmp_path, store):
    never = asyncio.Event()
    attempts = []

    async def script(request, context):
        attempts.append((request.attempt, request.call_id, request.request_body))
        if request.attempt == 1:
            await never.wait()
        if request.attempt == 2:
            await context.abort(grpc.StatusCode.INTERNAL, "broken")
        return accept()

    async with (
        stub_handler() as stub,
        deliveries(tmp_path, store, stub, "initial_s = 60, max_attempts = 3") as system,
    ):
        call_id = await acknowledged(system, stub.play(script))
        await wait_until(lambda: attempts)
        await restart(system)
        assert (await delivery(system, call_id)).status == pb.DELIVERY_STATUS_RUNNING
        assert await end_leases_of_deliveries(store) == 1
        await wait_until(lambda: len(attempts) >= 2)
        await restart(system)

        async def delivered():
            return (await delivery(system, call_id)).status == pb.DELIVERY_STATUS_DELIVERED

        async def due_again():
            """If the end of the second attempt was lost with its server, end the lease of that attempt too."""
            await end_leases_of_deliveries(store)
            return await delivered()

        await wait_until(due_again)
        assert attempts == [(number, call_id, b"body") for number in (1, 2, 3)]
        assert (await delivery(system, call_id)).attempts == 3
        never.set()


async def test_attempts_that_die_with_their_server_are_not_more_than_configured(tmp_path, store):
    never = asyncio.Event()

    async def script(_request, _context):
        await never.wait()

    async with stub_handler() as stub, deliveries(tmp_path, store, stub, "max_attempts = 2") as system:
        name = stub.play(script)
        call_id = await acknowledged(system, name)
        for attempt in (1, 2):
            await wait_until(lambda attempt=attempt: len(stub.requests(name)) == attempt)
            await restart(system)
            await end_leases_of_deliveries(store)

        async def dead():
            found = await delivery(system, call_id)
            return found if found.status == pb.DELIVERY_STATUS_DEAD else None

        found = await wait_until(dead)
        assert (found.attempts, found.failure) == (2, pb.CALL_FAILURE_HANDLER_LOST)
        assert len(stub.requests(name)) == 2
        never.set()


async def test_a_server_that_is_killed_between_attempts_leaves_their_number_and_times_as_configured(tmp_path, store):
    began = defaultdict(list)

    async def script(request, context):
        began[request.call_id].append(time.time())
        await context.abort(grpc.StatusCode.INTERNAL, "broken")

    retry = "initial_s = 3, max_s = 4, max_attempts = 3"
    async with stub_handler() as stub, deliveries(tmp_path, store, stub, retry) as system:
        name = stub.play(script)
        call_ids = [await acknowledged(system, name) for _ in range(10)]

        async def waiting():
            """Return the deliveries that are still waiting, and so will be when the server is killed."""
            found = await asyncio.gather(*(delivery(system, call_id) for call_id in call_ids))
            return {call_id: each for call_id, each in zip(call_ids, found, strict=True) if due(each) > time.time() + 1}

        before = await wait_until(waiting, what="deliveries that wait")
        seen = time.time()
        await restart(system)

        async def dead():
            found = [await delivery(system, call_id) for call_id in before]
            return found if {each.status for each in found} == {pb.DELIVERY_STATUS_DEAD} else None

        after = await wait_until(dead, what="the end of every delivery")
    assert {each.attempts for each in after} == {3}
    for call_id, each in before.items():
        times, number = began[call_id], each.attempts
        assert len(times) == 3
        assert times[number - 1] < due(each) < seen + (3, 4)[number - 1]
        assert times[number] > due(each) - 0.1


def due(found):
    """Return when the next attempt of a delivery is due; a past time if none is."""
    return found.next_attempt_time.ToNanoseconds() / 1e9
