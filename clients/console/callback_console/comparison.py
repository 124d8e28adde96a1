"""Differences between two recorded calls. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import cast

from callback import Call
from callback_console.bodies import BodyForm, Line, Node, shown_body


@dataclass(frozen=True, slots=True)
class Row:
    """One part of both calls, with its text in each. None where a call does not have it."""

    part: str
    """Kind of the part: method, query, header, body or status."""
    name: str
    """Name of the query parameter or header field, path in the JSON of a body, or number of a line. May be empty."""
    left: str | None
    right: str | None

    @property
    def differs(self) -> bool:
        """Whether the calls differ here."""
        return self.left != self.right


def compare(left: Call, right: Call) -> list[Row]:
    """Return all parts of two calls, in the order of a request."""
    return [
        Row("status", "", left.status.value, right.status.value),
        Row("method", "", left.method.upper(), right.method.upper()),
        *_rows("query", left.query.pairs, right.query.pairs),
        *_rows("header", left.headers.pairs, right.headers.pairs),
        *_rows("body", _body_parts(left), _body_parts(right)),
    ]


def _rows(part: str, left: Iterable[tuple[str, str]], right: Iterable[tuple[str, str]]) -> Iterator[Row]:
    """Yield a row for each value of each name. A caller decides how many there are, so the cost is linear."""
    mine, other = _by_name(left), _by_name(right)
    for name in dict.fromkeys((*mine, *other)):
        for left_value, right_value in zip_longest(mine.get(name, ()), other.get(name, ())):
            yield Row(part, name, left_value, right_value)


def _by_name(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


def _body_parts(call: Call) -> Iterable[tuple[str, str]]:
    """Return the named parts of a body: the values of JSON or of a form, else the lines of the text by number."""
    if not call.body:
        return ()
    shown = shown_body(call.body, call.headers.get("content-type", ""))
    match shown.form:
        case BodyForm.JSON:
            return _values(shown.content, "")
        case BodyForm.FORM:
            return cast("list[tuple[str, str]]", shown.content)
        case BodyForm.XML:
            return ((str(number), _indented(line)) for number, line in enumerate(shown.content, 1))
        case _:
            return ((str(number), text) for number, text in enumerate(shown.content.splitlines(), 1))


def _values(node: Node, path: str) -> Iterator[tuple[str, str]]:
    if not node.children:
        yield path, node.text
    for child in node.children:
        yield from _values(child, f"{path}.{child.name}" if path else str(child.name))


def _indented(line: Line) -> str:
    return "  " * line.depth + line.text
