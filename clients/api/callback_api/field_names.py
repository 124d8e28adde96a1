"""Names of fields in errors: the server has those of the contract, and a caller with JSON knows those of JSON.

response.response_headers.headers[0].name   becomes   response.responseHeaders["location"]
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, cast

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from callback.json_form import descriptor
from callback.v1 import (
    audit_service_pb2,
    callback_pb2,
    callbacks_service_pb2,
    operations_service_pb2,
    profiles_service_pb2,
)
from callback.v1.callbacks_service_pb2 import GenerateCallbackUrlsRequest, GenerateCallbackUrlsResponse

_FILES: Final = (callback_pb2, callbacks_service_pb2, operations_service_pb2, audit_service_pb2, profiles_service_pb2)
_HEADERS: Final = callback_pb2.ResponseHeaders.DESCRIPTOR.full_name
_PART: Final = re.compile(r"(\w+)(?:\[(\d+|\"(?:[^\"\\]|\\.)*\")\])?")
"""A part of a path: the name of a field, and an index or a name in JSON."""
_QUOTED_OR_SNAKE_CASE: Final = re.compile(r"\"[^\"]*\"|\b[a-z0-9]+(?:_[a-z0-9]+)+\b")
_NAMES: Final = {
    field.name: field.json_name
    for file in _FILES
    for message in file.DESCRIPTOR.message_types_by_name.values()
    for field in message.fields
}


def in_json_names(status: status_pb2.Status, request: Message) -> status_pb2.Status:
    """Return the status of the server for a request, with the names of JSON in its texts and its bad fields."""
    renamed, message = status_pb2.Status(code=status.code), status.message
    for detail in status.details:
        bad = error_details_pb2.BadRequest()
        if detail.Unpack(bad):
            for each in bad.field_violations:
                path = _json_path(request, each.field)
                message = message.replace(f"{each.field}: ", f"{path}: ") if path else message
                each.field, each.description = path, _in_words(each.description)
            renamed.details.add().Pack(bad)
        else:
            renamed.details.add().CopyFrom(detail)
    renamed.message = _in_words(message)
    return renamed


def rename_problems(response: GenerateCallbackUrlsResponse, request: GenerateCallbackUrlsRequest) -> None:
    """Rename the fields in the problem of each result, which is about one request of the batch."""
    for result, each in zip(response.results, request.requests, strict=True):
        if result.HasField("problem"):
            result.problem.CopyFrom(in_json_names(result.problem, each))


def _json_path(message: Message, path: str) -> str:
    """Return the path of a field in the JSON form of a message. A path that the message does not have is unchanged."""
    try:
        return ".".join(_parts(descriptor(message), message, _PART.finditer(path)))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return path


def _parts(kind: Descriptor, value: Any, parts: Iterable[re.Match[str]]) -> Iterator[str]:
    parts = iter(parts)
    for part in parts:
        field = kind.fields_by_name[part[1]]
        value = getattr(value, field.name)
        if field.message_type is not None and field.message_type.full_name == _HEADERS:
            header = next(parts, None)
            yield field.json_name + (
                f"[{json.dumps(value.headers[int(header[2])].name)}]" if header and header[2] else ""
            )
            return
        yield field.json_name + (f"[{part[2]}]" if part[2] else "")
        if part[2] and part[2].isdigit():
            value = value[int(part[2])]
        kind = cast("Descriptor", field.message_type)


def _in_words(text: str) -> str:
    """Rename the fields in a text, but nothing between quotes: that is the caller's, such as the name of a label."""
    return _QUOTED_OR_SNAKE_CASE.sub(lambda found: _NAMES.get(found[0], found[0]), text)
