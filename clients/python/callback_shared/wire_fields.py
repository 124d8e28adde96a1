"""How many fields the bytes of a message have, before it is parsed.

A field takes two bytes, and a hundred times as much once it is an object. To look at each of a million takes minutes.
"""

import functools
from collections.abc import Iterator
from typing import Final

from google.protobuf.descriptor import Descriptor

MAX_FIELDS: Final = 1000
"""Most fields of a message with those of the messages in it, and of each message of a list in it. A parser merges a
message that is there several times, so only those of a list are counted apart. The contract allows fewer."""
MAX_FIELDS_OF_LISTS: Final = 64 * MAX_FIELDS
"""Most fields of a message with those of all its lists: 64 messages of a worker are the longest list of long ones.
A batch of 500 requests can have more in valid ones (about 600 each, if each has all headers of three responses), and is
refused: counting these would block an event loop for a quarter of a second, and validating bad ones for seconds."""
_VARINT, _LENGTH_DELIMITED = 0, 2
_SIZES: Final = {1: 8, 5: 4}
"""The sizes of other values, in bytes, by their wire types. Those of groups have none."""


def has_too_many_fields(data: bytes, message: Descriptor) -> bool:
    """Return whether a message has more fields than any that the contract allows.

    Args:
        data: Its bytes. What is malformed there does not matter: parsing refuses it.
        message: Its type.
    """
    if len(data) <= 2 * MAX_FIELDS:
        return False
    own = of_lists = 0
    messages = _messages_of(message)
    for number, start, end in _fields(data, 0, len(data)):
        own += 1
        if start < end and number in messages:
            inner, is_list = messages[number]
            count = _count(data, start, end, inner)
            if not is_list:
                own += count
            elif count > MAX_FIELDS:
                return True
            else:
                of_lists += count
        if own > MAX_FIELDS or own + of_lists > MAX_FIELDS_OF_LISTS:
            return True
    return False


def _count(data: bytes, start: int, end: int, message: Descriptor) -> int:
    """Return how many fields a message has, with those of the messages in it, or a number above `MAX_FIELDS`."""
    count, parts = 0, [(start, end, message)]
    while parts and count <= MAX_FIELDS:
        start, end, kind = parts.pop()
        messages = _messages_of(kind)
        for number, inner_start, inner_end in _fields(data, start, end):
            count += 1
            if inner_start < inner_end and number in messages:
                parts.append((inner_start, inner_end, messages[number][0]))
            if count > MAX_FIELDS:
                break
    return count


@functools.cache
def _messages_of(message: Descriptor) -> dict[int, tuple[Descriptor, bool]]:
    """Return the type of each field of a message that has messages, by its number, and whether it is a list."""
    return {each.number: (each.message_type, each.is_repeated) for each in message.fields if each.message_type}


def _fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield the number of each field of a part of the data, and where its value begins and ends if it has a length."""
    while at < end:
        tag, at = _number(data, at, end)
        kind = tag & 7
        if kind == _LENGTH_DELIMITED:
            size, at = _number(data, at, end)
            yield tag >> 3, at, min(at + size, end)
            at += size
        else:
            yield tag >> 3, at, at
            at = _number(data, at, end)[1] if kind == _VARINT else at + _SIZES.get(kind, 0)


def _number(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return the number that begins somewhere, and where it ends."""
    number = shift = 0
    while at < end:
        byte = data[at]
        at += 1
        if byte < 128 or shift > 56:  # a number has at most ten bytes
            return number | (byte & 127) << shift, at
        number |= (byte & 127) << shift
        shift += 7
    return number, at
