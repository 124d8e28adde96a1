"""The contract as generators read it: services, messages, fields and enums, with their comments and options.

One intermediate form for every generator. Names of fields are those of the contract; `short_name` is the name in
clients. `python3 tasks.py generate` makes the descriptors, with the comments (`source_code_info`) and with the files
that define the options.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
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
INTERNAL = {"callback/v1/edge_service.proto", "callback/v1/options.proto", "callback/v1/rules.proto"}
"""Files that clients, handlers and workers do not use."""
_SCALARS = {
    FieldDescriptorProto.TYPE_BOOL: "bool",
    FieldDescriptorProto.TYPE_BYTES: "bytes",
    FieldDescriptorProto.TYPE_INT32: "int32",
    FieldDescriptorProto.TYPE_INT64: "int64",
    FieldDescriptorProto.TYPE_STRING: "string",
    FieldDescriptorProto.TYPE_UINT64: "uint64",
}


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
    """`scalar`, `enum`, `message` or `map`. The type of a map is that of its values; its keys are strings."""
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
    unset: str
    """What an unset field stands for; empty: nothing."""


@dataclass(frozen=True)
class Message:
    """A message."""

    name: str
    comment: str
    fields: tuple[Field, ...]
    value_name: str
    """The name of its value in clients."""
    file: str

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


@dataclass(frozen=True)
class Enum:
    """An enum."""

    name: str
    comment: str
    values: tuple[EnumValue, ...]
    """All values. The first is that of an unset field (`UNSPECIFIED`)."""
    file: str

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


@dataclass(frozen=True)
class Service:
    """A service."""

    name: str
    comment: str
    methods: tuple[Method, ...]
    file: str


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
        self.services = {service.name: service for file in self.files for service in self._services(file)}

    @cached_property
    def reasons(self) -> tuple[EnumValue, ...]:
        """The reasons of errors."""
        return self.enums["ErrorReason"].words

    def reachable(self, *names: str) -> list[str]:
        """Return the names of these messages, and of the messages and enums that they use, each once."""
        found: list[str] = []
        waiting = list(names)
        while waiting:
            name = waiting.pop(0)
            if name in found:
                continue
            if name in self.messages:
                found.append(name)
                waiting += [each.type for each in self.messages[name].fields]
            elif name in self.enums:
                found.append(name)
        return found

    def _enums(self, file: ContractFile) -> Iterator[Enum]:
        for place, enum in enumerate(file.descriptor.enum_type):
            prefix = enum.value[0].name.removesuffix("UNSPECIFIED")
            values = tuple(
                self._enum_value(each, prefix, file.line(5, place, 2, index)) for index, each in enumerate(enum.value)
            )
            yield Enum(enum.name, file.line(5, place), values, file.name)

    def _enum_value(self, given: EnumValueDescriptorProto, prefix: str, comment: str) -> EnumValue:
        word, options = given.name.removeprefix(prefix), self._options.of(given, "grpc_code", "http_status", "title")
        title = options["title"] or word.replace("_", " ").capitalize()
        return EnumValue(given.name, word, given.number, comment, options["grpc_code"], options["http_status"], title)

    def _messages(self, file: ContractFile) -> Iterator[Message]:
        for place, message in enumerate(file.descriptor.message_type):
            entries = {each.name: each for each in message.nested_type if each.options.map_entry}
            fields = tuple(
                self._field(each, entries, file.line(4, place, 2, index)) for index, each in enumerate(message.field)
            )
            given = self._options.of(message, "value_name")
            yield Message(message.name, file.line(4, place), fields, given["value_name"] or message.name, file.name)

    def _field(self, given: FieldDescriptorProto, entries: Mapping[str, DescriptorProto], comment: str) -> Field:
        entry = entries.get(_short(given.type_name))
        value = entry.field[1] if entry else given
        kind = {value.TYPE_ENUM: "enum", value.TYPE_MESSAGE: "message"}.get(value.type, "scalar")
        is_repeated = given.label == given.LABEL_REPEATED and entry is None
        options = self._options.of(given, "short_name", "secret", "content", "always", "unset")
        return Field(
            name=given.name,
            json_name=given.json_name,
            number=given.number,
            comment=comment,
            type=_short(value.type_name) if value.type_name else _SCALARS[value.type],
            kind="map" if entry else kind,
            is_repeated=is_repeated,
            has_presence=not is_repeated
            and entry is None
            and (kind == "message" or given.proto3_optional or given.HasField("oneof_index")),
            is_optional=given.proto3_optional,
            is_required=re.search(r"\bRequired[.,]", comment) is not None,
            short_name=options["short_name"] or _PREFIX.sub("", given.name),
            is_secret=options["secret"],
            content=options["content"],
            is_always_set=options["always"],
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
                )
                for index, method in enumerate(service.method)
            )
            yield Service(service.name, file.line(6, place), methods, file.name)


class _Options:
    """Reads the options of the contract from descriptors, in which they are unknown fields."""

    def __init__(self, files: FileDescriptorSet) -> None:
        pool = descriptor_pool.DescriptorPool()
        pool.AddSerializedFile(descriptor_pb2.DESCRIPTOR.serialized_pb)
        pool.Add(next(file for file in files.file if file.name == OPTIONS))
        self._classes = {
            message_factory.GetMessageClass(pool.FindMessageTypeByName(f"google.protobuf.{kind}Options")): kind
            for kind in ("Message", "Field", "EnumValue")
        }
        message_factory.GetMessageClassesForFiles([OPTIONS], pool)
        self._extensions = {name: pool.FindExtensionByName(f"{PACKAGE}.{name}") for name in _OPTION_NAMES}

    def of(self, element: Any, *names: str) -> dict[str, Any]:
        """Return options of an element by name. One that is not given has its default."""
        kind = type(element.options).DESCRIPTOR.name.removesuffix("Options")
        (options_class,) = (each for each, of_kind in self._classes.items() if of_kind == kind)
        options: Any = options_class.FromString(element.options.SerializeToString())
        return {name: options.Extensions[self._extensions[name]] for name in names}


_OPTION_NAMES = (
    "value_name", "short_name", "secret", "content", "always", "unset", "grpc_code", "http_status", "title",
)  # fmt: skip

_PREFIX = re.compile("^(callback|request|response)_")
"""The prefixes that names in clients leave out."""
_IS = re.compile(r"(is|are) (?=\w)")
_SAYS = re.compile(r"says (?:that|whether) ")


def statement(comment: str, name: str) -> str:
    """Return the comment of an element as a text that does not begin with its name.

    `owner is the principal that …` becomes `The principal that …`, and `paused says that …` becomes `Whether …`.
    """
    rest = comment.removeprefix(name).removeprefix(":").lstrip()
    if _SAYS.match(rest):
        rest = _SAYS.sub("whether ", rest, count=1)
    rest = _IS.sub("", rest, count=1) if _IS.match(rest) else rest
    return rest[:1].upper() + rest[1:]


def first_sentence(text: str) -> str:
    """Return the first sentence of a text."""
    return re.split(r"(?<=[^.][.])\s(?=[A-Z`])", text, maxsplit=1)[0]


def renamed(text: str, rename: Callable[[str], str | None]) -> str:
    """Return a comment with names of the contract replaced, where `rename` returns another name for one.

    It is called with each text in backticks, and with each other word in CamelCase, such as the name of an RPC.
    """

    def replaced(found: re.Match[str]) -> str:
        name = found[1] or found[0]
        new = rename(name)
        return found[0] if new is None else f"`{new}`"

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
