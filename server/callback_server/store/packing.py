"""Packing of the content of a case and the request of a call: msgpack arrays, read by position (see the domain).

Bodies are stored apart from the rest, so that a list can be read without them. A small body of a response is stored
inside the content, because it costs less there than a key of its own.
"""

from __future__ import annotations

from typing import Final

import msgspec

from callback_server.domain.call import Request
from callback_server.domain.case import CaseEffect, CaseStatus, CloseReason, Fallback, Settings
from callback_server.domain.response import Response, code_alone, complete

MAX_INLINE_BODY_BYTES: Final = 1024
"""The largest body of a response that is stored inside the content, in bytes."""
pack = msgspec.msgpack.Encoder().encode
"""Packs a fallback or a response, with its body."""
unpack_fallback = msgspec.msgpack.Decoder(Fallback).decode
unpack_response = msgspec.msgpack.Decoder(Response).decode
_decode_content = msgspec.msgpack.Decoder(tuple[Settings, Response]).decode
_decode_request = msgspec.msgpack.Decoder(Request).decode


def pack_content(settings: Settings, response: Response) -> tuple[bytes, bytes]:
    """Return the packed settings and response of a case, and the body if it is stored apart."""
    body = response.body or b""
    inside, apart = (None, body) if len(body) > MAX_INLINE_BODY_BYTES else (body or None, b"")
    if inside != response.body:
        response = msgspec.structs.replace(response, body=inside)
    return pack((settings, response)), apart


def unpack_content(content: bytes, body: bytes | None) -> tuple[Settings, Response]:
    """Return what :func:`pack_content` packed. `body` is empty if it is inside `content`, and None to leave it out."""
    settings, response = _decode_content(content)
    return settings, response if body == b"" else msgspec.structs.replace(response, body=body)


def stored_code(response: Response) -> str:
    """Return the status code of the response of a case as it is stored: empty for 200, 0 for a redirect."""
    code = code_alone(response)
    return "" if code == 200 else str(code or 0)


def unpack_effect(effect: bytes) -> CaseEffect | None:
    """Return the effect that a script names in one word: OPEN, or a close reason. Empty: the case is as it was."""
    if not effect:
        return None
    if effect == b"OPEN":
        return CaseEffect(CaseStatus.OPEN)
    return CaseEffect(CaseStatus.CLOSED, CloseReason(effect.decode()))


def pack_both(response: Response, recorded: Response) -> tuple[bytes, bytes, bytes, bytes]:
    """Return what :func:`pack_content` makes of what is recorded of an answer, and of the whole answer.

    The latter is empty if all of it is recorded.
    """
    whole = pack_content(Settings(), response) if recorded != response else (b"", b"")
    return *pack_content(Settings(), recorded), *whole


def unpack_answer(packed: bytes, platform_url: str = "") -> Response:
    """Return a whole answer, as a script has kept it.

    It is what :func:`pack_content` returned, behind the length of its first part. `platform_url` is the base of a
    `/path` in it.
    """
    size, _, content = packed.partition(b":")
    _, answer = unpack_content(content[: int(size)], content[int(size) :])
    return complete(answer, platform_url=platform_url)


def pack_request(request: Request) -> tuple[bytes, bytes]:
    """Return the packed request, and its body."""
    return pack(msgspec.structs.replace(request, body=b"") if request.body else request), request.body


def unpack_request(request: bytes, body: bytes) -> Request:
    """Return what :func:`pack_request` packed."""
    return msgspec.structs.replace(_decode_request(request), body=body)
