"""How many fields the bytes of a message have, before it is parsed.

A field takes two bytes, and a hundred times as much once it is an object. To look at each of a million takes minutes.
"""

from typing import Final

from google.protobuf.descriptor import Descriptor

MAX_FIELDS: Final = 1000
"""Most fields of a message, and of each message in it with all that is in that. The contract allows less than half."""
_VARINT, _LENGTH_DELIMITED = 0, 2
_SIZES: Final = {1: 8, 5: 4}
"""The sizes of other values, in bytes, by their wire types. Those of groups have none."""


def has_too_many_fields(data: bytes, message: Descriptor) -> bool:
    """Return whether a message, or a message in it, has more than `MAX_FIELDS`.

    Args:
        data: Its bytes. What is malformed there does not matter: parsing refuses it.
        message: Its type.
    """
    if len(data) <= 2 * MAX_FIELDS:
        return False
    count, at, whole = 0, 0, memoryview(data)
    while at < len(whole):
        field, value, at = _field(whole, at)
        count += 1
        inner = _message_of(message, field)
        if count > MAX_FIELDS or (len(value) > 2 * MAX_FIELDS and inner and _count(value, inner) > MAX_FIELDS):
            return True
    return False


def _count(data: memoryview, message: Descriptor) -> int:
    """Return how many fields a message has, with those of the messages in it, or a number above `MAX_FIELDS`."""
    count, parts = 0, [(data, message)]
    while parts and count <= MAX_FIELDS:
        part, kind = parts.pop()
        at = 0
        while at < len(part) and count <= MAX_FIELDS:
            field, value, at = _field(part, at)
            count += 1
            if value and (inner := _message_of(kind, field)):
                parts.append((value, inner))
    return count


def _message_of(message: Descriptor, number: int) -> Descriptor | None:
    """Return the type of the messages in a field. None: it has none."""
    field = message.fields_by_number.get(number)
    return None if field is None else field.message_type


def _field(data: memoryview, at: int) -> tuple[int, memoryview, int]:
    """Return the number of the field that begins somewhere, its value if that has a length, and where it ends."""
    tag, at = _number(data, at)
    kind = tag & 7
    if kind == _LENGTH_DELIMITED:
        size, at = _number(data, at)
        return tag >> 3, data[at : at + size], at + size
    if kind == _VARINT:
        _, end = _number(data, at)
    else:
        end = at + _SIZES.get(kind, 0)
    return tag >> 3, data[:0], end


def _number(data: memoryview, at: int) -> tuple[int, int]:
    """Return the number that begins somewhere, and where it ends."""
    number = shift = 0
    while at < len(data):
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128 or shift > 63:  # a number has at most ten bytes
            break
    return number, at
