"""A call is answered with the response of its case as it is at the end of the call, overlaid by the decision."""

import asyncio
from types import SimpleNamespace

import pytest
from support.handlers import accept, override, reject, stub_handler
from support.services import redirect, refusal, response, running_services
from support.wait import wait_until

from callback.v1 import callback_pb2 as pb
from callback.v1 import callbacks_service_pb2 as rpc
from callback_server.settings import ActivitySettings

FALLBACK = {"answer_deadline": {"nanos": 100_000_000}, "fallback": response(response_code=202)}


@pytest.fixture
async def system(store_of):
    """Run services with the activity `act`; `handle` makes a case whose handler runs a coroutine function."""
    async with (
        stub_handler() as stub,
        running_services(store_of(), activities={"act": ActivitySettings(target=stub.target)}) as services,
    ):

        async def handle(answer, *, own=None, **more):
            async def script(request, _context):
                return await answer(request.callback_system_case)

            return await services.generate(
                "act",
                callback_activity_case=stub.play(script),
                response=own or response(response_code=201, response_body=b"as at the claim"),
                **more,
            )

        yield SimpleNamespace(services=services, handle=handle)


def set_response(services, case_id, **attributes):
    return services.callbacks.SetResponse(
        rpc.SetResponseRequest(callback_case_id=case_id, response=pb.Response(**attributes))
    )


def invoke(services, made):
    return asyncio.ensure_future(services.call(made))


async def call_of(services, made, *, ended=True):
    """Return the newest call of a case, once it has ended; with `ended` false, a call that runs."""

    async def found():
        calls = await services.list_calls(made)
        if not calls or (calls[0].status == pb.CALL_STATUS_RUNNING) is ended:
            return None
        return await services.call_of(calls[0].call_id)

    return await wait_until(found, what="the call")


async def test_the_response_that_a_handler_sets_for_its_case_answers_the_call_that_it_handles(system):
    async def answer(case_id):
        await set_response(system.services, case_id, response_code=418, response_body=b"set by the handler")
        return accept()

    made = await system.handle(answer)
    answered = await invoke(system.services, made)
    assert (answered.response.response_code, answered.response.response_body) == (418, b"set by the handler")
    recorded = await call_of(system.services, made)
    assert (recorded.status, recorded.response) == (pb.CALL_STATUS_SUCCEEDED, answered.response)


async def test_what_the_handler_decides_stands_over_the_response_that_was_set(system):
    async def answer(case_id):
        await set_response(system.services, case_id, response_code=418, response_body=b"set")
        return accept(override(response_code=203))

    answered = await invoke(system.services, await system.handle(answer))
    assert (answered.response.response_code, answered.response.response_body) == (203, b"set")


async def test_a_large_body_that_replaces_a_small_one_and_a_small_one_that_replaces_a_large_one_are_sent_whole(system):
    for before, after in ((b"small", bytes(500_000)), (bytes(500_000), b"small")):

        async def answer(case_id, body=after):
            await set_response(system.services, case_id, response_body=body)
            return accept()

        made = await system.handle(answer, own=response(response_body=before))
        assert (await invoke(system.services, made)).response.response_body == after


async def test_a_handler_may_set_the_url_of_its_redirect_and_is_not_refused(system):
    async def answer(case_id):
        await set_response(system.services, case_id, response_redirect_url="https://shop.example/paid")
        return accept()

    made = await system.handle(answer, own=redirect())
    assert (await invoke(system.services, made)).response.response_redirect_url == "https://shop.example/paid"


async def test_a_response_that_is_not_valid_at_the_end_fails_the_call_as_the_answer_of_a_handler_does(system):
    async def answer(case_id):
        await set_response(system.services, case_id, response_type=pb.RESPONSE_TYPE_REDIRECT)
        return accept()

    made = await system.handle(answer)
    assert (await refusal(invoke(system.services, made))).reason == "RESPONSE_INVALID"
    failed = await call_of(system.services, made)
    assert (failed.status, failed.failure) == (pb.CALL_STATUS_FAILED, pb.CALL_FAILURE_INVALID_RESPONSE)
    assert "a redirect needs a URL" in failed.failure_detail


async def test_after_a_rejection_only_the_response_of_the_handler_is_used(system):
    async def answer(case_id):
        await set_response(system.services, case_id, response_code=418, response_body=b"set")
        return reject(override(response_body=b"wrong"))

    answered = await invoke(system.services, await system.handle(answer))
    assert (answered.response.response_code, answered.response.response_body) == (422, b"wrong")


async def test_each_of_several_running_calls_is_answered_with_the_response_at_its_own_end(system):
    gates = [asyncio.Event() for _ in range(3)]
    waiting = iter(gates)
    started = []

    async def answer(_case_id):
        gate = next(waiting)
        started.append(gate)
        await gate.wait()
        return accept()

    made = await system.handle(answer, allow_multiple_calls=True)
    calls = []
    for number in range(3):
        calls.append(invoke(system.services, made))
        await wait_until(lambda number=number: len(started) == number + 1, what="the handler")
    for number, (gate, call) in enumerate(zip(gates, calls, strict=True)):
        await set_response(system.services, made.callback_case_id, response_body=b"%d" % number)
        gate.set()
        assert (await call).response.response_body == b"%d" % number


async def test_a_call_that_goes_on_behind_its_fallback_records_the_response_at_its_end(system):
    gate = asyncio.Event()

    async def answer(case_id):
        await gate.wait()
        await set_response(system.services, case_id, response_body=b"set late")
        return accept()

    made = await system.handle(answer, **FALLBACK)
    assert (await invoke(system.services, made)).response.response_code == 202
    gate.set()
    assert (await call_of(system.services, made)).response.response_body == b"set late"


async def test_the_answer_to_a_held_call_is_merged_with_the_response_of_its_case_as_it_is_then(store_of):
    async with running_services(store_of()) as services:
        made = await services.generate("form", response=response(response_body=b"before"))
        caller = invoke(services, made)
        call = await call_of(services, made, ended=False)
        await set_response(services, made.callback_case_id, response_type=pb.RESPONSE_TYPE_REDIRECT)
        said = await refusal(services.answer(call.call_id))
        assert (said.reason, said.fields) == ("INVALID_REQUEST", ["response.response_redirect_url"])
        own = {"response_type": pb.RESPONSE_TYPE_RESPONSE, "response_code": 203, "response_body": bytes(5000)}
        await set_response(services, made.callback_case_id, **own)
        answer = pb.Response(response_code=418)
        said = await services.answer(call.call_id, response=answer)
        assert (said.call.response.response_code, said.call.response.response_body) == (418, bytes(5000))
        answered = (await caller).response
        assert (answered.response_code, answered.response_body) == (418, bytes(5000))


async def test_a_response_that_changes_while_a_held_call_is_answered_is_the_one_that_is_sent(store_of):
    async with running_services(store_of()) as services:
        made = await services.generate("form", allow_multiple_calls=True)
        for number in range(10):
            caller = invoke(services, made)
            call = await call_of(services, made, ended=False)
            change = asyncio.ensure_future(set_response(services, made.callback_case_id, response_body=b"%d" % number))
            said = await services.answer(call.call_id)
            await change
            assert said.call.response.response_body in (b"%d" % (number - 1) if number else b"", b"%d" % number)
            assert (await caller).response == said.call.response


async def test_a_delivery_records_its_decision_over_the_response_that_its_handler_got(system):
    decided = []

    async def answer(case_id):
        await set_response(system.services, case_id, response_body=b"for later calls")
        decided.append(case_id)
        return accept(override(response_code=203))

    made = await system.handle(answer, answer_mode=pb.ANSWER_MODE_ACK, allow_multiple_calls=True)
    assert (await invoke(system.services, made)).response.response_body == b"as at the claim"

    async def delivered():
        call = await call_of(system.services, made)
        return call if call.delivery.status == pb.DELIVERY_STATUS_DELIVERED else None

    call = await wait_until(delivered, what="the delivery")
    assert (call.response.response_code, call.response.response_body) == (201, b"as at the claim")
    assert (call.delivery.response.response_code, call.delivery.response.response_body) == (203, b"as at the claim")
    assert (await invoke(system.services, made)).response.response_body == b"for later calls"


async def test_calls_end_while_their_response_is_replaced_without_a_pause(system):
    """The answer is the response at the end of the call: nothing older, and nothing that a later change made."""
    stop = asyncio.Event()
    applied = []

    async def change(case_id, setter):
        number = 0
        while not stop.is_set():
            number += 1
            changed = await set_response(system.services, case_id, response_body=b"%d-%d" % (setter, number))
            applied.append(changed.callback.response.response_body)

    async def answer(_case_id):
        return accept()

    made = await system.handle(answer, allow_multiple_calls=True)
    setters = [asyncio.ensure_future(change(made.callback_case_id, setter)) for setter in range(8)]
    try:
        await wait_until(lambda: len(applied) > 20, what="changes")
        for _ in range(20):
            answered = await invoke(system.services, made)
            recorded = await call_of(system.services, made)
            assert recorded.response == answered.response
            assert answered.response.response_body != b"as at the claim"
    finally:
        stop.set()
        await asyncio.gather(*setters)
    await set_response(system.services, made.callback_case_id, response_body=b"the last")
    assert (await invoke(system.services, made)).response.response_body == b"the last"
