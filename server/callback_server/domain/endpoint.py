"""Endpoints: URLs that many cases share. The correlation key in an event says which case it is for.

1. The key is a text of 1 to 200 bytes. Keys are compared byte by byte: nothing is trimmed, folded or normalized.
2. The first location with a key counts. A location has none if nothing stands there, if what stands there is given
   twice, or if it can be no key.
3. A JSON integer within ±2^53 is its digits, because every reader of JSON keeps it. Of other values, only a text is a
   key.
4. What an event costs is bounded: a larger body than `MAX_BODY_BYTES` is not searched, a form has at most 1,000 fields,
   and JSON that is nested too deeply has no key.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from callback_process import multipart
from callback_server.domain.call import Request

ENDPOINT_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
"""Pattern of the whole name of an endpoint, which its URL contains."""
MAX_KEY_BYTES: Final = 200
"""The longest correlation key."""
MAX_BODY_BYTES: Final = 1024 * 1024
"""The largest body in which a key is looked for."""
MAX_SEGMENTS: Final = 10
"""The most path segments behind the name of an endpoint."""

_MAX_FIELDS: Final = 1000
_MAX_INTEGER: Final = 2**53
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_FIELD: Final = re.compile(r"[^\x00-\x1f\x7f]{1,100}")
_POINTER: Final = re.compile(r"(?=.{1,200}\Z)(?:/(?:[^~/\x00-\x1f]|~[01])*){1,20}")
_SEGMENT: Final = re.compile(r"[1-9]|10")
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}")
_JSON: Final = json.JSONDecoder(object_pairs_hook=tuple)
"""Reads an object as its pairs, of which several can have the same name."""


class KeyLocationKind(enum.StrEnum):
    """The part of a request in which a correlation key stands."""

    JSON = "json"
    HEADER = "header"
    QUERY = "query"
    FORM = "form"
    FORM_JSON = "form-json"
    SEGMENT = "segment"

    @property
    def is_in_body(self) -> bool:
        """Whether it is the body."""
        return self in (KeyLocationKind.JSON, KeyLocationKind.FORM, KeyLocationKind.FORM_JSON)


@dataclass(frozen=True, slots=True)
class KeyLocation:
    """Where a correlation key stands in a request."""

    kind: KeyLocationKind
    name: str = ""
    """The name of the header, or of the field. Empty for JSON and for a segment."""
    pointer: str = ""
    """The JSON pointer (RFC 6901). Empty for what is not JSON."""
    segment: int = 0
    """The number of the path segment behind the name of the endpoint, from 1. 0: it is no segment."""

    def __str__(self) -> str:
        """Return the location as the settings write it."""
        return f"{self.kind}:{self.segment or f'{self.name}{self.pointer}'}"


def parse_location(text: str) -> KeyLocation:
    """Return the location that a text names, as in `json:/data/id`. Raise ValueError if it names none."""
    kind, _, rest = text.partition(":")
    match kind:
        case "json" if _POINTER.fullmatch(rest):
            return KeyLocation(KeyLocationKind.JSON, pointer=rest)
        case "form-json":
            name, slash, pointer = rest.partition("/")
            if _FIELD.fullmatch(name) and _POINTER.fullmatch(slash + pointer):
                return KeyLocation(KeyLocationKind.FORM_JSON, name, slash + pointer)
        case "header" if _HEADER.fullmatch(rest):
            return KeyLocation(KeyLocationKind.HEADER, rest.lower())
        case "query" | "form" if _FIELD.fullmatch(rest):
            return KeyLocation(KeyLocationKind(kind), rest)
        case "segment" if _SEGMENT.fullmatch(rest):
            return KeyLocation(KeyLocationKind.SEGMENT, segment=int(rest))
    raise ValueError(
        "must be json:/POINTER, header:NAME, query:NAME, form:NAME, form-json:NAME/POINTER, or segment:NUMBER (1 to"
        f" {MAX_SEGMENTS})"
    )


def is_correlation_key(text: str) -> bool:
    """Return whether a text can be a correlation key."""
    return len(text) <= MAX_KEY_BYTES and _key(text) != ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint that an operator declares."""

    name: str
    """Its name, which is the id in its URL."""
    owner: str
    """The owner of the cases that its events reach."""
    profile: str
    """The verification profile that each event must pass."""
    locations: tuple[KeyLocation, ...]
    """Where the correlation key stands: the first location that has one counts."""
    unmatched_code: int = 202
    """The code of the answer to an event that no case waits for."""

    def correlation_key(self, request: Request, segments: Sequence[str]) -> str:
        """Return the correlation key of an event. Empty: it has none.

        Args:
            request: The event, as it was sent.
            segments: The path segments behind the name of the endpoint, percent-encoded as they were sent.
        """
        return next(filter(None, (_found(each, request, segments) for each in self.locations)), "")


class UnmatchedReason(enum.StrEnum):
    """Why no case got an event."""

    NO_KEY = "no_key"
    """It has no correlation key at any of the locations."""
    NO_CASE = "no_case"
    """No case with its correlation key is kept."""
    LATE = "late"
    """The newest case with its correlation key is closed."""


@dataclass(frozen=True, slots=True)
class EventTarget:
    """The address of an event."""

    endpoint: Endpoint
    path: str = ""
    """What stands in the URL behind the name of the endpoint, as it was sent: empty, or from the first `/` on."""

    @property
    def segments(self) -> tuple[str, ...]:
        """The path segments behind the name, percent-encoded. A slash at the end makes no segment."""
        return tuple(self.path.removesuffix("/").split("/")[1:])


def _found(location: KeyLocation, request: Request, segments: Sequence[str]) -> str:
    """Return the key at a location. Empty: there is none."""
    match location.kind:
        case KeyLocationKind.HEADER:
            return _key_of_octets(_only(map(_octets, request.values(location.name))))
        case KeyLocationKind.QUERY:
            return _key_of_octets(_field(location, _urlencoded(request.query_string.encode())))
        case KeyLocationKind.FORM:
            return _key_of_octets(_field(location, _form(request)))
        case KeyLocationKind.SEGMENT:
            found = segments[location.segment - 1 : location.segment]
            return _key_of_octets(_only(map(unquote_to_bytes, found)))
        case KeyLocationKind.JSON:
            return _key_in_json(location, request.body)
        case KeyLocationKind.FORM_JSON:
            return _key_in_json(location, _field(location, _form(request)))


def _only(values: Iterable[bytes]) -> bytes:
    """Return the only value. Empty: there is none, or more than one."""
    found = tuple(values)
    return found[0] if len(found) == 1 else b""


def _field(location: KeyLocation, pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    name = location.name.encode()
    return _only(value for each, value in pairs if each == name)


def _octets(value: str) -> bytes:
    """Return the bytes of the value of a header. Empty: it is none, because each byte is one character."""
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        return b""


def _form(request: Request) -> Iterable[tuple[bytes, bytes]]:
    """Return the fields of a form in the body, in order; none if the body is no form, or too large."""
    types = request.values("content-type")
    if len(types) != 1 or len(request.body) > MAX_BODY_BYTES:
        return []
    boundary = multipart.boundary_of(_octets(types[0].strip(" \t")))
    if boundary is not None:
        return multipart.fields(boundary, request.body)
    return _urlencoded(request.body) if request.is_form else []


def _urlencoded(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return the pairs of a query or form, with the bytes that were sent; none if there are too many."""
    pairs = [each.partition(b"=") for each in data.replace(b"+", b" ").split(b"&", _MAX_FIELDS)]
    if len(pairs) > _MAX_FIELDS:
        return []
    return [(unquote_to_bytes(name), unquote_to_bytes(value)) for name, _, value in pairs]


def _key_of_octets(value: bytes) -> str:
    """Return a value that was sent as bytes, if it can be a key."""
    if len(value) > MAX_KEY_BYTES:
        return ""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return ""


def _key(text: str) -> str:
    """Return a text, if it can be a key. JSON can have halves of surrogate pairs, which have no bytes."""
    try:
        return text if len(text.encode()) <= MAX_KEY_BYTES else ""
    except UnicodeEncodeError:
        return ""


def _key_in_json(location: KeyLocation, document: bytes) -> str:
    """Return the key at a pointer in JSON."""
    if not document or len(document) > MAX_BODY_BYTES:
        return ""
    try:
        value: Any = _JSON.decode(document.decode())
    except (ValueError, RecursionError):
        return ""
    for token in location.pointer.split("/")[1:]:
        value = _member(value, token.replace("~1", "/").replace("~0", "~"))
    if isinstance(value, str):
        return _key(value)
    if type(value) is int and abs(value) <= _MAX_INTEGER:  # a boolean is an int, too
        return str(value)
    return ""


def _member(value: Any, token: str) -> Any:
    """Return a member of an object, or an element of a list. None: there is none, or there are several."""
    if isinstance(value, tuple):
        found = [member for name, member in value if name == token]
        return found[0] if len(found) == 1 else None
    if isinstance(value, list) and _INDEX.fullmatch(token) and int(token) < len(value):
        return value[int(token)]
    return None
