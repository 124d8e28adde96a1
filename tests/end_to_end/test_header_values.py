"""Header values of responses, from each place that gives one to the bytes on the socket."""

import re
from datetime import timedelta

import pytest
from support.handlers import accept, answering, override

from callback import CallStatus, InvalidRequestError, Redirect, Response

ALLOWED = [0x09, *range(0x20, 0x7F), *range(0x80, 0x100)]
"""The bytes of a field value (RFC 9110, section 5.5)."""
REFUSED = [*range(0x20), 0x7F]
REFUSED.remove(0x09)
EVERY_BYTE = [(f"x-{byte:02x}", f"{chr(byte)}a{chr(byte)}b{chr(byte)}") for byte in ALLOWED]
FIELDS_OF_A_RESPONSE = 60
BATCHES = [EVERY_BYTE[at : at + FIELDS_OF_A_RESPONSE] for at in range(0, len(EVERY_BYTE), FIELDS_OF_A_RESPONSE)]


def trimmed(pairs):
    return [(name, value.strip(" \t")) for name, value in pairs]


def own(pairs):
    """Return the fields of these tests among the fields of a message."""
    return [(name, value) for name, value in pairs if re.fullmatch("x-[0-9a-f]{2}", name)]


def test_the_bytes_of_a_field_value_are_all_bytes_but_control_characters():
    assert sorted(ALLOWED + REFUSED) == list(range(256))


@pytest.mark.parametrize("batch", BATCHES, ids=lambda batch: batch[0][0])
@pytest.mark.parametrize("by_handler", [False, True])
async def test_each_byte_in_a_header_of_a_response_reaches_the_caller(world, batch, by_handler):
    name = world.handler.play(answering(accept(override(batch))))
    activity, response = ("push", Response()) if by_handler else ("record", Response(headers=batch))
    made = await world.client.generate_callback_url(activity, response, activity_case=name)
    answer = await world.ask(made.url)
    assert own(answer.headers) == trimmed(batch)
    assert own((await world.last_call(made)).response.headers.pairs) == trimmed(batch)


async def test_the_example_of_the_documentation_is_taken_from_an_owner_a_handler_and_as_a_fallback(world):
    example = {"content-type": "application/json", "x-custom-field": " custom-value"}
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


async def test_a_control_character_and_what_is_no_byte_is_refused_in_a_header(world):
    for character in (*map(chr, REFUSED), "€"):
        with pytest.raises(InvalidRequestError) as caught:
            await world.client.generate_callback_url("record", Response(headers={"x": f"a{character}b"}))
        assert [each.field for each in caught.value.violations] == ["response.response_headers.headers[0].value"]


async def test_each_byte_in_a_header_of_a_request_reaches_the_handler(world):
    name = world.handler.play(answering(accept()))
    made = await world.client.generate_callback_url("push", Response(), activity_case=name, allow_multiple_calls=True)
    for batch in BATCHES:
        assert (await world.ask(made.url, headers=batch)).status == 200
        request = world.handler.requests(name).pop()
        assert own((field.name, field.value) for field in request.request_headers) == trimmed(batch)
