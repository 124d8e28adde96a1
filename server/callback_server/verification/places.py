"""Places of a value in a request: where a sender writes its signature, the time, or the id of the message.

A place is a text in the settings: `header:NAME`, `query:NAME`, `form:NAME`, `json:POINTER` (RFC 6901), `field:NAME` (of
the list in the signature's header) or `body-hash`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

import msgspec

from callback_server.domain.call import Request
from callback_server.verification import request_fields
from callback_server.verification.profile import VerificationError

FIELD_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
"""Pattern of the name of a header (RFC 9110, 5.6.2), or of a field within a header."""

_PARAMETER: Final = re.compile(r"[^\x00-\x1f]{1,100}")
_POINTER: Final = re.compile(r"(/([^/~\x00-\x1f]|~[01])*){1,20}")
_MAX_POINTER: Final = 200
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}")

_Json = dict[str, msgspec.Raw] | list[msgspec.Raw]
_CONTAINER: Final = msgspec.json.Decoder(_Json)
_VALUE: Final = msgspec.json.Decoder(str | int)


@dataclass(frozen=True, slots=True)
class Place:
    """A parsed place."""

    kind: str
    name: str = ""

    @property
    def in_body(self) -> bool:
        """Whether the value is a part of the body."""
        return self.kind in ("form", "json")

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
            case "json":
                return _json_value(request.body, self.name)
            case _:
                return hashlib.sha256(request.body).hexdigest()
        if len(found) > 1:
            raise VerificationError(f"{self} occurs more than once")
        return found[0] if found else None


def parse_place(text: str) -> Place:
    """Return the place of a text. Raise ValueError if it is none."""
    kind, colon, name = text.partition(":")
    if text == "body-hash":
        return Place("body-hash")
    match kind if colon else "":
        case "header" | "field" if not FIELD_NAME.fullmatch(name):
            raise ValueError(
                f"the name after {kind}: must have 1 to 100 characters, each a letter, a digit or one of"
                " !#$%&'*+.^_`|~-"
            )
        case "query" | "form" if not _PARAMETER.fullmatch(name):
            raise ValueError(f"the name after {kind}: must have 1 to 100 characters, and no control characters")
        case "json" if len(name) > _MAX_POINTER or not _POINTER.fullmatch(name):
            raise ValueError("a JSON pointer begins with a slash, as in json:/data/id, and has at most 200 characters")
        case "header" | "field" | "query" | "form" | "json":
            return Place(kind, name)
    raise ValueError("must be header:NAME, query:NAME, form:NAME, json:/POINTER, field:NAME or body-hash")


def _json_value(body: bytes, pointer: str) -> str | None:
    """Return the text or whole number at a pointer. Only the way to it is decoded, not what lies beside it."""
    raw: bytes | msgspec.Raw = body
    try:
        for token in pointer.split("/")[1:]:
            container = _CONTAINER.decode(raw)
            if isinstance(container, dict):
                raw = container[token.replace("~1", "/").replace("~0", "~")]
            elif _INDEX.fullmatch(token):
                raw = container[int(token)]
            else:
                return None
        return str(_VALUE.decode(raw))
    except (ValueError, LookupError, RecursionError):
        return None
