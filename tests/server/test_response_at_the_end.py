"""A call is answered with the response of its case as it is at the end of the call, overlaid by the decision."""

import asyncio
from types import SimpleNamespace

import pytest
from support.handlers import accept, override, reject, stub_handler
from support.services import redirect, refusal, response, running_services
from support.wait import wait_until

from callback.v1 import callback_pb2 as pb
from callback_server.settings import ActivitySettings

FALLBACK = {"answer_deadline": {"nanos": 100_000_000}, "fallback": response(response_code=202)}
OWN = response(response_code=201, response_body=b"as at the claim")


@pytest.fixture
async def system(store_of):
    """Run services with the activity `act`; `handle` makes a case whose handler runs a function of the case."""
    async with (
        stub_handler() as stub,
        running_services(store_of(), activities={"act": ActivitySettings(target=stub.target)}) as services,
    ):

        async def handle(answer, **fields):
            async def script(request, _context):
                return await answer(SimpleNamespace(callback_case_id=request.callback_system_case))

            return await services.generate(
                "act", callback_activity_case=stub.play(script), **{"response": OWN} | fields
            )

        yield SimpleNamespace(services=services, handle=handle)


SET = {"response_code": 418, "response_body": b"set by the handler"}
LARGE = {"response_body": bytes(500_000)}
SHOP = "https://shop.example/paid"


@pytest.mark.parametrize(
    ("own", "given", "decided", "expected"),
    [
        (OWN, SET, accept(), SET),
        (OWN, SET, accept(override(response_code=203)), SET | {"response_code": 203}),
        (OWN, SET, reject(override(response_body=b"wrong")), {"response_code": 422, "response_body": b"wrong"}),
        (redirect(), {"response_redirect_url": SHOP}, accept(), {"response_redirect_url": SHOP}),
        (response(response_body=b"small"), LARGE, accept(), LARGE),
        (response(**LARGE), {"response_body": b"small"}, accept(), {"response_body": b"small"}),
    ],
    ids=["set", "decided over set", "rejected", "redirect", "larger", "smaller"],
)
async def test_a_call_is_answered_with_the_response_that_its_handler_sets_under_what_it_decides(
    system, own, given, decided, expected
):
    async def answer(case):
        await system.services.set_response(case, **given)
        return decided

    made = await system.handle(answer, response=own)
    answered = (await system.services.call(made)).response
    assert {name: getattr(answered, name) for name in expected} == expected
    assert (await system.services.ended(made)).response == answered


async def test_a_response_that_is_not_valid_at_the_end_fails_the_call_as_the_answer_of_a_handler_does(system):
    async def answer(case):
        await system.services.set_response(case, response_type=pb.RESPONSE_TYPE_REDIRECT)
        return accept()

    made = await system.handle(answer)
    assert (await refusal(system.services.call(made))).reason == "RESPONSE_INVALID"
    failed = await system.services.ended(made)
    assert (failed.status, failed.failure) == (pb.CALL_STATUS_FAILED, pb.CALL_FAILURE_INVALID_RESPONSE)
    assert "a redirect needs a URL" in failed.failure_detail


async def test_each_of_several_running_calls_is_answered_with_the_response_at_its_own_end(system):
    gates = [asyncio.Event() for _ in range(3)]
    waiting = iter(gates)
    started = []

    async def answer(_case):
        gate = next(waiting)
        started.append(gate)
        await gate.wait()
        return accept()

    made = await system.handle(answer, allow_multiple_calls=True)
    calls = []
    for number in range(3):
        calls.append(system.services.call(made))
        await wait_until(lambda number=number: len(started) == number + 1, what="the handler")
    for number, (gate, call) in enumerate(zip(gates, calls, strict=True)):
        await system.services.set_response(made, response_body=b"%d" % number)
        gate.set()
        assert (await call).response.response_body == b"%d" % number


async def test_a_call_that_goes_on_behind_its_fallback_records_the_response_at_its_end(system):
    gate = asyncio.Event()

    async def answer(case):
        await gate.wait()
        await system.services.set_response(case, response_body=b"set late")
        return accept()

    made = await system.handle(answer, **FALLBACK)
    assert (await system.services.call(made)).response.response_code == 202
    gate.set()
    assert (await system.services.ended(made)).response.response_body == b"set late"


async def test_the_answer_to_a_held_call_is_merged_with_the_response_of_its_case_as_it_is_then(services):
    made = await services.generate("form", response=response(response_body=b"before"))
    caller = services.call(made)
    (call,) = await services.running(made)
    await services.set_response(made, response_type=pb.RESPONSE_TYPE_REDIRECT)
    said = await refusal(services.answer(call.call_id))
    assert (said.reason, said.fields) == ("INVALID_REQUEST", ["response.response_redirect_url"])
    own = {"response_type": pb.RESPONSE_TYPE_RESPONSE, "response_code": 203, "response_body": bytes(5000)}
    await services.set_response(made, **own)
    answer = pb.Response(response_code=418)
    said = await services.answer(call.call_id, response=answer)
    assert (said.call.response.response_code, said.call.response.response_body) == (418, bytes(5000))
    answered = (await caller).response
    assert (answered.response_code, answered.response_body) == (418, bytes(5000))


async def test_a_response_that_changes_while_a_held_call_is_answered_is_the_one_that_is_sent(services):
    made = await services.generate("form", allow_multiple_calls=True)
    for number in range(10):
        caller = services.call(made)
        (call,) = await services.running(made)
        change = asyncio.ensure_future(services.set_response(made, response_body=b"%d" % number))
        said = await services.answer(call.call_id)
        await change
        assert said.call.response.response_body in (b"%d" % (number - 1) if number else b"", b"%d" % number)
        assert (await caller).response == said.call.response


async def test_a_delivery_records_its_decision_over_the_response_that_its_handler_got(system):
    decided = []

    async def answer(case):
        await system.services.set_response(case, response_body=b"for later calls")
        decided.append(case)
        return accept(override(response_code=203))

    made = await system.handle(answer, answer_mode=pb.ANSWER_MODE_ACK, allow_multiple_calls=True)
    assert (await system.services.call(made)).response.response_body == b"as at the claim"
    call_id = (await system.services.ended(made)).call_id
    call = await system.services.delivery(call_id, pb.DELIVERY_STATUS_DELIVERED)
    assert (call.response.response_code, call.response.response_body) == (201, b"as at the claim")
    assert (call.delivery.response.response_code, call.delivery.response.response_body) == (203, b"as at the claim")
    assert (await system.services.call(made)).response.response_body == b"for later calls"


async def test_calls_end_while_their_response_is_replaced_without_a_pause(system):
    """The answer is the response at the end of the call: nothing older, and nothing that a later change made."""
    stop = asyncio.Event()
    applied = []

    async def change(case, setter):
        number = 0
        while not stop.is_set():
            number += 1
            changed = await system.services.set_response(case, response_body=b"%d-%d" % (setter, number))
            applied.append(changed.callback.response.response_body)

    async def answer(_case):
        return accept()

    made = await system.handle(answer, allow_multiple_calls=True)
    setters = [asyncio.ensure_future(change(made, setter)) for setter in range(8)]
    try:
        await wait_until(lambda: len(applied) > 20, what="changes")
        for _ in range(20):
            answered = await system.services.call(made)
            recorded = await system.services.ended(made)
            assert recorded.response == answered.response
            assert answered.response.response_body != b"as at the claim"
    finally:
        stop.set()
        await asyncio.gather(*setters)
    await system.services.set_response(made, response_body=b"the last")
    assert (await system.services.call(made)).response.response_body == b"the last"
