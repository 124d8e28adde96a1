"""Values as dictionaries that JSON can represent, and as fields of pydantic models.

1. The keys are the names of the attributes. Enums are their values, times are ISO 8601, durations are seconds, bytes
   are base64, and headers and query are lists of `[name, value]`.
2. A secret is an attribute that the `repr` omits, because it may hold a state or a credential: URL, state, headers,
   query, body. It is `***` unless the program asks for secrets, and such a dictionary cannot be loaded.
3. A key that this version does not know is ignored, and an unknown word of an enum is its UNKNOWN: a newer version may
   have written the dictionary.
4. A field of a pydantic model takes a value or its dictionary, and is dumped as the dictionary: with secrets for
   `model_dump_json(context={"reveal_secrets": True})`. Nothing else here needs pydantic.
"""

import base64
import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from inspect import Parameter, signature
from typing import Any, Self

from callback._multi_mapping import Pairs

MASK = "***"
"""Text in the place of a masked secret."""

_SCHEMAS: Mapping[type, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
    bytes: {"type": "string", "contentEncoding": "base64"},
    datetime: {"type": "string", "format": "date-time"},
    timedelta: {"type": "number", "description": "seconds"},
}


class Value:
    """Base class of the values of this library."""

    __slots__ = ()

    def to_dict(self, *, reveal_secrets: bool = False) -> dict[str, Any]:
        """Return a dictionary that JSON can represent, for logs, queues and databases.

        Args:
            reveal_secrets: Whether it has the secrets: attributes that may hold a state or a credential, such as a URL
                or a body. Without them, `***` stands for each that is not empty, and `from_dict` refuses it. To log a
                recorded call with its body, mask the call: `masked(call, …).to_dict(reveal_secrets=True)`.
        """
        return {
            field.name: MASK if is_secret and value and not reveal_secrets else _dumped(value, reveal_secrets)
            for field, _, is_secret in _fields(type(self))  # type: ignore[arg-type]  # as below
            for value in (getattr(self, field.name),)
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the value of a dictionary that `to_dict` made, with its secrets.

        Raises:
            ValueError: An attribute is missing, masked or not valid. The message names it.
        """
        if not isinstance(data, Mapping):
            raise ValueError(f"{cls.__name__} needs a dictionary, not {type(data).__name__}")
        values = {}
        for field, hint, is_secret in _fields(cls):  # type: ignore[arg-type]  # a class is hashable
            if field.name not in data:
                continue
            given = data[field.name]
            try:
                if is_secret and given == MASK:
                    raise ValueError("is masked: make the dictionary with to_dict(reveal_secrets=True)")
                values[field.name] = _loaded(hint, given)
            except (OverflowError, TypeError, ValueError) as error:
                raise ValueError(f"{field.name}: {error}") from None
        try:
            return cls(**values)
        except TypeError as error:  # an attribute is missing
            raise ValueError(str(error)) from None

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> Any:
        """Return the schema with which pydantic validates and serializes a field of this class."""
        from pydantic_core import core_schema

        def dump(value: Value, info: Any) -> dict[str, Any]:
            return value.to_dict(reveal_secrets=bool((info.context or {}).get("reveal_secrets")))

        def load(given: Any) -> Value:
            return given if isinstance(given, cls) else cls.from_dict(given)

        serialization = core_schema.plain_serializer_function_ser_schema(dump, info_arg=True)
        return core_schema.no_info_plain_validator_function(load, serialization=serialization)

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: Any, _handler: Any) -> dict[str, Any]:
        """Return the JSON schema of the dictionaries."""
        return _schema_of(cls)


@functools.cache
def _fields(cls: Any) -> tuple[tuple[dataclasses.Field[Any], Any, bool], ...]:
    """Return the fields of a class, each with its type, and whether it is a secret."""
    hints = typing.get_type_hints(cls)
    return tuple((field, hints[field.name], not field.repr) for field in dataclasses.fields(cls))


def _dumped(value: Any, reveal_secrets: bool) -> Any:
    match value:
        case Value():
            return value.to_dict(reveal_secrets=reveal_secrets)
        case Pairs():
            return [list(pair) for pair in value.pairs]
        case Enum():
            return value.value
        case bytes():
            return base64.b64encode(value).decode()
        case datetime():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case Mapping():
            return {name: _dumped(each, reveal_secrets) for name, each in value.items()}
        case tuple():
            return [_dumped(each, reveal_secrets) for each in value]
    return value


def _loaded(hint: Any, given: Any) -> Any:
    """Return the value of a type from what `_dumped` made of it."""
    inner = [each for each in typing.get_args(hint) if each is not type(None)]
    match typing.get_origin(hint) or hint:
        case types.UnionType:
            return None if given is None else _loaded(inner[0], given)
        case origin if origin is tuple:
            return tuple(_loaded(inner[0], each) for each in _a(list | tuple, given))
        case origin if origin is Mapping:
            return {_a(str, name): _loaded(inner[1], each) for name, each in _a(Mapping, given).items()}
        case cls if issubclass(cls, Value):
            return cls.from_dict(given)
        case cls if issubclass(cls, Pairs):
            return cls([(name, value) for name, value in _a(list | tuple, given)])
        case cls if issubclass(cls, Enum):
            return cls(given) if given in set(cls) or "UNKNOWN" not in cls.__members__ else cls["UNKNOWN"]
        case cls if cls is bytes:
            return base64.b64decode(_a(str, given), validate=True)
        case cls if cls is datetime:
            return _utc(datetime.fromisoformat(_a(str, given)))
        case cls if cls is timedelta:
            return timedelta(seconds=_a(int | float, given))
    return _a(hint, given)


def _utc(when: datetime) -> datetime:
    if when.tzinfo is None:
        raise ValueError("needs an offset from UTC")
    return when.astimezone(UTC)


def _a(expected: Any, given: Any) -> Any:
    """Return what is given if it has the expected type. A bool is an int to Python, and never a number here."""
    if not isinstance(given, expected) or (isinstance(given, bool) and expected is not bool):
        raise TypeError(f"has the wrong type: {type(given).__name__}")
    return given


def _schema_of(hint: Any) -> dict[str, Any]:
    """Return the JSON schema of a type."""
    inner = [each for each in typing.get_args(hint) if each is not type(None)]
    match typing.get_origin(hint) or hint:
        case types.UnionType:
            return {"anyOf": [_schema_of(inner[0]), {"type": "null"}]}
        case origin if origin is tuple:
            return {"type": "array", "items": _schema_of(inner[0])}
        case origin if origin is Mapping:
            return {"type": "object", "additionalProperties": _schema_of(inner[1])}
        case cls if issubclass(cls, Value):
            fields = _fields(cls)
            required = [each.name for each in signature(cls).parameters.values() if each.default is Parameter.empty]
            properties = {field.name: _schema_of(each) for field, each, _ in fields}
            return {"title": cls.__name__, "type": "object", "properties": properties, "required": required}
        case cls if issubclass(cls, Pairs):
            return {"type": "array", "items": {"type": "array", "items": {"type": "string"}}}
        case cls if issubclass(cls, Enum):
            return {"type": "string", "enum": [each.value for each in cls]}
    return _SCHEMAS[hint]
