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
    CallStatus,
    GeneratedCallback,
    Headers,
    IncomingCall,
    PageResponse,
    Redirect,
    Request,
    Response,
)
from callback._dictionaries import MASK, Value
from callback._multi_mapping import Pairs
from callback.masking import masked

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
        return hint([("A", "1"), ("b", "2"), ("A", "3")])
    if issubclass(hint, enum.Enum):
        return [*hint][1]
    return value_of(hint) if issubclass(hint, Value) else SAMPLES[hint]


def value_of(kind):
    hints = typing.get_type_hints(kind)
    # Not both can be true of an answer.
    return kind(**{each.name: sample(hints[each.name], flag=each.name != "close") for each in dataclasses.fields(kind)})


def model_of(kind):
    return pydantic.create_model("Model", value=(kind, ...), more=(list[kind] | None, None))


def test_each_public_dataclass_is_a_value_unless_it_holds_values_or_settings():
    others = {each.__name__ for each in EXPORTED if dataclasses.is_dataclass(each)} - {each.__name__ for each in VALUES}
    assert others == {"Listening", "Page", "ServerTls", "Tls"}


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
def test_the_json_schema_of_a_value_has_each_attribute(kind):
    schema = model_of(kind).model_json_schema()["properties"]["value"]
    assert schema["properties"].keys() == value_of(kind).to_dict().keys()
    assert set(schema["required"]) <= schema["properties"].keys()


def test_the_json_schema_says_how_each_type_is_written():
    schema = Call.__get_pydantic_json_schema__(None, None)
    assert schema["required"] == ["status"]
    properties = schema["properties"]
    assert properties["body"] == {"type": "string", "contentEncoding": "base64"}
    assert properties["headers"]["items"] == {"type": "array", "items": {"type": "string"}}
    assert properties["status"]["enum"] == [*CallStatus]
    assert properties["end_time"] == {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]}
    assert properties["delivery"]["anyOf"][0]["title"] == "Delivery"


def test_each_type_has_one_form():
    headers = Headers([("A", "1"), ("b", "2"), ("a", "3")])
    call = Call(status=CallStatus.SUCCEEDED, headers=headers, body=b"\xff", start_time=TIME)
    found = call.to_dict(reveal_secrets=True)
    assert (found["status"], found["body"], found["start_time"]) == ("SUCCEEDED", "/w==", TIME.isoformat())
    assert found["headers"] == [["A", "1"], ["b", "2"], ["a", "3"]]
    assert (found["delivery"], found["query"], found["body_size"]) == (None, [], 0)
    assert type(found["status"]) is str


def secrets_in(found):
    return [name for name, value in found.items() if value == MASK]


def test_secrets_are_masked_unless_they_are_asked_for_and_a_masked_dictionary_is_refused():
    made = value_of(GeneratedCallback)
    assert secrets_in(made.to_dict()) == ["url", "state"]
    with pytest.raises(ValueError, match=r"^url: is masked: .*reveal_secrets=True"):
        GeneratedCallback.from_dict(made.to_dict())
    found = value_of(Call).to_dict()
    assert secrets_in(found) == ["headers", "query", "query_string", "body"]
    assert secrets_in(found["response"]) == secrets_in(found["delivery"]["response"]) == ["body", "headers"]
    assert secrets_in(Request().to_dict()) == []  # nothing is there
    with pytest.raises(ValueError, match="response: body: is masked"):
        Accept.from_dict(Accept(Response("secret")).to_dict())


def test_a_pydantic_model_masks_secrets_unless_its_context_asks_for_them():
    model = model_of(GeneratedCallback)
    text = model(value=value_of(GeneratedCallback)).model_dump_json()
    assert secrets_in(json.loads(text)["value"]) == ["url", "state"]
    with pytest.raises(pydantic.ValidationError, match="url: is masked"):
        model.model_validate_json(text)


def test_what_a_masked_call_hides_stays_hidden():
    call = Call(status=CallStatus.SUCCEEDED, headers=Headers({"authorization": "Bearer hunter2"}), body=b"a=1")
    found = masked(call, "").to_dict(reveal_secrets=True)
    assert found["headers"] == [["authorization", MASK]]
    assert found["body"] == "YT0x"


@pytest.mark.parametrize("kind", [Response, Redirect, PageResponse])
def test_each_kind_of_response_can_be_loaded_as_any(kind):
    value = value_of(kind)
    assert Response.from_dict(value.to_dict(reveal_secrets=True)) == value
    assert type(kind.from_dict({})) is kind


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"status": "OF_TOMORROW"}, None),
        ({"attempt": "1"}, "attempt: has the wrong type: str"),
        ({"attempt": True}, "attempt: has the wrong type: bool"),
        ({"body": "?"}, "body: "),
        ({"headers": "a"}, "headers: has the wrong type: str"),
        ({"headers": [["a"]]}, "headers: "),
        ({"headers": [["a", 1]]}, "headers: names and values must be text"),
        ({"start_time": "2026-11-27T09:30:15"}, "start_time: needs an offset"),
        ({"start_time": 5}, "start_time: has the wrong type: int"),
        ({"response": {"code": "x"}}, "response: code: has the wrong type: str"),
        ({"response": "x"}, "response: Response needs a dictionary, not str"),
        ({"status": ["x"]}, "status: "),
    ],
)
def test_a_dictionary_that_is_not_valid_is_refused_with_the_place(changes, says):
    data = Call(status=CallStatus.RUNNING).to_dict() | changes
    if says is None:
        assert Call.from_dict(data).status is CallStatus.UNKNOWN
    else:
        with pytest.raises(ValueError, match=f"^{says}"):
            Call.from_dict(data)


def test_a_missing_attribute_is_named():
    with pytest.raises(ValueError, match="activity"):
        IncomingCall.from_dict({})
