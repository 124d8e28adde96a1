"""Differences between two recorded calls. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

from callback import Call, Pairs
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
        *_pairs("query", left.query, right.query),
        *_pairs("header", left.headers, right.headers),
        *_bodies(left, right),
    ]


def _pairs(part: str, left: Pairs, right: Pairs) -> Iterator[Row]:
    for name in dict.fromkeys(name for name, _ in (*left.pairs, *right.pairs)):
        values = ([value for key, value in each.pairs if key == name] for each in (left, right))
        for mine, other in zip_longest(*values):
            yield Row(part, name, mine, other)


def _bodies(left: Call, right: Call) -> Iterator[Row]:
    mine, other = _body_parts(left), _body_parts(right)
    for name in dict.fromkeys((*mine, *other)):
        yield Row("body", name, mine.get(name), other.get(name))


def _body_parts(call: Call) -> dict[str, str]:
    """Return the parts of a body by their names: the values of JSON or of a form, else the lines of the text."""
    if not call.body:
        return {}
    shown = shown_body(call.body, call.headers.get("content-type", ""))
    parts: dict[str, str] = {}
    match shown.form:
        case BodyForm.JSON:
            _add_values(parts, shown.content, "")
        case BodyForm.FORM:
            for name, value in shown.content:
                _add(parts, name, value)
        case BodyForm.XML:
            for number, line in enumerate(shown.content, 1):
                _add(parts, str(number), _indented(line))
        case _:
            for number, text in enumerate(shown.content.splitlines(), 1):
                _add(parts, str(number), text)
    return parts


def _add_values(parts: dict[str, str], node: Node, path: str) -> None:
    if not node.children:
        _add(parts, path, node.text)
    for child in node.children:
        _add_values(parts, child, f"{path}.{child.name}" if path else str(child.name))


def _add(parts: dict[str, str], name: str, value: str) -> None:
    """Add a part. A repeated name gets a number."""
    count, unique = 1, name
    while unique in parts:
        count += 1
        unique = f"{name} ({count})"
    parts[unique] = value


def _indented(line: Line) -> str:
    return "  " * line.depth + line.text
