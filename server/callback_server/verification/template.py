"""Template of the signed bytes, a text with placeholders: `{timestamp}.{body}`.

The signed bytes of two different requests must differ. Otherwise a request could move the end of its URL into its body
and keep its signature. So each placeholder needs a clear end:

1. `{timestamp}`, `{method}` and `{body-hash}` have one of themselves: recent times in one format have the same number
   of digits or the same ending, no method is the prefix of another, and a hash has a fixed length.
2. `{host}`, `{path}` and `{query}` end at a character that they never contain.
3. `{id}` and places, such as `{header:NAME}`, end at the text that follows. A request whose value contains this text
   is refused. An id can also end at a date, or at a time in digits that ends the signed bytes.
4. `{url}` ends at a space, a line break or, if it has no query, a question mark. If something else follows, only the
   URL as it was generated passes.
5. `{body}` and `{form}` have no end. Only placeholders that can be read from the end of the bytes can follow `{body}`.
6. `{receiver-id}` is always the same, and `{body-crc32}` has only digits, so any other text ends it.
7. What follows `{open:PLACE}` or `{form}` is read from the end: each of these parts is a place, and its value must not
   contain the text before it. So a value may contain the text that ends it, if it is the only one that may.
8. `{members:…}` is a list of lines, a name and then a value. Only the first value may contain line breaks, and the
   member after it must be there, so the list can be read from its end.
9. `{form-pairs}` and `{query-pairs}` have no end. The first is refused if a value contains what could be another pair.
10. `{header-lines}` and `{header-list}` contain the list of their headers, or a JWS signs it. So the list tells where
    they end. No header has a line break, and a value that contains what could be the next item is refused.

`{form}` is the one exception, and its senders are to blame: they join the names and values of a form without marks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from callback_server.verification.places import Place, parse_value_place

PLACEHOLDERS: Final = ("timestamp", "id", "method", "url", "host", "path", "query", "query-pairs",
                       "target", "header-lines", "header-list", "header:NAME", "form:NAME", "json:POINTER",
                       "form-json:NAME/POINTER", "open:PLACE", "receiver-id", "body", "body-hash",
                       "body-hash:base64", "form", "form-pairs", "body-crc32", "members:NAME,NAME?")  # fmt: skip
"""Placeholders of a template, each at most once."""

BODY: Final = frozenset({"body", "body-hash", "body-hash:base64", "form"})
"""Placeholders for the whole body."""
COVERS_BODY: Final = BODY | {"form-pairs"}
"""Placeholders for the body, with the one that leaves out the signature in it."""
URL: Final = frozenset({"url", "query", "target"})
"""Placeholders that contain the query."""
HEADERS: Final = frozenset({"header-lines", "header-list"})
"""Placeholders for the headers that a list names."""

_NEVER_WITHIN: Final = {
    "url": re.compile(r"[ \n]"),
    "query": re.compile(r"[ \n]"),
    "target": re.compile(r"[ \n]"),
    "header-list": re.compile(r"\n"),
    "path": re.compile(r"[^A-Za-z0-9_.~/-]"),
    "host": re.compile(r"[^A-Za-z0-9_.:\[\]-]"),
    "body-crc32": re.compile(r"[^0-9]"),
}
"""First characters of a text that ends these."""
_PLACES: Final = ("header:", "form:", "json:", "form-json:")
_OPEN: Final = "open:"
_MEMBERS: Final = "members:"
_MEMBER: Final = re.compile(r"[A-Za-z0-9_]{1,64}")
_ENDS_ITSELF: Final = BODY | {"timestamp", "method", "receiver-id", "body-crc32", "header-lines"}
_AFTER_BODY: Final = frozenset({"timestamp", "body-hash", "body-hash:base64"})
_DATE: Final = re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T")


class Template:
    """A parsed template.

    Raises:
        ValueError: The template has an unknown or repeated placeholder, or a part without a clear end.
    """

    def __init__(self, text: str) -> None:
        pieces = re.split(r"\{([a-z]+(?:-[a-z0-9]+)?(?::[^{}]*)?)\}", text)  # text, placeholder, text, …, text
        self._texts = [piece.encode() for piece in pieces[::2]]
        self.parts: Final = tuple(pieces[1::2])
        """The placeholders, in order."""
        known = [each for each in self.parts if each in PLACEHOLDERS or _is_place(each) or members_of(each)]
        if unknown := [each for each in self.parts if each not in known]:
            raise ValueError(
                f"unknown placeholder {{{unknown[0]}}}; known: " + ", ".join(f"{{{each}}}" for each in PLACEHOLDERS)
            )
        if any(mark in piece for piece in pieces[::2] for mark in "{}"):
            raise ValueError("{ and } are allowed only around the name of a placeholder")
        if len({each.lower() for each in self.parts}) != len(self.parts):
            raise ValueError("a placeholder can occur only once")
        for index, part in enumerate(self.parts[:-1]):
            self._check_end(part, pieces[2 * index + 2], self.parts[index + 1 :])

    def _check_end(self, part: str, text: str, rest: tuple[str, ...]) -> None:
        """Check the end of a placeholder which is followed by this text, and then by these placeholders."""
        match part:
            case "body":
                others = rest[:-1] if rest[-1] == "url" else rest
                if not _AFTER_BODY.issuperset(others):
                    raise ValueError(
                        "{body} must be the last placeholder, because nothing marks its end; only {timestamp},"
                        " {body-hash} and, at the end, {url} can follow"
                    )
            case "form" if not self._is_read_from_end(part):
                raise ValueError("{form} must be the last placeholder, or only places with text before them follow")
            case _ if part.startswith(_OPEN) and not self._is_read_from_end(part):
                raise ValueError(f"only places with text before them can follow {{{part}}}")
            case _ if members_of(part) or part in ("query-pairs", "form-pairs"):
                named = "members:…" if members_of(part) else part
                raise ValueError(f"{{{named}}} must be the last placeholder, because nothing marks its end")
            case "url" if not re.match(r"[ \n?]", text) and (text or rest[0] not in ("body", "form")):
                raise ValueError("a space, a line break, a question mark or {body} must follow {url}, to mark its end")
            case "host" if not text and rest[0] == "path":
                pass  # a path begins with a slash
            case _ if part in _NEVER_WITHIN and part != "url" and not _NEVER_WITHIN[part].match(text):
                mark = "a space or a line break" if part in URL else "a character that it never contains"
                raise ValueError(f"{mark} must follow {{{part}}}, to mark its end")
            case "id" if not text and rest[0] != "timestamp":
                raise ValueError("some text must follow {id}, to mark its end")
            case _ if _is_place(part) and not text:
                raise ValueError(f"some text must follow {{{part}}}, to mark its end")

    def _is_read_from_end(self, part: str) -> bool:
        """Return whether each part after this one is a place, with text before it."""
        first = self.parts.index(part) + 1
        return all(
            _is_place(each) and not each.startswith(_OPEN) and self._texts[index]
            for index, each in enumerate(self.parts[first:], first)
        )

    @property
    def id_ends_at_time(self) -> bool:
        """Whether the time follows the id directly. The time must then begin with a date."""
        return "id" in self.parts[:-1] and not self.after("id")

    @property
    def needs_generated_url(self) -> bool:
        """Whether nothing marks where the URL begins or ends. It must then be exactly the generated one."""
        if "url" not in self.parts:
            return False
        index = self.parts.index("url")
        return "body" in self.parts[:index] or (index < len(self.parts) - 1 and not self.after("url"))

    def after(self, part: str) -> bytes:
        """Return the text after a placeholder."""
        return self._texts[self.parts.index(part) + 1]

    def places(self) -> list[Place]:
        """Return the places of the request that are placeholders, or members of one."""
        members = [Place("json", f"/{name}") for each in self.parts for name, _ in members_of(each)]
        return [place_of(each) for each in self.parts if _is_place(each)] + members

    def texts(self) -> bytes:
        """Return the texts around the placeholders, joined."""
        return b"".join(self._texts)

    def is_bounded(self, values: Mapping[str, bytes]) -> bool:
        """Return whether no value contains what marks its end."""
        is_read_from_end = False
        for index, part in enumerate(self.parts):
            if is_read_from_end:
                if self._texts[index] in values[part]:
                    return False
            elif part == "form" or part.startswith(_OPEN):
                is_read_from_end = True
            elif part == "id" and self.id_ends_at_time:
                if values["timestamp"].isdigit():
                    continue  # a recent time has always the same number of digits
                found = _DATE.search(values["id"] + values["timestamp"])
                if found is None or found.start() != len(values["id"]):
                    return False
            elif (
                index < len(self.parts) - 1
                and part not in _ENDS_ITSELF
                and (end := self.after(part))
                and (values[part] + end).find(end) != len(values[part])
            ):
                return False
        return True

    def fill(self, values: Mapping[str, bytes]) -> bytes:
        """Return the signed bytes."""
        filled = [self._texts[0]]
        for part, text in zip(self.parts, self._texts[1:], strict=True):
            filled += values[part], text
        return b"".join(filled)


def members_of(part: str) -> list[tuple[str, bool]]:
    """Return the members of a placeholder `members:NAME,NAME?`, and whether each must be there; none of another one.

    Raise ValueError if it is an invalid one.
    """
    if not part.startswith(_MEMBERS):
        return []
    names = part.removeprefix(_MEMBERS).split(",")
    found = [(name.removesuffix("?"), not name.endswith("?")) for name in names]
    if not all(_MEMBER.fullmatch(name) for name, _ in found) or len(dict(found)) != len(found):
        raise ValueError("members: must be names of members, each once, as in {members:Message,MessageId,Subject?}")
    if not all(is_required for _, is_required in found[:2]):
        raise ValueError("the first two of members: must not have a question mark: they mark where the others begin")
    return found


def _is_place(part: str) -> bool:
    """Return whether a placeholder is a place in the request. Raise ValueError if it is an invalid one."""
    if not part.startswith((*_PLACES, _OPEN)):
        return False
    place_of(part)
    return True


def place_of(part: str) -> Place:
    """Return the place of a placeholder that is one. Raise ValueError if it is an invalid one."""
    return parse_value_place(part.removeprefix(_OPEN))
