"""Messages as JSON and as protobuf.

1. JSON is the form that the command line and the Python client have too: `callback.json_form`.
2. An unknown field of a request is refused: it is a misspelled name, or one that this version does not know.
3. connectrpc converts and decompresses messages on the event loop, where a large one would make everything else wait.
   So its codecs and its compression leave them as they are, and `Forwarding` converts a request and its response.
4. A compressed message is one member of gzip (RFC 1952): each further one costs as much as many bytes.
"""

import json
import re
import zlib
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

from connectrpc.code import Code
from connectrpc.codec import Codec
from connectrpc.compression import Compression
from connectrpc.errors import ConnectError
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from google.rpc import status_pb2

from callback.json_form import from_json, to_json
from callback.v1.callbacks_service_pb2 import GenerateCallbackUrlsRequest, GenerateCallbackUrlsResponse
from callback_api.errors import refusal
from callback_api.field_names import in_json_names, rename_problems
from callback_shared.wire_fields import has_too_many_fields

MAX_BODY_BYTES: Final = 6 * 1024 * 1024
"""Largest message of a request, decompressed. Three bodies of 1 MiB in base64, the most that an RPC takes, are 4 MiB.
Text with many control characters is larger than its base64."""
MAX_VALUES: Final = 20_000
"""Maximum number of commas between the values of a JSON message. Parsing holds the interpreter for a time that grows
with their number. A batch of 500 requests has fewer unless each has more than 40."""
_TEXT: Final = re.compile(rb'"[^"]*"?')
"""A text of JSON without escapes, such as a body with commas. It has no end where the message is not JSON."""
_INVALID: Final = "INVALID_REQUEST"
_GZIP_WBITS: Final = 31
"""zlib's number for gzip alone."""


class Format(Protocol):
    """A format of messages."""

    def parse(self, data: bytes, message_class: type[Message]) -> Message:
        """Return a message. Raises ConnectError."""

    def format(self, request: Message, response: Message) -> bytes:
        """Return the response to a request in this format."""

    def refused(self, request: Message, status: status_pb2.Status) -> status_pb2.Status:
        """Return the status of the server for a request, with the names of fields in this format."""


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came."""

    data: bytes
    message_class: type[Message]
    format: Format
    """Its format, which is that of the response too."""

    @property
    def max_size(self) -> int:
        """Greatest size that it has decompressed, in bytes."""
        return MAX_BODY_BYTES if isinstance(self.data, _Compressed) else len(self.data)

    def message(self) -> Message:
        """Return the request. Raises ConnectError."""
        data = _decompressed(self.data) if isinstance(self.data, _Compressed) else self.data
        return self.format.parse(data, self.message_class)


class _Compressed(bytes):
    """Bytes that gzip has compressed."""


def _decompressed(data: bytes) -> bytes:
    """Return the content of one member of gzip. Raises ConnectError."""
    member = zlib.decompressobj(_GZIP_WBITS)
    try:
        content = member.decompress(data, MAX_BODY_BYTES + 1)
    except zlib.error as error:
        raise refusal(Code.INVALID_ARGUMENT, "the message is not gzip", _INVALID) from error
    if len(content) > MAX_BODY_BYTES:
        raise ConnectError(Code.RESOURCE_EXHAUSTED, f"the message has more than {MAX_BODY_BYTES} bytes")
    if not member.eof or member.unused_data:
        raise refusal(Code.INVALID_ARGUMENT, "the message is not one member of gzip", _INVALID)
    return content


class _Gzip(Compression):
    """Compression of connectrpc that leaves requests as they are. No response is compressed."""

    def name(self) -> str:
        return "gzip"

    def compress(self, data: bytes | bytearray | memoryview) -> bytes:
        raise NotImplementedError

    def decompress(self, data: bytes | bytearray | memoryview, read_max_bytes: int | None = None) -> bytes:
        return _Compressed(data)


GZIP: Final = _Gzip()


def _too_many_values() -> ConnectError:
    return refusal(Code.INVALID_ARGUMENT, "the message has more values than a request of any RPC", _INVALID)


def _has_too_many_values(data: bytes) -> bool:
    """Return whether a message of JSON, with many commas, has too many values. No step depends on what they are."""
    data = data.replace(rb"\\", b"").replace(rb"\"", b"")  # now each quote begins or ends a text
    if data.count(b'"') > 4 * MAX_VALUES:  # a value has two texts at most: its name and itself
        return True
    return _TEXT.sub(b"", data).count(b",") > MAX_VALUES


class _Json:
    def parse(self, data: bytes, message_class: type[Message]) -> Message:
        if data.count(b",") > MAX_VALUES and _has_too_many_values(data):
            raise _too_many_values()
        try:
            content = json.loads(data)
        except Exception as error:  # it can fail in any way, such as by a number that is too long, or by its depth
            where = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
            raise refusal(Code.INVALID_ARGUMENT, f"the message is not JSON{where}", _INVALID) from error
        try:
            return from_json(content, message_class())
        except (RecursionError, ValueError) as error:
            problem = error if isinstance(error, ValueError) else "it is too deep"
            raise refusal(Code.INVALID_ARGUMENT, f"the message is not valid: {problem}", _INVALID) from error

    def format(self, request: Message, response: Message) -> bytes:
        if isinstance(response, GenerateCallbackUrlsResponse):
            rename_problems(response, cast("GenerateCallbackUrlsRequest", request))
        return json.dumps(to_json(response), indent=2, ensure_ascii=False).encode()

    def refused(self, request: Message, status: status_pb2.Status) -> status_pb2.Status:
        return in_json_names(status, request)


class _Proto:
    def parse(self, data: bytes, message_class: type[Message]) -> Message:
        if has_too_many_fields(data, cast("Descriptor", message_class.DESCRIPTOR)):
            raise _too_many_values()
        try:
            return message_class.FromString(data)
        except Exception as error:
            raise refusal(Code.INVALID_ARGUMENT, "the message is not protobuf of this RPC", _INVALID) from error

    def format(self, _request: Message, response: Message) -> bytes:
        return response.SerializeToString()

    def refused(self, _request: Message, status: status_pb2.Status) -> status_pb2.Status:
        return status


class _Unconverted:
    """Codec of connectrpc that leaves messages as they are."""

    def __init__(self, name: str, message_format: Format) -> None:
        self._name = name
        self._format = message_format

    def name(self) -> str:
        return self._name

    def encode(self, message: bytes) -> bytes:
        return message

    def decode(self, data: bytes | bytearray, message_class: type[Any]) -> Any:
        return Received(data if isinstance(data, bytes) else bytes(data), message_class, self._format)


CODECS: Final[tuple[Codec[Any, Any], ...]] = (_Unconverted("json", _Json()), _Unconverted("proto", _Proto()))
"""All codecs, by the end of their media types: `application/json`, `application/connect+proto`."""
