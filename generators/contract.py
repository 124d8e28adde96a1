"""The contract as generators read it: services, messages, fields and enums, with their comments and options.

One intermediate form for every generator. Names of fields are those of the contract; `short_name` is the name in
clients. `python3 tasks.py generate` makes the descriptors, with the comments (`source_code_info`) and with the files
that define the options.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumValueDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

PACKAGE = "callback.v1"
OPTIONS = "callback/v1/options.proto"
"""The file with the options of the contract."""
INTERNAL = {"edge_service", "options", "rules"}
"""Files that clients, handlers and workers do not use, by their names without folder and extension."""
CLIENT_SERVICES = ("CallbacksService", "OperationsService", "AuditService", "ProfilesService")
"""The services that clients, the command line and the JSON API use."""
CALL = "HandleCallbackRequest"
"""The message of a call and of a notification, as a handler gets them."""
NOT_OF_VALUES = ("timeout", "report_error")
"""Fields of CALL that are not in its value: `timeout` makes the deadline, and `report_error` is for the client."""
CALL_COMMENTS = {
    "Request": "Request is an HTTP request to a case, as it arrived.",
    "IncomingCall": "IncomingCall is the call that a handler receives: the request, and the settings of its case.",
    "Notification": "Notification is what a handler is told without a call: a reminder is due, or the case expired.",
}
"""The comments of values that clients make of the message CALL."""
DECISIONS = {"AnswerCall", "ResolveCallback", "SetResponse"}
"""RPCs whose requests clients make of a decision, or of those attributes that are given: by hand."""
BATCH = "GenerateCallbackUrls"
"""The RPC whose requests and results clients make by hand: a result is a value or an error."""
_PAIRS = {"Header": "Headers", "QueryParameter": "Query", "ResponseHeader": "Headers", "ResponseHeaders": "Headers"}
"""Messages that are a name and a value, or a list of them, with the class of their list."""
_KINDS = {"Timestamp": "time", "Duration": "duration", **dict.fromkeys(_PAIRS, "pairs")}
"""The kinds of messages that no client has as a value with fields."""
_ERRORS = {
    "INVALID_ARGUMENT": "InvalidRequestError",
    "NOT_FOUND": "NotFoundError",
    "PERMISSION_DENIED": "PermissionDeniedError",
    "UNAUTHENTICATED": "UnauthenticatedError",
    "UNAVAILABLE": "UnavailableError",
}
"""The classes of errors that clients have for a gRPC code. They are written by hand."""
FACT_TYPES = {"close_reason": "CloseReason", "limit": "int", "status": "CallStatus"}
"""The types of facts of errors that are not text."""
_METADATA = re.compile(r" Metadata: (.*?\.)(?= |$)")


@dataclass(frozen=True)
class Field:
    """A field of a message."""

    name: str
    json_name: str
    number: int
    comment: str
    """Its comment, as one line. It begins with the name."""
    type: str
    """A scalar type of protobuf, or the name of a message or an enum without its package: `string`, `Duration`."""
    kind: str
    """`scalar`, `enum`, `message`, `time`, `duration`, `pairs` or `map`. The type of a map is that of its values; its
    keys are strings. Pairs are header fields or a query: messages with a name and a value, or a list of them."""
    is_repeated: bool
    has_presence: bool
    """Whether it is a message, `optional`, or in a oneof: a message can tell whether it was set."""
    is_optional: bool
    """Whether the contract says `optional`."""
    is_required: bool
    """Whether a request without it is refused, as its comment says."""
    short_name: str
    is_secret: bool
    content: int
    is_always_set: bool
    is_call_only: bool
    unset: str
    """What an unset field stands for; empty: nothing."""

    @property
    def pairs(self) -> str:
        """The class of its pairs."""
        return _PAIRS[self.type]

    @property
    def is_list(self) -> bool:
        """Whether it is a list in clients."""
        return self.is_repeated and self.kind != "pairs"

    @property
    def may_be_absent(self) -> bool:
        """Whether a value can be without it."""
        is_single = not self.is_repeated and self.kind != "map"
        return is_single and not self.is_always_set and not self.unset and (self.has_presence or self.kind == "enum")


@dataclass(frozen=True)
class Message:
    """A message."""

    name: str
    comment: str
    fields: tuple[Field, ...]
    value_name: str
    """The name of its value in clients."""
    module: str
    """The name of its file without folder and extension."""

    @property
    def is_value(self) -> bool:
        """Whether it is a value in clients. Of a response that is none, clients return the fields."""
        return self.value_name != self.name

    @property
    def required(self) -> tuple[Field, ...]:
        """The fields without which a request is refused."""
        return tuple(each for each in self.fields if each.is_required)

    @property
    def optional(self) -> tuple[Field, ...]:
        """All other fields."""
        return tuple(each for each in self.fields if not each.is_required)

    def field(self, name: str) -> Field:
        """Return a field by its name in the contract."""
        return next(each for each in self.fields if each.name == name)


@dataclass(frozen=True)
class EnumValue:
    """A value of an enum."""

    name: str
    word: str
    """The name without the prefix of its enum: `OPEN`."""
    number: int
    comment: str
    grpc_code: str
    """The gRPC code of an error reason."""
    http_status: int
    title: str
    """What happened, in a few words."""

    def is_returned_by(self, rpc: str) -> bool:
        """Return whether the comment of a reason says that an RPC returns it, and not that every RPC does."""
        every, names = re.findall(r"Returned by (every RPC(?: except )?)?([\w, ]*)\.", self.comment)[0]
        named = re.findall(r"[A-Z]\w+", names)
        return rpc not in named if every and named else rpc in named

    @property
    def facts(self) -> list[str]:
        """The names of the metadata of an error reason, as its comment has them."""
        return re.findall(r"`(\w+)`", "".join(_METADATA.findall(self.comment)))


@dataclass(frozen=True)
class Enum:
    """An enum."""

    name: str
    comment: str
    values: tuple[EnumValue, ...]
    """All values. The first is that of an unset field (`UNSPECIFIED`)."""
    module: str

    @property
    def words(self) -> tuple[EnumValue, ...]:
        """The values that mean something."""
        return self.values[1:]


@dataclass(frozen=True)
class Method:
    """An RPC."""

    name: str
    comment: str
    request: Message
    response: Message
    is_request_stream: bool
    is_response_stream: bool
    service: str
    reasons: list[str]
    """The words of the reasons that it fails with, besides those of every RPC. They say so."""

    @property
    def service_name(self) -> str:
        """The name of its service in clients: `callbacks`."""
        return self.service.removesuffix("Service").lower()

    @property
    def is_paged(self) -> bool:
        """Whether the response is one page of a list."""
        return any(each.name == "next_page_token" for each in self.response.fields)

    @property
    def result(self) -> Field | None:
        """The field that clients return, or the items of a page. None: they return nothing, or the whole response."""
        return self.response.fields[0] if self.response.fields and not self.response.is_value else None

    @property
    def page_fields(self) -> list[Field]:
        """What a page has beside its items and the token of the next page."""
        return [each for each in self.response.fields[1:] if self.is_paged and each.name != "next_page_token"]

    @property
    def summary(self) -> str:
        """The comment without the name: `returns …`."""
        return self.comment.removeprefix(self.name).strip()


@dataclass(frozen=True)
class Service:
    """A service."""

    name: str
    comment: str
    methods: tuple[Method, ...]
    module: str


@dataclass(frozen=True)
class ContractFile:
    """A file of the contract. Comments keep their lines, which are Markdown."""

    name: str
    descriptor: FileDescriptorProto
    comments: Mapping[tuple[int, ...], str] = field(repr=False)

    @property
    def module(self) -> str:
        """The name of the file without folder and extension."""
        return self.name.rpartition("/")[2].removesuffix(".proto")

    def text(self, *path: int) -> str:
        """Return the comment at a place with its lines.

        The path is that of descriptor.proto: 6 is the place of a file's services and 2 that of a service's methods, 4
        that of messages and 2 that of fields, 5 that of enums and 2 that of values.
        """
        return textwrap.dedent(self.comments.get(path, "")).strip()

    def line(self, *path: int) -> str:
        """Return the comment at a place as one line."""
        return " ".join(self.text(*path).split())


class Contract:
    """The contract.

    Args:
        files: The files with their comments, and all that they import.
    """

    def __init__(self, files: FileDescriptorSet) -> None:
        self._options = _Options(files)
        self.files = [
            ContractFile(
                file.name, file, {tuple(each.path): each.leading_comments for each in file.source_code_info.location}
            )
            for file in files.file
            if file.package == PACKAGE
        ]
        self.enums = {enum.name: enum for file in self.files for enum in self._enums(file)}
        self.messages = {message.name: message for file in self.files for message in self._messages(file)}
        self.reasons = self.enums["ErrorReason"].words
        """The reasons of errors."""
        self.services = {service.name: service for file in self.files for service in self._services(file)}
        self.client_files = [each.name for each in self.files if each.module not in {*INTERNAL, "error_reason"}]
        """The names of the files whose messages clients use."""
        self.methods = [each for name in CLIENT_SERVICES for each in self.services[name].methods]
        """The RPCs that clients call."""

    @cached_property
    def notification_fields(self) -> tuple[Field, ...]:
        """The fields of CALL that a notification has."""
        fields = self.messages[CALL].fields
        return tuple(each for each in fields if not each.is_call_only and each.name not in NOT_OF_VALUES)

    @cached_property
    def given(self) -> list[str]:
        """The names of the messages and enums that clients have as arguments."""
        methods = [each for each in self.methods if each.name not in {*DECISIONS, BATCH}]
        return self._used(field.type for each in methods for field in each.request.fields)

    @cached_property
    def returned(self) -> list[str]:
        """The names of the messages and enums that clients return, or give to a handler."""
        responses = [each.response for each in self.methods if each.name != BATCH]
        values = [each.name for each in responses if each.is_value]
        fields = [field for each in responses if not each.is_value for field in each.fields]
        return self._used([CALL, *values, *(each.type for each in fields)])

    def _used(self, names: Iterable[str]) -> list[str]:
        return [each for each in self.reachable(*names) if each not in _PAIRS]

    @cached_property
    def own_errors(self) -> dict[str, EnumValue]:
        """The reasons that have a class of errors of their own, by its name: those that RPCs of clients fail with."""
        failures = {word for each in self.methods for word in each.reasons}
        own = [each for each in self.reasons if each.grpc_code not in _ERRORS and each.word in failures]
        return {"".join(map(str.capitalize, each.word.split("_"))) + "Error": each for each in own}

    def error_of(self, word: str) -> str:
        """Return the name of the class of errors of a reason."""
        own = {each.word: name for name, each in self.own_errors.items()}
        code = next(each.grpc_code for each in self.reasons if each.word == word)
        return own.get(word) or _ERRORS.get(code, "CallbackError")

    def element(self, name: str) -> Message | Enum:
        """Return a message or an enum."""
        return self.messages.get(name) or self.enums[name]

    def reachable(self, *names: str) -> list[str]:
        """Return the names of these messages, and of the messages and enums that they use, each once."""
        found = dict.fromkeys(names)
        waiting = [*found]
        while waiting:
            fields = self.messages[name].fields if (name := waiting.pop(0)) in self.messages else ()
            new = [each.type for each in fields if each.type not in found]
            found |= dict.fromkeys(new)
            waiting += new
        return [each for each in found if each in self.messages or each in self.enums]

    def _enums(self, file: ContractFile) -> Iterator[Enum]:
        for place, enum in enumerate(file.descriptor.enum_type):
            prefix = enum.value[0].name.removesuffix("UNSPECIFIED")
            values = tuple(
                self._enum_value(each, prefix, file.line(5, place, 2, index)) for index, each in enumerate(enum.value)
            )
            yield Enum(enum.name, file.line(5, place), values, file.module)

    def _enum_value(self, given: EnumValueDescriptorProto, prefix: str, comment: str) -> EnumValue:
        word, options = given.name.removeprefix(prefix), self._options.of(given)
        title = options["title"] or word.replace("_", " ").capitalize()
        return EnumValue(given.name, word, given.number, comment, options["grpc_code"], options["http_status"], title)

    def _messages(self, file: ContractFile) -> Iterator[Message]:
        for place, message in enumerate(file.descriptor.message_type):
            entries = {each.name: each for each in message.nested_type if each.options.map_entry}
            fields = tuple(
                self._field(each, entries, file.line(4, place, 2, index)) for index, each in enumerate(message.field)
            )
            given = self._options.of(message)
            yield Message(message.name, file.line(4, place), fields, given["value_name"] or message.name, file.module)

    def _field(self, given: FieldDescriptorProto, entries: Mapping[str, DescriptorProto], comment: str) -> Field:
        entry = entries.get(_short(given.type_name))
        value = entry.field[1] if entry else given
        type_name = _short(value.type_name) or FieldDescriptorProto.Type.Name(value.type).removeprefix("TYPE_").lower()
        kind = {value.TYPE_ENUM: "enum", value.TYPE_MESSAGE: _KINDS.get(type_name, "message")}.get(value.type, "scalar")
        is_repeated = given.label == given.LABEL_REPEATED and entry is None
        options = self._options.of(given)
        return Field(
            name=given.name,
            json_name=given.json_name,
            number=given.number,
            comment=comment,
            type=type_name,
            kind="map" if entry else kind,
            is_repeated=is_repeated,
            has_presence=not is_repeated
            and entry is None
            and (given.type == given.TYPE_MESSAGE or given.HasField("oneof_index")),
            is_optional=given.proto3_optional,
            is_required=re.search(r"\bRequired[.,]", comment) is not None,
            short_name=options["short_name"] or _PREFIX.sub("", given.name),
            is_secret=options["secret"],
            content=options["content"],
            is_always_set=options["always"],
            is_call_only=options["call_only"],
            unset=options["unset"],
        )

    def _services(self, file: ContractFile) -> Iterator[Service]:
        for place, service in enumerate(file.descriptor.service):
            methods = tuple(
                Method(
                    method.name,
                    file.line(6, place, 2, index),
                    self.messages[_short(method.input_type)],
                    self.messages[_short(method.output_type)],
                    method.client_streaming,
                    method.server_streaming,
                    service.name,
                    self._reasons_of(method.name, file.line(6, place, 2, index), _short(method.input_type)),
                )
                for index, method in enumerate(service.method)
            )
            yield Service(service.name, file.line(6, place), methods, file.module)

    def _reasons_of(self, rpc: str, comment: str, request: str) -> list[str]:
        """Return the words of the reasons that an RPC fails with. Where it needs a role, its comments say so."""
        comments = (comment, *(each.comment for each in self.messages[request].fields))
        needs_role = any("the role `admin`" in each for each in comments)
        found = [each.word for each in self.reasons if each.is_returned_by(rpc)]
        return [*found, *(["ROLE_MISSING"] if needs_role else [])]


class _Options:
    """Reads the options of the contract from descriptors, in which they are unknown fields."""

    def __init__(self, files: FileDescriptorSet) -> None:
        pool = descriptor_pool.DescriptorPool()
        pool.AddSerializedFile(descriptor_pb2.DESCRIPTOR.serialized_pb)
        pool.Add(next(file for file in files.file if file.name == OPTIONS))
        self._extensions = pool.FindFileByName(OPTIONS).extensions_by_name.values()
        self._classes = message_factory.GetMessageClassesForFiles([descriptor_pb2.DESCRIPTOR.name, OPTIONS], pool)

    def of(self, element: Any) -> dict[str, Any]:
        """Return the options of an element by name. One that is not given has its default."""
        options_class = self._classes[element.options.DESCRIPTOR.full_name]
        options: Any = options_class.FromString(element.options.SerializeToString())
        own = (each for each in self._extensions if each.containing_type is options.DESCRIPTOR)
        return {each.name: options.Extensions[each] for each in own}


_PREFIX = re.compile("^(callback|request|response)_")
"""The prefixes that names in clients leave out."""


def statement(comment: str, name: str) -> str:
    """Return the comment of an element as a text that does not begin with its name.

    `owner is the principal that …` becomes `The principal that …`, and `paused says that …` becomes `Whether …`.
    """
    rest = comment.removeprefix(name).removeprefix(":").lstrip()
    rest = re.sub(r"^says (that|whether) ", "whether ", rest)
    rest = re.sub(r"^says (?=(why|who|how|which|what)\b)", "", rest)
    rest = re.sub(r"^(is|are) (?=\w)", "", rest)
    return rest[:1].upper() + rest[1:]


def first_sentence(text: str) -> str:
    """Return the first sentence of a text."""
    return re.split(r"(?<=[^.][.])\s(?=[A-Z`])", text, maxsplit=1)[0]


def described(comment: str, name: str, names: Mapping[str, str], unset: str) -> str:
    """Return the comment of an element as a text with the names of a client.

    Args:
        comment: The comment.
        name: The name of the element, with which the comment begins.
        names: The names that clients have for names of the contract.
        unset: What an unset field stands for, or what clients have in its place.
    """
    text = renamed(statement(comment, name), names).replace("Default UNSPECIFIED", "Default")
    return re.sub(r"\b(UNSPECIFIED|Unset)\b", unset, text)


def refusal(reason: EnumValue, names: Mapping[str, str]) -> str:
    """Return the comment of an error reason as a text with the names of a client. Facts keep theirs."""
    others = {old: new for old, new in names.items() if old not in reason.facts}
    return described(reason.comment, reason.name, others, "").replace("Metadata:", "Facts:")


def renamed(text: str, names: Mapping[str, str]) -> str:
    """Return a comment with other names, in backticks, and for each other word in CamelCase, as the name of an RPC."""

    def replaced(found: re.Match[str]) -> str:
        name = found[1] or found[0]
        new = ".".join(names.get(each, each) for each in name.split("."))
        return found[0] if new == name else f"`{new}`"

    return re.sub(r"`([^`]+)`|\b[A-Z][a-z]+(?:[A-Z][a-z0-9]*)+\b", replaced, text)


def wrapped(text: str, prefix: str, width: int = 120) -> list[str]:
    """Return a text as lines with a prefix."""
    return textwrap.wrap(
        text, width, initial_indent=prefix, subsequent_indent=prefix, break_long_words=False, break_on_hyphens=False
    )


def snake(name: str) -> str:
    """Return a name in CamelCase in snake_case."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def camel(name: str) -> str:
    """Return a name in snake_case in lowerCamelCase."""
    first, *rest = name.split("_")
    return first + "".join(each.capitalize() for each in rest)


def _short(name: str) -> str:
    return name.rpartition(".")[2]
