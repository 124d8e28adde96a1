"""Base class of the values of this library: dictionaries for JSON, and fields of pydantic models.

1. A dictionary is the message of the value in the JSON form of the contract (`callback.json_form`).
2. A secret is a field that may hold a state or a credential, as the contract says: URL, state, headers, query, body. It
   is `***` unless the program asks for secrets, and such a dictionary cannot be loaded.
3. A name that this version does not know is ignored, and an unknown word of an enum is its UNKNOWN: a newer version may
   have written the dictionary.
4. A field of a pydantic model takes a value or its dictionary, and is dumped as the dictionary: with secrets for
   `model_dump_json(context={"reveal_secrets": True})`. Nothing else here needs pydantic.
"""

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Self

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from callback.json_form import MASK, descriptor, from_json, schema, to_json
from callback.v1 import options_pb2
from callback_shared.fields import is_map, option, short_name


class Conversion(NamedTuple):
    """How a value becomes a message of the contract, and a message becomes the value."""

    message: type[Message]
    """The class of the messages."""
    from_proto: Callable[[Any], Any]
    """Convert a message to the value."""
    to_proto: Callable[[Any], Any]
    """Convert the value to its message."""


CONVERSIONS: dict[type, Conversion] = {}
"""The conversion of each class of values. The modules that define conversions, which import the values, add them."""


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
        return to_json(_conversion(type(self)).to_proto(self), reveal_secrets=reveal_secrets)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the value of a dictionary that `to_dict` made, with its secrets.

        Raises:
            ValueError: A field is masked or not valid, or one that a server always sets is missing. The message
                names it.
        """
        conversion = _conversion(cls)
        message = conversion.message()
        for place in _masked_fields(descriptor(message), data):
            raise ValueError(f"{place} is masked: make the dictionary with to_dict(reveal_secrets=True)")
        from_json(data, message, ignore_unknown=True)
        for field in _required_fields(cls, message):
            if data.keys().isdisjoint((field.json_name, field.name)):
                raise ValueError(f"{field.json_name} is missing")
        value = conversion.from_proto(message)
        if isinstance(value, cls):
            return value
        # The type of a response decides its class in no message: a Redirect is asked for.
        return cls(**{each.name: getattr(value, each.name) for each in dataclasses.fields(value)})

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
        message = _conversion(cls).message
        required = [field.json_name for field in _required_fields(cls, message)]
        return {**schema(descriptor(message)), "title": cls.__name__, "required": required}


def _conversion(kind: type) -> Conversion:
    """Return the conversion of a class, or of the class of values that it extends, as `Redirect` does."""
    return next(CONVERSIONS[each] for each in kind.__mro__ if each in CONVERSIONS)


def _masked_fields(message: Descriptor, data: object, place: str = "") -> Iterator[str]:
    """Yield the places of masked secrets in a dictionary."""
    if not isinstance(data, Mapping):
        return
    for field in message.fields:
        given = data.get(field.json_name)
        name = f"{place}{field.json_name}"
        if given == MASK and option(field, options_pb2.secret):
            yield name
        elif field.message_type is not None and not is_map(field):
            for each in given if isinstance(given, list) else [given]:
                yield from _masked_fields(field.message_type, each, f"{name}.")


def _required_fields(kind: type[Value], message: Message | type[Message]) -> list[FieldDescriptor]:
    """Return the fields of a message without which there is no value."""
    needed = {name for name, each in inspect.signature(kind).parameters.items() if each.default is each.empty}
    return [each for each in descriptor(message).fields if short_name(each) in needed]
