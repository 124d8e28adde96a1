"""The JSON form of messages, by its rules (`callback.json_form`)."""

import base64
import json

import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message_factory import GetMessageClass
from google.rpc.error_details_pb2 import ErrorInfo
from hypothesis import given, settings
from hypothesis import strategies as st
from soak.counts import count
from support.clients import call_message, callback_message

from callback.json_form import from_json, to_json
from callback.v1 import (
    audit_service_pb2,
    callback_pb2,
    callbacks_service_pb2,
    operations_service_pb2,
    profiles_service_pb2,
)

FILES = (callback_pb2, callbacks_service_pb2, operations_service_pb2, audit_service_pb2, profiles_service_pb2)
MESSAGES = [each for file in FILES for each in file.DESCRIPTOR.message_types_by_name.values()]
SCALARS = {
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=8),
    FieldDescriptor.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: st.integers(-(2**53), 2**53),
    FieldDescriptor.TYPE_STRING: st.text(st.characters(codec="utf-8"), max_size=8),
}
SECONDS = st.integers(0, 2**31)


def values(field, depth):
    """Return values of a field, not of a repeated one."""
    if field.enum_type is not None:
        return st.sampled_from([each.number for each in field.enum_type.values])
    if field.message_type is None:
        return SCALARS[field.type]
    if field.message_type.full_name.startswith("google.protobuf."):
        message_class = GetMessageClass(field.message_type)
        if field.message_type.name == "FieldMask":
            return st.builds(message_class, paths=st.just(["response_code", "response_body"]))
        if field.message_type.name == "Any":
            return st.builds(ErrorInfo, reason=SCALARS[field.TYPE_STRING]).map(_packed)
        return st.builds(message_class, seconds=SECONDS, nanos=st.integers(0, 999_999_999))
    return messages(field.message_type, depth - 1)


def _packed(message):
    packed = Any()
    packed.Pack(message)
    return packed


def messages(descriptor, depth=2):
    """Return messages with any fields set."""
    chosen = {}
    for field in descriptor.fields:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            chosen[field.name] = st.dictionaries(SCALARS[field.TYPE_STRING], SCALARS[field.TYPE_STRING], max_size=2)
        elif field.message_type is not None and depth == 0:
            continue
        elif field.is_repeated:
            chosen[field.name] = st.lists(values(field, depth), max_size=2)
        else:
            chosen[field.name] = values(field, depth)
    return st.fixed_dictionaries({}, optional=chosen).map(lambda fields: GetMessageClass(descriptor)(**fields))


@pytest.mark.parametrize("descriptor", MESSAGES, ids=lambda each: each.name)
@settings(max_examples=count(5, 200))
@given(data=st.data())
def test_a_message_comes_back_from_its_json(descriptor, data):
    message = data.draw(messages(descriptor))
    text = json.dumps(to_json(message))
    read = from_json(json.loads(text), GetMessageClass(descriptor)())
    assert json.dumps(to_json(read)) == text


def test_every_field_that_is_not_optional_is_present():
    assert to_json(callback_pb2.Callback()) == {
        "callbackCaseId": "", "owner": "", "callbackActivity": "", "callbackActivityCase": "",
        "stateQueryParameter": "", "retryableAfterError": False, "allowMultipleCalls": False,
        "alternativeDomain": "", "labels": {}, "callCount": 0, "verificationProfile": "", "getGuard": "OFF",
        "answerMode": "HANDLER", "ordered": False, "repeatWindow": "0s", "noRepeat": False, "resolved": False,
        "remindAfter": [], "notify": [], "notifications": [], "allowedOrigins": [],
        "frameOrigins": [], "endpoint": "", "correlationKey": "",
    }  # fmt: skip


def test_the_headers_and_the_query_of_a_call_are_objects():
    view = to_json(call_message())
    assert view["requestHeaders"] == {"content-type": "application/json", "x-trace": ["a", "b"]}
    assert view["requestQuery"] == {"id": "5", "status": "ok"}


@pytest.mark.parametrize(
    ("body", "view"),
    [
        (b"paid", {"responseBody": "paid"}),
        ("betaald \N{EURO SIGN}".encode(), {"responseBody": "betaald \N{EURO SIGN}"}),
        (b"", {"responseBody": ""}),
        (b"\xff\x00", {"responseBodyBase64": "/wA="}),
    ],
)
def test_a_body_is_text_if_it_is_utf_8_and_base64_otherwise(body, view):
    assert to_json(callback_pb2.Response(response_body=body)) == view
    assert from_json(view, callback_pb2.Response()).response_body == body


def test_a_body_of_text_can_be_given_in_base64():
    view = {"responseBodyBase64": base64.b64encode(b"paid").decode()}
    assert from_json(view, callback_pb2.Response()).response_body == b"paid"


def test_the_names_of_protojson_are_read_too():
    given_names = {
        "response_type": "RESPONSE_TYPE_PAGE",
        "responseHeaders": {"headers": [{"name": "x-a", "value": "1"}]},
        "responseCode": "201",
    }
    read = from_json(given_names, callback_pb2.Response())
    assert to_json(read) == {"responseType": "PAGE", "responseCode": 201, "responseHeaders": {"x-a": "1"}}


def test_secrets_are_masked_unless_they_are_asked_for():
    view = to_json(call_message(), reveal_secrets=False)
    assert {name for name, value in view.items() if value == "***"} == {
        "requestHeaders", "requestQuery", "requestQueryString", "requestBody",
    }  # fmt: skip
    assert to_json(callbacks_service_pb2.GenerateCallbackUrlResponse(callback_url="u"), reveal_secrets=False) == {
        "callbackUrl": "***", "callbackState": "", "callbackCaseId": "", "warnings": [],
    }  # fmt: skip


def test_an_empty_list_of_headers_is_not_masked():
    response = callback_pb2.Response(response_headers=callback_pb2.ResponseHeaders())
    assert to_json(response, reveal_secrets=False)["responseHeaders"] == {}
    response.response_headers.headers.add(name="set-cookie", value="a=1")
    assert to_json(response, reveal_secrets=False)["responseHeaders"] == "***"


def test_a_word_of_a_newer_version_is_unknown_and_is_read_where_that_is_allowed():
    callback = callback_message(status=99)
    assert to_json(callback)["status"] == "UNKNOWN"
    read = from_json({"status": "NEW", "newField": 1}, callback_pb2.Callback(), ignore_unknown=True)
    assert to_json(read)["status"] == "UNKNOWN"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ([], "Callback must be an object, not a list"),
        ({"status": "NEW"}, "status: must be one of OPEN, IN_PROGRESS, CLOSED"),
        ({"stat": "OPEN"}, 'Callback has no field "stat"'),
        ({"é\t": "OPEN"}, r'Callback has no field "é\\t"'),
        ({"owner": 3}, "owner"),
        (
            {"response": {"responseBody": 3}},
            "response.responseBody: must be text; give other bytes as responseBodyBase64",
        ),
        ({"response": {"responseBodyBase64": "?"}}, "response.responseBodyBase64: must be base64"),
        ({"response": {"responseBody": "a", "responseBodyBase64": "YQ=="}}, "response.responseBody: is given twice"),
        ({"owner": "\ud800"}, "owner: has a character that is half of a pair"),
        ({"status": True}, "status: must be one of OPEN"),
        ({"callCount": 1.5}, "callCount: must be a whole number"),
        ({"createTime": "yesterday"}, "createTime: must be a time such as 2030-01-01T00:00:00Z"),
        ({"createTime": "2030-02-31T00:00:00Z"}, "createTime: has a value that does not exist"),
        ({"response": {"responseCode": 2**40}}, "response.responseCode: has a value that does not exist"),
        (
            {"response": {"responseHeaders": [{"name": "a", "value": 5}]}},
            "response.responseHeaders: must be text, not a number",
        ),
    ],
)
def test_what_is_not_in_the_form_is_refused_by_name(data, problem):
    with pytest.raises(ValueError, match=problem.replace("(", r"\(").replace("?", r"\?")):
        from_json(data, callback_pb2.Callback())
