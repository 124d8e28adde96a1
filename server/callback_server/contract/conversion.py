"""Conversion between messages and domain values by name, as the descriptors of the contract say.

1. The attribute of a field has the name of the field, or its `short_name`. A time or a duration is a number there, and
   the name ends with its unit: `create_time_ms`, `median_s`.
2. An enum is its word, the name without the prefix of the enum: `OPEN`. A word of another release is UNSPECIFIED.
3. A message is a domain value. In a list it can be a pair, if it has two fields: the name and the value of a header. A
   message that only wraps a list is that list.
4. None stands for a field that is not set.

How a message and a class fit is found once. A field without an attribute is an error, at the first conversion.
"""

from __future__ import annotations

import enum
import functools
import inspect
import typing
from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter
from typing import Any, Final, TypeVar

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from callback_shared.fields import is_map, short_name

M = TypeVar("M", bound=Message)
V = TypeVar("V")
E = TypeVar("E", bound=enum.StrEnum)
Convert = Callable[[Any], Any]

_TIMES: Final = frozenset({"google.protobuf.Timestamp", "google.protobuf.Duration"})
_UNITS: Final = {"_ms": 1_000_000, "_s": 1_000_000_000}
"""The units of times and durations, in nanoseconds, by the end of the attribute's name."""


def to_message(message: type[M], *values: object, **given: object) -> M:
    """Convert domain values to a message.

    Args:
        message: The class of the message.
        values: The values. A field has the attribute of the first one that has it.
        given: Attributes that no value has, or that replace one.

    Raises:
        TypeError: A field has no attribute, or an attribute no field.
    """
    return message(**_content(message.DESCRIPTOR, values, given))


def from_message(kind: type[V], message: Message, **given: object) -> V:
    """Convert a message to a domain value.

    An attribute whose field is not set has its default. Without a default it has the zero of the field.

    Args:
        kind: The class of the value.
        message: The message. Fields without an attribute are left out.
        given: Attributes that the message does not have, or that replace one.
    """
    attributes = _attributes(kind, message.DESCRIPTOR)  # type: ignore[arg-type]  # a class is hashable
    for field, found in message.ListFields():
        if field in attributes:
            attribute, convert = attributes[field]
            if attribute not in given:
                given[attribute] = convert(found) if convert else found
    return kind(**_zeros(kind, message.DESCRIPTOR) | given)  # type: ignore[arg-type]  # a class is hashable


def word_of(message: Message, field: str) -> str:
    """Return the word of an enum field, `UNSPECIFIED` too. Empty: it is of another release."""
    return _words_of(message.DESCRIPTOR, field).get(getattr(message, field), "")


def member_of(kind: type[E], message: Message, field: str) -> E | None:
    """Return the value of an enum field. None: it is UNSPECIFIED, or of another release."""
    return kind.__members__.get(word_of(message, field))


@functools.cache
def _words_of(message: Descriptor, field: str) -> Mapping[int, str]:
    return {number: word for word, number in words(message.fields_by_name[field].enum_type).items()}


@functools.cache
def words(kind: EnumDescriptor) -> Mapping[str, int]:
    """Return the numbers of an enum by its words."""
    prefix = kind.values[0].name.removesuffix("UNSPECIFIED")
    return {value.name.removeprefix(prefix): value.number for value in kind.values}


def _names(field: FieldDescriptor) -> Iterator[str]:
    """Yield the names that the attribute of a field can have."""
    for name in (field.name, short_name(field)):
        yield from (f"{name}{unit}" for unit in _UNITS) if _is_time(field) else (name,)


def _is_time(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.full_name in _TIMES


def _list_in(message: Descriptor) -> FieldDescriptor | None:
    """Return the list that a message only wraps. None: the message is more than that."""
    return message.fields[0] if len(message.fields) == 1 and message.fields[0].is_repeated else None


# To messages. The content of a message is a dictionary: the message is then made in one step, at half the cost
# of making each message in it.


def content(message: type[Message], *values: object, **given: object) -> dict[str, Any]:
    """Return the content of a message by its fields, for one that is made inside of another. See `to_message`."""
    return _content(message.DESCRIPTOR, values, given)


def _content(message: Any, values: tuple[object, ...], given: Mapping[str, object]) -> dict[str, Any]:
    return _reader(message, tuple(map(type, values)), tuple(given))(*values, **given)


@functools.cache
def _reader(message: Descriptor, kinds: tuple[type, ...], given: tuple[str, ...]) -> Callable[..., dict[str, Any]]:
    """Return the function that makes the content of a message of values of these classes, and of what is given.

    It is compiled, like the `__init__` of a data class: a loop over the fields takes twice the time.
    """
    functions: dict[str, Convert] = {}
    items = []
    used = set()
    for field in message.fields:
        source, attribute = _source(field, kinds, given)
        used.add(source)
        if convert := _to_field(field, attribute):
            functions[f"to_{field.name}"] = convert
            source = f"None if (it := {source}) is None else to_{field.name}(it)"
        items.append(f"{field.name!r}: {source}")
    if unused := {*given} - used:
        raise TypeError(f"{message.full_name} has no field for {', '.join(sorted(unused))}")
    parameters = ", ".join([*(f"value_{place}" for place in range(len(kinds))), *given])
    reader: Callable[..., dict[str, Any]] = eval(f"lambda {parameters}: {{{', '.join(items)}}}", functions)  # noqa: S307  # names of fields and classes
    return reader


def _source(field: FieldDescriptor, kinds: tuple[type, ...], given: tuple[str, ...]) -> tuple[str, str]:
    """Return the expression for the attribute of a field, and its name."""
    names = [*_names(field)]
    for name in names:
        if name in given:
            return name, name
    for place, kind in enumerate(kinds):
        for name in names:
            if name in _defined(kind):
                return f"value_{place}.{name}", name
    raise TypeError(f"{field.full_name} has no attribute in {', '.join(kind.__name__ for kind in kinds)}")


@functools.cache
def _defined(kind: type) -> frozenset[str]:
    """Return the names of the attributes and properties of a class."""
    return frozenset(typing.get_type_hints(kind)) | {
        name for base in kind.__mro__ for name, each in vars(base).items() if isinstance(each, property)
    }


def _to_field(field: FieldDescriptor, attribute: str) -> Convert | None:
    """Return how an attribute becomes the content of a field. None: it is its content."""
    convert: Convert
    if field.enum_type is not None:
        numbers = words(field.enum_type)
        convert = lambda word: numbers.get(word, 0)  # noqa: E731  # one of several functions
    elif field.message_type is None or is_map(field):
        return None
    elif _is_time(field):
        unit = _UNITS[attribute[attribute.rindex("_") :]]
        convert = lambda amount: _time(round(amount * unit))  # noqa: E731  # one of several functions
    else:
        return _to_contents(field.message_type) if field.is_repeated else _to_content(field.message_type)
    return (lambda values: [convert(each) for each in values]) if field.is_repeated else convert


def _time(nanoseconds: int) -> dict[str, int]:
    seconds, nanos = divmod(nanoseconds, 1_000_000_000)
    return {"seconds": seconds, "nanos": nanos}


def _to_content(message: Descriptor) -> Convert:
    """Return how an attribute becomes the content of a message."""
    if (only := _list_in(message)) and (each := _to_field(only, "")):
        return lambda values: {only.name: each(values)}
    return lambda value: value if isinstance(value, Message) else _content(message, (value,), {})


def _to_contents(message: Descriptor) -> Convert:
    """Return how an attribute becomes the contents of a list of messages."""
    first, second = (message.fields[place].name for place in (0, -1))
    convert = _to_content(message)
    return lambda values: [
        {first: value[0], second: value[1]} if type(value) is tuple else convert(value) for value in values
    ]


# From messages.


@functools.cache
def _attributes(kind: Any, message: Any) -> Mapping[FieldDescriptor, tuple[str, Convert | None]]:
    """Return the attribute of each field that a class has, and how the content of the field becomes it."""
    types = typing.get_type_hints(kind)
    return {
        field: (name, _from_field(field, name, [*_classes(types[name])]))
        for field in message.fields
        for name in _names(field)
        if name in types
    }


@functools.cache
def _zeros(kind: Any, message: Any) -> dict[str, Any]:
    """Return the zeros of the scalar fields whose attributes have no default in a class."""
    parameters = inspect.signature(kind).parameters
    return {
        name: field.default_value
        for field, (name, convert) in _attributes(kind, message).items()
        if convert is None and not field.is_repeated and parameters[name].default is inspect.Parameter.empty
    }


def _classes(hint: Any) -> Iterator[type]:
    """Yield the classes of our own in a type, such as that in `tuple[CallReason, ...]`."""
    for each in typing.get_args(hint) or (hint,):
        if each is not hint:
            yield from _classes(each)
        elif isinstance(each, type) and each.__module__ != "builtins":
            yield each


def _from_field(field: FieldDescriptor, attribute: str, classes: list[Any]) -> Convert | None:
    """Return how the content of a field becomes an attribute. None: it is one."""
    convert: Convert
    if field.enum_type is not None:
        member = _members(classes[0], field.enum_type).get
        # A list of words is a set, so it is in the order of the contract.
        return (lambda numbers: tuple(map(member, sorted(numbers)))) if field.is_repeated else member
    if is_map(field):
        return dict
    if field.message_type is None:
        return None
    if _is_time(field):
        unit = _UNITS[attribute[attribute.rindex("_") :]]
        convert = lambda time: time.ToNanoseconds() // unit  # noqa: E731  # one of several functions
    elif only := _list_in(field.message_type):
        pairs, name = _from_field(only, attribute, classes), only.name
        return lambda message: pairs(getattr(message, name)) if pairs else None
    elif classes:
        convert = functools.partial(from_message, classes[0])
    else:
        convert = attrgetter(*(each.name for each in field.message_type.fields))
    return (lambda messages: tuple(map(convert, messages))) if field.is_repeated else convert


@functools.cache
def _members(kind: type[E], numbers: EnumDescriptor) -> Mapping[int, E]:
    return {number: kind(word) for word, number in words(numbers).items() if word in kind.__members__}
