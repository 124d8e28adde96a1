"""The fields of a form that describe a response and a decision: those of the contract. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import callback
from callback import Accept, Callback, Headers, Reject, Response, ResponseType
from callback_console.fields import MESSAGES, snake
from callback_shared.fields import short_name

_WITH_LINES: Final = frozenset(("text",))
"""Texts that can have line breaks. That is a rule of the contract, which the stubs do not have."""


@dataclass(frozen=True, slots=True)
class Input:
    """A field of a form for an attribute of a response."""

    name: str
    """The attribute."""
    kind: str
    """How a person gives it: area, headers, number, select or text."""
    enum: type[StrEnum] | None = None
    """The enum of a select."""

    @property
    def words(self) -> Mapping[str, str]:
        """The choices of a select, each with the name of its text."""
        return {
            each.value: f"{snake(type(each).__name__)}.{each.value}"
            for each in self.enum or ()
            if each.value != "UNKNOWN"
        }

    def value(self, text: str) -> Any:
        """Return the value of the attribute. None: it is not given."""
        match self.kind:
            case "headers":
                return _headers(text)
            case "number":
                return min(int(text[:10]), 2**31 - 1) if text.isdecimal() else None  # the server refuses a larger one
            case "select":
                return self.enum(text) if self.enum and text in self.words else None
        return text or None


def _input(field: Any) -> Input:
    """Return the field of a form for a field of a message, by its descriptor."""
    name = short_name(field)
    if field.enum_type is not None:
        return Input(name, "select", getattr(callback, field.enum_type.name))
    if field.message_type is not None:
        return Input(name, "headers")
    if field.cpp_type == field.CPPTYPE_STRING:
        return Input(name, "area" if field.type == field.TYPE_BYTES or name in _WITH_LINES else "text")
    return Input(name, "number")


RESPONSE: Final = tuple(map(_input, MESSAGES["Response"].fields))
"""The fields of a response."""


def switches(request: str) -> tuple[str, ...]:
    """Return the names of what a decision can say besides its response: the booleans of a request of the contract."""
    return tuple(short_name(each) for each in MESSAGES[request].fields if each.type == each.TYPE_BOOL)


def response_of(form: Mapping[str, str]) -> Response | None:
    """Return the response of a form: an empty field is not given. None if no field is."""
    values = {each.name: each.value(form.get(each.name, "")) for each in RESPONSE}
    return None if all(each is None for each in values.values()) else Response(**values)


def decision_of(form: Mapping[str, str]) -> Accept | Reject:
    """Return the decision of a form.

    Raises:
        ValueError: It contradicts itself.
    """
    response = response_of(form)
    if form.get("verdict") == "reject":
        return Reject(response, no_repeat="no_repeat" in form)
    return Accept(response, **{name: name in form for name in switches("AnswerCallRequest")})


def with_choice(form: Mapping[str, str], of: Callback) -> Mapping[str, str]:
    """Return a form with the response of the choice that its person pressed, where the form says nothing else.

    A person who answers with a choice of the callback's prompt accepts the call. The caller gets the value of the
    choice as the body, or its label as the text of a page.
    """
    choice = form.get("choice", "")
    if of.prompt is None or choice not in of.prompt.choices:
        return form
    given = {name: value for name, value in form.items() if value}
    if given.get("type", of.response.type) == ResponseType.PAGE:
        return {"text": of.prompt.choices[choice], **given}
    return {"body": choice, "headers": "content-type: text/plain; charset=utf-8", **given}


def _headers(text: str) -> Headers | None:
    """Return the header fields of lines with a name and a value each. None: there is none."""
    lines = [line.partition(":") for line in text.splitlines() if line.strip()]
    return Headers([(name.strip(), value.strip()) for name, _, value in lines]) if lines else None
