"""The form on the page of a prompt: its fields, and the values that a person or a program enters.

1. What is entered is text, as a form has it. A JSON object has the same names, and its numbers and booleans become that
   text.
2. A field that is empty has no value, except a box to tick, which is false then.
3. Names that are no fields are ignored.
4. What was accepted once is read from the recorded request again, whatever the headers were that are recorded of it.
5. A body is read on the event loop, so one that is longer than its fields can be is not read.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import msgspec

from callback_server.errors import Violation

MAX_INTEGER: Final = 2**53 - 1
"""The largest integer that each JSON reader reads unchanged."""
MAX_ENTERED_CHARS: Final = 10_000
"""How much of what was entered into a field is shown again, if it does not fit."""
_MAX_NAMES: Final = 2_000
"""How many names and values of a form are read: those of all fields, and more."""
_MAX_OTHER_BYTES: Final = 128 * 1024
"""How many bytes of a body are read beside those of its texts: values of choices, and names that are no fields."""
_MAX_CHAR_BYTES: Final = 12
"""The most bytes of a character in a body: four of UTF-8 as `%F0%9F%98%80`, or two escapes of JSON."""
_INTEGER: Final = re.compile(r"-?[0-9]{1,16}")
_NUMBER: Final = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DATE_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})?"
)
_LABEL: Final = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL: Final = re.compile(rf"[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(?:\.{_LABEL})*")
"""As browsers check it: https://html.spec.whatwg.org/multipage/input.html#valid-e-mail-address."""
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_BREAK: Final = re.compile(r"[\u2028\u2029]")
"""What breaks a line beside the characters that are controls."""
_NOT_IN_URL: Final = re.compile(r"[\s\\<>\"\x00-\x1f\x7f-\x9f]")
"""What each program reads in another way, where a URL has it unencoded."""


class FieldKind(enum.StrEnum):
    """What a person enters into a field."""

    TEXT = "TEXT"
    LONG_TEXT = "LONG_TEXT"
    INTEGER = "INTEGER"
    NUMBER = "NUMBER"
    BOOLEAN = "BOOLEAN"
    DATE = "DATE"
    DATE_TIME = "DATE_TIME"
    EMAIL = "EMAIL"
    URL = "URL"
    CHOICE = "CHOICE"
    CHOICES = "CHOICES"


class FieldProblem(enum.StrEnum):
    """Why a field does not have what was entered. The edge has a text for each."""

    REQUIRED = "required"
    FORM = "form"
    """It is not of the kind of the field."""
    TOO_SMALL = "too_small"
    """Less than the minimum: a number, a date, characters or choices."""
    TOO_LARGE = "too_large"
    """More than the maximum."""


class PromptField(msgspec.Struct, frozen=True, array_like=True):
    """A field of the form on the page of a prompt.

    Stored as an array: append fields at the end, with a default, and never reuse a position.
    """

    name: str
    label: str
    kind: FieldKind = FieldKind.TEXT
    is_required: bool = False
    default_value: str = ""
    """As it is entered; the values of several choices with commas between."""
    minimum: str = ""
    maximum: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    """The value and the label of each choice."""
    help: str = ""

    def value(self, entered: Sequence[str]) -> Any:
        """Return the value of what was entered. None: nothing was.

        Raises:
            FieldError: It does not fit.
        """
        if self.kind is FieldKind.CHOICES:
            return self._choices([each for each in entered if each])
        text = entered[0].strip() if entered else ""
        if len(entered) > 1:
            raise FieldError(FieldProblem.FORM)
        if self.kind is FieldKind.BOOLEAN:
            return self._boolean(text)
        if not text:
            if self.is_required:
                raise FieldError(FieldProblem.REQUIRED)
            return None
        read = _READERS.get(self.kind)
        if read is None and text not in dict(self.choices):
            raise FieldError(FieldProblem.FORM)
        value = text if read is None else read(text)
        if read is not None:
            self._check_bounds(_measure(self.kind, value))
        return value

    def definition_problems(self) -> list[Violation]:
        """Return what is wrong with the definition of the field, by its members."""
        found = []
        takes_choices = self.kind in (FieldKind.CHOICE, FieldKind.CHOICES)
        if takes_choices and not self.choices:
            found.append(Violation("choices", "required", f"is missing: a field of the kind {self.kind} needs some"))
        if self.choices and not takes_choices:
            found.append(Violation("choices", "kind", "needs the kind CHOICE or CHOICES"))
        bounds = {}
        for name, bound in (("minimum", self.minimum), ("maximum", self.maximum)):
            if not bound:
                continue
            try:
                bounds[name] = _bound(self.kind, bound)
            except FieldError:
                what = f"is not a bound of a field of the kind {self.kind}"
                found.append(Violation(name, "bound", what))
        most = len(self.choices) if self.kind is FieldKind.CHOICES else MOST_CHARS.get(self.kind)
        if most is not None:
            beyond = [name for name, bound in bounds.items() if bound > most]
            found += [Violation(name, "bound", f"must be at most {most} for this field") for name in beyond]
            if bounds.get("maximum") == 0:
                found.append(Violation("maximum", "bound", "must be at least 1"))
        if not found and len(bounds) == 2 and bounds["minimum"] > bounds["maximum"]:
            found.append(Violation("minimum", "bound", "must not be more than the maximum"))
        if not found and self.default_value:
            try:
                if self.default_value != self.default_value.strip():
                    raise FieldError(FieldProblem.FORM)
                self.value(self.entered_default)
            except FieldError as error:
                found.append(Violation("default_value", error.problem, "is not a value that the field can have"))
        return found

    @property
    def maximum_that_holds(self) -> str:
        """The maximum, or that of the kind."""
        return self.maximum or str(MOST_CHARS.get(self.kind, ""))

    @property
    def entered_default(self) -> list[str]:
        """The default, as it is entered."""
        return self.default_value.split(",") if self.kind is FieldKind.CHOICES else [self.default_value]

    def _boolean(self, text: str) -> bool:
        if text not in ("", "true", "false"):
            raise FieldError(FieldProblem.FORM)
        if self.is_required and text != "true":
            raise FieldError(FieldProblem.REQUIRED)
        return text == "true"

    def _choices(self, values: Sequence[str]) -> list[str] | None:
        if not {*values} <= dict(self.choices).keys() or len({*values}) < len(values):
            raise FieldError(FieldProblem.FORM)
        if not values and self.is_required:
            raise FieldError(FieldProblem.REQUIRED)
        if not values:
            return None
        self._check_bounds(len(values))
        return [*values]

    def _check_bounds(self, measured: Any) -> None:
        if self.minimum and measured < _bound(self.kind, self.minimum):
            raise FieldError(FieldProblem.TOO_SMALL)
        if self.maximum_that_holds and measured > _bound(self.kind, self.maximum_that_holds):
            raise FieldError(FieldProblem.TOO_LARGE)


class FieldError(Exception):
    """What was entered is not a value of the field."""

    def __init__(self, problem: FieldProblem) -> None:
        super().__init__(problem)
        self.problem = problem


class Entered(msgspec.Struct, frozen=True):
    """What was posted from the page of a prompt, or by a program in its place."""

    values: Mapping[str, Sequence[str]]
    """The values by name, as text."""

    def one(self, name: str) -> str:
        """Return the one value of a name. Empty: it has none, or several."""
        values = self.values.get(name, ())
        return values[0] if len(values) == 1 else ""


def read_form(body: bytes, fields: Sequence[PromptField]) -> Entered | None:
    """Return what a form or a JSON object has. None: the body is neither, or longer than these fields can be.

    A form begins with no brace: browsers encode it.
    """
    values: dict[str, list[str]] = {}
    if len(body) > _MAX_OTHER_BYTES + _MAX_CHAR_BYTES * sum(MOST_CHARS.get(each.kind, 0) for each in fields):
        return None
    if body.lstrip()[:1] == b"{":
        try:
            members = msgspec.json.decode(body, type=dict[str, Any])
        except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError):
            return None
        for name, value in members.items():
            values[name] = [_entered(each) for each in value] if isinstance(value, list) else [_entered(value)]
        return Entered(values)
    try:
        # A program may leave characters as they are where a browser encodes them.
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MAX_NAMES)
    except ValueError:  # also of bytes that are not UTF-8
        return None
    for name, text in pairs:
        values.setdefault(name, []).append(text)
    return Entered(values)


def check_fields(fields: Sequence[PromptField], entered: Entered) -> tuple[dict[str, Any], dict[str, FieldProblem]]:
    """Return the values of fields by their names, and the problem of each that does not have what was entered."""
    values, problems = dict[str, Any](), dict[str, FieldProblem]()
    for field in fields:
        try:
            value = field.value(entered.values.get(field.name, ()))
        except FieldError as error:
            problems[field.name] = error.problem
        else:
            if value is not None:
                values[field.name] = value
    return values, problems


def fields_json(fields: Sequence[PromptField], body: bytes) -> str:
    """Return the values in the body of a request that was accepted, as a JSON object. Empty: there are no fields.

    Also empty if the body is not what was accepted, because it was not recorded, or not whole.
    """
    if not fields or (entered := read_form(body, fields)) is None:
        return ""
    values, problems = check_fields(fields, entered)
    return "" if problems else msgspec.json.encode(values).decode()


def _entered(value: Any) -> str:
    """Return a value of JSON as a form has it. What no field can be becomes what no field accepts."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def _text(text: str) -> str:
    if _CONTROL.search(text) or _BREAK.search(text):
        raise FieldError(FieldProblem.FORM)
    return text


def _long_text(text: str) -> str:
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    if _CONTROL.search(lines.replace("\n", "").replace("\t", "")):
        raise FieldError(FieldProblem.FORM)
    return lines


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text) or abs(int(text)) > MAX_INTEGER:
        raise FieldError(FieldProblem.FORM)
    return int(text)


def _number(text: str) -> int | float:
    """Return a number that each JSON reader reads unchanged: one with more digits would become another number."""
    if not _NUMBER.fullmatch(text) or Decimal(text) != Decimal(repr(float(text))):
        raise FieldError(FieldProblem.FORM)
    return int(text) if _INTEGER.fullmatch(text) else float(text)


def _date(text: str) -> str:
    try:
        return date.fromisoformat(text if _DATE.fullmatch(text) else "").isoformat()
    except ValueError:
        raise FieldError(FieldProblem.FORM) from None


def _date_time(text: str) -> str:
    """Return a time in UTC. One without an offset is in UTC, as the page says."""
    try:
        if not _DATE_TIME.fullmatch(text):
            raise ValueError
        time = datetime.fromisoformat(text)
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise FieldError(FieldProblem.FORM) from None
    return time.isoformat().replace("+00:00", "Z")


def _email(text: str) -> str:
    if not _EMAIL.fullmatch(text):
        raise FieldError(FieldProblem.FORM)
    return text


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url or _NOT_IN_URL.search(text):
        raise FieldError(FieldProblem.FORM)
    return text


_READERS: Final[Mapping[FieldKind, Callable[[str], Any]]] = {
    FieldKind.TEXT: _text,
    FieldKind.LONG_TEXT: _long_text,
    FieldKind.INTEGER: _integer,
    FieldKind.NUMBER: _number,
    FieldKind.DATE: _date,
    FieldKind.DATE_TIME: _date_time,
    FieldKind.EMAIL: _email,
    FieldKind.URL: _url,
}
"""What reads the text that was entered, of each kind without choices."""
MOST_CHARS: Final[Mapping[FieldKind, int]] = {
    FieldKind.TEXT: 500,
    FieldKind.LONG_TEXT: 10_000,
    FieldKind.EMAIL: 254,
    FieldKind.URL: 2_048,
}
"""The most characters of each kind that is text."""


def _measure(kind: FieldKind, value: Any) -> Any:
    """Return what the bounds of a kind are compared with."""
    if kind in MOST_CHARS:
        return len(value)
    if kind is FieldKind.DATE_TIME:  # as text, a fraction of a second would come before the whole second
        return datetime.fromisoformat(value)
    return Decimal(str(value)) if kind in (FieldKind.INTEGER, FieldKind.NUMBER) else value


def _bound(kind: FieldKind, bound: str) -> Any:
    """Return a bound of a kind. Raises FieldError."""
    if kind in MOST_CHARS or kind is FieldKind.CHOICES:
        number = _integer(bound)
        if number < 0:
            raise FieldError(FieldProblem.FORM)
        return number
    if kind in (FieldKind.BOOLEAN, FieldKind.CHOICE):
        raise FieldError(FieldProblem.FORM)
    try:
        return _measure(kind, _READERS[kind](bound))
    except InvalidOperation:
        raise FieldError(FieldProblem.FORM) from None
