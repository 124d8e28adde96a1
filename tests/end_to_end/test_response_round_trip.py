"""Every attribute of `Response` goes through the store, the edge, the client and the command line.

The attributes are the fields of the message in the contract, by reflection. So these tests fail for a new field until
each part carries it. CONTRIBUTING lists the parts.
"""

import functools
import io
import json
import re

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from rich.console import Console
from support.clients import run_callback
from support.handlers import accept, answering

from callback import Response
from callback._converters import callback_from_proto, response_from_proto, response_to_proto
from callback.v1 import callback_pb2 as resources
from callback.v1 import callbacks_service_pb2 as messages
from callback.v1.callbacks_service_pb2_grpc import CallbacksServiceStub
from callback_cli.request_options import option_of, resets
from callback_cli.text_view import TextView

FIELDS = {field.name: field for field in resources.Response.DESCRIPTOR.fields}
TYPES = [resources.RESPONSE_TYPE_RESPONSE, resources.RESPONSE_TYPE_REDIRECT, resources.RESPONSE_TYPE_PAGE]
VALUES = {
    "response_redirect_url": "https://shop.example/thankyou",
    "response_link_url": "https://shop.example/orders",
    "response_language": "pt-BR",
    "response_code": 201,
    "response_headers": resources.ResponseHeaders(headers=[resources.ResponseHeader(name="x-a", value="1")]),
}
"""Values of fields whose rules do not accept the value of `SAMPLES`."""
PAGE_FIELDS = {
    "response_heading", "response_text", "response_link_label", "response_link_url", "response_language",
}  # fmt: skip
FALLBACK_FIELDS = {
    resources.RESPONSE_TYPE_REDIRECT: {"response_redirect_url"},
    resources.RESPONSE_TYPE_PAGE: {"response_code", *PAGE_FIELDS},
    resources.RESPONSE_TYPE_RESPONSE: set(FIELDS) - {"response_type", "response_redirect_url", *PAGE_FIELDS},
}
"""Fields that an option of the command line sets in a fallback of each type."""
SAMPLES = {
    FieldDescriptor.CPPTYPE_STRING: lambda kind: b"text" if kind == FieldDescriptor.TYPE_BYTES else "text",
    FieldDescriptor.CPPTYPE_BOOL: lambda _kind: True,
    FieldDescriptor.CPPTYPE_DOUBLE: lambda _kind: 2.5,
    FieldDescriptor.CPPTYPE_FLOAT: lambda _kind: 2.5,
}
"""A value of a kind of field that is not its default. Other kinds are whole numbers."""


def value_of(field):
    if field.name in VALUES:
        return VALUES[field.name]
    assert field.message_type is None, f"VALUES needs a value of {field.name}"
    return SAMPLES.get(field.cpp_type, lambda _kind: 2)(field.type)


def whole(kind):
    """Return a response of a type in which every field is set."""
    values = {name: value_of(field) for name, field in FIELDS.items()}
    return resources.Response(**values | {"response_type": kind})


def without(message, name):
    fewer = type(message)()
    fewer.CopyFrom(message)
    fewer.ClearField(name)
    return fewer


def only(message, names):
    fewer = type(message)()
    fewer.CopyFrom(message)
    for name in set_in(message) - names:
        fewer.ClearField(name)
    return fewer


def set_in(message):
    return {field.name for field, _ in message.ListFields()}


@pytest.fixture
async def stub(world):
    """Return the generated stub, which has every field of the contract."""
    async with grpc.aio.insecure_channel(world.system.grpc) as channel:
        yield CallbacksServiceStub(channel)


@pytest.fixture
def stored(stub):
    """Return a function that reads a case from the store, as the contract has it."""

    async def read(case_id):
        return (await stub.GetCallback(messages.GetCallbackRequest(callback_case_id=case_id))).callback

    return read


@pytest.fixture
def command_line(world):
    return functools.partial(run_callback, CALLBACK_TARGET=world.system.grpc)


def options_of(path, message):
    """Return the options of the command line that set the fields of a response."""
    given = []
    for field, value in message.ListFields():
        option = option_of(f"{path}.{field.name}").split()[0]
        if field.enum_type is not None:
            value = field.enum_type.values_by_number[value].name.rpartition("_")[2].lower()
        elif isinstance(value, resources.ResponseHeaders):
            (header,) = value.headers
            value = f"{header.name}={header.value}"
        given.append(f"{option}={value.decode() if isinstance(value, bytes) else value}")
    return given


def test_every_field_has_a_value_in_these_tests():
    for kind in TYPES:
        assert set_in(whole(kind)) == set(FIELDS)


@pytest.mark.parametrize("name", FIELDS)
def test_responses_of_the_client_that_differ_in_one_field_are_not_equal(name):
    for kind in TYPES:
        assert response_from_proto(whole(kind)) != response_from_proto(without(whole(kind), name))


@pytest.mark.parametrize("kind", TYPES)
async def test_the_store_keeps_every_field_of_a_case(stub, stored, kind):
    made = await stub.GenerateCallbackUrl(
        messages.GenerateCallbackUrlRequest(callback_activity="push", response=whole(kind))
    )
    assert (await stored(made.callback_case_id)).response == whole(kind)


@pytest.mark.parametrize("kind", TYPES)
async def test_the_client_sends_receives_and_replaces_every_field(world, stored, kind):
    response = response_from_proto(whole(kind))
    assert response_to_proto(response) == whole(kind)
    made = await world.client.generate_callback_url("push", response)
    assert (await stored(made.case_id)).response == whole(kind)
    assert (await world.client.get_callback(made.case_id)).response == response
    other = await world.client.generate_callback_url("push", Response())
    await world.client.set_response(other.case_id, response)
    assert (await stored(other.case_id)).response == whole(kind)


async def test_a_handler_overrides_every_field_and_the_record_keeps_what_was_sent(world, stub):
    kept = set()
    for kind in TYPES:
        made = await world.client.generate_callback_url(
            "push", Response(), activity_case=world.handler.play(answering(accept(whole(kind))))
        )
        await world.ask(made.url)
        call_id = (await world.last_call(made)).call_id
        call = (await stub.GetCall(messages.GetCallRequest(call_id=call_id))).call
        kept |= set_in(call.response)
    assert kept == set(FIELDS)


@pytest.mark.parametrize("name", FIELDS)
async def test_the_edge_sends_every_field(world, name):
    async def answer(response):
        made = await world.client.generate_callback_url(
            "push", Response(), activity_case=world.handler.play(answering(accept(response)))
        )
        answer = await world.ask(made.url)
        headers = [(each, value) for each, value in answer.headers if each != "date"]
        return answer.status, headers, answer.body

    assert any([await answer(whole(kind)) != await answer(without(whole(kind), name)) for kind in TYPES])


@pytest.mark.parametrize("kind", TYPES)
async def test_the_command_line_sets_shows_and_resets_every_field(command_line, stored, kind):
    ran = await command_line("generate", "--activity=form", "--json", *options_of("response", whole(kind)))
    case_id = json.loads(ran.output)["callbackCaseId"]
    assert (await stored(case_id)).response == whole(kind)
    shown = json.loads((await command_line("get", case_id, "--json")).output)["response"]
    assert shown == response_from_proto(whole(kind)).to_dict(reveal_secrets=True)
    assert len(resets()) == len(FIELDS) - 1
    await command_line("set-response", case_id, *(f"--reset={option}" for option in resets()))
    assert (await stored(case_id)).response == resources.Response(response_type=kind)


@pytest.mark.parametrize(("field", "needs"), [("fallback", ["--answer-deadline=5s"]), ("closed_response", [])])
async def test_the_command_line_sets_every_field_of_another_response(command_line, stored, field, needs):
    fallbacks = {kind: only(whole(kind), names) for kind, names in FALLBACK_FIELDS.items()}
    assert set().union(*map(set_in, fallbacks.values())) == set(FIELDS) - {"response_type"}
    for kind, fallback in fallbacks.items():
        ran = await command_line(
            "generate", "--activity=form", "--json", "--type=response", *needs, *options_of(field, fallback)
        )  # fmt: skip
        fallback.response_type = kind
        assert getattr(await stored(json.loads(ran.output)["callbackCaseId"]), field) == fallback


@pytest.mark.parametrize("field", ["fallback", "closed_response"])
def test_the_error_about_another_response_names_the_option_of_every_field(field):
    options = [option_of(f"{field}.{name}") for name in FIELDS if name != "response_type"]
    assert re.findall("--[a-z-]+", option_of(field)) == re.findall("--[a-z-]+", " ".join(options))


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_is_in_the_json_and_in_the_text_of_the_command_line(name):
    def views(response):
        value = callback_from_proto(resources.Callback(response=response))
        text = io.StringIO()
        TextView(Console(file=text)).callback(value)
        return value.response.to_dict(reveal_secrets=True), text.getvalue()

    assert FIELDS[name].json_name in views(whole(TYPES[0]))[0]
    assert any(views(whole(kind))[1] != views(without(whole(kind), name))[1] for kind in TYPES)
