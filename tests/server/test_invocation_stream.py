"""StreamInvocations: many calls over one stream of an edge. Each has its own result, and then the stream ends."""

import grpc
import pytest
from prometheus_client import REGISTRY
from support.edge_calls import EdgeCalls, answers_of, response_of
from support.principals import by, principals_of
from support.proxy import StoreProxy, script_of
from support.services import calls_in_flight, refusal, refusal_of, response, running_services
from support.wait import wait_until

from callback.v1 import callback_pb2 as pb
from callback.v1 import callbacks_service_pb2 as rpc
from callback.v1 import edge_service_pb2 as edge
from callback_server import metrics
from callback_server.access.roles import Role
from callback_server.rpc import edge_service


@pytest.fixture
async def services(store_of):
    async with running_services(store_of()) as running:
        yield running


@pytest.fixture
async def stream(services):
    """Open a stream for which the server is ready."""
    opened = services.edge.StreamInvocations()
    assert (await opened.read()).readiness == edge.READINESS_READY
    yield opened
    opened.cancel()


async def case(services, body=b"", activity="record", metadata=(), **more):
    made = await services.generate(activity, response=response(response_body=body), **more, metadata=metadata)
    return made.callback_state


async def send(stream, *states, first=1, **more):
    """Send a call to each case, in one message."""
    requests = [edge.InvokeRequest(**{"state": state, "request_method": "post", **more}) for state in states]
    await stream.write(
        edge.StreamInvocationsRequest(
            invocations=[edge.Invocation(number=first + at, request=request) for at, request in enumerate(requests)]
        )
    )


def refused(answer):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        response_of(answer)
    return refusal_of(caught.value)


async def test_results_that_are_ready_together_are_sent_in_one_message(stream):
    await send(stream, *(["none"] * 50))
    message = await stream.read()
    assert sorted(answer.number for answer in message.results) == [*range(1, 51)]
    assert {refused(answer).reason for answer in message.results} == {"STATE_UNKNOWN"}


async def test_large_results_are_sent_alone(services, stream):
    states = [await case(services, bytes(200_000)) for _ in range(3)]
    await send(stream, *states)
    await stream.done_writing()
    sizes = []
    while (message := await stream.read()) is not grpc.aio.EOF:
        sizes.append(len(message.results))
    assert sizes == [1, 1, 1]


async def test_an_invalid_call_is_refused_and_the_others_in_its_batch_run(services, stream):
    states = [await case(services, b"one"), await case(services, b"two")]
    requests = [
        edge.InvokeRequest(state=states[0], request_method="get"),
        edge.InvokeRequest(state=states[1], request_method="steal"),
        edge.InvokeRequest(state=states[1], request_method="get"),
    ]
    invocations = [edge.Invocation(number=at, request=request) for at, request in enumerate(requests)]
    await stream.write(edge.StreamInvocationsRequest(invocations=invocations))
    await stream.done_writing()
    answers = {answer.number: answer async for answer in answers_of(stream)}
    assert [response_of(answers[at]).response.response_body for at in (0, 2)] == [b"one", b"two"]
    said = refused(answers[1])
    assert (said.code, said.reason, said.fields) == (
        grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST", ["request_method"]
    )  # fmt: skip


async def test_calls_run_concurrently_and_the_stream_ends_after_all_results(services, stream):
    held = await case(services, activity="form")
    await send(stream, held, await case(services, b"at once"))
    await stream.done_writing()
    answers = answers_of(stream)
    answer = await anext(answers)
    assert (answer.number, response_of(answer).response.response_body) == (2, b"at once")
    (call,) = await services.running()
    await services.answer(call.call_id, response=response())
    assert [answer.number async for answer in answers] == [1]
    assert await stream.code() is grpc.StatusCode.OK


async def test_a_call_runs_to_its_end_although_its_stream_breaks(services, stream):
    await send(stream, await case(services, activity="form"))
    (call,) = await services.running()
    stream.cancel()
    await services.answer(call.call_id, response=response())
    await wait_until(lambda: calls_in_flight() == 0)
    got = await services.callbacks.GetCall(rpc.GetCallRequest(call_id=call.call_id))
    assert got.call.HasField("end_time")


async def test_the_server_does_not_read_from_an_edge_that_does_not_read(services, limits):
    limits(edge_service, MAX_UNSENT_BYTES=1_000_000)
    state = await case(services, bytes(1_000_000), allow_multiple_calls=True)
    began, many = made(), 60

    async def one_after_the_other():
        for number in range(many):
            request = edge.InvokeRequest(state=state, request_method="post", request_body=bytes(100_000))
            yield edge.StreamInvocationsRequest(invocations=[edge.Invocation(number=number, request=request)])
            await wait_until(lambda number=number: made() - began > number)

    seen = []

    def stays():
        seen.append(made() - began)
        return len(seen) > 100 and seen[-1] and len(set(seen[-100:])) == 1

    small_window = [("grpc.http2.bdp_probe", 0)]  # otherwise gRPC buffers about 50 MB itself
    async with grpc.aio.insecure_channel(services.address, options=small_window) as channel:
        stream = EdgeCalls(channel).StreamInvocations(one_after_the_other())
        await wait_until(stays)
        assert seen[-1] < 10
        assert {answer.number async for answer in answers_of(stream)} == set(range(many))


def made():
    """Return the number of calls that succeeded in this process."""
    samples = metrics.CALLS.collect()[0].samples
    return sum(each.value for each in samples if each.name.endswith("_total") and each.labels["outcome"] == "SUCCEEDED")


async def test_the_stream_of_an_edge_that_is_revoked_ends_and_its_calls_run_on(store_of, limits):
    limits(edge_service, CHECK_S=0.05)
    fields = {"owner": {"roles": {Role.OWNER}}, "edge": {"roles": {Role.EDGE}}}
    known = principals_of(**fields)
    async with running_services(store_of(), principals=lambda: known) as services:
        stream = services.edge.StreamInvocations(metadata=by("edge"))
        await stream.read()
        await send(stream, await case(services, activity="form", metadata=by("owner")))
        await services.running(metadata=by("owner"))
        known = principals_of(**fields | {"edge": {"roles": {Role.EDGE}, "revoked": True}})

        async def read_to_the_end():
            while await stream.read() is not grpc.aio.EOF:
                pass

        assert (await refusal(read_to_the_end())).reason == "UNAUTHENTICATED"
        await services.running(metadata=by("owner"))


async def wait_until_repeated(services, call):
    async def counted():
        return (await services.call_of(call.call_id)).repeat_count

    await wait_until(counted, what="the repeat")


async def test_nothing_waits_with_a_held_call_for_callers_that_are_gone_and_the_call_waits_on(services, stream):
    state = await case(services, activity="form")
    await send(stream, state)
    (call,) = await services.running()
    await send(stream, state, first=2)
    await wait_until_repeated(services, call)

    def waiting():
        names = "callback_held_calls_in_flight", "callback_waits_in_flight"
        return [REGISTRY.get_sample_value(name) for name in names]

    await wait_until(lambda: waiting() == [1, 1], what="both waits")  # a repeat is counted before it waits
    await stream.write(edge.StreamInvocationsRequest(gone_numbers=[1, 2]))
    await wait_until(lambda: waiting() == [0, 0], what="the end of both waits")
    assert (await until_gone(services, call.call_id)).status == pb.CALL_STATUS_RUNNING
    await services.answer(call.call_id)


async def test_a_repeat_whose_caller_is_gone_marks_no_call_and_is_not_refused(store_of):
    """It ended with OUTCOME_UNKNOWN, which was counted, and its own id, which is that of no call, was marked."""
    marked = set()

    def sees(command):
        if script_of(command) == "mark_caller_gone":
            marked.add(command[5].decode())
        return False

    def unknown():
        labels = {"method": metrics.INVOKE_METHOD, "reason": "OUTCOME_UNKNOWN", "limit": ""}
        return REGISTRY.get_sample_value("callback_refused_total", labels) or 0

    async with StoreProxy(store_of(), sees) as proxy, running_services(proxy) as services:
        stream, before = services.edge.StreamInvocations(), unknown()
        await stream.read()
        state = await case(services, activity="form")
        await send(stream, state)
        (call,) = await services.running()
        await send(stream, state, first=2)
        await wait_until_repeated(services, call)
        await stream.write(edge.StreamInvocationsRequest(gone_numbers=[2]))
        (repeat,) = (await stream.read()).results
        assert (repeat.number, repeat.caller_gone, repeat.HasField("status")) == (2, True, False)
        await stream.write(edge.StreamInvocationsRequest(gone_numbers=[1]))
        (called,) = (await stream.read()).results
        assert (called.number, called.caller_gone, called.HasField("status")) == (1, True, False)
        await until_gone(services, call.call_id)
        assert (marked, unknown() - before) == ({call.call_id}, 0)
        await services.answer(call.call_id)
        stream.cancel()


async def until_gone(services, call_id):
    async def gone():
        call = await services.call_of(call_id)
        return call if call.caller_gone else None

    return await wait_until(gone, what="that the caller is gone")


async def test_a_caller_that_is_reported_gone_is_marked_while_its_call_waits_and_its_result_says_so(services, stream):
    await send(stream, await case(services, activity="form"), first=7)
    (call,) = await services.running()
    assert not call.caller_gone
    await stream.write(edge.StreamInvocationsRequest(gone_numbers=[7, 8]))
    assert (await until_gone(services, call.call_id)).status == pb.CALL_STATUS_RUNNING
    assert (await services.running())[0].caller_gone
    (result,) = (await stream.read()).results
    assert (result.number, result.caller_gone) == (7, True)
    await services.answer(call.call_id)


async def test_a_caller_that_is_gone_before_its_call_is_claimed_is_marked(services, stream):
    request = edge.InvokeRequest(state=await case(services, activity="form"), request_method="post")
    await stream.write(
        edge.StreamInvocationsRequest(invocations=[edge.Invocation(number=1, request=request)], gone_numbers=[1])
    )
    await until_gone(services, (await services.running())[0].call_id)


async def test_the_callers_of_a_stream_that_breaks_are_marked_and_those_that_have_their_results_are_not(
    services, stream
):
    await send(stream, await case(services, b"ok"))
    (answered,) = (await stream.read()).results
    await send(stream, await case(services, activity="form"), first=2)
    (call,) = await services.running()
    stream.cancel()
    await until_gone(services, call.call_id)
    kept = await services.callbacks.GetCall(rpc.GetCallRequest(call_id=answered.response.call_id))
    assert not kept.call.caller_gone


async def test_watchers_learn_once_that_a_caller_is_gone(services, stream):
    await send(stream, await case(services, activity="form"))
    (call,) = await services.running()
    watch = services.callbacks.WatchCalls(rpc.WatchCallsRequest(callback_case_id=call.callback_case_id))
    await watch.read()  # it has begun
    await stream.write(edge.StreamInvocationsRequest(gone_numbers=[1, 1]))
    await until_gone(services, call.call_id)
    await services.edge.ReportCallerGone(edge.ReportCallerGoneRequest(call_id=call.call_id))
    await services.answer(call.call_id)
    types = []
    while rpc.CALL_EVENT_TYPE_CALL_ENDED not in types:
        types += [event.type for event in (await watch.read()).events]
    watch.cancel()
    assert types == [rpc.CALL_EVENT_TYPE_CALLER_GONE, rpc.CALL_EVENT_TYPE_CALL_ENDED]
