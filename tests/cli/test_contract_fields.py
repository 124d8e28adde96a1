"""Each field of the contract has its place in the command line, without an edit in clients/cli.

The fields are those of the descriptors, by reflection: a field that has no place fails here.
"""

import io
import re
from dataclasses import replace
from datetime import timedelta

import pytest
from google.protobuf.descriptor import FieldDescriptor as Kind
from rich.console import Console
from support.clients import CASE, CREATED, call_message, callback_message

import callback as client
from callback import CallReason, Delivery, DeliveryStatus, PageResponse, Prompt, PromptField, Redirect, Response
from callback._converters import call_from_proto, callback_from_proto
from callback.v1 import callback_pb2 as resources
from callback.v1 import callbacks_service_pb2 as messages
from callback_cli.request_options import option_of
from callback_cli.text_view import TextView
from callback_shared.fields import short_name

CALLBACK = callback_from_proto(callback_message())
CALL = call_from_proto(call_message())
VALUES = {
    "Response": PageResponse("sample"),
    "Delivery": Delivery(status=DeliveryStatus.DEAD, attempts=7),
    "Call": (replace(CALL, call_id="sample", reason=CallReason.EXPIRY),),
    "Prompt": Prompt("sample"),
    "Timestamp": CREATED + timedelta(hours=5),
    "Duration": timedelta(hours=5),
    "LabelsEntry": {"sample": "5"},
    "Header": client.Headers({"sample": "5"}),
    "ResponseHeaders": client.Headers({"sample": "5"}),
    "QueryParameter": client.Query({"sample": "5"}),
    "PromptChoice": {"sample": "5"},
    "PromptField": PromptField("sample", "Sample"),
}
"""A value of a field of each message."""
OPTION_VALUES = {
    "recorded_after": "1h",
    "created_after": "1h",
    "callback_case_id": CASE,
    "Timestamp": "2026-01-31T23:59:59Z",
    "Duration": "5h",
    "response_code": "201",
    "notify": "expiry",
}
NEEDED = {"prompt.text": ["--prompt-title=x"], "prompt.choices": ["--prompt-title=x"],
          "prompt.language": ["--prompt-title=x"]}  # fmt: skip
"""Options that another one needs."""
SHOWN_WITH = {
    "Call.failure_detail": {"failure": client.CallFailure.HANDLER_ERROR},
    "Call.body_size": {"body": b""},
    "Delivery.failure_detail": {"failure": client.CallFailure.HANDLER_ERROR},
}
"""Fields that are shown together with another one, and that one."""


def value_of(field):
    """Return a value of a field that no other field of the tests has."""
    if field.message_type is not None:
        value = VALUES[field.message_type.name]
        return (
            (value,)
            if field.is_repeated and not isinstance(value, tuple | dict | client.Headers | client.Query)
            else value
        )
    if field.enum_type is not None:
        word = field.enum_type.values[-1].name.removeprefix(field.enum_type.values[0].name.removesuffix("UNSPECIFIED"))
        value = getattr(client, field.enum_type.name)(word)
        return (value,) if field.is_repeated else value
    return {Kind.TYPE_BOOL: True, Kind.TYPE_STRING: "sample", Kind.TYPE_BYTES: b"sample"}.get(field.type, 555)


def text_of(value):
    """Return the text of a callback that has the value, or of a call."""
    file = io.StringIO()
    view = TextView(Console(file=file, width=200))
    match value:
        case client.Callback():
            view.callback(value)
        case client.Call():
            view.call(value, "order-paid")
        case Delivery():
            view.call(replace(CALL, delivery=value), "order-paid")
        case Response():
            view.callback(replace(CALLBACK, response=value))
        case Prompt():
            view.callback(replace(CALLBACK, prompt=value))
    return file.getvalue()


SHOWN = {
    "Callback": [CALLBACK, replace(CALLBACK, status=client.CallbackStatus.CLOSED)],
    "Call": [CALL],
    "Delivery": [Delivery(status=DeliveryStatus.PENDING, attempts=1)],
    "Response": [Response(), Redirect(), PageResponse()],
    "Prompt": [Prompt("title")],
}
"""Values of the messages that text shows completely."""
FIELDS = [(name, field.name) for name in SHOWN for field in getattr(resources, name).DESCRIPTOR.fields]
SAME_AS_ANOTHER = {("Call", "request_query")}
"""Fields without a text of their own: the query string has the query."""


@pytest.mark.parametrize(("message", "name"), sorted({*FIELDS} - SAME_AS_ANOTHER), ids=str)
def test_each_field_is_in_the_text(message, name):
    field = getattr(resources, message).DESCRIPTOR.fields_by_name[name]
    attribute = short_name(field)
    together = SHOWN_WITH.get(f"{message}.{attribute}", {})
    for value in SHOWN[message]:
        base = replace(value, **together)
        if text_of(replace(base, **{attribute: value_of(field)})) != text_of(base):
            return
    pytest.fail(f"no text shows {message}.{name}")


@pytest.mark.parametrize(("message", "name"), FIELDS, ids=str)
def test_each_field_is_in_the_json(message, name):
    field = getattr(resources, message).DESCRIPTOR.fields_by_name[name]
    value = replace(SHOWN[message][0], **{short_name(field): value_of(field)})
    assert field.json_name in value.to_dict(reveal_secrets=True)


def paths(descriptor, before=""):
    """Yield the path of each field of a request, and of the fields of its messages, with its descriptor."""
    for field in descriptor.fields:
        if field.message_type is not None and field.message_type.name in ("Response", "Prompt"):
            yield from paths(field.message_type, f"{before}{field.name}.")
        else:
            yield f"{before}{field.name}", field


def given(path, field):
    """Return the options that set a field."""
    option = "--callback" if path == "callback_case_id" else re.findall("--[a-z-]+", option_of(path))[0]
    if field.type == Kind.TYPE_BOOL:
        return [option]
    kind = field.message_type.name if field.message_type else ""
    if field.enum_type is not None:
        default = value_of(field)
        default = (default[0] if field.is_repeated else default).value.lower()
    elif kind in ("LabelsEntry", "ResponseHeaders", "PromptChoice"):
        default = "sample=5"
    else:
        default = "555" if field.type in (Kind.TYPE_INT32, Kind.TYPE_INT64) else "sample"
    return [f"{option}={OPTION_VALUES.get(field.name) or OPTION_VALUES.get(kind) or default}"]


GENERATE = dict(paths(messages.GenerateCallbackUrlRequest.DESCRIPTOR))
IMPLIED = {"fallback.response_type", "closed_response.response_type"}
"""Fields without an option, because others decide on them."""
FROM_A_FILE = {"prompt.fields"}
"""Fields whose option names a file (test_commands.py)."""


@pytest.mark.parametrize("path", sorted(GENERATE.keys() - IMPLIED - FROM_A_FILE))
async def test_each_field_of_a_new_callback_has_an_option(server, callback, path):
    server.answers["GenerateCallbackUrl"] = messages.GenerateCallbackUrlResponse(callback_case_id=CASE)
    required = {"callback_activity": "--activity=x", "response.response_type": "--type=response"}
    others = [option for name, option in required.items() if name != path]
    ran = await callback("generate", *others, *NEEDED.get(path, []), *given(path, GENERATE[path]))
    assert ran.code == 0, ran.errors
    message = server.requests[-1]
    *outer, name = path.split(".")
    for each in outer:
        message = getattr(message, each)
    assert name in {field.name for field, _ in message.ListFields()}


FILTERS = {
    "list": (messages.ListCallbacksRequest, "ListCallbacks", messages.ListCallbacksResponse()),
    "calls --dead": (messages.ListOwnerCallsRequest, "ListOwnerCalls", messages.ListOwnerCallsResponse()),
    "audit": (client.v1.audit_service_pb2.ListAuditEntriesRequest, "ListAuditEntries",
              client.v1.audit_service_pb2.ListAuditEntriesResponse()),
}  # fmt: skip
PAGING = {"page_size", "page_token", "filter", "ended_after"}


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (command, field.name)
        for command, (request, _, _) in FILTERS.items()
        for field in request.DESCRIPTOR.fields
        if field.name not in PAGING
    ],
    ids=str,
)
async def test_each_filter_of_a_list_has_an_option(server, callback, command, name):
    request, rpc, answer = FILTERS[command]
    server.answers[rpc] = answer
    ran = await callback(*command.split(), *given(name, request.DESCRIPTOR.fields_by_name[name]))
    assert ran.code == 0, ran.errors
    sent = server.requests[-1]
    assert name in {field.name for field, _ in sent.ListFields()}
