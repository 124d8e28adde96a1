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
import secrets
from collections.abc import Iterator, Mapping, Sequence
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
_PAIRS: Final = json.JSONDecoder(parse_int=str, parse_float=str, object_pairs_hook=tuple)
"""Reads an object as its pairs, of which several can have the same name."""
_STRING: Final = r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)'
"""A string, or what follows the start of one that has no end."""
_MARK: Final = secrets.token_hex()
"""What no sender can know, and so no name begins with."""
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

    The text is parsed once, with a mark in place of each name that the pointer has: a sender who is unknown chooses how
    many members there are, and how they are spelled.

    Raises:
        ValueError: The text cannot be read as JSON. What follows the JSON is not checked.
        RecursionError: It is nested too deeply.
    """
    tokens = _tokens(pointer)
    marked, marks = _marked(text, tokens)
    start = _after_space(text, 0)
    found: list[tuple[Any, int]] = [(_PAIRS.raw_decode(marked, start)[0], start)]
    for token in tokens:
        found = [child for parent, at in found for child in _children(text, marks, parent, at, token)]
    return [(at, _SCANNER.raw_decode(text, at)[1]) for _, at in found]


def _marked(text: str, tokens: Sequence[str]) -> tuple[str, dict[str, tuple[str, int]]]:
    """Return a JSON text with a mark in place of each of some names, and by its mark each name and its end.

    Values that are equal to a name are marked too; nothing looks at them.
    """
    names = tuple(dict.fromkeys(tokens))
    kept, after = [], 0
    marks: dict[str, tuple[str, int]] = {}
    for each in _names_or_strings(names).finditer(text):
        if each.lastindex is not None:
            mark = f"{_MARK}{len(marks)}"
            marks[mark] = (names[each.lastindex - 1], each.end())
            kept.append(f'{text[after : each.start()]}"{mark}"')
            after = each.end()
    return "".join([*kept, text[after:]]), marks


@functools.cache
def _names_or_strings(names: tuple[str, ...]) -> re.Pattern[str]:
    """Return a pattern of a string of JSON, with a group for each name, however JSON writes it."""
    spelled = "|".join(f"({_spelled(name)})" for name in names)
    return re.compile(f'"(?:{spelled})"|{_STRING}', re.DOTALL)


def _spelled(name: str) -> str:
    """Return a pattern of all that JSON can write for a name, which has no character that must be escaped."""
    patterns = []
    for each in name:
        units = each.encode("utf-16-be").hex()
        ways = [re.escape(each), "".join(rf"\\u(?i:{units[at : at + 4]})" for at in range(0, len(units), 4))]
        patterns.append("|".join([*ways, r"\\/"] if each == "/" else ways))
    return "".join(f"(?:{each})" for each in patterns)


def _children(
    text: str, marks: Mapping[str, tuple[str, int]], parent: object, start: int, token: str
) -> Iterator[tuple[Any, int]]:
    """Yield each value with a name or an index in the object or list that starts here, and where it starts."""
    if isinstance(parent, tuple):
        for name, value in parent:
            if name in marks and marks[name][0] == token:
                yield value, _after_space(text, _after_space(text, marks[name][1]) + len(":"))
    elif isinstance(parent, list) and _INDEX.fullmatch(token) and int(token) < len(parent):
        at = _after_space(text, start + len("["))
        for _ in range(int(token)):
            at = _after_space(text, _after_space(text, _SCANNER.raw_decode(text, at)[1]) + len(","))
        yield parent[int(token)], at


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
