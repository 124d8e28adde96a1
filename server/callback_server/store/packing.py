"""How a case's content and a call's request are packed: msgpack arrays, read by position (see the domain's structs).

Bodies are kept apart from the rest, so that a list can be read without them; but for a small one of a response, which
costs less than a key of its own.
"""

from __future__ import annotations

from typing import Final

import msgspec

from callback_server.domain.call import Request
from callback_server.domain.case import CaseEffect, CaseStatus, CloseReason, Fallback, Settings
from callback_server.domain.response import Response

MAX_INLINE_BODY_BYTES: Final = 1024
"""Up to how many bytes the body of a response is a small one."""
_encode = msgspec.msgpack.Encoder().encode
_decode_content = msgspec.msgpack.Decoder(tuple[Settings, Response]).decode
_decode_fallback = msgspec.msgpack.Decoder(Fallback).decode
_decode_answer = msgspec.msgpack.Decoder(Response).decode
_decode_request = msgspec.msgpack.Decoder(Request).decode


def pack_content(settings: Settings, response: Response) -> tuple[bytes, bytes]:
    """A case's settings and response, and the response's body if it is kept apart."""
    body = response.body or b""
    inside, apart = (None, body) if len(body) > MAX_INLINE_BODY_BYTES else (body or None, b"")
    return _encode((settings, msgspec.structs.replace(response, body=inside))), apart


def unpack_content(content: bytes, body: bytes | None) -> tuple[Settings, Response]:
    """What :func:`pack_content` packed. A body that is not kept apart stands in `content`; None: it is left out."""
    settings, response = _decode_content(content)
    return settings, response if body == b"" else msgspec.structs.replace(response, body=body)


def unpack_effect(made: bytes) -> CaseEffect | None:
    """What the scripts say in one word: OPEN, or why the case is closed; nothing if it is as it was."""
    if not made:
        return None
    if made == b"OPEN":
        return CaseEffect(CaseStatus.OPEN)
    return CaseEffect(CaseStatus.CLOSED, CloseReason(made.decode()))


def pack_fallback(fallback: Fallback) -> bytes:
    """What a caller gets at the answer deadline, with its body: it is read where it is needed."""
    return _encode(fallback)


def unpack_fallback(packed: bytes) -> Fallback:
    """What :func:`pack_way_out` packed."""
    return _decode_fallback(packed)


def pack_answer(answer: Response) -> bytes:
    """What a held call was answered, whole."""
    return _encode(answer)


def unpack_answer(packed: bytes) -> Response:
    """What :func:`pack_answer` packed."""
    return _decode_answer(packed)


def pack_request(request: Request) -> tuple[bytes, bytes]:
    """A request, and its body."""
    return _encode(msgspec.structs.replace(request, body=b"") if request.body else request), request.body


def unpack_request(request: bytes, body: bytes) -> Request:
    """What :func:`pack_request` packed."""
    return msgspec.structs.replace(_decode_request(request), body=body)
