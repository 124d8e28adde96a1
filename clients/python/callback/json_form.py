"""The JSON form of the contract: that of the command line, the JSON API, exports, and `to_dict` of values.

1. Names are those of ProtoJSON (`callbackCaseId`). An enum is its name without the prefix of its type: `OPEN`.
2. Every field is present, also if it is zero or empty. Only a message, a time, a duration, an enum and a field that is
   `optional` in the contract are left out while they are not set.
3. Integers are numbers. Times and durations are text, as in ProtoJSON: `2026-11-25T09:30:15.250Z`, `90s`.
4. Header fields and queries are objects: `{"id": "5", "status": "ok"}`. A name that is repeated has a list.
5. A body is text, if it is UTF-8 and not `***`. Any other body is base64, under the name with the suffix `Base64`: in
   jq, `.requestBody // (.requestBodyBase64 | @base64d)`.
6. An error (`google.rpc.Status`) is as in ProtoJSON: `{"code": 5, "message": …, "details": [{"@type": …}]}`.
7. What is read may have the names of ProtoJSON for enums (`CALLBACK_STATUS_OPEN`), and lists of `{"name": …,
   "value": …}` for header fields.
"""

import base64
import functools
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from callback._multi_mapping import Headers, Pairs, Query
from callback.v1 import options_pb2
from callback_shared.fields import is_map, option

Json = dict[str, Any]
"""An object in the JSON form."""
MASK = "***"
"""Text in the place of a masked secret."""
_BASE64 = "Base64"
_UNKNOWN, _UNKNOWN_NUMBER = "UNKNOWN", -1
"""What stands for the value of an enum that this version does not know, and a number for it."""
_TEXTUAL = {
    "google.protobuf.Timestamp": (
        "date-time",
        "a time such as 2030-01-01T00:00:00Z",
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})",
    ),
    "google.protobuf.Duration": ("protobuf-duration", "a duration such as 90s", r"-?[0-9]{1,12}(\.[0-9]{1,9})?s"),
    "google.protobuf.FieldMask": (
        "protobuf-field-mask", "names such as responseCode,responseBody", r"[A-Za-z0-9,]*"
    ),
}  # fmt: skip
"""Messages that are text, each with the format of its JSON schema, what the text must be, and its pattern."""
_SCALAR_SCHEMAS: Mapping[int, Json] = {
    FieldDescriptor.CPPTYPE_STRING: {"type": "string"},
    FieldDescriptor.CPPTYPE_BOOL: {"type": "boolean"},
}
_PAIRS: Mapping[str, type[Pairs]] = {"callback.v1.Header": Headers, "callback.v1.QueryParameter": Query}
_PAIR_LIST = "callback.v1.ResponseHeaders"
_STATUS = "google.rpc.Status"
_PATH = re.compile(r"[A-Za-z]\w*(\.\w+)*: ")
"""The path of a field, at the beginning of an error."""

_PARSED = re.compile(r"(Failed to parse \w+ field: )+")
"""What an error of protobuf says of the field, at its beginning."""

_Message = TypeVar("_Message", bound=Message)


def to_json(message: Message, *, reveal_secrets: bool = True) -> Json:
    """Return a message in the JSON form.

    Args:
        message: A message of the contract.
        reveal_secrets: Whether it has the secrets: fields that may contain a state or a credential. Without them, `***`
            stands for each that is not empty.
    """
    view: Json = {}
    for field in descriptor(message).fields:
        value = getattr(message, field.name)
        if _is_absent(message, field):
            if default := option(field, options_pb2.unset):
                view[field.json_name] = default
        elif not reveal_secrets and option(field, options_pb2.secret) and not _is_empty(field, value):
            view[field.json_name] = MASK
        elif field.type == field.TYPE_BYTES:
            view |= _body(field.json_name, value)
        elif is_map(field):
            view[field.json_name] = dict(sorted(value.items()))
        elif field.message_type is not None and field.message_type.full_name in _PAIRS:
            view[field.json_name] = _pairs_to_json(_PAIRS[field.message_type.full_name], value)
        elif field.is_repeated:
            view[field.json_name] = [_one(field, each, reveal_secrets) for each in value]
        else:
            view[field.json_name] = _one(field, value, reveal_secrets)
    return view


def from_json(data: object, message: _Message, *, ignore_unknown: bool = False) -> _Message:
    """Read the JSON form into an empty message, and return it.

    Args:
        data: What `json.loads` returned.
        message: The message.
        ignore_unknown: Whether unknown names and unknown words of enums are accepted, because a newer version may have
            written them. Such a word becomes a number without a name.

    Raises:
        ValueError: It is not in the form. The message names what is wrong.
    """
    name = descriptor(message).name
    try:
        given = _as_proto_json(descriptor(message), data, ignore_unknown=ignore_unknown)
        return json_format.ParseDict(given, message, ignore_unknown_fields=ignore_unknown)
    except json_format.ParseError as error:  # such as a number or a date that does not exist; it repeats the value
        places = _PARSED.match(str(error))
        path = ".".join(re.findall(r"(\w+) field", places[0])) if places else name
        raise ValueError(f"{path}: has a value that does not exist") from None
    except ValueError as error:
        raise ValueError(str(error) if _PATH.match(str(error)) else f"{name} {error}") from None


def schema(message: Descriptor) -> Json:
    """Return the JSON schema of the form of a message."""
    properties: Json = {}
    for field in message.fields:
        properties |= {name: _field_schema(field, each) for name, each in _type_schemas(field).items()}
    return {"title": message.name, "type": "object", "properties": properties}


def descriptor(message: Message | type[Message]) -> Descriptor:
    """Return the descriptor of a message."""
    return cast("Descriptor", message.DESCRIPTOR)  # its type says that it may be the same class of another module


def word_of(enum: EnumDescriptor, number: int) -> str:
    """Return the name of an enum's value without the prefix of its type: `UNKNOWN` for one of a newer version."""
    value = enum.values_by_number.get(number)
    return _UNKNOWN if value is None else value.name.removeprefix(_prefix(enum))


def _prefix(enum: EnumDescriptor) -> str:
    return enum.values_by_number[0].name.removesuffix("UNSPECIFIED")


def _is_absent(message: Message, field: FieldDescriptor) -> bool:
    if field.is_repeated:
        return False
    if field.enum_type is not None:
        return bool(getattr(message, field.name) == 0)
    return field.has_presence and not message.HasField(field.name)


def _is_empty(field: FieldDescriptor, value: Any) -> bool:
    is_pair_list = field.message_type is not None and field.message_type.full_name == _PAIR_LIST
    return not (value.headers if is_pair_list else value)


def _one(field: FieldDescriptor, value: Any, reveal_secrets: bool) -> Any:
    """Return the JSON form of one value of a field."""
    if field.enum_type is not None:
        return word_of(field.enum_type, value)
    if field.message_type is None:
        return value
    if field.message_type.full_name in _TEXTUAL:
        return value.ToJsonString()
    if field.message_type.full_name == _PAIR_LIST:
        return _pairs_to_json(Headers, value.headers)
    if field.message_type.full_name == _STATUS:
        return json_format.MessageToDict(value)
    return to_json(value, reveal_secrets=reveal_secrets)


def _pairs_to_json(kind: type[Pairs], messages: Iterable[Any]) -> Json:
    return dict(kind((each.name, each.value) for each in messages).as_json())


def _body(name: str, body: bytes) -> Json:
    try:
        if body != MASK.encode():  # as text, it would be taken for a masked body
            return {name: body.decode()}
    except UnicodeDecodeError:
        pass
    return {f"{name}{_BASE64}": base64.b64encode(body).decode()}


def _as_proto_json(message: Descriptor, data: object, *, ignore_unknown: bool) -> Json:
    """Return the ProtoJSON of what is in the JSON form. An error begins with the path of its field."""
    if not isinstance(data, Mapping):
        raise ValueError(f"must be an object, not {_kind_of(data)}")
    found: Json = {}
    for name, value in data.items():
        field, of_base64 = _field(message, name), _field(message, str(name).removesuffix(_BASE64))
        is_base64 = field is None and of_base64 is not None and of_base64.type == FieldDescriptor.TYPE_BYTES
        field = of_base64 if is_base64 else field
        if value is None or (field is None and ignore_unknown):
            continue
        if field is None:
            raise ValueError(f"has no field {json.dumps(name, ensure_ascii=False)}")
        if field.json_name in found:
            raise ValueError(f"{field.json_name}: is given twice")
        try:
            converted = _checked_base64(value) if is_base64 else _value_as_proto_json(field, value, ignore_unknown)
        except ValueError as error:
            raise ValueError(f"{name}{'.' if _PATH.match(str(error)) else ': '}{error}") from None
        found[field.json_name] = converted
    return found


def _value_as_proto_json(field: FieldDescriptor, value: Any, ignore_unknown: bool) -> Any:
    if is_map(field):
        return _texts(value)
    if field.message_type is not None and field.message_type.full_name in _PAIRS and isinstance(value, Mapping):
        return _pairs(value)
    convert = _converter(field, ignore_unknown)
    if not field.is_repeated:
        return convert(value)
    if not isinstance(value, list):
        raise ValueError(f"must be a list, not {_kind_of(value)}")
    return [convert(each) for each in value]


def _converter(field: FieldDescriptor, ignore_unknown: bool) -> Callable[[Any], Any]:
    """Return what makes ProtoJSON of one value of a field."""
    if field.type == FieldDescriptor.TYPE_BYTES:
        return functools.partial(_body_of, field.json_name)
    if field.enum_type is not None:
        return functools.partial(_enum_name, field.enum_type, ignore_unknown)
    if field.message_type is None:
        return {FieldDescriptor.CPPTYPE_STRING: _text, FieldDescriptor.CPPTYPE_BOOL: _flag}.get(field.cpp_type, _number)
    if field.message_type.full_name in _TEXTUAL:
        return functools.partial(_textual, field.message_type)
    if field.message_type.full_name == _PAIR_LIST:
        return _headers
    if field.message_type.full_name == _STATUS:
        return lambda status: status
    return functools.partial(_as_proto_json, field.message_type, ignore_unknown=ignore_unknown)


def _type_schemas(field: FieldDescriptor) -> Mapping[str, Json]:
    """Return the schema of one value of a field, by the names that it can have."""
    name, text = field.json_name, {"type": "string"}
    if field.type == FieldDescriptor.TYPE_BYTES:
        return {name: text, f"{name}{_BASE64}": {**text, "contentEncoding": "base64"}}
    if field.enum_type is not None:
        return {name: {**text, "enum": [*map(functools.partial(word_of, field.enum_type), _numbers(field.enum_type))]}}
    if field.message_type is None:
        return {name: _SCALAR_SCHEMAS.get(field.cpp_type, {"type": "integer"})}
    if is_map(field):
        return {name: {"type": "object", "additionalProperties": text}}
    kind = field.message_type.full_name
    if kind in _TEXTUAL:
        return {name: {**text, "format": _TEXTUAL[kind][0]}}
    if kind in (*_PAIRS, _PAIR_LIST):
        values = {"anyOf": [text, {"type": "array", "items": text}]}
        return {name: {"type": "object", "additionalProperties": values}}
    if kind == _STATUS:
        return {name: {"type": "object"}}
    return {name: schema(field.message_type)}


def _field_schema(field: FieldDescriptor, one: Json) -> Json:
    is_object = is_map(field) or (field.message_type is not None and field.message_type.full_name in _PAIRS)
    return {"type": "array", "items": one} if field.is_repeated and not is_object else one


def _numbers(enum: EnumDescriptor) -> list[int]:
    """Return the numbers that have a meaning, and the one that stands for those of a newer version."""
    return [*(number for number in enum.values_by_number if number), _UNKNOWN_NUMBER]


def _headers(value: Any) -> Any:
    """Return the ProtoJSON of the header fields of a response. One with the name `headers` has text as its value."""
    given = value.get("headers") if isinstance(value, Mapping) else value
    if isinstance(given, list) and given and all(isinstance(each, Mapping) for each in given):
        return {"headers": [{name: _text(each[name]) for name in each} for each in given]}
    return {"headers": _pairs(value)}


def _pairs(value: Any) -> list[Json]:
    """Return header fields or query parameters as the list of ProtoJSON."""
    if not isinstance(value, Mapping):
        raise ValueError(f"must be an object, not {_kind_of(value)}")
    return [
        {"name": _text(name), "value": _text(each)}
        for name, values in value.items()
        for each in (values if isinstance(values, list) else [values])
    ]


def _texts(value: Any) -> Json:
    if not isinstance(value, Mapping):
        raise ValueError(f"must be an object, not {_kind_of(value)}")
    return {_text(name): _text(each) for name, each in value.items()}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be text, not {_kind_of(value)}")
    if not _is_unicode(value):
        raise ValueError("has a character that is half of a pair")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {_kind_of(value)}")
    return value


def _number(value: Any) -> int:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if not is_number and not (isinstance(value, str) and re.fullmatch("-?[0-9]{1,19}", value, re.ASCII)):
        raise ValueError("must be a whole number")
    return int(value)


def _textual(message: Descriptor, value: Any) -> str:
    """Check the text of a time, a duration or a field mask."""
    _, wanted, pattern = _TEXTUAL[message.full_name]
    if not re.fullmatch(pattern, _text(value), re.ASCII):
        raise ValueError(f"must be {wanted}")
    return str(value)


def _body_of(name: str, value: Any) -> str:
    if not isinstance(value, str) or not _is_unicode(value):
        raise ValueError(f"must be text; give other bytes as {name}{_BASE64}")
    return base64.b64encode(value.encode()).decode()


def _is_unicode(text: str) -> bool:
    return not re.search("[\ud800-\udfff]", text)


def _checked_base64(value: Any) -> str:
    try:
        return base64.b64encode(base64.b64decode(value, validate=True)).decode()
    except (TypeError, ValueError):
        raise ValueError("must be base64") from None


def _enum_name(enum: EnumDescriptor, ignore_unknown: bool, value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    for name in (value, f"{_prefix(enum)}{value}"):
        if isinstance(value, str) and name in enum.values_by_name:
            return name
    if isinstance(value, str) and (ignore_unknown or value == _UNKNOWN):
        return _UNKNOWN_NUMBER
    words = ", ".join(each.name.removeprefix(_prefix(enum)) for each in enum.values if each.number)
    raise ValueError(f"must be one of {words}")


def _kind_of(value: Any) -> str:
    """Return what a value is in JSON. An error never repeats a value: it may be a secret."""
    kinds = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


def _field(message: Descriptor, name: object) -> FieldDescriptor | None:
    return _fields(message).get(name)


@functools.cache
def _fields(message: Descriptor) -> Mapping[object, FieldDescriptor]:
    """Return the fields of a message by both names that ProtoJSON accepts."""
    return {name: field for field in message.fields for name in (field.name, field.json_name)}
