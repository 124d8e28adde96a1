"""The values of the Python client: enums, dataclasses, and the conversions between them and messages."""

import builtins
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from generators.contract import (
    CALL,
    CALL_COMMENTS,
    NOT_OF_VALUES,
    Contract,
    Enum,
    Field,
    Message,
    described,
    first_sentence,
    snake,
    wrapped,
)

HEADER = "Generated from the contract: `python3 tasks.py generate`."
_CHOICES = {"PromptChoice": ("value", "label")}
"""Messages that are, repeated, a mapping from the first field to the second."""
_TYPES = {
    "string": "str", "int32": "int", "int64": "int", "uint64": "int", "Timestamp": "datetime", "Duration": "timedelta"
}  # fmt: skip
_ZEROS = {"str": '""', "bytes": 'b""', "bool": "False", "int": "0"}
_DEFAULTS = {
    (CALL, "attempt"): "1",
    (CALL, "method"): '"get"',
    (CALL, "response"): "Response()",
    (CALL, "deadline"): "_NO_DEADLINE",
    ("Call", "start_time"): "_EPOCH",
}
"""Attributes that a server always sets, and that a program which tests a handler need not give."""
_READ = {(CALL, "deadline"): "local_deadline(message)"}
"""Attributes that take more than one field."""
_BATCHED = "GenerateCallbackUrlRequest"
"""The request that is a value too, because a batch has several."""
_DERIVED = {"verified"}
"""Fields that are a property of the value."""


@dataclass(frozen=True)
class ValueClass:
    """A class of values."""

    name: str
    message: Message
    fields: tuple[Field, ...]
    """All fields that are attributes."""
    inherited: frozenset[str] = frozenset()
    """The short names of the attributes that the base has."""
    base: str = ""
    """The generated class that it extends."""


class Values:
    """The enums and values of the client.

    Args:
        contract: The contract.
        behaviors: The names of the values that have a class of behavior, which is written by hand.
    """

    def __init__(self, contract: Contract, behaviors: set[str]) -> None:
        self.contract = contract
        self._behaviors = behaviors
        fields = [field for message in contract.messages.values() for field in message.fields]
        self.names = {field.name: field.short_name for field in fields}
        """The names of this client for those of the contract."""
        self.names |= {method.name: snake(method.name) for method in contract.methods}
        self.names |= {each.name: each.value_name for each in contract.messages.values()}

    @cached_property
    def enums(self) -> list[Enum]:
        """The enums that attributes and arguments have."""
        used = {*self.contract.given, *self.contract.returned}
        return [enum for name, enum in self.contract.enums.items() if name in used]

    @cached_property
    def classes(self) -> list[ValueClass]:
        """The classes of values, each after those that it uses."""
        found: dict[str, ValueClass] = {}

        def add(name: str) -> None:
            message = self.contract.messages[name]
            for each in message.fields:
                if each.kind == "message" and each.type not in (name, *_CHOICES, "FieldMask"):
                    add(each.type)
            for made in self._classes_of(message):
                found.setdefault(made.name, made)

        for name in (CALL, *self.contract.messages):
            if name in {*self.contract.given, *self.contract.returned, _BATCHED} - {*_CHOICES}:
                add(name)
        return list(found.values())

    def _classes_of(self, message: Message) -> Iterator[ValueClass]:
        fields = tuple(each for each in message.fields if message.name != CALL or each.name not in NOT_OF_VALUES)
        call = self.contract.messages[CALL]
        request = tuple(each for each in call.fields if self._is_in_call(each))
        inherited = frozenset(each.short_name for each in request)
        if message.name == CALL:
            yield ValueClass("Request", message, request)
            yield ValueClass("IncomingCall", message, fields, inherited, "Request")
            yield ValueClass("Notification", message, self.contract.notification_fields)
        elif message.name == "Call":
            yield ValueClass("Call", message, fields, inherited, "Request")
        else:
            yield ValueClass(message.value_name, message, fields)

    def _is_in_call(self, field: Field) -> bool:
        """Return whether a recorded call has the same attribute as the call that a handler receives."""
        return any(
            (each.short_name, each.type, each.is_always_set) == (field.short_name, field.type, field.is_always_set)
            for each in self.contract.messages["Call"].fields
        )

    def text(self, comment: str, name: str = "", unset: str = "") -> str:
        """Return the comment of an element with the names of this client.

        Args:
            comment: The comment.
            name: The name of the element, with which the comment begins.
            unset: What an unset field stands for. Default: None.
        """
        return described(comment, name, self.names, unset or "None").replace("\N{EN DASH}", "-")

    def enum_module(self) -> str:
        """Return the source of the enums."""
        lines = [
            f'"""Enums of the contract.\n\n{HEADER}\n"""\n',
            "from enum import StrEnum\n",
            self._exports(self.enums),
        ]
        for enum in self.enums:
            lines += [f"\nclass {enum.name}(StrEnum):", *docstring(self.text(enum.comment, enum.name), "    "), ""]
            for word in enum.words:
                lines.append(f'    {word.word} = "{word.word}"')
                lines += docstring(self.text(word.comment, word.name), "    ", summary=False)
            if enum.name in self.contract.returned:
                lines += ['    UNKNOWN = "UNKNOWN"', '    """A value that this version of the client does not know."""']
        return "\n".join(lines) + "\n"

    @staticmethod
    def _exports(elements: list[Enum] | list[ValueClass]) -> str:
        return f"__all__ = [{', '.join(sorted(repr(each.name) for each in elements))}]\n"

    def value_module(self) -> str:
        """Return the source of the values."""
        lines = [
            '"""Values that the client takes and returns: plain, immutable and typed.\n',
            f"{HEADER}\n",
            "Names are those of the contract without their prefixes: `callback_case_id` is `case_id`. Times are aware",
            "datetimes in UTC. A `repr` omits each attribute that may hold a state or a credential, such as a URL or",
            'body, so that a value in a log does not reveal secrets.\n"""\n',
            "from collections.abc import Mapping",
            "from dataclasses import dataclass, field",
            "from datetime import UTC, datetime, timedelta",
            "from typing import TypedDict\n",
            "from callback import _checks as checks",
            f"from callback._behavior import {', '.join(sorted(f'{each}Behavior' for each in self._behaviors))}",
            f"from callback._enums import {', '.join(each.name for each in self.enums)}",
            "from callback._multi_mapping import Headers, PairsLike, Query",
            "from callback._value import Value\n",
            self._exports(self.classes),
            "_EPOCH = datetime.fromtimestamp(0, UTC)",
            "_NO_DEADLINE = datetime.max.replace(tzinfo=UTC)",
        ]
        for made in self.classes:
            lines += self._class(made)
        return "\n".join(lines) + "\n"

    def _class(self, made: ValueClass) -> Iterator[str]:
        is_response = made.name == "Response"
        options = "" if made.message.name in self.contract.given else ", kw_only=True"
        options = ", init=False, eq=False" if is_response else options
        base = made.base or (f"{made.name}Behavior" if made.name in self._behaviors else "Value")
        yield f"\n@dataclass(frozen=True, slots=True{options})"
        yield f"class {made.name}({base}):"
        comment = CALL_COMMENTS.get(made.name, made.message.comment)
        yield from docstring(self.text(comment, made.name if made.name in CALL_COMMENTS else made.message.name), "    ")
        yield ""
        for each in made.fields:
            if each.short_name not in made.inherited and each.name not in _DERIVED:
                default = "" if is_response else self._default(made, each)
                secret = ["repr=False"] if each.is_secret else []
                if default == "dict":
                    default = f"field({', '.join(['default_factory=dict', 'hash=False', *secret])})"
                elif secret:
                    default = f"field({', '.join([*([f'default={default}'] if default else []), *secret])})"
                yield f"    {each.short_name}: {self.type_of(each)}" + (f" = {default}" if default else "")
                yield from docstring(self.text(each.comment, each.name, each.unset), "    ", summary=False)
        if is_response:
            yield from self._response_constructor(made)

    def _response_constructor(self, made: ValueClass) -> Iterator[str]:
        """Yield the constructor of a response. Body, code and headers can be given by position."""
        fields = {each.short_name: each for each in made.fields}
        first = ["body", "code", "headers"]
        yield "\n    def __init__(\n        self,"
        for name in (*first, "*", *(each for each in fields if each not in first)):
            if name == "*":
                yield "        *,"
                continue
            default = "ResponseType.RESPONSE" if name == "type" else "None"
            yield f"        {name}: {self._taken(fields[name])} = {default},{shadowing(name)}"
        yield "    ) -> None:\n        self._assign("
        for name, each in fields.items():
            kind = self.type_of(each).removesuffix(" | None")
            check = {"str": "text", "int": "number", "bytes": "body", "Headers": "headers"}.get(kind, "member")
            more = f", {kind}" if check == "member" else ""
            yield f'            {name}=None if {name} is None else checks.{check}("{name}", {name}{more}),'
        yield "        )\n\n"
        yield "class ResponseAttributes(TypedDict, total=False):"
        yield '    """The arguments of a `Response`, for `Redirect` and `PageResponse`."""\n'
        for name, each in fields.items():
            yield f"    {name}: {self._taken(each)}"
            yield from docstring(self.text(each.comment, each.name, each.unset), "    ", summary=False)

    def _taken(self, field: Field) -> str:
        """Return the type of an argument of a response."""
        return self.type_of(field).replace("bytes", "bytes | str").replace("Headers", "PairsLike")

    def type_of(self, field: Field) -> str:
        """Return the type of an attribute."""
        kind = self.one_type(field)
        if field.type in _CHOICES or field.kind == "map":
            return "Mapping[str, str]"
        return f"tuple[{kind}, ...]" if field.is_list else f"{kind} | None" if field.may_be_absent else kind

    def one_type(self, field: Field) -> str:
        """Return the type of one value of a field."""
        if field.kind == "pairs":
            return field.pairs
        if field.kind == "message":
            return self.contract.messages[field.type].value_name
        return _TYPES.get(field.type, field.type)

    def _default(self, made: ValueClass, field: Field) -> str:
        """Return the default of an attribute. Empty: it must be given."""
        kind = self.type_of(field)
        if default := _DEFAULTS.get((made.message.name, field.short_name)):
            return default
        if field.is_always_set or field.is_required:
            return ""
        if field.unset:
            return f"{kind}.{field.unset}" if field.kind == "enum" else "timedelta(0)"
        if kind.startswith("Mapping"):
            return "dict"
        if field.may_be_absent:
            return "None"
        return f"{kind}()" if field.kind == "pairs" else "()" if field.is_repeated else _ZEROS[kind]

    def conversion_module(self) -> str:
        """Return the source of the conversions."""
        used: list[Enum | Message] = [*self.enums, *(each.message for each in self.classes)]
        lines = [
            f'"""Conversion between the messages of the contract and the values of this library.\n\n{HEADER}\n"""\n',
            "from callback._conversion import (",
            "    EnumNumbers, from_timestamp, local_deadline, to_duration, to_timestamp,\n)",
            f"from callback._enums import {', '.join(each.name for each in self.enums)}",
            "from callback._multi_mapping import Headers, Query",
            "from callback._value import CONVERSIONS, Conversion",
            f"from callback._values import {', '.join(each.name for each in self.classes)}",
            f"from callback.v1 import {', '.join(sorted({f'{each.module}_pb2' for each in used}))}\n",
        ]
        for enum in self.enums:
            lines.append(f"{constant(enum.name)} = EnumNumbers({enum.name}, {self.pb(enum.name)})")
            lines.append(f'"""The numbers of `{enum.name}`."""')
        for made in self.classes:
            message, name = self.pb(made.message.name), snake(made.name)
            lines += [f"\n\ndef {name}_from_proto(message: {message}) -> {made.name}:"]
            lines += [f'    """Convert a message to a `{made.name}`."""', f"    return {made.name}("]
            for each in made.fields:
                if each.name not in _DERIVED:
                    lines.append(f"        {each.short_name}={self._read(made, each)},")
            lines += ["    )", f"\n\ndef {name}_to_proto(value: {made.name}) -> {message}:"]
            lines += [f'    """Convert a `{made.name}` to its message."""', f"    return {message}("]
            lines += [f"        {each.name}={self._written(each)}," for each in made.fields]
            lines.append("    )")
        lines.append("\n\nCONVERSIONS.update({")
        for made in self.classes:
            message, name = self.pb(made.message.name), snake(made.name)
            lines.append(f"    {made.name}: Conversion({message}, {name}_from_proto, {name}_to_proto),")
        return "\n".join([*lines, "})"]) + "\n"

    @property
    def conversions(self) -> list[str]:
        """The public names of the module of conversions."""
        names = [f"{snake(made.name)}_{way}_proto" for made in self.classes for way in ("from", "to")]
        return [*(constant(each.name) for each in self.enums), *names]

    def _read(self, made: ValueClass, field: Field) -> str:
        """Return the expression for an attribute of a message."""
        return _READ.get((made.message.name, field.name)) or self.read(field, "message")

    def read(self, field: Field, message: str) -> str:
        """Return the expression for the value of a field of a message."""
        given = f"{message}.{field.name}"
        if field.kind == "map":
            return f"dict({given})"
        if field.type in _CHOICES:
            key, value = _CHOICES[field.type]
            return f"{{each.{key}: each.{value} for each in {given}}}"
        if field.is_list:
            return f"tuple({self._one_read(field, 'each')} for each in {given})"
        one = self._one_read(field, given)
        if field.kind == "enum":
            return one if field.is_always_set or not field.unset else one.replace(".UNKNOWN", f".{field.unset}")
        return f'{one} if {message}.HasField("{field.name}") else None' if field.may_be_absent else one

    def _one_read(self, field: Field, given: str) -> str:
        match field.kind:
            case "enum":
                member = f"{constant(field.type)}.member({given})"
                return member if field.may_be_absent else f"{member} or {field.type}.UNKNOWN"
            case "time":
                return f"from_timestamp({given})"
            case "duration":
                return f"{given}.ToTimedelta()"
            case "pairs":
                given = given if field.is_repeated else f"{given}.headers"
                return f"{field.pairs}((each.name, each.value) for each in {given})"
            case "message":
                return f"{snake(self.one_type(field))}_from_proto({given})"
        return given

    def _written(self, field: Field) -> str:
        """Return the expression for a field of a value's message."""
        given = f"value.{field.short_name}"
        if field.type in _CHOICES:
            key, text = _CHOICES[field.type]
            return f"[{self.pb(field.type)}({key}={key}, {text}={text}) for {key}, {text} in {given}.items()]"
        if field.is_list:
            return f"[{self._one_written(field, 'each')} for each in {given}]" if field.kind != "scalar" else given
        one = self._one_written(field, given)
        is_none = field.may_be_absent and field.kind not in ("scalar", "enum")
        return f"None if {given} is None else {one}" if is_none else one

    def _one_written(self, field: Field, given: str) -> str:
        match field.kind:
            case "enum":
                return f"{constant(field.type)}.number({given})"
            case "time" | "duration":
                return f"to_{field.type.lower()}({given})"
            case "pairs":
                item = field.type if field.is_repeated else "ResponseHeader"
                pairs = f"[{self.pb(item)}(name=name, value=each) for name, each in {given}.pairs]"
                return pairs if field.is_repeated else f"{self.pb(field.type)}(headers={pairs})"
            case "message":
                return f"{snake(self.one_type(field))}_to_proto({given})"
        return given

    def pb(self, name: str) -> str:
        """Return the message or enum of a name in the stubs."""
        return f"{self.contract.element(name).module}_pb2.{name}"


def constant(name: str) -> str:
    """Return the name of the constant of an enum."""
    return snake(name).upper()


def shadowing(name: str) -> str:
    """Return the reason for a parameter that hides a function of Python, as a comment."""
    return "  # noqa: A002  # the name in the contract" if hasattr(builtins, name) else ""


def docstring(text: str, indent: str, *, summary: bool = True) -> list[str]:
    """Return the lines of a docstring.

    Args:
        text: The text.
        indent: The indentation.
        summary: Whether the first sentence stands alone, on one line: at most what is before a colon.
    """
    text = text.replace("\\", "\\\\")
    room = 120 - len(indent) - 6
    first = first_sentence(text)
    if not summary or (first == text and len(text) <= room):
        return wrapped(f'"""{text}"""', indent)
    rest = text.removeprefix(first).strip()
    if len(first) > room:
        first, _, more = first.removesuffix(".").partition(": ")
        first, rest = f"{first}.", f"{more[:1].upper()}{more[1:]}. {rest}".strip()
    lines = [f'{indent}"""{first}', "", *wrapped(rest, indent)]
    return [*lines, f'{indent}"""'] if rest else [f'{indent}"""{first}"""']
