"""Recorded data of a call: it excludes what the settings exclude and what the owner erased."""

import asyncio
from types import SimpleNamespace

import grpc
import pytest
import redis.asyncio
from support.handlers import accept, override, stub_handler
from support.leases import end_leases
from support.services import refusal, response, running_services
from support.wait import wait_until

from callback.v1 import callback_pb2 as pb
from callback.v1 import callbacks_service_pb2 as rpc
from callback_server.settings import ActivitySettings
from callback_server.store import keys
from callback_server.store.recording import Recording
from callback_server.store.transitions.sweep_partition import sweep_partition

CAME_BODY, CAME_HEADER, CAME_QUERY, CAME_ADDRESS = b"came-body", "came-header", "came=query", "192.0.2.77"
GAVE_BODY, GAVE_HEADER = b"gave-body", "gave-header"
OWN_BODY, OWN_HEADER = b"own-body", "own-header"


@pytest.fixture
def store(store_of):
    return store_of()


@pytest.fixture
async def pushing(store):
    """Return a function that starts services. The handler of `push` answers `GAVE_…` once its gate opens, or fails."""
    async with stub_handler() as stub:

        def start(**settings):
            return running_services(store, activities={"push": ActivitySettings(target=stub.target)}, **settings)

        gate = asyncio.Event()
        gate.set()

        async def answers(_request, _context):
            await gate.wait()
            return accept(override(response_body=GAVE_BODY, headers=[("x-gave", GAVE_HEADER)]))

        async def fails(_request, context):
            await context.abort(grpc.StatusCode.INTERNAL, "gave-detail")

        yield SimpleNamespace(start=start, stub=stub, gate=gate, answers=stub.play(answers), fails=stub.play(fails))


async def generate(services, activity="record", case="", **fields):
    own = response(
        response_body=OWN_BODY, response_headers=pb.ResponseHeaders(headers=[{"name": "x-own", "value": OWN_HEADER}])
    )
    return await services.generate(
        activity, callback_activity_case=case, response=own, allow_multiple_calls=True, **fields
    )


async def call(services, made):
    return await services.call(
        made, body=CAME_BODY, request_headers=[pb.Header(name="x-came", value=CAME_HEADER)],
        client_address=CAME_ADDRESS, request_query_string=CAME_QUERY,
        request_query=[pb.QueryParameter(name="came", value="query")],
    )  # fmt: skip


async def kept(services, made):
    listed = await services.list_calls(made)
    found = [await services.call_of(each.call_id) for each in listed]
    assert [each.request_body_size for each in listed] == [each.request_body_size for each in found]
    return found


async def in_the_store(store):
    """Return all data of the store as one text."""
    texts = []
    async with redis.asyncio.Redis(port=store.port) as client:
        async for key in client.scan_iter():
            read = {b"hash": client.hgetall, b"string": client.get}.get(await client.type(key))
            texts.append(repr(await read(key)) if read else "")
    return "\n".join(texts)


# --- exclusion by the settings


@pytest.mark.parametrize("left_out", ["bodies", "headers"])
async def test_without_bodies_or_headers_a_call_is_answered_as_ever_and_keeps_all_but_them(store, pushing, left_out):
    async with pushing.start(**{f"record_{left_out}": False}) as services:
        made = await generate(services, "push", pushing.answers)
        answer = (await call(services, made)).response
        (asked,) = pushing.stub.requests(pushing.answers)
        (ended,) = await kept(services, made)
    bodies = asked.request_body, answer.response_body
    headers = tuple(each[0].value for each in (asked.request_headers, answer.response_headers.headers))
    assert (bodies, headers) == ((CAME_BODY, GAVE_BODY), (CAME_HEADER, GAVE_HEADER))
    kept_headers = [*ended.request_headers, *ended.response.response_headers.headers]
    there = await in_the_store(store)
    if left_out == "bodies":
        assert (ended.request_body, ended.request_body_size, ended.response.response_body) == (b"", len(CAME_BODY), b"")
        assert [each.value for each in kept_headers] == [CAME_HEADER, GAVE_HEADER]
        assert not [each for each in bodies if each.decode() in there]
    else:
        assert (ended.request_body, ended.response.response_body, kept_headers) == (CAME_BODY, GAVE_BODY, [])
        assert not [each for each in headers if each in there]
    assert ended.request_query_string == CAME_QUERY


async def test_unrecorded_data_of_a_running_call_is_never_stored(store, pushing):
    pushing.gate.clear()
    async with pushing.start(record_bodies=False, record_headers=False) as services:
        made = await generate(services, "push", pushing.answers)
        calling = asyncio.create_task(call(services, made))
        await wait_until(lambda: pushing.stub.requests(pushing.answers), what="the handler's start")
        there = await in_the_store(store)
        pushing.gate.set()
        assert (await calling).response.response_body == GAVE_BODY
    assert CAME_BODY.decode() not in there
    assert CAME_HEADER not in there


async def test_a_recorded_call_keeps_the_response_of_its_case_in_any_case(store):
    async with running_services(store, record_bodies=False, record_headers=False) as services:
        made = await generate(services)
        assert (await call(services, made)).response.response_body == OWN_BODY
        (ended,) = await kept(services, made)
    assert (ended.request_body, ended.request_body_size) == (b"", len(CAME_BODY))
    assert ended.response.response_body == OWN_BODY
    assert [header.value for header in ended.response.response_headers.headers] == [OWN_HEADER]


NOT_RECORDED = [{"record_bodies": False}, {"record_headers": False}, {"record_bodies": False, "record_headers": False}]


@pytest.mark.parametrize("recording", NOT_RECORDED, ids=str)
@pytest.mark.parametrize("end", ["answer", "lease"])
async def test_whoever_answers_a_held_call_sees_its_whole_request_until_the_call_ends(store, recording, end):
    async with running_services(store, **recording) as services:
        made = await generate(services, "form")
        caller = asyncio.ensure_future(call(services, made))
        (waiting,) = await services.running()
        seen = await services.call_of(waiting.call_id)
        for each in (waiting, seen):
            assert [header.value for header in each.request_headers] == [CAME_HEADER]
            assert each.request_body_size == len(CAME_BODY)
        assert seen.request_body == CAME_BODY
        if end == "answer":
            await services.answer(waiting.call_id)
        else:
            await end_leases(store)
            await sweep_partition(
                services.control_plane.scripts, keys.partition_of(made.callback_case_id), recording=Recording()
            )
        await asyncio.wait([caller])
        caller.exception()
        (ended,) = await kept(services, made)
        assert ended.request_body == (b"" if "record_bodies" in recording else CAME_BODY)
        assert bool(ended.request_headers) is ("record_headers" not in recording)
        assert ended.request_body_size == len(CAME_BODY)
    there = await in_the_store(store)
    assert (CAME_BODY.decode() in there) is ("record_bodies" not in recording)
    assert (CAME_HEADER in there) is ("record_headers" not in recording)


async def test_of_a_held_call_that_is_erased_nothing_is_left_while_it_waits(store):
    async with running_services(store, record_bodies=False, record_headers=False) as services:
        made = await generate(services, "form")
        caller = asyncio.ensure_future(call(services, made))
        (waiting,) = await services.running()
        assert (await services.erase(made)).erased_call_count == 1
        there = await in_the_store(store)
        for secret in (CAME_BODY.decode(), CAME_HEADER, CAME_QUERY, CAME_ADDRESS):
            assert secret not in there
        await services.answer(waiting.call_id)
        assert (await caller).response.response_body == OWN_BODY
        (ended,) = await kept(services, made)
    assert (ended.status, ended.erased) == (pb.CALL_STATUS_SUCCEEDED, True)


# --- erasure by the owner


async def test_of_an_erased_call_only_how_it_ended_is_left(store, pushing):
    async with pushing.start() as services:
        made, other = await generate(services, "push", pushing.answers), await generate(services, labels={"a": "b"})
        failing = await generate(services, "push", pushing.fails)
        for case in (made, made, other):
            await call(services, case)
        assert (await refusal(call(services, failing))).reason == "HANDLER_FAILED"
        before = {case.callback_case_id: await kept(services, case) for case in (made, other, failing)}
        shown = await services.callbacks.GetCallback(rpc.GetCallbackRequest(callback_case_id=other.callback_case_id))
        assert before[failing.callback_case_id][0].failure_detail
        assert (await services.erase(made)).erased_call_count == 2
        assert await kept(services, other) == before[other.callback_case_id]
        assert (await services.erase(other)).erased_call_count == 1
        assert (await services.erase(failing)).erased_call_count == 1
        for case in (made, other, failing):
            for erased, was in zip(await kept(services, case), before[case.callback_case_id], strict=True):
                assert erased == pb.Call(
                    call_id=was.call_id, callback_case_id=was.callback_case_id, status=was.status, failure=was.failure,
                    attempt=was.attempt, start_time=was.start_time, end_time=was.end_time, erased=True,
                    reason=was.reason,
                )  # fmt: skip
        again = await services.callbacks.GetCallback(rpc.GetCallbackRequest(callback_case_id=other.callback_case_id))
        assert again == shown
    there = await in_the_store(store)
    for secret in (CAME_BODY.decode(), CAME_HEADER, CAME_QUERY, CAME_ADDRESS, GAVE_BODY.decode(), "gave-detail"):
        assert secret not in there


async def test_a_second_erasure_finds_nothing_and_later_calls_are_recorded(services):
    made = await generate(services)
    await call(services, made)
    assert [(await services.erase(made)).erased_call_count for _ in range(2)] == [1, 0]
    await call(services, made)
    later, earlier = await kept(services, made)
    assert (later.erased, later.request_body) == (False, CAME_BODY)
    assert (earlier.erased, earlier.request_body) == (True, b"")
    assert (await services.erase(made)).erased_call_count == 1


async def test_of_a_call_that_was_erased_while_it_ran_nothing_is_recorded_and_its_caller_is_answered(store, pushing):
    pushing.gate.clear()
    async with pushing.start() as services:
        made = await generate(services, "push", pushing.answers)
        calling = asyncio.create_task(call(services, made))
        await wait_until(lambda: pushing.stub.requests(pushing.answers), what="the handler's start")
        assert (await services.erase(made)).erased_call_count == 1
        pushing.gate.set()
        assert (await calling).response.response_body == GAVE_BODY
        (ended,) = await kept(services, made)
    assert (ended.status, ended.erased, ended.HasField("response")) == (pb.CALL_STATUS_SUCCEEDED, True, False)
    there = await in_the_store(store)
    for secret in (CAME_BODY.decode(), CAME_HEADER, CAME_QUERY, CAME_ADDRESS, GAVE_BODY.decode(), GAVE_HEADER):
        assert secret not in there


async def test_more_calls_than_one_step_erases_are_all_erased(store):
    async with running_services(store, recorded_calls_per_case=1000) as services:
        made = await generate(services)
        await asyncio.gather(*(call(services, made) for _ in range(250)))
        assert (await services.erase(made)).erased_call_count == 250
    assert CAME_BODY.decode() not in await in_the_store(store)
