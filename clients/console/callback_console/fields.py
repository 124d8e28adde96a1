"""Fields of values, as the contract describes them. Pure.

A page names the fields for which it has a row by hand. It shows all others that are set, in the order of the contract.
So a new field has a place on its page at once.

1. The name of a field is its short name in the contract, which is its attribute in the value.
2. A field that the contract calls secret is masked. Bodies and header fields of responses are shown with their
   credentials masked.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final

from callback import Pairs, Response
from callback.json_form import MASK
from callback.masking import masked_response
from callback.v1 import (
    audit_service_pb2,
    callback_pb2,
    callbacks_service_pb2,
    operations_service_pb2,
    options_pb2,
    profiles_service_pb2,
)
from callback_shared.fields import option, short_name

MESSAGES: Final[Mapping[str, Any]] = {
    message.GetOptions().Extensions[options_pb2.value_name] or message.name: message
    for file in (audit_service_pb2, callback_pb2, callbacks_service_pb2, operations_service_pb2, profiles_service_pb2)
    for message in file.DESCRIPTOR.message_types_by_name.values()
}
"""Descriptors of messages, by the name of the class of their values."""
_KINDS: Final[Mapping[type, str]] = {
    bool: "flag", bytes: "body", datetime: "time", int: "number", str: "text", timedelta: "duration",
}  # fmt: skip
"""How values are shown, by type. The first that fits counts: a bool is an int."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A field that is set, or an entry of a list."""

    text: str
    """Name of the text that is its label."""
    kind: str
    """How it is shown: body, duration, flag, list, number, pairs, text, time, value or word."""
    value: Any
    """The value. Of a word, the name of its text."""


def facts(value: Any, by_hand: Collection[str] = (), *, reveal_secrets: bool = False) -> list[Fact]:
    """Return the fields of a value that are set, without those that a page shows by hand.

    Args:
        value: A value of the client.
        by_hand: Names of fields.
        reveal_secrets: Whether secrets are shown.
    """
    message = next(MESSAGES[each.__name__] for each in type(value).__mro__ if each.__name__ in MESSAGES)
    if isinstance(value, Response) and not reveal_secrets:
        value = masked_response(value)
    found = []
    for field in message.fields:
        name = short_name(field)
        content = getattr(value, name)
        if name not in by_hand and content and content != option(field, options_pb2.unset):
            is_shown = reveal_secrets or (isinstance(value, Response) and isinstance(content, bytes | Pairs))
            content = MASK if option(field, options_pb2.secret) and not is_shown else content
            found.append(_fact(f"{snake(message.name)}.{name}", content))
    return found


def _fact(text: str, value: Any) -> Fact:
    match value:
        case Enum():
            return Fact(text, "word", f"{snake(type(value).__name__)}.{value.value}")
        case tuple():
            return Fact(text, "list", [_fact(text, each) for each in value])
        case Pairs():
            return Fact(text, "pairs", value.pairs)
        case Mapping():
            return Fact(text, "pairs", tuple(value.items()))
    return Fact(text, next((kind for of, kind in _KINDS.items() if isinstance(value, of)), "value"), value)


def snake(name: str) -> str:
    """Return a name in CamelCase in snake_case."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
