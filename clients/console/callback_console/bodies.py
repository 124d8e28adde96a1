"""Forms in which a body can be read: JSON, form, XML, text and bytes. Pure.

Nothing of a body is interpreted further: XML with a document type, and so with entities, is refused, and a body that
is too large or too deep for a tree, or that no page can contain, stays text. Whatever the form, the page shows it as
escaped text.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from urllib.parse import parse_qsl
from xml.parsers import expat

_MAX_PARSED_BYTES: Final = 256 * 1024
_MAX_TEXT_CHARACTERS: Final = 64 * 1024
_MAX_HEX_BYTES: Final = 4 * 1024
_MAX_NODES: Final = 5000
_MAX_DEPTH: Final = 40
_HEX_COLUMNS: Final = 16
_FORM: Final = "application/x-www-form-urlencoded"


class BodyForm(StrEnum):
    """A form in which a body is shown."""

    JSON = "json"
    FORM = "form"
    XML = "xml"
    TEXT = "text"
    HEX = "hex"


@dataclass(frozen=True, slots=True)
class Node:
    """A value of a JSON tree."""

    name: str | None
    """Key or index in its parent. None for the value at the top."""
    text: str
    """The value as JSON. Of an object or array, its brackets and the number of its entries."""
    children: tuple["Node", ...] = ()
    """Entries of an object or array."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of indented text."""

    depth: int
    text: str


@dataclass(frozen=True, slots=True)
class ShownBody:
    """A body in one form."""

    form: BodyForm
    """The form."""
    forms: tuple[BodyForm, ...]
    """All forms that this body has, the most telling one first."""
    content: Any
    """Of JSON the `Node` at the top, of a form pairs, of XML lines, else text."""
    is_cut: bool
    """Whether the end is not shown."""


def shown_body(body: bytes, content_type: str, wanted: str = "") -> ShownBody:
    """Return a body in the wanted form, if it has that one, else in the most telling one.

    Args:
        body: The body.
        content_type: The value of `Content-Type`.
        wanted: Name of a `BodyForm`.
    """
    found = dict(_parsed(body, content_type))
    text = _text(body)
    if text is not None:
        found[BodyForm.TEXT] = text[:_MAX_TEXT_CHARACTERS]
    found[BodyForm.HEX] = _hex(body[:_MAX_HEX_BYTES])
    form = next((each for each in found if each == wanted), next(iter(found)))
    is_cut = (form is BodyForm.TEXT and len(text or "") > _MAX_TEXT_CHARACTERS) or (
        form is BodyForm.HEX and len(body) > _MAX_HEX_BYTES
    )
    return ShownBody(form, tuple(found), found[form], is_cut)


def _parsed(body: bytes, content_type: str) -> Iterable[tuple[BodyForm, Any]]:
    if len(body) > _MAX_PARSED_BYTES:
        return
    kind = content_type.partition(";")[0].strip().lower()
    if kind == _FORM:
        if body.count(b"&") < _MAX_NODES:
            yield BodyForm.FORM, parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)
    elif body[:1].strip() and (tree := _json_tree(body)):
        yield BodyForm.JSON, tree
    elif lines := _xml_lines(body):
        yield BodyForm.XML, lines


def _text(body: bytes) -> str | None:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _hex(body: bytes) -> str:
    rows = (body[start : start + _HEX_COLUMNS] for start in range(0, len(body), _HEX_COLUMNS))
    return "\n".join(
        f"{number * _HEX_COLUMNS:08x}  {row.hex(' '):{_HEX_COLUMNS * 3 - 1}}  "
        + "".join(chr(each) if 32 <= each < 127 else "." for each in row)
        for number, row in enumerate(rows)
    )


class _TooLargeError(Exception):
    """A tree has too many nodes or levels."""


class _Number(str):
    """A number of JSON, as it was written."""

    __slots__ = ()


class _Object(list[tuple[str, Any]]):
    """An object of JSON, with repeated keys."""

    __slots__ = ()


def _json_tree(body: bytes) -> Node | None:
    try:
        value = json.loads(
            body, object_pairs_hook=_Object, parse_int=_Number, parse_float=_Number, parse_constant=_Number
        )
        return _TreeBuilder().node(None, value, 0) if isinstance(value, list) else None
    except (ValueError, RecursionError, _TooLargeError):  # UnicodeEncodeError is a ValueError
        return None


class _TreeBuilder:
    def __init__(self) -> None:
        self._count = 0

    def node(self, name: str | None, value: Any, depth: int) -> Node:
        self._count += 1
        if self._count > _MAX_NODES or depth > _MAX_DEPTH:
            raise _TooLargeError
        for text in (name, value):
            if isinstance(text, str):
                text.encode()  # half of a surrogate pair cannot be part of a page
        if isinstance(value, _Object):
            children = tuple(self.node(key, each, depth + 1) for key, each in value)
            return Node(name, f"{{{len(children)}}}", children)
        if isinstance(value, list):
            children = tuple(self.node(str(index), each, depth + 1) for index, each in enumerate(value))
            return Node(name, f"[{len(children)}]", children)
        return Node(name, str(value) if isinstance(value, _Number) else json.dumps(value, ensure_ascii=False))


def _xml_lines(body: bytes) -> list[Line] | None:
    """Return the elements and texts of an XML document, one per line. None if it is not XML, or has a document type."""
    lines: list[Line] = []
    depth = 0

    def add(text: str) -> None:
        if len(lines) == _MAX_NODES or depth > _MAX_DEPTH:
            raise _TooLargeError
        lines.append(Line(depth, text))

    def start(name: str, attributes: list[str]) -> None:
        nonlocal depth
        pairs = zip(attributes[::2], attributes[1::2], strict=True)
        add(f"<{name}{''.join(f' {key}={json.dumps(value, ensure_ascii=False)}' for key, value in pairs)}>")
        depth += 1

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        add(f"</{name}>")

    def text(data: str) -> None:
        if data.strip():
            add(data.strip())

    def refuse(*_arguments: Any) -> None:
        raise _TooLargeError

    parser = expat.ParserCreate()
    parser.ordered_attributes = True
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, ValueError, LookupError, _TooLargeError):
        return None
    return lines
