"""The OpenAPI document of `CallbacksService` as JSON over HTTP, made from the descriptors of the contract.

The document says what the contract says: each RPC, message, field and enum has its comment, in which the default and
the bounds of a field stand. A field of a request whose comment says `Required` is required.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
)

from generators.contract import ContractFile

_SERVICE: Final = "CallbacksService"
_REASON_PREFIX: Final = "ERROR_REASON_"
_REQUIRED: Final = re.compile(r"\bRequired[.,]")
_CODES: Final = (
    "canceled",
    "unknown",
    "invalid_argument",
    "deadline_exceeded",
    "not_found",
    "already_exists",
    "permission_denied",
    "resource_exhausted",
    "failed_precondition",
    "aborted",
    "out_of_range",
    "unimplemented",
    "internal",
    "unavailable",
    "data_loss",
    "unauthenticated",
)
"""Codes of errors of the Connect protocol: https://connectrpc.com/docs/protocol#error-codes."""

_Json = dict[str, Any]

_DESCRIPTION: Final = """\
Every RPC of the contract by the [Connect protocol](https://connectrpc.com/docs/protocol): a POST with a message as
JSON. It is the JSON of protobuf: 64-bit integers are strings, bytes are base64, enums are their names, times
are RFC 3339, durations are seconds with an `s`, as in `90s`. An unknown field of a request is refused. Ignore one of a
response: a later version can have more.

The status of an error belongs to its code, and its first detail has the reason, one of `ErrorReason`."""
_STREAM: Final = """

The request is one message, and the response a stream of messages, each in an envelope: a byte of flags, the length in
four bytes, the message. The last envelope has the flag 2, and `{}` or `{"error": …}` as JSON."""
_WELL_KNOWN: Final[dict[str, _Json]] = {
    ".google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$", "examples": ["90s"]},
    ".google.protobuf.FieldMask": {"type": "string", "examples": ["responseCode,responseBody"]},
    ".google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
}
_SCALARS: Final[dict["FieldDescriptorProto.Type.ValueType", _Json]] = {
    FieldDescriptorProto.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptorProto.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    FieldDescriptorProto.TYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptorProto.TYPE_INT64: {"type": "string", "pattern": "^-?[0-9]+$"},
    FieldDescriptorProto.TYPE_STRING: {"type": "string"},
}
"""Schemas of the types that the contract uses."""
_MEDIA_TYPE: Final = "application/json"
_BINARY: Final[_Json] = {"schema": {"type": "string", "format": "binary"}}


def openapi(contract: FileDescriptorSet) -> _Json:
    """Return the document.

    Args:
        contract: The files of the contract, with their comments.
    """
    files = [ContractFile(file) for file in contract.file if file.package == "callback.v1"]
    messages = {f".{file.package}.{message.name}": (file, message) for file in files for message in file.messages}
    enums = {f".{file.package}.{enum.name}": (file, enum) for file in files for enum in file.enums}
    (of_service,) = (file for file in files if _SERVICE in file.service_names)
    (service,) = (each for each in of_service.descriptor.service if each.name == _SERVICE)
    schemas: _Json = {}
    waiting = [name for method in service.method for name in (method.input_type, method.output_type)]
    while waiting:
        name = waiting.pop(0)
        if _short(name) in schemas:
            continue
        if name in enums:
            schemas[_short(name)] = _enum_schema(*enums[name])
            continue
        schemas[_short(name)], used = _message_schema(*messages[name])
        waiting += used
    (reasons,) = (enum for name, enum in enums.items() if _short(name) == "ErrorReason")
    schemas |= {"ErrorReason": _enum_schema(*reasons, prefix=_REASON_PREFIX), "Error": _error(), **_error_parts()}
    paths = {
        f"/callback.v1.{_SERVICE}/{method.name}": {"post": _operation(of_service, index, method)}
        for index, method in enumerate(service.method)
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Callback", "version": "v1", "description": _DESCRIPTION},
        "security": [{"bearer": []}, {}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of a principal. None where the server has no principals.",
                }
            },
        },
    }


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _ref(name: str) -> _Json:
    return {"$ref": f"#/components/schemas/{_short(name)}"}


def _operation(file: ContractFile, index: int, method: MethodDescriptorProto) -> _Json:
    comment = file.comment(6, 0, 2, index)

    def content(message: str) -> _Json:
        if method.server_streaming:
            return {"application/connect+json": _BINARY}
        return {_MEDIA_TYPE: {"schema": _ref(message)}}

    timeout = {"type": "integer", "minimum": 0, "maximum": 9_999_999_999}
    return {
        "operationId": method.name,
        "tags": [_SERVICE],
        "summary": f"{comment.partition('. ')[0].removesuffix('.')}.",
        "description": comment + (_STREAM if method.server_streaming else ""),
        "parameters": [
            {
                "name": "Connect-Timeout-Ms",
                "in": "header",
                "description": "Time limit in milliseconds.",
                "schema": timeout,
            }
        ],
        "requestBody": {"required": True, "content": content(method.input_type)},
        "responses": {
            "200": {"description": f"A `{_short(method.output_type)}`.", "content": content(method.output_type)},
            "default": {"description": "An error.", "content": {_MEDIA_TYPE: {"schema": _ref("Error")}}},
        },
    }


def _message_schema(file: ContractFile, message: DescriptorProto) -> tuple[_Json, list[str]]:
    """Return the schema of a message, and the names of the messages and enums that it uses."""
    place = file.index(message)
    entries = {f".{file.package}.{message.name}.{each.name}": each for each in message.nested_type}
    properties: _Json = {}
    required = []
    for index, field in enumerate(message.field):
        comment = file.comment(4, place, 2, index)
        entry = entries.get(field.type_name)
        schema = _map_schema(entry) if entry else _field_schema(field)
        properties[field.json_name] = {**schema, "description": comment}
        if _REQUIRED.search(comment):
            required.append(field.json_name)
    schema = {"type": "object", "description": file.comment(4, place), "properties": properties}
    used = [field.type_name for field in message.field if field.type_name not in {"", *entries, *_WELL_KNOWN}]
    return schema | ({"required": required} if required else {}), used


def _map_schema(entry: DescriptorProto) -> _Json:
    return {"type": "object", "additionalProperties": _value_schema(entry.field[1])}


def _field_schema(field: FieldDescriptorProto) -> _Json:
    value = _value_schema(field)
    return {"type": "array", "items": value} if field.label == field.LABEL_REPEATED else value


def _value_schema(field: FieldDescriptorProto) -> _Json:
    if not field.type_name:
        return _SCALARS[field.type]
    return _WELL_KNOWN.get(field.type_name) or _ref(field.type_name)


def _enum_schema(file: ContractFile, enum: EnumDescriptorProto, prefix: str = "") -> _Json:
    place = file.index(enum)
    values = [each.name.removeprefix(prefix) for each in enum.value if not (prefix and each.number == 0)]
    return {
        "type": "string",
        "enum": values,
        "description": "\n".join([file.comment(5, place), "", *_enum_lines(file, enum, place, prefix)]),
    }


def _enum_lines(file: ContractFile, enum: EnumDescriptorProto, place: int, prefix: str) -> Iterator[str]:
    for index, value in enumerate(enum.value):
        if not (prefix and value.number == 0):
            yield f"- {file.comment(5, place, 2, index).removeprefix(prefix)}"


def _error() -> _Json:
    return {
        "type": "object",
        "description": "An error.",
        "properties": {
            "code": {"type": "string", "enum": list(_CODES), "description": "The gRPC code, in lower case."},
            "message": {"type": "string", "description": "A sentence for people."},
            "details": {"type": "array", "items": _ref("ErrorDetail")},
        },
        "required": ["code", "message"],
    }


def _error_parts() -> _Json:
    return {
        "ErrorDetail": {
            "type": "object",
            "description": "A part of an error: `google.rpc.ErrorInfo` with the reason, `google.rpc.BadRequest` with"
            " the fields that are wrong, `google.rpc.RetryInfo`, or `callback.v1.Prompt`.",
            "properties": {
                "type": {
                    "type": "string",
                    "description": "The name of its message.",
                    "examples": ["google.rpc.ErrorInfo"],
                },
                "value": {
                    "type": "string",
                    "contentEncoding": "base64",
                    "description": "The message as protobuf, in base64 without padding.",
                },
                "debug": {
                    "type": "object",
                    "additionalProperties": True,
                    "description": "The message as JSON. Of an ErrorInfo it is an `ErrorInfo`.",
                },
            },
            "required": ["type", "value"],
        },
        "ErrorInfo": {
            "type": "object",
            "description": "The reason of an error.",
            "properties": {
                "reason": _ref("ErrorReason"),
                "domain": {"type": "string", "description": "Always `callback`."},
                "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
            },
            "required": ["reason", "domain"],
        },
    }
