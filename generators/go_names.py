"""Names, types and comments of the Go client, by the contract."""

import re
from collections.abc import Iterable, Mapping
from functools import cached_property

from generators.contract import (
    BATCH,
    DECISIONS,
    INTERNAL,
    Contract,
    Enum,
    Field,
    Message,
    Method,
    renamed,
    snake,
    wrapped,
)

_INITIALISMS = {"Id": "ID", "Url": "URL"}
_TYPES = {
    "Call": "RecordedCall",
    "CallEvent": "Event",
    "CallEventType": "EventType",
    "HandleCallbackRequest": "Call",
    "PromptChoice": "Choice",
    "Warning": "Warning",
    "WatchCallsRequest": "WatchQuery",
}
"""Names of types that are not the `value_name` of their message."""
_PREFIXES = {
    "ActivityKind": "Kind",
    "AnswerMode": "Mode",
    "CallFailure": "Failure",
    "CallFilter": "Filter",
    "CallReason": "Of",
    "CallStatus": "Call",
    "CallbackStatus": "Callback",
    "CloseReason": "Closed",
    "DeliveryStatus": "Delivery",
    "EventType": "Event",
    "FindingLevel": "Finding",
    "GetGuard": "Guard",
    "ResponseField": "Field",
    "ResponseType": "Type",
    "WarningReason": "Warning",
}
"""What the constants of a type begin with. Default: the name of the type, as `AuditActionCallsErased`."""
_FIELDS = {"Activity.callback_activity": "Name", "PausedActivity.callback_activity": "Name"}
_OPTIONS = {"allow_multiple_calls": "MultipleCalls", "labels": "Label"}
"""Names of options of GenerateCallbackURL, without `With`, that are not those of their fields."""
BY_HAND = {*DECISIONS, "GenerateCallbackUrl", BATCH, "WatchCalls"}
"""RPCs with a hand-written method, because the client does more than to send the request."""
_SCALARS = {"bytes": "[]byte", "int32": "int", "Timestamp": "time.Time", "Duration": "time.Duration"}
"""Types of Go that have another name. A list of int32 stays one."""


def exported(name: str) -> str:
    """Return a name in snake_case as an exported name of Go: `CaseID`."""
    return "".join(_INITIALISMS.get(part, part) for part in map(str.capitalize, name.lower().split("_")))


def unexported(name: str) -> str:
    """Return a name in snake_case as an unexported name of Go: `caseID`."""
    first, *rest = name.split("_")
    return first + exported("_".join(rest))


def stub(name: str) -> str:
    """Return the name that protoc-gen-go gives to a field."""
    return "".join(map(str.capitalize, name.split("_")))


def method_name(method: Method) -> str:
    """Return the name of the method of the client for an RPC."""
    return exported(snake(method.name))


def block(head: str, lines: Iterable[str], ends: str = "{}") -> str:
    """Return code with lines between two braces, or between other ends."""
    return "\n".join([f"{head} {ends[0]}", *lines, ends[1]])


def returns_value(method: Method) -> bool:
    """Return whether a method returns its whole response as a value, and not the one field of it."""
    return len(method.response.fields) > 1 or method.response.is_value


class Names:
    """The names of the contract in Go.

    Args:
        contract: The contract.
    """

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._types = dict(_TYPES)
        self.methods = [each for each in contract.methods if each.name not in BY_HAND]
        """The RPCs whose methods are generated."""
        for method in self.methods:
            base = re.sub(r"ies$", "y", method.name).removesuffix("s").removeprefix("List")
            if method.is_paged:
                self._types |= {method.request.name: f"{base}Query", method.response.name: f"{base}Page"}
            elif returns_value(method) and not method.response.is_value:
                self._types[method.response.name] = re.sub("^(List|Get)", "", method.name)

    def type(self, element: Message | Enum | str) -> str:
        """Return the name of the type of a message or an enum."""
        name = element if isinstance(element, str) else element.name
        message = self._contract.messages.get(name)
        return self._types.get(name) or (message.value_name if message else name)

    def constant(self, type_name: str, word: str) -> str:
        """Return the name of a constant of a type."""
        prefix, name = _PREFIXES.get(type_name, type_name), exported(word)
        return name if name.startswith(prefix) else prefix + name

    def field(self, message: Message, field: Field) -> str:
        """Return the name of a field of a value."""
        return _FIELDS.get(f"{message.name}.{field.name}") or exported(field.short_name)

    def option(self, field: Field) -> str:
        """Return the name of an option of GenerateCallbackURL."""
        return "With" + (_OPTIONS.get(field.name) or exported(field.short_name))

    def field_type(self, field: Field) -> str:
        """Return the type of a field of a value."""
        if field.kind == "pairs":
            return field.pairs
        if field.type == "int32" and field.is_repeated:
            return "[]int32"
        name = self.type(field.type)
        name = _SCALARS.get(name) or (f"*{name}" if field.kind == "message" else name)
        return f"[]{name}" if field.is_repeated else f"map[string]{name}" if field.kind == "map" else name

    def comment(self, text: str, name: str, new: str, own: Mapping[str, str] | None = None) -> str:
        """Return a comment as lines of Go, for an element that has another name there."""
        names = {**self._everywhere, **(own or {})}
        return "\n".join(wrapped(new + renamed(text.removeprefix(name), names).replace("`", ""), "// ", 117))

    def field_comment(self, message: Message, field: Field) -> str:
        """Return the comment of a field of a value."""
        own = {each.name: self.field(message, each) for each in message.fields}
        return self.comment(_unset(field.comment, field), field.name, own[field.name], own)

    def option_comment(self, message: Message, field: Field) -> str:
        """Return the comment of an option of GenerateCallbackURL."""
        own = {each.name: self.option(each) for each in message.fields}
        sets = f"adds a name and a value to the {field.short_name}:" if field.kind == "map" else "sets"
        text = re.sub(rf"^{field.name} (is|are) ", f"{field.name} {sets} ", _unset(field.comment, field))
        return self.comment(text, field.name, own[field.name], own)

    @cached_property
    def _everywhere(self) -> dict[str, str]:
        """The names of fields, messages, enums and RPCs, in comments of other elements."""
        methods = [method for service in self._contract.services.values() for method in service.methods]
        names = {method.name: method_name(method) for method in methods}
        names |= {name: self.type(name) for name in (*self._contract.messages, *self._contract.enums)}
        public = [message for message in self._contract.messages.values() if message.module not in INTERNAL]
        fields = [field for message in public for field in message.fields if "_" in field.name]
        return names | {field.name: exported(field.short_name) for field in fields}


def _unset(comment: str, field: Field) -> str:
    """Return the comment of a field with what an unset one is in Go."""
    unset = {"time": "Zero", "duration": "0"}.get(field.kind, "Nil")
    comment = re.sub(r"\bUnset\b", unset, comment)
    comment = comment.replace("Default UNSPECIFIED:", "Default empty:")
    return comment.replace("UNSPECIFIED", field.unset or "Empty")
