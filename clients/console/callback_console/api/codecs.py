"""Messages as JSON and as protobuf.

JSON is that of protobuf (ProtoJSON): lowerCamelCase names, 64-bit integers as strings, bytes as base64, enums as their
names, times as RFC 3339, durations as seconds with an `s`.

1. A response has every field that has no presence, also if it is zero or empty, as the JSON of the command line.
2. An unknown field of a request is refused: it is a misspelled name, or one that this version does not know.
"""

from typing import Any, Final, TypeVar

from connectrpc.code import Code
from connectrpc.codec import Codec
from google.protobuf import json_format
from google.protobuf.message import Message

from callback_console.api.errors import refusal

_M = TypeVar("_M", bound=Message)


class _Json:
    def name(self) -> str:
        return "json"

    def encode(self, message: Message) -> bytes:
        return json_format.MessageToJson(message, always_print_fields_with_no_presence=True).encode()

    def decode(self, data: bytes | bytearray, message_class: type[_M]) -> _M:
        try:
            return json_format.Parse(bytes(data), message_class())
        except Exception as error:  # what a caller sends can fail in any way, such as a number that is too long
            raise refusal(Code.INVALID_ARGUMENT, f"the message is not JSON of this RPC: {error}", _INVALID) from error


class _Proto:
    def name(self) -> str:
        return "proto"

    def encode(self, message: Message) -> bytes:
        return message.SerializeToString()

    def decode(self, data: bytes | bytearray, message_class: type[_M]) -> _M:
        try:
            return message_class.FromString(bytes(data))
        except Exception as error:
            raise refusal(Code.INVALID_ARGUMENT, "the message is not protobuf of this RPC", _INVALID) from error


_INVALID: Final = "INVALID_REQUEST"

CODECS: Final[tuple[Codec[Any, Any], ...]] = (_Json(), _Proto())
"""All codecs, by the end of their media types: `application/json`, `application/connect+proto`."""
