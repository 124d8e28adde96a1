"""Fields of multipart forms (RFC 7578), for the edge and the server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_TYPE: Final = re.compile(
    rb'multipart/form-data[ \t]*;(?:[^"]*;)?[ \t]*boundary=(?:"([^"\\]{1,70})"|([^"\\; \t]{1,70}))[ \t]*(?:;.*)?',
    re.IGNORECASE,
)
"""The media type of a multipart form, with its boundary."""
_FIELD: Final = re.compile(
    rb'[ \t]*\r\n(?:.*\r\n)?(?i:content-disposition):[ \t]*(?i:form-data;[ \t]*name)="([^"\r\n]*)"[ \t]*(?:\r\n.*)?',
    re.DOTALL,
)
"""The head of a part that is a field, with its name."""
_MAX_PARTS: Final = 1000
"""How many parts of a form are looked at: each costs some microseconds."""


def boundary_of(content_type: bytes) -> bytes | None:
    """Return the boundary of a multipart form, or None if the content type is another one."""
    found = _TYPE.fullmatch(content_type)
    return found and (found[1] or found[2])


def fields(boundary: bytes, body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and value of each field among the first 1,000 parts of a form. A file is no field."""
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary, _MAX_PARTS)[1:_MAX_PARTS]:
        head, _, value = part.partition(b"\r\n\r\n")
        if field := _FIELD.fullmatch(head):
            yield field[1], value
