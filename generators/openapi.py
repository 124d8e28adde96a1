"""The OpenAPI document of the services as JSON over HTTP, made from the contract.

The document says what the contract says: each RPC, message, field and enum has its comment, in which the default and
the bounds of a field stand. A field of a request whose comment says `Required` is required.
"""

from typing import Any, Final

from generators.contract import Contract, Enum, Field, Message, Method, first_sentence

SERVICES: Final = ("CallbacksService", "OperationsService", "AuditService")
"""The services that the API serves."""
_REASON_PREFIX: Final = "ERROR_REASON_"
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
    "Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$", "examples": ["90s"]},
    "FieldMask": {"type": "string", "examples": ["responseCode,responseBody"]},
    "Timestamp": {"type": "string", "format": "date-time"},
}
_SCALARS: Final[dict[str, _Json]] = {
    "bool": {"type": "boolean"},
    "bytes": {"type": "string", "contentEncoding": "base64"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "string", "pattern": "^-?[0-9]+$"},
    "string": {"type": "string"},
}
"""Schemas of the types that the contract uses."""
_MEDIA_TYPE: Final = "application/json"
_BINARY: Final[_Json] = {"schema": {"type": "string", "format": "binary"}}


def openapi(contract: Contract) -> _Json:
    """Return the document."""
    services = [contract.services[name] for name in SERVICES]
    methods = [method for service in services for method in service.methods]
    used = contract.reachable(*(each.name for method in methods for each in (method.request, method.response)))
    schemas = {
        name: _enum_schema(contract.enums[name]) if name in contract.enums else _message_schema(contract.messages[name])
        for name in used
    }
    schemas |= {"ErrorReason": _reasons_schema(contract), "Error": _error(), **_error_parts()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Callback", "version": "v1", "description": _DESCRIPTION},
        "security": [{"bearer": []}, {}],
        "paths": {f"/callback.v1.{each.service}/{each.name}": {"post": _operation(each)} for each in methods},
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


def _ref(name: str) -> _Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _operation(method: Method) -> _Json:
    def content(message: Message) -> _Json:
        if method.is_response_stream:
            return {"application/connect+json": _BINARY}
        return {_MEDIA_TYPE: {"schema": _ref(message.name)}}

    timeout = {"type": "integer", "minimum": 0, "maximum": 9_999_999_999}
    return {
        "operationId": method.name,
        "tags": [method.service],
        "summary": first_sentence(method.comment),
        "description": method.comment + (_STREAM if method.is_response_stream else ""),
        "parameters": [
            {
                "name": "Connect-Timeout-Ms",
                "in": "header",
                "description": "Time limit in milliseconds.",
                "schema": timeout,
            }
        ],
        "requestBody": {"required": True, "content": content(method.request)},
        "responses": {
            "200": {"description": f"A `{method.response.name}`.", "content": content(method.response)},
            "default": {"description": "An error.", "content": {_MEDIA_TYPE: {"schema": _ref("Error")}}},
        },
    }


def _message_schema(message: Message) -> _Json:
    properties = {each.json_name: {**_field_schema(each), "description": each.comment} for each in message.fields}
    schema = {"type": "object", "description": message.comment, "properties": properties}
    required = [each.json_name for each in message.fields if each.is_required]
    return schema | ({"required": required} if required else {})


def _field_schema(field: Field) -> _Json:
    value = _SCALARS.get(field.type) or _WELL_KNOWN.get(field.type) or _ref(field.type)
    if field.kind == "map":
        return {"type": "object", "additionalProperties": value}
    return {"type": "array", "items": value} if field.is_repeated else value


def _enum_schema(enum: Enum) -> _Json:
    lines = [enum.comment, "", *(f"- {each.comment}" for each in enum.values)]
    return {"type": "string", "enum": [each.name for each in enum.values], "description": "\n".join(lines)}


def _reasons_schema(contract: Contract) -> _Json:
    words = [each.word for each in contract.reasons]
    prefix = contract.reasons[0].name.removesuffix(words[0])
    lines = [f"- {each.comment.removeprefix(prefix)}" for each in contract.reasons]
    description = "\n".join([contract.enums["ErrorReason"].comment, "", *lines])
    return {"type": "string", "enum": words, "description": description}


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
