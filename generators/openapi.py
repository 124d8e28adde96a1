"""The OpenAPI document of the services as JSON over HTTP, made from the contract.

The document says what the contract says: each RPC, message, field and enum has its comment, in which the default and
the bounds of a field stand. Messages are in the form of `callback.json_form`:

1. A field of a request is required if its comment says `Required`; one of a message that only responses have, if it is
   always present.
2. A field of bytes has two properties: text, and base64 for other bytes.
3. Header fields and queries are objects. The fields of their elements are in the description.
"""

from collections.abc import Sequence
from typing import Any, Final

import grpc

from generators.contract import Contract, Enum, Field, Message, Method, first_sentence

_Json = dict[str, Any]

_DESCRIPTION: Final = """\
Every RPC of the contract by the [Connect protocol](https://connectrpc.com/docs/protocol): a POST with a message as
JSON. Times are RFC 3339, durations are seconds with an `s`, as in `90s`. A body is text if it is UTF-8, else base64
under the name with the suffix `Base64`. Header fields and queries are objects; a repeated name has a list. An unknown
field of a request is refused. Ignore one of a response: a later version can have more.

The status of an error belongs to its code, and its first detail has the reason, one of `ErrorReason`."""
_STREAM: Final = """

The request is one message, and the response a stream of messages, each in an envelope: a byte of flags, the length in
four bytes, the message. The last envelope has the flag 2, and `{}` or `{"error": …}` as JSON."""
_WELL_KNOWN: Final[dict[str, _Json]] = {
    "Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$", "examples": ["90s"]},
    "FieldMask": {"type": "string", "examples": ["responseCode,responseBody"]},
    "Status": {"$ref": "#/components/schemas/Status"},
    "Timestamp": {"type": "string", "format": "date-time"},
}
_SCALARS: Final[dict[str, _Json]] = {
    "bool": {"type": "boolean"},
    "bytes": {"type": "string"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "string": {"type": "string"},
}
"""Schemas of the types that the contract uses."""
_PAIRS: Final = {
    "Header": ("RequestHeaders", "Header"),
    "QueryParameter": ("Query", "QueryParameter"),
    "ResponseHeaders": ("ResponseHeaders", "ResponseHeader"),
}
"""Types of fields that are an object in JSON: the name of its schema, and the message of a name and its value."""
_MEDIA_TYPE: Final = "application/json"
_BINARY: Final[_Json] = {"schema": {"type": "string", "format": "binary"}}


def openapi(contract: Contract) -> _Json:
    """Return the document."""
    methods = contract.methods
    given = contract.reachable(*(each.request.name for each in methods))
    returned = contract.reachable(*(each.response.name for each in methods))
    of_pairs = {*_PAIRS, *(element for _, element in _PAIRS.values())}
    schemas = {"ErrorReason": _enum_schema(contract.enums["ErrorReason"]), **_error_parts()}
    schemas |= {name: _pairs_schema(contract.messages[element]) for name, element in _PAIRS.values()}
    for name in dict.fromkeys((*given, *returned)):
        if name in contract.enums:
            schemas[name] = _enum_schema(contract.enums[name], can_be_unknown=name in returned)
        elif name not in of_pairs:
            schemas[name] = _message_schema(contract.messages[name], is_given=name in given)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Callback", "version": "v1", "description": _DESCRIPTION},
        "servers": [
            {"url": "/", "description": "The console that serves this document."},
            {"url": "http://127.0.0.1:8083", "description": "`callback up` on this machine."},
        ],
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
        "description": f"{method.comment} Fails with {', '.join(method.reasons)}."
        + (_STREAM if method.is_response_stream else ""),
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


def _message_schema(message: Message, *, is_given: bool) -> _Json:
    properties = {}
    for field in message.fields:
        properties[field.json_name] = {**_field_schema(field), "description": field.comment}
        if field.type == "bytes":
            description = f"`{field.json_name}` in base64, if it is not UTF-8."
            in_base64 = {"type": "string", "contentEncoding": "base64", "description": description}
            properties[f"{field.json_name}Base64"] = in_base64
    required = [each.json_name for each in message.fields if (each.is_required if is_given else _is_always_there(each))]
    schema = {"type": "object", "description": message.comment, "properties": properties}
    return schema | ({"required": required} if required else {})


def _is_always_there(field: Field) -> bool:
    """Return whether the JSON of a response always has a field."""
    return field.type != "bytes" and not field.may_be_absent


def _field_schema(field: Field) -> _Json:
    if field.type in _PAIRS:
        return _ref(_PAIRS[field.type][0])
    value = _SCALARS.get(field.type) or _WELL_KNOWN.get(field.type) or _ref(field.type)
    if field.kind == "map":
        return {"type": "object", "additionalProperties": value}
    return {"type": "array", "items": value} if field.is_repeated else value


def _pairs_schema(element: Message) -> _Json:
    texts = {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    comments = (each.comment for each in element.fields)
    description = " ".join(["A value by name, or a list of the values of a repeated name.", *comments])
    return {"type": "object", "additionalProperties": texts, "description": description}


def _enum_schema(enum: Enum, *, can_be_unknown: bool = False) -> _Json:
    words = {each.word: each.comment.removeprefix(each.name.removesuffix(each.word)) for each in enum.words}
    if can_be_unknown:
        words["UNKNOWN"] = "UNKNOWN: not set, or a value that only a later version knows. No request can have it."
    lines = [enum.comment, "", *(f"- {each}" for each in words.values())]
    return {"type": "string", "enum": list(words), "description": "\n".join(lines)}


def _object(description: str, required: Sequence[str], **properties: _Json) -> _Json:
    return {"type": "object", "description": description, "properties": properties, "required": required}


def _text(description: str, **more: object) -> _Json:
    return {"type": "string", **more, "description": description}


def _error_parts() -> _Json:
    # Codes of the Connect protocol: https://connectrpc.com/docs/protocol#error-codes.
    codes = [each.name.lower().replace("cancelled", "canceled") for each in grpc.StatusCode if each.value[0]]
    return {
        "Error": _object(
            "An error.",
            ["code", "message"],
            code=_text("The gRPC code, in lower case.", enum=codes),
            message=_text("A sentence for people."),
            details={"type": "array", "items": _ref("ErrorDetail")},
        ),
        "ErrorDetail": _object(
            "A part of an error: `google.rpc.ErrorInfo` with the reason, `google.rpc.BadRequest` with the fields that"
            " are wrong, `google.rpc.RetryInfo`, or `callback.v1.Prompt`.",
            ["type", "value"],
            type=_text("The name of its message.", examples=["google.rpc.ErrorInfo"]),
            value=_text("The message as protobuf, in base64 without padding.", contentEncoding="base64"),
            debug={
                "type": "object",
                "additionalProperties": True,
                "description": "The message as JSON. Of an ErrorInfo it is an `ErrorInfo`.",
            },
        ),
        "Status": _object(
            "An error as a part of a message: `google.rpc.Status`.",
            ["code", "message"],
            code={"type": "integer", "description": "The number of the gRPC code."},
            message=_text("A sentence for people."),
            details={
                "type": "array",
                "items": {"type": "object", "additionalProperties": True},
                "description": "The parts of the error. `@type` of each ends with the name of its message, as in"
                " `type.googleapis.com/google.rpc.ErrorInfo`, and the others are its fields: those of an `ErrorInfo`.",
            },
        ),
        "ErrorInfo": _object(
            "The reason of an error.",
            ["reason", "domain"],
            reason=_ref("ErrorReason"),
            domain=_text("Always `callback`."),
            metadata={"type": "object", "additionalProperties": {"type": "string"}},
        ),
    }
