"""Concurrent calls are batched, and no call waits for another."""

import asyncio

import grpc
import pytest
from support.edge import Refused, new_state, plain, running_edge
from support.wait import wait_until

from callback.v1 import edge_service_pb2
from callback_edge import problems
from callback_edge.limits.body_budget import BodyBudget, BodyReservation
from callback_edge.settings import EdgeSettings
from callback_edge.upstream import channel


@pytest.fixture
async def upstream(plane, edge):
    await wait_until(lambda: not edge.upstream.why_not_ready())
    return edge.upstream


def invoke(upstream, body=b""):
    request = edge_service_pb2.InvokeRequest(state=new_state(), request_method="post", request_body=body)
    message = edge_service_pb2.StreamInvocationsRequest(invocations=[edge_service_pb2.Invocation(request=request)])

    async def response():
        return (await upstream.invoke(message, BodyReservation(BodyBudget(EdgeSettings()), ""))).response

    return asyncio.create_task(response())


async def test_concurrent_calls_are_one_message(plane, upstream):
    await asyncio.gather(*(invoke(upstream) for _ in range(10)))
    assert plane.batches == [10]


async def test_a_message_has_a_maximum_of_calls(plane, upstream):
    await asyncio.gather(*(invoke(upstream) for _ in range(100)))
    assert sorted(plane.batches) == [36, 64]


async def test_a_large_call_has_its_own_message(plane, upstream):
    await asyncio.gather(*(invoke(upstream, bytes(size)) for size in (10, 300_000, 10, 10)))
    assert sorted(plane.batches) == [1, 1, 2]


async def test_calls_that_arrive_during_a_write_are_batched_in_the_next_message(plane, limits):
    limits(channel, STREAM_COUNT=1)
    async with running_edge(plane.target) as edge:
        calls = [invoke(edge.upstream, bytes(3_000_000))]
        for _ in range(5):
            await asyncio.sleep(0)  # each in a turn of its own
            calls.append(invoke(edge.upstream))
        await asyncio.gather(*calls)
        assert sum(plane.batches) == 6
        assert max(plane.batches) > 1


async def test_no_call_of_a_message_waits_for_another(plane, upstream):
    gate = asyncio.Event()

    async def script(request, _context):
        if request.request_body == b"held":
            await gate.wait()
        return plain(request.request_body)

    plane.script = script
    calls = [invoke(upstream, body) for body in (b"held", b"one", b"two")]
    answers = await asyncio.gather(*calls[1:])
    assert [answer.response.response_body for answer in answers] == [b"one", b"two"]
    assert plane.batches == [3]
    gate.set()
    assert (await calls[0]).response.response_body == b"held"


async def test_a_refused_call_does_not_affect_the_others_of_its_message(plane, upstream):
    async def script(request, _context):
        if request.request_body == b"bad":
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT)
        return plain(request.request_body)

    plane.script = script
    calls = [invoke(upstream, body) for body in (b"good", b"bad", b"good")]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(answer, problems.ProblemError) for answer in answers] == [False, True, False]


async def test_a_result_for_an_unknown_number_is_ignored(plane, upstream):
    async def script(_request, context):
        stranger = edge_service_pb2.InvocationResult(number=2**60, response=plain(b"stranger"))
        async with plane.streams[context]:
            await context.write(edge_service_pb2.StreamInvocationsResponse(results=[stranger]))
        return plain(b"ok")

    plane.script = script
    assert (await invoke(upstream)).response.response_body == b"ok"


async def test_a_broken_stream_ends_its_own_calls_as_unknown_and_no_others(plane, upstream):
    gate = asyncio.Event()

    async def script(request, context):
        if request.request_body == b"break":
            await context.abort(grpc.StatusCode.INTERNAL, "broken")
        await gate.wait()
        return plain(b"ok")

    plane.script = script
    held = invoke(upstream)
    await plane.until(lambda: plane.started)
    with pytest.raises(problems.ProblemError) as lost:
        await invoke(upstream, b"break")
    assert lost.value.problem is problems.OUTCOME_UNKNOWN
    assert not held.done()
    gate.set()
    assert (await held).response.response_body == b"ok"
    await plane.until(lambda: plane.cancelled)
