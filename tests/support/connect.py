"""Connect protocol: https://connectrpc.com/docs/protocol. Written from its specification, for tests of the API."""

import base64
import json
from dataclasses import dataclass

PATH = "/callback.v1.CallbacksService/"

HTTP_STATUS = {
    "canceled": 499, "unknown": 500, "invalid_argument": 400, "deadline_exceeded": 504, "not_found": 404,
    "already_exists": 409, "permission_denied": 403, "resource_exhausted": 429, "failed_precondition": 400,
    "aborted": 409, "out_of_range": 400, "unimplemented": 501, "internal": 500, "unavailable": 503, "data_loss": 500,
    "unauthenticated": 401,
}  # fmt: skip
"""HTTP status of each code of an error."""


@dataclass
class Envelope:
    """A part of a stream."""

    is_end: bool
    data: bytes

    @property
    def json(self):
        return json.loads(self.data)


def envelope(message):
    """Return the envelope of a message."""
    return b"\0" + len(message).to_bytes(4, "big") + message


async def envelopes(answer):
    """Yield the envelopes of a streamed answer of httpx."""
    buffer = b""
    async for chunk in answer.aiter_bytes():
        buffer += chunk
        while len(buffer) >= 5 and len(buffer) >= 5 + (length := int.from_bytes(buffer[1:5], "big")):
            assert buffer[0] in (0, 2), "not compressed"
            yield Envelope(buffer[0] == 2, buffer[5 : 5 + length])
            buffer = buffer[5 + length :]
    assert buffer == b""


def reason(error):
    """Return the reason of an error, which its first detail says as protobuf and as JSON."""
    (detail,) = [each for each in error["details"] if each["type"] == "google.rpc.ErrorInfo"]
    assert "=" not in detail["value"]
    value = base64.b64decode(detail["value"] + "===")
    assert detail["debug"]["reason"].encode() in value
    return detail["debug"]["reason"]
