"""What is signed, as a text with places: `{timestamp}.{body}`.

The same bytes must never be those of another request, whose URL ends earlier and whose body begins there. A time and a
method can end nowhere else: nothing that is recent has another number of digits, and no method begins another.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

PLACES: Final = ("timestamp", "id", "method", "url", "body")
"""What a template can have, each at most once."""


_NEVER_IN_A_URL: Final = (b" ", b"\n")
_VARIABLE: Final = ("id", "url")
"""The places whose length the sender of a request can choose, but for the body."""


class Template:
    """A template, read once.

    Raises:
        ValueError: it has a place that there is not, or one twice, or nothing that tells one message from another; or
            one of them could end elsewhere.
    """

    def __init__(self, text: str) -> None:
        pieces = re.split(r"\{([a-z]+)\}", text)  # text, place, text, place, …, text
        self._texts = [piece.encode() for piece in pieces[::2]]
        self.parts: Final = tuple(pieces[1::2])
        """The places, in order."""
        if unknown := [each for each in self.parts if each not in PLACES]:
            raise ValueError(f"there is no {{{unknown[0]}}}; there are " + ", ".join(f"{{{each}}}" for each in PLACES))
        if any(mark in piece for piece in pieces[::2] for mark in "{}"):
            raise ValueError("{ and } stand only around the name of a place")
        if len(set(self.parts)) != len(self.parts):
            raise ValueError("a place can stand in it once")
        if not {"body", "url"} & set(self.parts):
            raise ValueError("it has neither {body} nor {url}")
        if "id" in self.parts[:-1] and not self.after("id"):
            raise ValueError("behind {id} there must be some text, or it could end elsewhere")
        if "body" in self.parts[:-1]:
            raise ValueError("{body} must be the last place, or it could end elsewhere")
        has_end = "url" not in self.parts[:-1] or self.after("url").startswith(_NEVER_IN_A_URL)
        if not has_end and not self.url_meets_body:
            raise ValueError("behind {url} there must be a space, a line break or {body}, or it could end elsewhere")

    @property
    def url_meets_body(self) -> bool:
        """Whether nothing is between them: the URL must be one that can be no other then."""
        return self.parts[-2:] == ("url", "body") and not self.after("url")

    def after(self, part: str) -> bytes:
        """The text behind a place."""
        return self._texts[self.parts.index(part) + 1]

    def is_bounded(self, values: Mapping[str, bytes]) -> bool:
        """Whether id and URL are over where the text behind them is first found."""
        for part in _VARIABLE:
            end = self.after(part) if part in self.parts[:-1] else b""
            if end and (values[part] + end).find(end) != len(values[part]):
                return False
        return True

    def fill(self, values: Mapping[str, bytes]) -> bytes:
        """The bytes that are signed."""
        filled = [self._texts[0]]
        for part, text in zip(self.parts, self._texts[1:], strict=True):
            filled += values[part], text
        return b"".join(filled)
