"""Places of a value in a request: where a sender writes its signature, the time, or the id of the message.

A place is a text in the settings: `header:NAME`, `query:NAME`, `form:NAME`, `json:POINTER` (RFC 6901),
`form-json:NAME/POINTER` (in the JSON that is a field of a form), `field:NAME` (of
the list in the signature's header), `body-hash` or `none` (as the last place of an id: a message may have none).
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from callback_server.domain.call import Request
from callback_server.verification import request_fields
from callback_server.verification.profile import VerificationError

FIELD_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
"""Pattern of the name of a header (RFC 9110, 5.6.2), or of a field within a header."""

_PARAMETER: Final = re.compile(r"[^\x00-\x1f]{1,100}")
_POINTER: Final = re.compile(r"(/([^/~\"\\\x00-\x1f]|~[01])*){1,20}")
_FORM_POINTER: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}" + _POINTER.pattern)
_VALUE_PLACES: Final = "header:NAME, query:NAME, form:NAME, json:/POINTER or form-json:NAME/POINTER"
_MAX_POINTER: Final = 200
_INDEX: Final = re.compile(r"0|[1-9][0-9]?")

_VALUE: Final = msgspec.json.Decoder(str | int | None)

_SCANNER: Final = json.JSONDecoder(parse_int=str, parse_float=str)
"""Finds where a value ends. A number is not converted, because there are too large ones."""
_SPACE: Final = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True, slots=True)
class Place:
    """A parsed place."""

    kind: str
    name: str = ""

    @property
    def in_body(self) -> bool:
        """Whether the value is a part of the body."""
        return self.kind in ("form", "json", "form-json")

    def __str__(self) -> str:
        """Return the place as in a reason: the name of a header as it is, because most readers know it."""
        if self.kind == "header":
            return self.name.lower()
        return f"{self.kind}:{self.name}" if self.name else self.kind

    def find(self, request: Request) -> str | None:
        """Return the value, or None if there is none. Raise VerificationError if it cannot be told which one it is."""
        match self.kind:
            case "header":
                found = request.values(self.name.lower())
            case "query":
                found = [value for name, value in request.query if name == self.name]
            case "form":
                found = [value for name, value in request_fields.form(request) if name == self.name]
            case "json" | "form-json":
                return _json_value(self.document(request), f"/{self.name.partition('/')[2]}")
            case "body-hash":
                return hashlib.sha256(request.body).hexdigest()
            case _:
                return None
        if len(found) > 1:
            raise VerificationError(f"{self} occurs more than once")
        return found[0] if found else None

    def document(self, request: Request) -> bytes:
        """Return the JSON in which the value is. Raise VerificationError if it cannot be told which one it is."""
        if self.kind == "json":
            return request.body
        return request_fields.octets(Place("form", self.name.partition("/")[0]).find(request) or "")


def parse_place(text: str) -> Place:
    """Return the place of a text. Raise ValueError if it is none."""
    kind, colon, name = text.partition(":")
    if text in ("body-hash", "none"):
        return Place(text)
    match kind if colon else "":
        case "header" | "field" if not FIELD_NAME.fullmatch(name):
            raise ValueError(
                f"the name after {kind}: must have 1 to 100 characters, each a letter, a digit or one of"
                " !#$%&'*+.^_`|~-"
            )
        case "query" | "form" if not _PARAMETER.fullmatch(name):
            raise ValueError(f"the name after {kind}: must have 1 to 100 characters, and no control characters")
        case "json" if len(name) > _MAX_POINTER or not _POINTER.fullmatch(name):
            raise ValueError(
                "a JSON pointer begins with a slash, as in json:/data/id, has at most 200 characters, and none of"
                " double quote, backslash and control characters"
            )
        case "form-json" if len(name) > _MAX_POINTER or not _FORM_POINTER.fullmatch(name):
            raise ValueError("form-json: needs the name of a field and a JSON pointer, as in form-json:payload/data/id")
        case "header" | "field" | "query" | "form" | "json" | "form-json":
            return Place(kind, name)
    raise ValueError(f"must be {_VALUE_PLACES}, field:NAME, body-hash or none")


def parse_value_place(text: str) -> Place:
    """Return the place of a value that is in the request itself. Raise ValueError if a text is none."""
    place = parse_place(text)
    if place.kind in ("field", "body-hash", "none"):
        raise ValueError(f"must be {_VALUE_PLACES}")
    return place


def json_spans(text: str, pointer: str) -> list[tuple[int, int]]:
    """Return the start and the end of each value at a pointer in a JSON text. A repeated name makes more than one.

    Raises:
        ValueError: The text cannot be read as JSON. Not all of it is checked.
        RecursionError: It is nested too deeply.
    """
    spans = [(_after_space(text, 0), len(text))]
    for token in _tokens(pointer):
        spans = [(start, end) for parent, _ in spans for name, start, end in _children(text, parent) if name == token]
    return spans


def value_span(text: str, after_name: int) -> tuple[int, int]:
    """Return the start and the end of the value of a member whose name ends here. Raise ValueError if none follows."""
    colon = _after_space(text, after_name)
    if not text.startswith(":", colon):
        raise ValueError("no value follows")
    start = _after_space(text, colon + 1)
    return start, _SCANNER.raw_decode(text, start)[1]


def _children(text: str, start: int) -> Iterator[tuple[str, int, int]]:
    """Yield the name or index of each value in the object or list that starts here, and where it is."""
    is_list = text.startswith("[", start)
    if not is_list and not text.startswith("{", start):
        return
    index, at = 0, _after_space(text, start + 1)
    while not text.startswith(("]", "}"), at):
        name = str(index)
        if not is_list:
            name, at = _SCANNER.raw_decode(text, at)
            at = _after_space(text, _after_space(text, at) + len(":"))
        end = _SCANNER.raw_decode(text, at)[1]
        yield name, at, end
        index, at = index + 1, _after_space(text, end)
        if text.startswith(",", at):
            at = _after_space(text, at + 1)


def _after_space(text: str, start: int) -> int:
    found = _SPACE.match(text, start)
    return start if found is None else found.end()


def _tokens(pointer: str) -> list[str]:
    """Return the names and indices in a JSON pointer."""
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]


def _json_value(body: bytes, pointer: str) -> str | None:
    """Return the text or whole number at a pointer, or None if there is nothing else than null.

    Raise VerificationError if there is another value: it must not be taken for an empty one.
    """
    raw: bytes | msgspec.Raw = body
    try:
        for token in _tokens(pointer):
            raw = _step(raw, token)
    except (ValueError, RecursionError):
        return None
    if not bytes(raw):
        return None
    try:
        value = _VALUE.decode(raw)
    except (ValueError, RecursionError):
        raise VerificationError(f"json:{pointer} is neither a text nor a whole number") from None
    return None if value is None else str(value)


def _step(raw: bytes | msgspec.Raw, token: str) -> msgspec.Raw:
    """Return a member of an object, or an element of a list. Empty: there is none."""
    is_list = bytes(raw).lstrip(b" \t\r\n").startswith(b"[")
    if is_list and not _INDEX.fullmatch(token):
        return msgspec.Raw()
    decoder = _list_with(int(token)) if is_list else _object_with(token)
    found: msgspec.Raw = decoder.decode(raw).found
    return found


# What lies beside the wanted value is skipped and becomes no object: an unknown sender chooses how much it is.
@functools.cache
def _object_with(name: str) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(
        msgspec.defstruct("Object", [("found", msgspec.Raw, msgspec.Raw())], rename=lambda _: name)
    )


@functools.cache
def _list_with(index: int) -> msgspec.json.Decoder[Any]:
    names = [*(f"before_{each}" for each in range(index)), "found"]
    return msgspec.json.Decoder(
        msgspec.defstruct("List", [(name, msgspec.Raw, msgspec.Raw()) for name in names], array_like=True)
    )
