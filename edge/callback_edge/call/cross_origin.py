"""Requests of pages of other origins: of their scripts, by the CORS protocol of the Fetch standard, and frames. Pure.

1. A browser lets such a script read an answer only if the answer names the origin of the page. Before a request that no
   form could make, it asks for permission first: a preflight, which is no call.
2. A case has the origins that are allowed. The answers of a case without any are as its handler made them.
3. The credentials of the browser are never allowed. They would be those of all callbacks on this host.
4. A case also has the origins whose frames can show it. The pages of the edge can be in no other frame.
"""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from callback_process.http.answer import HttpAnswer

_ANY: Final = "*"
_PERMISSIONS: Final = "access-control-allow-"
"""The start of the names of the fields that a handler cannot set on such a case: its case decides."""
_EXPOSED: Final = "location, retry-after"
"""The fields that a script needs of a caller that is told to wait, beside those that it can always read."""
_REQUEST_HEADERS: Final = "*, authorization"
"""The star stands for every other field."""
_MAX_AGE_S: Final = 600
"""How long a browser uses a permission, in seconds. The allowed origins of a case never change."""

_FRAMES: Final = frozenset((b"iframe", b"frame", b"embed", b"object"))
"""The values of `Sec-Fetch-Dest` of frames."""

_Headers = Sequence[tuple[bytes, bytes]]
"""Headers of a request, with names in lower case."""


def is_of_script(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether the request can be that of a script on a page of another origin."""
    return b"origin" in headers and headers.get(b"sec-fetch-mode", b"").strip().lower() != b"navigate"


def is_preflight(method: str, headers: _Headers) -> bool:
    """Return whether a browser asks whether a script may make a request."""
    fields = dict(headers)
    return method == "OPTIONS" and b"origin" in fields and b"access-control-request-method" in fields


def is_in_frame(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether a browser asks for the content of a frame."""
    return _destination(headers) in _FRAMES


def may_be_in_frame(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether a browser can have asked for the content of a frame: it does so, or does not say for what."""
    return _destination(headers) in (b"", *_FRAMES)


def _destination(headers: Mapping[bytes, bytes]) -> bytes:
    return headers.get(b"sec-fetch-dest", b"").strip().lower()


def permission(allowed: Collection[str], headers: _Headers, methods: Sequence[str]) -> list[tuple[str, str]]:
    """Return the fields that answer a preflight. Empty: no script of its origin may make a request.

    Args:
        allowed: The allowed origins.
        headers: Headers of the preflight.
        methods: The methods that a request can have.
    """
    if not (origin := _allowed_origin(allowed, headers)):
        return []
    return [
        ("access-control-allow-origin", origin),
        ("access-control-allow-methods", ", ".join(methods)),
        ("access-control-allow-headers", _REQUEST_HEADERS),
        ("access-control-max-age", str(_MAX_AGE_S)),
    ]


def shared(answer: HttpAnswer, allowed: Collection[str], headers: _Headers) -> HttpAnswer:
    """Return the answer as a script of an allowed origin can read it.

    Args:
        answer: The answer.
        allowed: The allowed origins. Empty: the edge permits no script. `Vary` is sent all the same, so that a closed
            callback that looks unknown has the headers of an unknown one.
        headers: Headers of the request.
    """
    if not (allowed or is_of_script(dict(headers))):
        return answer
    fields = [field for field in answer.headers if not (allowed and field[0].startswith(_PERMISSIONS))]
    fields.append(("vary", "origin"))
    if origin := _allowed_origin(allowed, headers):
        fields += [("access-control-allow-origin", origin), ("access-control-expose-headers", _EXPOSED)]
    return dataclasses.replace(answer, headers=fields)


def framed(answer: HttpAnswer, frame_origins: Collection[str]) -> HttpAnswer:
    """Return the answer of a handler as a frame of these origins, and of no other, can show it. Empty: as it is."""
    if not frame_origins:
        return answer
    policy = ("content-security-policy", f"frame-ancestors {' '.join(frame_origins)}")
    return dataclasses.replace(answer, headers=[*answer.headers, policy])


def _allowed_origin(allowed: Collection[str], headers: _Headers) -> str:
    if _ANY in allowed:
        return _ANY
    origins = [value.decode("latin-1") for name, value in headers if name == b"origin"]
    return origins[0] if len(origins) == 1 and origins[0] in allowed else ""
