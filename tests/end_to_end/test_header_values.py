"""Header values of responses, from each place that gives one to the bytes on the socket."""

import json
from datetime import timedelta

import pytest
from support.handlers import accept, answering, override

from callback import CallStatus, InvalidRequestError, Redirect, Response

ALLOWED = [0x09, *range(0x20, 0x7F), *range(0x80, 0x100)]
"""The bytes of a field value (RFC 9110, section 5.5)."""
REFUSED = [*range(0x20), 0x7F]
REFUSED.remove(0x09)
EVERY_BYTE = [(f"x-{byte:02x}", f"{chr(byte)}a{chr(byte)}b{chr(byte)}") for byte in ALLOWED]
TRIMMED = [(name, value.strip(" \t")) for name, value in EVERY_BYTE]
FIELDS_OF_A_RESPONSE = 60
BATCHES = range(0, len(EVERY_BYTE), FIELDS_OF_A_RESPONSE)


def test_the_bytes_of_a_field_value_are_all_bytes_but_control_characters():
    assert sorted(ALLOWED + REFUSED) == list(range(256))


@pytest.mark.parametrize("batch", BATCHES)
async def test_each_byte_in_a_header_of_a_case_reaches_the_caller(world, batch):
    given = EVERY_BYTE[batch : batch + FIELDS_OF_A_RESPONSE]
    made = await world.client.generate_callback_url("record", Response(headers=given))
    answer = await world.ask(made.url)
    assert [(name, value) for name, value in answer.headers if name.startswith("x-") and len(name) == 4] == (
        TRIMMED[batch : batch + FIELDS_OF_A_RESPONSE]
    )
    recorded = await world.last_call(made)
    assert list(recorded.response.headers.pairs) == TRIMMED[batch : batch + FIELDS_OF_A_RESPONSE]


@pytest.mark.parametrize("batch", BATCHES)
async def test_each_byte_in_a_header_of_a_handler_reaches_the_caller(world, batch):
    given = EVERY_BYTE[batch : batch + FIELDS_OF_A_RESPONSE]
    name = world.handler.play(answering(accept(override(given))))
    made = await world.client.generate_callback_url("push", Response(), activity_case=name)
    answer = await world.ask(made.url)
    assert answer.status == 200
    assert [(name, value) for name, value in answer.headers if name.startswith("x-") and len(name) == 4] == (
        TRIMMED[batch : batch + FIELDS_OF_A_RESPONSE]
    )
    assert (await world.last_call(made)).status is CallStatus.SUCCEEDED


async def test_the_example_of_the_documentation_is_taken_from_an_owner_a_handler_and_as_a_fallback(world):
    example = json.loads('{ "content-type": "application/json", "x-custom-field":" custom-value"}')
    trimmed = {"content-type": "application/json", "x-custom-field": "custom-value"}
    made = await world.client.generate_callback_url("record", Response(b"{}", headers=example), request_id="spaced")
    assert (await world.client.get_callback(made.case_id)).response.headers.as_json() == trimmed
    changed = await world.client.set_response(made.case_id, Response(headers=example))
    assert changed.response.headers.as_json() == trimmed
    assert (await world.ask(made.url))["x-custom-field"] == "custom-value"

    name = world.handler.play(answering(accept(override([*example.items()]))))
    made = await world.client.generate_callback_url("push", Redirect("/page"), activity_case=name)
    answer = await world.ask(made.url)
    assert answer.status == 302
    assert (await world.last_call(made)).status is CallStatus.SUCCEEDED

    made = await world.client.generate_callback_url(
        "form", Response(), answer_deadline=timedelta(seconds=0.1), fallback=Response(b"{}", headers=example)
    )
    assert (await world.ask(made.url))["x-custom-field"] == "custom-value"
    call = await world.last_call(made)
    answered = await world.client.answer_call(call.call_id, Response(headers=example))
    assert answered.response.headers.as_json() == trimmed


@pytest.mark.parametrize("byte", REFUSED, ids=hex)
async def test_a_control_character_in_a_header_is_refused(world, byte):
    with pytest.raises(InvalidRequestError) as caught:
        await world.client.generate_callback_url("record", Response(headers={"x": f"a{chr(byte)}b"}))
    assert [each.field for each in caught.value.violations] == ["response.response_headers.headers[0].value"]


async def test_a_character_that_is_no_byte_is_refused(world):
    with pytest.raises(InvalidRequestError) as caught:
        await world.client.generate_callback_url("record", Response(headers={"x": "€"}))
    assert [each.field for each in caught.value.violations] == ["response.response_headers.headers[0].value"]


async def test_each_byte_in_a_header_of_a_request_reaches_the_handler(world):
    name = world.handler.play(answering(accept()))
    made = await world.client.generate_callback_url("push", Response(), activity_case=name, allow_multiple_calls=True)
    for batch in BATCHES:
        assert (await world.ask(made.url, headers=EVERY_BYTE[batch : batch + FIELDS_OF_A_RESPONSE])).status == 200
        (request,) = world.handler.requests(name)
        got = [(field.name, field.value) for field in request.request_headers if field.name.startswith("x-")]
        assert got == TRIMMED[batch : batch + FIELDS_OF_A_RESPONSE]
        world.handler.requests(name).clear()
