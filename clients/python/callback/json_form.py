"""The JSON form of the contract: that of the command line, the JSON API, exports, and `to_dict` of values.

1. Names are those of ProtoJSON (`callbackCaseId`). An enum is its name without the prefix of its type: `OPEN`.
2. Every field is present, also if it is zero or empty. Only a message, a time, a duration, an enum and a field that is
   `optional` in the contract are left out while they are not set.
3. Integers are numbers. Times and durations are text, as in ProtoJSON: `2026-11-25T09:30:15.250Z`, `90s`.
4. Header fields and queries are objects: `{"id": "5", "status": "ok"}`. A name that is repeated has a list.
5. A body is text, if it is UTF-8. Any other body is base64, under the name with the suffix `Base64`: in jq,
   `.requestBody // (.requestBodyBase64 | @base64d)`.
6. What is read may have the names of ProtoJSON for enums (`CALLBACK_STATUS_OPEN`), and lists of `{"name": …,
   "value": …}` for header fields.
"""

import base64
import binascii
import functools
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from callback._multi_mapping import Headers, Pairs, Query
from callback.v1 import options_pb2

Json = dict[str, Any]
"""An object in the JSON form."""
MASK = "***"
"""Text in the place of a masked secret."""
_BASE64 = "Base64"
_UNKNOWN, _UNKNOWN_NUMBER = "UNKNOWN", -1
"""What stands for the value of an enum that this version does not know, and a number for it."""
_TEXTUAL = {
    "google.protobuf.Timestamp": "date-time",
    "google.protobuf.Duration": "protobuf-duration",
    "google.protobuf.FieldMask": "protobuf-field-mask",
}
"""Messages that are text, each with the format of its JSON schema."""
_SCALAR_SCHEMAS: Mapping[int, Json] = {
    FieldDescriptor.CPPTYPE_STRING: {"type": "string"},
    FieldDescriptor.CPPTYPE_BOOL: {"type": "boolean"},
}
_PAIRS: Mapping[str, type[Pairs]] = {"callback.v1.Header": Headers, "callback.v1.QueryParameter": Query}
_PREFIX = re.compile("^(callback|request|response)_")
_PAIR_LIST = "callback.v1.ResponseHeaders"

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
        elif not reveal_secrets and value and option(field, options_pb2.secret):
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
    given = _as_proto_json(descriptor(message), data, ignore_unknown=ignore_unknown)
    try:
        return json_format.ParseDict(given, message, ignore_unknown_fields=ignore_unknown)
    except json_format.ParseError as error:
        raise ValueError(str(error)) from None


def is_map(field: FieldDescriptor) -> bool:
    """Return whether a field is a map."""
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def option(field: FieldDescriptor, extension: Any) -> Any:
    """Return an option of a field (`callback.v1.options_pb2`). One that is not given has its default."""
    return field.GetOptions().Extensions[extension]


def short_name(field: FieldDescriptor) -> str:
    """Return the name of a field in clients: without the prefix of its resource, if it has no option for that."""
    return option(field, options_pb2.short_name) or _PREFIX.sub("", field.name)


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
    return to_json(value, reveal_secrets=reveal_secrets)


def _pairs_to_json(kind: type[Pairs], messages: Iterable[Any]) -> Json:
    return dict(kind((each.name, each.value) for each in messages).as_json())


def _body(name: str, body: bytes) -> Json:
    try:
        return {name: body.decode()}
    except UnicodeDecodeError:
        return {f"{name}{_BASE64}": base64.b64encode(body).decode()}


def _as_proto_json(message: Descriptor, data: object, *, ignore_unknown: bool) -> Json:
    """Return the ProtoJSON of what is in the JSON form. What is wrong in another way stays for the parser."""
    if not isinstance(data, Mapping):
        raise ValueError(f"{message.name} must be an object, not {type(data).__name__}")
    found: Json = {}
    for name, value in data.items():
        field, base64_field = _field(message, name), _field(message, str(name).removesuffix(_BASE64))
        if field is not None and value is not None:
            found[field.json_name] = _value_as_proto_json(field, value, ignore_unknown)
        elif field is None and base64_field is not None and base64_field.type == FieldDescriptor.TYPE_BYTES:
            found[base64_field.json_name] = _checked_base64(name, value)
        else:
            found[name] = value
    return found


def _value_as_proto_json(field: FieldDescriptor, value: Any, ignore_unknown: bool) -> Any:
    convert = _converter(field, ignore_unknown)
    if convert is None:
        return value
    if field.message_type is not None and field.message_type.full_name in _PAIRS and isinstance(value, Mapping):
        return _pairs(value)
    if field.is_repeated and isinstance(value, list):
        return [convert(each) for each in value]
    return value if field.is_repeated else convert(value)


def _converter(field: FieldDescriptor, ignore_unknown: bool) -> Callable[[Any], Any] | None:
    """Return what makes ProtoJSON of one value of a field. None: it is the same."""
    if field.type == FieldDescriptor.TYPE_BYTES:
        return functools.partial(_text, field.json_name)
    if field.enum_type is not None:
        return functools.partial(_enum_name, field.enum_type, ignore_unknown)
    if field.message_type is None or is_map(field) or field.message_type.full_name in _TEXTUAL:
        return None
    if field.message_type.full_name == _PAIR_LIST:
        return _headers
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
        return {name: {**text, "format": _TEXTUAL[kind]}}
    if kind in (*_PAIRS, _PAIR_LIST):
        values = {"anyOf": [text, {"type": "array", "items": text}]}
        return {name: {"type": "object", "additionalProperties": values}}
    return {name: schema(field.message_type)}


def _field_schema(field: FieldDescriptor, one: Json) -> Json:
    is_object = is_map(field) or (field.message_type is not None and field.message_type.full_name in _PAIRS)
    return {"type": "array", "items": one} if field.is_repeated and not is_object else one


def _numbers(enum: EnumDescriptor) -> list[int]:
    """Return the numbers that have a meaning, and the one that stands for those of a newer version."""
    return [*(number for number in enum.values_by_number if number), _UNKNOWN_NUMBER]


def _headers(value: Any) -> Any:
    """Return the ProtoJSON of the header fields of a response. One with the name `headers` has text as its value."""
    given = value.get("headers", ()) if isinstance(value, Mapping) else value
    is_list = isinstance(given, list) and all(isinstance(each, Mapping) for each in given)
    return {"headers": _pairs(value)} if isinstance(value, Mapping) and not (is_list and given) else value


def _pairs(value: Mapping[str, Any]) -> list[Json]:
    """Return header fields or query parameters as the list of ProtoJSON."""
    return [
        {"name": name, "value": each}
        for name, values in value.items()
        for each in (values if isinstance(values, list) else [values])
    ]


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} must be text; give other bytes as {name}{_BASE64}")
    return base64.b64encode(value.encode("utf-8", "surrogatepass")).decode()


def _checked_base64(name: str, value: Any) -> str:
    try:
        return base64.b64encode(base64.b64decode(value, validate=True)).decode()
    except (TypeError, binascii.Error):
        raise ValueError(f"{name} must be base64") from None


def _enum_name(enum: EnumDescriptor, ignore_unknown: bool, value: Any) -> Any:
    if not isinstance(value, str) or value in enum.values_by_name:
        return value
    name = f"{_prefix(enum)}{value}"
    if name in enum.values_by_name:
        return name
    if ignore_unknown or value == _UNKNOWN:
        return _UNKNOWN_NUMBER
    words = ", ".join(each.name.removeprefix(_prefix(enum)) for each in enum.values if each.number)
    raise ValueError(f"{value!r} is not one of {words}")


def _field(message: Descriptor, name: object) -> FieldDescriptor | None:
    return _fields(message).get(name)


@functools.cache
def _fields(message: Descriptor) -> Mapping[object, FieldDescriptor]:
    """Return the fields of a message by both names that ProtoJSON accepts."""
    return {name: field for field in message.fields for name in (field.name, field.json_name)}
