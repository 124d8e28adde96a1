"""Values of the client as dictionaries for JSON, and as fields of pydantic models."""

import dataclasses
import enum
import json
import types
import typing
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pydantic
import pytest

import callback
from callback import (
    Accept,
    Call,
    Callback,
    CallStatus,
    GeneratedCallback,
    Headers,
    IncomingCall,
    PageResponse,
    Redirect,
    Request,
    Response,
)
from callback._multi_mapping import Pairs
from callback._value import Value
from callback.masking import MASK, masked

EXPORTED = [each for name in callback.__all__ if isinstance(each := getattr(callback, name), type)]
VALUES = [each for each in EXPORTED if issubclass(each, Value)]
TIME = datetime(2026, 11, 27, 9, 30, 15, 250001, tzinfo=UTC)
SAMPLES = {str: "täxt", int: 7, bytes: b"\x00\xff***", datetime: TIME, timedelta: timedelta(days=400, microseconds=1)}


def sample(hint, *, flag=True):
    """Return a value of a type in which nothing is empty or None."""
    inner = typing.get_args(hint)
    origin = typing.get_origin(hint) or hint
    if origin is types.UnionType:
        return sample(inner[0])
    if origin is tuple:
        return (sample(inner[0]), sample(inner[0]))
    if origin is Mapping:
        return {"one": sample(inner[1])}
    if hint is bool:
        return flag
    if issubclass(hint, Pairs):
        return hint([("A", "1"), ("A", "3"), ("b", "2")])
    if issubclass(hint, enum.Enum):
        return [*hint][1]
    return value_of(hint) if issubclass(hint, Value) else SAMPLES[hint]


def value_of(kind):
    hints = typing.get_type_hints(kind)
    # Not both can be true of an answer.
    return kind(**{each.name: sample(hints[each.name], flag=each.name != "close") for each in dataclasses.fields(kind)})


def model_of(kind):
    return pydantic.create_model("Model", value=(kind, ...), more=(list[kind] | None, None))


def test_each_public_dataclass_is_a_value_unless_it_holds_values_settings_or_a_file():
    others = {each.__name__ for each in EXPORTED if dataclasses.is_dataclass(each)} - {each.__name__ for each in VALUES}
    assert others == {"FormFile", "Listening", "Page", "ServerTls", "Tls"}


@pytest.mark.parametrize("kind", VALUES)
def test_a_value_is_the_same_after_json(kind):
    value = value_of(kind)
    text = json.dumps(value.to_dict(reveal_secrets=True))
    assert kind.from_dict(json.loads(text)) == value
    assert kind.from_dict(json.loads(text) | {"of_tomorrow": 1}) == value


@pytest.mark.parametrize("kind", VALUES)
def test_a_value_is_the_same_after_a_pydantic_model(kind):
    model, value = model_of(kind), value_of(kind)
    made = model(value=value, more=[value])
    assert made.value is value
    text = made.model_dump_json(context={"reveal_secrets": True})
    assert model.model_validate_json(text) == made
    assert json.loads(text) == made.model_dump(context={"reveal_secrets": True})
    assert json.loads(text)["value"] == value.to_dict(reveal_secrets=True)


@pytest.mark.parametrize("kind", VALUES)
def test_the_json_schema_of_a_value_has_each_name_of_its_dictionary(kind):
    schema = model_of(kind).model_json_schema()["properties"]["value"]
    assert value_of(kind).to_dict().keys() <= schema["properties"].keys()
    assert set(schema["required"]) <= value_of(kind).to_dict().keys()
    assert schema["title"] == kind.__name__


def test_the_json_schema_says_how_each_type_is_written():
    schema = Call.__get_pydantic_json_schema__(None, None)
    assert schema["required"] == []
    properties = schema["properties"]
    assert properties["requestBody"] == {"type": "string"}
    assert properties["requestBodyBase64"] == {"type": "string", "contentEncoding": "base64"}
    assert properties["requestHeaders"]["type"] == "object"
    assert properties["status"]["enum"] == [*CallStatus]
    assert properties["endTime"] == {"type": "string", "format": "date-time"}
    assert properties["attempt"] == {"type": "integer"}
    assert properties["keepOpen"] == {"type": "boolean"}
    assert properties["delivery"]["title"] == "Delivery"
    callback = Callback.__get_pydantic_json_schema__(None, None)["properties"]
    assert callback["labels"] == {"type": "object", "additionalProperties": {"type": "string"}}
    assert callback["remindAfter"]["items"]["type"] == "string"


def test_each_type_has_the_form_of_the_contract():
    headers = Headers([("A", "1"), ("b", "2"), ("A", "3")])
    call = Call(status=CallStatus.SUCCEEDED, headers=headers, body=b"\xff", start_time=TIME)
    found = call.to_dict(reveal_secrets=True)
    assert (found["status"], found["requestBodyBase64"], found["startTime"]) == (
        "SUCCEEDED", "/w==", "2026-11-27T09:30:15.250001Z",
    )  # fmt: skip
    assert found["requestHeaders"] == {"A": ["1", "3"], "b": "2"}
    assert (found["requestQuery"], found["requestBodySize"]) == ({}, 0)
    assert "delivery" not in found
    assert type(found["status"]) is str


def secrets_in(found):
    return [name for name, value in found.items() if value == MASK]


def test_secrets_are_masked_unless_they_are_asked_for_and_a_masked_dictionary_is_refused():
    made = value_of(GeneratedCallback)
    assert secrets_in(made.to_dict()) == ["callbackUrl", "callbackState"]
    with pytest.raises(ValueError, match=r"^callbackUrl is masked: .*reveal_secrets=True"):
        GeneratedCallback.from_dict(made.to_dict())
    found = value_of(Call).to_dict()
    assert secrets_in(found) == ["requestHeaders", "requestQuery", "requestQueryString", "requestBody"]
    assert secrets_in(found["response"]) == secrets_in(found["delivery"]["response"]) == [
        "responseBody", "responseHeaders",
    ]  # fmt: skip
    assert secrets_in(Request().to_dict()) == []  # nothing is there
    with pytest.raises(ValueError, match=r"response\.responseBody is masked"):
        Accept.from_dict(Accept(Response("secret")).to_dict())


def test_a_pydantic_model_masks_secrets_unless_its_context_asks_for_them():
    model = model_of(GeneratedCallback)
    text = model(value=value_of(GeneratedCallback)).model_dump_json()
    assert secrets_in(json.loads(text)["value"]) == ["callbackUrl", "callbackState"]
    with pytest.raises(pydantic.ValidationError, match="callbackUrl is masked"):
        model.model_validate_json(text)


def test_what_a_masked_call_hides_stays_hidden():
    call = Call(status=CallStatus.SUCCEEDED, headers=Headers({"authorization": "Bearer hunter2"}), body=b"a=1")
    found = masked(call, "").to_dict(reveal_secrets=True)
    assert found["requestHeaders"] == {"authorization": MASK}
    assert found["requestBody"] == "a=1"


@pytest.mark.parametrize("kind", [Response, Redirect, PageResponse])
def test_each_kind_of_response_can_be_loaded_as_any(kind):
    value = value_of(kind)
    assert Response.from_dict(value.to_dict(reveal_secrets=True)) == value
    assert type(kind.from_dict({})) is kind


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"status": "OF_TOMORROW"}, None), ({"attempt": "x"}, "attempt"), ({"attempt": True}, "attempt"),
        ({"requestBody": 5}, "requestBody: must be text"),
        ({"requestBody": None, "requestBodyBase64": "?"}, "requestBodyBase64: must be base64"),
        ({"requestHeaders": "a"}, "request_headers|requestHeaders"), ({"requestHeaders": {"a": 1}}, "requestHeaders"),
        ({"startTime": "2026-11-27T09:30:15"}, "start"), ({"startTime": 5}, "start"), ({"startTime": []}, "start"),
        ({"response": {"responseCode": "x"}}, "responseCode"),
        ({"response": "x"}, "response: must be an object, not text"),
    ],
)  # fmt: skip
def test_a_dictionary_that_is_not_valid_is_refused_with_the_place(changes, says):
    data = Call(status=CallStatus.RUNNING).to_dict() | changes
    if says is None:
        assert Call.from_dict(data).status is CallStatus.UNKNOWN
    else:
        with pytest.raises(ValueError, match=says):
            Call.from_dict(data)


def test_a_missing_attribute_is_named():
    with pytest.raises(ValueError, match="status is missing"):
        Callback.from_dict({"createTime": "2026-11-27T09:30:15Z"})
    with pytest.raises(ValueError, match="callbackUrl is missing"):
        GeneratedCallback.from_dict({"url": "https://box.example/cb/1"})
    with pytest.raises(ValueError, match="must be an object"):
        IncomingCall.from_dict([])
